"""The endpoint: one TCP address, where the TLS server name says whose a connection is.

Nothing is decrypted here and no byte is relayed: the ClientHello is looked at while it stays
in the socket, and the socket goes to the accelerator's process or to the control API.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from elastic_inference.errors import (
    ConfigurationError,
    ElasticInferenceError,
    InvalidRequestError,
)
from elastic_inference.protocol import sni

_log = logging.getLogger(__name__)
_BACKLOG = 512
_ACCEPTED_AT_ONCE = 64
# Where accepting fails for want of descriptors or memory, a moment passes before the next try.
_PAUSE = 0.1
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

ToApi = Callable[[socket.socket, tuple[Any, ...]], None]
ToAccelerator = Callable[[str, socket.socket, str], None]


def listen(address: str) -> socket.socket:
    """A listening TCP socket for `HOST:PORT`.

    Raises:
        InvalidRequestError: it is no address.
        ConfigurationError: it cannot be had.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        family = None
    if not colon:
        why = "it is not HOST:PORT"
    elif family is None:
        why = f"{host!r} is not an IP address"
    elif not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        why = f"{port!r} is not a port, a number up to 65535"
    else:
        why = ""
    if why or family is None:
        raise InvalidRequestError(
            f"Cannot listen on {address[:80]!r}: {why[:80]}.",
            next_step="Give an IP address and a port, as in --listen 127.0.0.1:8443.",
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Cannot listen on {address}: {error.strerror}.",
            next_step="Choose another address with --listen HOST:PORT.",
        ) from error
    return listener


@dataclass(slots=True)
class _Pending:
    connection: socket.socket
    peer: tuple[Any, ...]
    deadline: float


class Endpoint:
    """One thread that accepts connections and hands each to whom it belongs.

    Args:
        listener: from `listen`; the endpoint's from here on.
        pool_names: server names of the control API; no server name is the API's too.
        domain: accelerators are reached as `<accelerator id>.<domain>`.
        hello_timeout: seconds that a connection has for its ClientHello.
        max_pending: connections that are waited for; the oldest makes room for the next.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        pool_names: frozenset[str],
        domain: str,
        to_api: ToApi,
        to_accelerator: ToAccelerator,
        hello_timeout: float,
        max_pending: int,
    ) -> None:
        self.host, self.port = listener.getsockname()[:2]
        self._listener = listener
        self._pool_names = pool_names
        self._suffix = "." + domain
        self._to_api = to_api
        self._to_accelerator = to_accelerator
        self._hello_timeout = hello_timeout
        self._max_pending = max_pending
        # In the order of their deadlines, since all have the same time.
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._stop, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="endpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; connections that were handed on go on."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._listener.close()
        for pending in self._pending.values():
            pending.connection.close()
        self._epoll.close()
        os.close(self._stop)

    def _run(self) -> None:
        while True:
            for descriptor, events in self._epoll.poll(self._patience()):
                if descriptor == self._stop:
                    return
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._pending:
                    self._try_to_look(self._pending[descriptor], ended=bool(events & _ENDED))
            self._expire()

    def _patience(self) -> float:
        if not self._pending:
            return -1.0
        return max(0.0, next(iter(self._pending.values())).deadline - time.monotonic())

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("Cannot accept a connection: %s", error)
                time.sleep(_PAUSE)
                return
            if len(self._pending) >= self._max_pending:
                self._drop(next(iter(self._pending.values())))
            connection.setblocking(False)
            pending = _Pending(connection, peer, time.monotonic() + self._hello_timeout)
            self._pending[connection.fileno()] = pending
            # Edge-triggered: bytes that stay in the socket must not wake the thread again.
            events = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
            self._epoll.register(connection, events)

    def _try_to_look(self, pending: _Pending, *, ended: bool) -> None:
        """`_look`, but one connection's trouble is not the others'."""
        try:
            self._look(pending, ended=ended)
        except Exception:  # noqa: BLE001 - this thread serves all the others too
            _log.exception("A connection could not be handed on")
            with contextlib.suppress(KeyError, OSError):
                self._drop(pending)

    def _look(self, pending: _Pending, *, ended: bool) -> None:
        try:
            data = pending.connection.recv(sni.MAX_HELLO, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        hello = sni.parse(data)
        if hello.status is sni.Status.COMPLETE:
            self._route(pending, hello.server_name)
        elif hello.status is not sni.Status.MORE or ended:
            self._drop(pending)

    def _route(self, pending: _Pending, name: str | None) -> None:
        self._forget(pending)
        connection = pending.connection
        connection.setblocking(True)
        if name is None or name in self._pool_names:
            self._to_api(connection, pending.peer)
            return
        with connection:
            if name.endswith(self._suffix):
                host, port = pending.peer[:2]
                with contextlib.suppress(ElasticInferenceError):
                    self._to_accelerator(
                        name.removesuffix(self._suffix), connection, f"{host}:{port}"
                    )

    def _expire(self) -> None:
        now = time.monotonic()
        while self._pending:
            oldest = next(iter(self._pending.values()))
            if oldest.deadline > now:
                return
            self._drop(oldest)

    def _forget(self, pending: _Pending) -> None:
        del self._pending[pending.connection.fileno()]
        self._epoll.unregister(pending.connection)

    def _drop(self, pending: _Pending) -> None:
        self._forget(pending)
        pending.connection.close()
