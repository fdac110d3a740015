"""The accelerator's listeners, its connection threads and their watchdog."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from elastic_inference.accelerator.channel import (
    BufferBudget,
    Channel,
    ConnectionClosedError,
)
from elastic_inference.accelerator.connection import Connection
from elastic_inference.accelerator.dataplane import DataPlane
from elastic_inference.accelerator.sockets import peer_is_allowed
from elastic_inference.errors import LimitExceededError
from elastic_inference.protocol.host import tune
from elastic_inference.protocol.http2 import PREFACE_START

if TYPE_CHECKING:
    from elastic_inference.accelerator.crew import Crew, Sentinel
    from elastic_inference.accelerator.crowd import Crowd
    from elastic_inference.accelerator.grpc_connection import GrpcConnection

log = logging.getLogger(__name__)

_WATCH_INTERVAL = 0.5
_ACCEPT_PAUSE = 0.1
_IDLE_BUFFER = 1024 * 1024
_RELEASE_AFTER = 10.0
_CORES = len(os.sched_getaffinity(0))
# Up to so many connections each have a thread of their own.
_FEW = max(2, min(4, _CORES))
# The others share a thread, or some where there are processors for them.
_CROWDS = max(1, min(4, _CORES // 2))


class Served:
    """A connection while it is served, whatever it speaks.

    Attributes:
        alone: it has a thread of its own, and keeps it.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.http: Connection | None = None
        self.grpc: GrpcConnection | None = None
        self.alone = False

    @property
    def busy(self) -> bool:
        """Whether a request is being served."""
        return any(each.busy for each in (self.http, self.grpc) if each is not None)

    def overdue(self, now: float) -> bool:
        """Whether the other end keeps it waiting for longer than it may."""
        if self.grpc is not None:
            return self.grpc.overdue(now)
        return now - self.channel.since > self.channel.patience

    def look_after(self, now: float) -> None:
        """Give back memory that lies idle, end what takes too long."""
        if self.grpc is not None:
            self.grpc.tick(now)
            if now - self.grpc.active > _RELEASE_AFTER and not self.grpc.busy:
                self.grpc.release_idle(_IDLE_BUFFER)
        elif not self.busy and now - self.channel.since > _RELEASE_AFTER:
            self.channel.release_buffer(_IDLE_BUFFER)


