"""Listening TCP sockets: at a given address, or at a free port of a range."""

from __future__ import annotations

import errno
import ipaddress
import socket

from elastic_inference.errors import (
    ConfigurationError,
    InvalidRequestError,
    LimitExceededError,
    UnavailableError,
)

_BACKLOG = 512
_TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES, errno.EPERM})


def listen(address: str) -> socket.socket:
    """A listening TCP socket for `HOST:PORT`.

    Raises:
        InvalidRequestError: it is no address.
        ConfigurationError: it cannot be had.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon:
        why = "it is not HOST:PORT"
    elif not _is_address(host):
        why = f"{host!r} is not an IP address"
    elif not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        why = f"{port!r} is not a port, a number up to 65535"
    else:
        why = ""
    if why:
        raise InvalidRequestError(
            f"Cannot listen on {address[:80]!r}: {why[:80]}.",
            next_step="Give an IP address and a port, as in --listen 127.0.0.1:8443.",
        )
    try:
        return _bind(host, int(port))
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {address}: {error.strerror}.",
            next_step="Choose another address with --listen HOST:PORT.",
        ) from error


def listen_at(host: str, port: int) -> socket.socket | None:
    """A listening socket at that port of `host`, an IP address; None if it cannot be had."""
    try:
        return _bind(host, port)
    except OSError:
        return None


def listen_within(host: str, ports: tuple[int, int] | None) -> socket.socket:
    """A listening socket at a free port of `host`, an IP address.

    Args:
        ports: the first and the last that may be taken; None: any.

    Raises:
        LimitExceededError: none of them is free.
        UnavailableError: the system gives no socket.
    """
    first, last = ports or (0, 0)
    for port in range(first, last + 1):
        try:
            return _bind(host, port)
        except OSError as error:
            if port == 0 or error.errno not in _TAKEN:
                raise UnavailableError(
                    f"Cannot listen on a port of {host}: {error.strerror}.",
                    next_step="See the limits of the machine that the pool runs on.",
                ) from error
    raise LimitExceededError(
        f"No port from {first} to {last} of {host} is free for an accelerator's own address.",
        next_step="Widen EI_OWN_PORTS, or end accelerators that are not needed (ei terminate).",
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
