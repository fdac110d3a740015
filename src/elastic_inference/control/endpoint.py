"""The endpoint: one TCP address, where the TLS server name says whose a connection is.

For clients that cannot choose that name an accelerator may have an address of its own, where
every connection is that accelerator's. Inside instances' networks the endpoint has listeners too.

Nothing is decrypted here and no byte is relayed: the ClientHello is looked at while it stays
in the socket, and the socket goes to the accelerator's process or to the control API.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from elastic_inference.errors import ElasticInferenceError, UnavailableError
from elastic_inference.protocol import sni

_log = logging.getLogger(__name__)
_ACCEPTED_AT_ONCE = 64
# Where accepting fails for want of descriptors or memory, a moment passes before the next try.
_PAUSE = 0.1
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
# What HTTP without TLS begins with, gRPC's too.
_PLAIN_HTTP = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"PRI * ")
_SAY_TLS = b"This port speaks TLS: use https://, or TLS with gRPC.\n"
_PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_SAY_TLS), _SAY_TLS)
)

ToApi = Callable[[socket.socket, tuple[Any, ...]], None]
ToAccelerator = Callable[[str, socket.socket, str], None]


@dataclass(frozen=True, slots=True)
class _Listener:
    """A listening socket, and whose all of its connections are; None: by their server names."""

    socket: socket.socket
    accelerator_id: str | None


@dataclass(slots=True)
class _Pending:
    connection: socket.socket
    peer: tuple[Any, ...]
    deadline: float
    accelerator_id: str | None


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
        self._pool_names = pool_names
        self._suffix = "." + domain
        self._to_api = to_api
        self._to_accelerator = to_accelerator
        self._hello_timeout = hello_timeout
        self._max_pending = max_pending
        # In the order of their deadlines, since all have the same time.
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._listeners: dict[int, _Listener] = {}
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._calls: deque[Callable[[], None]] = deque()
        self._calling = threading.Lock()
        self._closed = False
        self._add(_Listener(listener, None))
        self._thread = threading.Thread(target=self._run, name="endpoint", daemon=True)
        self._thread.start()

    def open(self, listener: socket.socket, accelerator_id: str) -> None:
        """Hand every connection of `listener`, which is the endpoint's now, to an accelerator.

        Raises:
            UnavailableError: the system cannot watch it, or the endpoint is closed.
        """
        self._watch(_Listener(listener, accelerator_id))

    def add(self, listener: socket.socket) -> Callable[[], None]:
        """Serve `listener`, which is the endpoint's now, as its own; gives what closes it.

        Raises:
            UnavailableError: the system cannot watch it, or the endpoint is closed.
        """
        added = _Listener(listener, None)
        self._watch(added)
        return lambda: self._remove_now(added)

    def shut(self, accelerator_id: str) -> None:
        """Close an accelerator's listener; when it returns its port is free."""
        self._call(lambda: self._remove(accelerator_id))

    def _watch(self, listener: _Listener) -> None:
        listener.socket.setblocking(False)
        try:
            served = self._call(lambda: self._add(listener))
        except OSError as error:
            listener.socket.close()
            raise UnavailableError(
                f"Cannot watch another address: {error.strerror}.",
                next_step="See the limits of the machine that the pool runs on.",
            ) from error
        if not served:
            listener.socket.close()
            raise UnavailableError("The pool is being stopped.")

    def _remove_now(self, listener: _Listener) -> None:
        # A closed endpoint has closed it.
        self._call(lambda: self._remove_one(listener))

    def close(self) -> None:
        """Stop listening; connections that were handed on go on."""
        self._call(self._end)
        self._thread.join()
        for listener in self._listeners.values():
            listener.socket.close()
        for pending in self._pending.values():
            pending.connection.close()
        self._epoll.close()
        os.close(self._wake)

    def _call(self, call: Callable[[], None]) -> bool:
        """Run `call` in the endpoint's thread and wait for it; False where that has ended."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - the caller's; this thread serves others too
                done.set_exception(error)
            else:
                done.set_result(None)

        with self._calling:
            if self._closed:
                return False
            self._calls.append(run)
            os.eventfd_write(self._wake, 1)
        done.result()
        return True

    def _add(self, listener: _Listener) -> None:
        self._epoll.register(listener.socket, select.EPOLLIN)
        self._listeners[listener.socket.fileno()] = listener

    def _remove(self, accelerator_id: str) -> None:
        for listener in list(self._listeners.values()):
            if listener.accelerator_id == accelerator_id:
                self._remove_one(listener)

    def _remove_one(self, listener: _Listener) -> None:
        descriptor = listener.socket.fileno()
        if self._listeners.get(descriptor) is listener:
            del self._listeners[descriptor]
            self._epoll.unregister(descriptor)
            listener.socket.close()

    def _end(self) -> None:
        self._closed = True

    def _run(self) -> None:
        while not self._closed:
            for descriptor, events in self._epoll.poll(self._patience()):
                if descriptor == self._wake:
                    self._woken()
                elif descriptor in self._listeners:
                    self._accept(self._listeners[descriptor])
                elif descriptor in self._pending:
                    self._try_to_look(self._pending[descriptor], ended=bool(events & _ENDED))
            self._expire()

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        # No call comes to stay unheard: whoever adds one afterwards sees that it has ended.
        with self._calling:
            while self._calls:
                self._calls.popleft()()

    def _patience(self) -> float:
        if not self._pending:
            return -1.0
        return max(0.0, next(iter(self._pending.values())).deadline - time.monotonic())

    def _accept(self, listener: _Listener) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, peer = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("Cannot accept a connection: %s", error)
                time.sleep(_PAUSE)
                return
            if len(self._pending) >= self._max_pending:
                self._drop(next(iter(self._pending.values())))
            connection.setblocking(False)
            deadline = time.monotonic() + self._hello_timeout
            pending = _Pending(connection, peer, deadline, listener.accelerator_id)
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
            if data.startswith(_PLAIN_HTTP):
                _say_tls(pending.connection)
            self._drop(pending)

    def _route(self, pending: _Pending, name: str | None) -> None:
        self._forget(pending)
        connection = pending.connection
        connection.setblocking(True)
        accelerator_id = pending.accelerator_id
        if accelerator_id is None:
            if name is None or name in self._pool_names:
                self._to_api(connection, pending.peer)
                return
            if name.endswith(self._suffix):
                accelerator_id = name.removesuffix(self._suffix)
        with connection:
            if accelerator_id is not None:
                host, port = pending.peer[:2]
                with contextlib.suppress(ElasticInferenceError):
                    self._to_accelerator(accelerator_id, connection, f"{host}:{port}")

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


def _say_tls(connection: socket.socket) -> None:
    """Tell who speaks HTTP without TLS why the connection ends. Never blocks."""
    with contextlib.suppress(OSError):
        # What stays unread would make the end a reset, which can take the answer along.
        connection.recv(sni.MAX_HELLO)
        connection.send(_PLAIN_ANSWER)
        connection.shutdown(socket.SHUT_WR)