class Server:
    """Accepts connections and serves them, a few in threads of their own, more together."""

    def __init__(self, plane: DataPlane, tls: ssl.SSLContext | None) -> None:
        self._plane = plane
        self._tls = tls
        self._limits = plane.config.limits
        self._clients = frozenset(plane.config.clients)
        self._listeners: list[socket.socket] = []
        self._lock = threading.Lock()
        self._connections: set[Served] = set()
        self._sentinel: Sentinel | None = None
        self._crowds: list[Crowd] = []
        self._handshakes: dict[ssl.SSLSocket, float] = {}
        self._shaking = threading.BoundedSemaphore(self._limits.max_connections)
        self._budget = BufferBudget(self._limits.max_bodies)
        self._closing = threading.Event()
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def use(self, tls: ssl.SSLContext | None) -> None:
        """Serve later TLS connections with another context."""
        self._tls = tls

    def listen(self, listener: socket.socket) -> None:
        """Accept from `listener` until the server stops."""
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener,), name="accept", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError as error:
                if not self._closing.wait(_ACCEPT_PAUSE):
                    # Out of file descriptors or the like: nothing is lost by trying again.
                    log.warning("Cannot accept a connection: %s", error)
                continue
            if sock.family == socket.AF_UNIX and not peer_is_allowed(sock, self._clients):
                sock.close()
                continue
            self.serve(sock, tls=False)

    def serve(self, sock: socket.socket, *, tls: bool) -> None:
        """Serve a connected socket, over TLS if `tls`; never raises."""
        if tls and not self._shaking.acquire(blocking=False):
            log.warning("Too many TLS handshakes at one time: a connection is closed")
            sock.close()
            return
        self._plane.thread_started()
        thread = threading.Thread(
            target=self._run, args=(sock, tls), name="connection", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("Cannot serve a connection: %s", error)
            sock.close()
            self._plane.thread_ended()
            if tls:
                self._shaking.release()

    def _run(self, sock: socket.socket, tls: bool) -> None:
        try:
            with contextlib.suppress(OSError):
                if not tls:
                    tune(sock)
                    self._serve(sock)
                elif (secured := self._shake(sock)) is not None:
                    self._serve(secured)
        finally:
            self._plane.thread_ended()

    def _shake(self, sock: socket.socket) -> ssl.SSLSocket | None:
        try:
            tune(sock)
            return self._handshake(sock)
        finally:
            self._shaking.release()

    def _handshake(self, sock: socket.socket) -> ssl.SSLSocket | None:
        if self._tls is None:
            sock.close()
            return None
        try:
            secured = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:
            sock.close()
            return None
        self._handshakes[secured] = time.monotonic() + self._limits.handshake_timeout
        try:
            secured.do_handshake()
        except OSError as error:
            log.info("A TLS handshake failed: %s", error)
            secured.close()
            return None
        finally:
            del self._handshakes[secured]
        return secured

    def _serve(self, sock: socket.socket) -> None:
        channel = Channel(sock, self._limits.max_head, self._budget)
        served = Served(channel)
        with self._lock:
            full = len(self._connections) >= self._limits.max_connections
            if not full:
                self._connections.add(served)
        if full:
            error = LimitExceededError(
                f"The accelerator has {self._limits.max_connections} connections already.",
                next_step="Close some, or raise EI_MAX_CONNECTIONS.",
                accelerator_id=self._plane.id,
            )
            channel.send(self._plane.error_answer(error, 429, close=True))
            channel.close()
            return
        left = False
        try:
            left = self._serve_as_it_begins(served)
        finally:
            if not left:
                self._forget(served)

    def _forget(self, served: Served) -> None:
        with self._lock:
            self._connections.discard(served)

    def _serve_as_it_begins(self, served: Served) -> bool:
        """Serve HTTP/2 to who begins with its preface, HTTP/1.1 to anyone else.

        Returns:
            Whether others serve it on.
        """
        channel = served.channel
        try:
            is_http2 = channel.begins_with(PREFACE_START, self._limits.receive_timeout)
        except (ConnectionClosedError, OSError):
            channel.close()
            return False
        if not is_http2:
            served.http = Connection(channel, self._plane)
            return self._serve_http(served, served.http)
        # Late, for who never calls it starts faster and takes less memory.
        from elastic_inference.accelerator.grpc_connection import (  # noqa: PLC0415
            GrpcConnection,
        )

        served.grpc = GrpcConnection(
            channel, self._plane, self._watched(), lambda: _cut(channel.sock)
        )
        if self._closing.is_set():
            served.grpc.leave()
        served.grpc.serve()
        return False

    def _serve_http(self, served: Served, connection: Connection) -> bool:
        while connection.serve(lambda: len(self._connections) > _FEW and not served.alone):
            try:
                self._crowd().join(served, connection)
            except (OSError, RuntimeError) as error:
                # Alone it is served as well.
                log.warning("A connection cannot be served with others: %s", error)
                served.alone = True
            else:
                return True
        return False

    def _crowd(self) -> Crowd:
        """Who serves the next connection that joins others."""
        from elastic_inference.accelerator.crowd import Crowd  # noqa: PLC0415 - as above

        sentinel = self._watched()
        with self._lock:
            if len(self._crowds) < _CROWDS:
                self._crowds.append(
                    Crowd(
                        sentinel,
                        self._limits.max_connections,
                        started=self._plane.thread_started,
                        ended=self._plane.thread_ended,
                        alone=self._go_on_alone,
                        gone=self._forget,
                    )
                )
            self._crowds.append(self._crowds.pop(0))
            return self._crowds[-1]

    def _go_on_alone(self, served: Served, connection: Connection) -> bool:
        """Give a connection a thread of its own; False if there is none to be had."""
        served.alone = True
        self._plane.thread_started()
        try:
            threading.Thread(
                target=self._run_alone, args=(served, connection), name="connection", daemon=True
            ).start()
        except RuntimeError as error:
            log.warning("Cannot serve a connection alone: %s", error)
            self._plane.thread_ended()
            return False
        return True

    def _run_alone(self, served: Served, connection: Connection) -> None:
        try:
            self._serve_http(served, connection)
        finally:
            self._forget(served)
            self._plane.thread_ended()

    def _watched(self) -> Sentinel:
        """What looks after connections with several calls at a time."""
        from elastic_inference.accelerator.crew import Sentinel  # noqa: PLC0415

        with self._lock:
            if self._sentinel is None:
                self._sentinel = Sentinel(self._crews)
                self._plane.thread_started()
            return self._sentinel

    def _crews(self) -> list[Crew]:
        with self._lock:
            crews = [each.grpc.crew for each in self._connections if each.grpc is not None]
            return crews + [each.crew for each in self._crowds]

    def _watch(self) -> None:
        """Cut connections that stand still for longer than they may."""
        while not self._stopped.wait(_WATCH_INTERVAL):
            now = time.monotonic()
            for sock, deadline in list(self._handshakes.items()):
                if now > deadline:
                    _cut(sock)
            with self._lock:
                connections = list(self._connections)
            for connection in connections:
                if connection.overdue(now):
                    _cut(connection.channel.sock)
                else:
                    connection.look_after(now)
            try:
                self._plane.tick()
            except Exception:
                # Without this thread no connection would ever be cut again.
                log.exception("The upkeep of leases and memory failed")

    @property
    def busy(self) -> bool:
        """Whether any request is being served."""
        with self._lock:
            return any(connection.busy for connection in self._connections)

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    def drain(self, timeout: float) -> None:
        """Stop accepting, let running requests end for up to `timeout` seconds, then close."""
        self._closing.set()
        for listener in self._listeners:
            # Only shutdown wakes a thread that is blocked in accept.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            leaving = [each.grpc for each in self._connections if each.grpc is not None]
        for connection in leaving:
            connection.leave()
        deadline = time.monotonic() + timeout
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        self._stopped.set()
        with self._lock:
            connections = list(self._connections)
        for served in connections:
            _cut(served.channel.sock)


def _cut(sock: socket.socket) -> None:
    """End a connection from another thread: its reader and writer wake with an error."""
    with contextlib.suppress(OSError):
        # Of an SSLSocket too this ends the TCP connection, without a word of TLS.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def tls_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """TLS 1.3 for a data connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, private_key)
    # Who offers both gets HTTP/1.1, where everything is; gRPC's clients offer nothing but h2.
    context.set_alpn_protocols(["http/1.1", "h2"])
    return context
