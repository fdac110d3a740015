"""The address of instance metadata, 169.254.169.254, on this machine's loopback device."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

from elastic_inference.compute.metadata import ADDRESS
from elastic_inference.errors import ConfigurationError

_PORT = 80
_TIMEOUT = 10.0
_PROBE_TIMEOUT = 1.0


@contextlib.contextmanager
def listener() -> Iterator[socket.socket]:
    """A listener at that address, which goes again with it; closing it is its user's.

    Raises:
        ConfigurationError: it cannot be had here.
    """
    why = _why_not()
    if why:
        raise ConfigurationError(
            f"--link-local cannot be had: {why}.",
            next_step="Leave it out: ei run -- COMMAND tells COMMAND where the metadata is.",
        )
    _ip("replace")
    try:
        yield _listen()
    finally:
        with contextlib.suppress(ConfigurationError):
            _ip("delete")


def _listen() -> socket.socket:
    try:
        return socket.create_server((ADDRESS, _PORT), backlog=128)
    except OSError as error:
        raise ConfigurationError(
            f"--link-local cannot be had: {ADDRESS}:{_PORT}: {error.strerror}.",
            next_step="See what listens there (ss -ltnp).",
        ) from error


def _why_not() -> str:
    if os.geteuid() != 0:
        return "only root may add an address"
    if shutil.which("ip") is None:
        return "iproute2 (the command ip) is not installed"
    with contextlib.suppress(OSError):
        # A cloud's own service; adding the address would hide it from this whole machine.
        socket.create_connection((ADDRESS, _PORT), _PROBE_TIMEOUT).close()
        return f"a metadata service answers at {ADDRESS} already"
    return ""


def _ip(verb: str) -> None:
    words = ["ip", "address", verb, f"{ADDRESS}/32", "dev", "lo"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"Cannot run the command ip: {error}.") from error
    if done.returncode != 0:
        raise ConfigurationError(f"Cannot set the address {ADDRESS}: {done.stderr.strip()}.")
