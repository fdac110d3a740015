"""A socket that one thread reads while others write, encrypted or not."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence

from elastic_inference.accelerator.channel import ConnectionClosedError
from elastic_inference.protocol.tensors import Buffer

_TLS_PIECE = 512 * 1024
_PIECE = 8 * 1024 * 1024
_MAX_PARTS = 64
_SMALL = 65536


class Duplex:
    """A connected socket.

    One thread at a time may receive, and one may send; that is the caller's matter.

    Attributes:
        sending_since: monotonic time since when the other end takes nothing of what is sent;
            0 while nothing is.
        first_read: how many bytes to ask for while the next frame's size is unknown.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sending_since = 0.0
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        if self._tls is None:
            # Little, so that most of a large message lands in its own buffer at once.
            self.first_read = 4096
            self._receive_plain = sock.recv_into
            return
        self.first_read = 16384
        # OpenSSL allows one thread at a time within a session, so none may block there: a reader
        # that waits must not keep an answer from being sent.
        self._tls.setblocking(False)
        self._session = threading.Lock()
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)

    def receive(self, target: Buffer) -> int:
        """Fill the beginning of `target`, with one byte at least.

        Raises:
            ConnectionClosedError, OSError: the connection is gone.
        """
        count = self._receive_plain(target) if self._tls is None else self._receive_tls(target)
        if not count:
            raise ConnectionClosedError
        return count

    def receive_much(self, target: Buffer) -> int:
        """As `receive`, but waiting for as much as there is room for, where that costs less."""
        if self._tls is not None:
            return self.receive(target)
        count = self.sock.recv_into(target[:_PIECE], 0, socket.MSG_WAITALL)
        if not count:
            raise ConnectionClosedError
        return count

    def _receive_tls(self, target: Buffer) -> int:
        sock = self._tls
        assert sock is not None  # noqa: S101 - for the type checker
        if not sock.pending():
            self._readable.poll()
        while True:
            try:
                with self._session:
                    return sock.read(len(target), target)  # type: ignore[return-value]  # a count, given a buffer
            except ssl.SSLWantReadError:
                self._readable.poll()
            except ssl.SSLWantWriteError:
                self._writable.poll()

    def send(self, parts: Sequence[Buffer | bytes], size: int) -> None:
        """Send all of `parts`, which have `size` bytes together."""
        self.sending_since = time.monotonic()
        try:
            if size <= _SMALL:
                self._send_all(parts[0] if len(parts) == 1 else b"".join(parts))
            elif self._tls is not None:
                for part in parts:
                    self._send_all(part)
            else:
                self._gather(parts)
        finally:
            self.sending_since = 0.0

    def _gather(self, parts: Sequence[Buffer | bytes]) -> None:
        for first in range(0, len(parts), _MAX_PARTS):
            some = parts[first : first + _MAX_PARTS]
            sent = self.sock.sendmsg(some)
            for part in some:
                if sent >= len(part):
                    sent -= len(part)
                else:
                    self._send_all(memoryview(part)[sent:])
                    sent = 0

    def _send_all(self, data: Buffer | bytes) -> None:
        if self._tls is None and len(data) <= _PIECE:
            self.sock.sendall(data)
            return
        piece = _TLS_PIECE if self._tls is not None else _PIECE
        view = memoryview(data)
        for at in range(0, len(view), piece):
            if self._tls is None:
                self.sock.sendall(view[at : at + piece])
            else:
                self._send_tls(view[at : at + piece])
            self.sending_since = time.monotonic()

    def _send_tls(self, data: Buffer) -> None:
        sock = self._tls
        assert sock is not None  # noqa: S101 - for the type checker
        while data:
            try:
                with self._session:
                    sent = sock.send(data)
                data = data[sent:]
            except ssl.SSLWantWriteError:
                self._writable.poll()
            except ssl.SSLWantReadError:
                # Only the reader reads, and it does so all the time.
                self._writable.poll()
