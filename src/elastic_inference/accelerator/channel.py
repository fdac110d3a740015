"""One connection's bytes: request heads and bodies in, answers out.

A body lands in a reusable buffer such that the tensors in it begin at a multiple of 64
bytes, so that the engine can use them where they are.
"""

from __future__ import annotations

import array
import contextlib
import mmap
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from elastic_inference.accelerator.sockets import peer_is_allowed, peer_is_this_user
from elastic_inference.errors import (
    ElasticInferenceError,
    InvalidRequestError,
    LimitExceededError,
    PayloadTooLargeError,
)
from elastic_inference.protocol.http import CONTINUE, RequestHead
from elastic_inference.protocol.inference import ALIGNMENT
from elastic_inference.protocol.tensors import Buffer

HEAD_READ = 4096
_TLS_RECORD = 16384
_SMALL = 65536
_PIECE = 8 * 1024 * 1024
# Less at a time where it is encrypted: a slow reader has the whole patience for each piece.
_TLS_PIECE = 512 * 1024
_UPLOAD_PIECE = 1024 * 1024
_MAX_CHUNK_LINE = 256
_MAX_TRAILERS = 100
_PAGE = mmap.PAGESIZE


class ConnectionClosedError(Exception):
    """The other end went away, between two requests or within one."""


class BufferBudget:
    """How much memory the bodies of all connections may take together.

    Bodies lie in memory that is not the engine's, so the accelerator's own limit misses them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()

    def change(self, delta: int) -> None:
        """Take `delta` bytes more, or give some back.

        Raises:
            LimitExceededError: there are not so many left.
        """
        with self._lock:
            if delta > 0 and self._used + delta > self._limit:
                raise LimitExceededError(
                    f"The bodies under way take more than {self._limit} bytes.",
                    next_step="Repeat the request later; the limit is EI_MAX_BODIES.",
                )
            self._used += delta


class Channel:
    """A connected socket with its buffers.

    Attributes:
        since: monotonic time of the last progress; the watchdog compares it.
        patience: how many seconds may pass from `since` until the watchdog cuts the line.
        head: the next request begins at its start.
        buffered: how many of its bytes have come already.
        head_read: how many bytes are read at most while a head is looked for.
        budget: what the bodies of all connections share.
    """

    def __init__(
        self, sock: socket.socket, max_head: int, budget: BufferBudget | None = None
    ) -> None:
        self.sock = sock
        self.budget = budget or BufferBudget(1 << 62)
        self._swapping = threading.Lock()
        self.is_tls = isinstance(sock, ssl.SSLSocket)
        self.is_unix = sock.family == socket.AF_UNIX
        self.since = time.monotonic()
        self.patience = float("inf")
        self.head = bytearray(max_head + _TLS_RECORD)
        self._head_view = memoryview(self.head)
        self._max_head = max_head
        self.buffered = 0
        self._body: Buffer = memoryview(b"")
        # A whole TLS record at a time; on a plain socket little, so that most of a large body
        # lands in its own buffer at once.
        self.head_read = _TLS_RECORD if self.is_tls else HEAD_READ
        self._receive = self._receiver()
        self._send_piece = _TLS_PIECE if self.is_tls else _PIECE

    @cached_property
    def is_local(self) -> bool:
        """Whether the other end is on this host and of this user, or root by a Unix socket."""
        return peer_is_allowed(self.sock) if self.is_unix else peer_is_this_user(self.sock)

    def _receiver(self) -> Callable[[Buffer], int]:
        """What fills a buffer with as few Python calls as there can be."""
        sock = self.sock
        if isinstance(sock, ssl.SSLSocket):
            # A record at a time, 16 KiB at most: what lies between counts.
            read = sock.read
            return lambda target: read(len(target), target)  # type: ignore[return-value]  # a count, given a buffer
        recv_into, wait_all = sock.recv_into, socket.MSG_WAITALL
        return lambda target: recv_into(target, 0, wait_all)

    def receive_first(self, idle: float, patience: float, most: int = 0) -> int:
        """Wait for the next request; how many bytes of it came at once.

        Args:
            idle: seconds to wait.
            patience: seconds from then until its head must be whole.
            most: how many bytes to read at most; 0 for `head_read`.

        Raises:
            ConnectionClosedError: the other end closed the connection.
        """
        self.patience = idle
        self.since = time.monotonic()
        count = self.sock.recv_into(self._head_view[: most or self.head_read])
        if not count:
            raise ConnectionClosedError
        self.patience = patience
        self.since = time.monotonic()
        self.buffered = count
        return count

    def begins_with(self, wanted: bytes, patience: float) -> bool:
        """Wait for the first bytes of the connection; whether they are `wanted`.

        Args:
            patience: seconds to wait for the first, and from then for so many.

        Raises:
            ConnectionClosedError: the other end closed the connection.
        """
        have = self.receive_first(patience, patience)
        while have < len(wanted) and wanted.startswith(self._head_view[:have]):
            count = self.sock.recv_into(self._head_view[have : self.head_read])
            if not count:
                raise ConnectionClosedError
            have += count
        self.buffered = have
        return self.head.startswith(wanted)

    @property
    def has_more(self) -> bool:
        """Whether bytes that came wait here, of which the socket tells nothing more."""
        sock = self.sock
        return bool(self.buffered) or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)

    def take_first(self) -> None:
        """All bytes that came were one request, and it is done with."""
        self.buffered = 0

    def read_head(self, idle: float, patience: float) -> bytes:
        """The next request's head, without the empty line.

        Args:
            idle: seconds to wait for its first byte.
            patience: seconds from then until it must be whole.

        Raises:
            ConnectionClosedError: the other end closed the connection.
            PayloadTooLargeError: the head is over its limit.
        """
        head, view = self.head, self._head_view
        have = self.buffered or self.receive_first(idle, patience)
        end = head.find(b"\r\n\r\n", 0, have)
        while end < 0:
            if have > self._max_head:
                raise PayloadTooLargeError(
                    f"The request's head is larger than {self._max_head} bytes.",
                    next_step="The limit is EI_MAX_HEAD.",
                )
            count = self.sock.recv_into(view[have : have + self.head_read])
            if not count:
                raise ConnectionClosedError
            have += count
            end = head.find(b"\r\n\r\n", max(0, have - count - 3), have)
        raw = bytes(view[:end])
        rest = have - end - 4
        if rest:
            head[:rest] = head[end + 4 : have]
        self.buffered = rest
        return raw

    def read_body(self, length: int, lead: int) -> tuple[Buffer, int]:
        """`length` bytes of body.

        Args:
            lead: after how many bytes the tensors begin.

        Returns:
            A buffer, and where in it the body begins. Valid until the next call.

        Raises:
            LimitExceededError: the bodies of all connections take too much; nothing was read.
        """
        pad = -lead % ALIGNMENT
        total = pad + length
        body = self._body
        if total >= len(body):
            body = self._new_buffer(total + 1)
        taken = min(self.buffered, length)
        body[pad : pad + taken] = self._head_view[:taken]
        self.skip(taken)
        at = pad + taken
        receive = self._receive
        while at < total:
            count = receive(body[at : min(total, at + _PIECE)])
            if not count:
                raise ConnectionClosedError
            at += count
            self.since = time.monotonic()
        return body, pad

    def skip(self, count: int) -> None:
        """Pass over bytes that came already."""
        rest = self.buffered - count
        if rest:
            self.head[:rest] = self.head[count : self.buffered]
        self.buffered = rest

    def _new_buffer(self, size: int) -> Buffer:
        """A body buffer of at least `size` bytes in the place of the old one."""
        rounded = max(_SMALL, 1 << (size - 1).bit_length()) if size < _PIECE else size
        rounded = -(-rounded // _PAGE) * _PAGE
        self.release_buffer()
        self.budget.change(rounded)
        try:
            body = memoryview(mmap.mmap(-1, rounded))
        except OSError as error:
            self.budget.change(-rounded)
            raise LimitExceededError(
                f"There is no memory for a body of {size} bytes.",
                next_step="Repeat the request later.",
            ) from error
        self._body = body
        return body

    def release_buffer(self, keep: int = 0) -> None:
        """Give the body buffer back to the system if it is larger than `keep` bytes."""
        with self._swapping:
            if len(self._body) > keep:
                self.budget.change(-len(self._body))
                self._body = memoryview(b"")

    def adopt(self, body: bytes, lead: int) -> tuple[Buffer, int]:
        """Lay bytes that came another way (chunked, compressed) down as `read_body` would."""
        pad = -lead % ALIGNMENT
        buffer = self._body
        if pad + len(body) >= len(buffer):
            buffer = self._new_buffer(pad + len(body) + 1)
        buffer[pad : pad + len(body)] = body
        return buffer, pad

    def read_some(self, most: int) -> Buffer:
        """From 1 to `most` bytes; valid until the next call."""
        if self.buffered:
            count = min(self.buffered, most)
            piece = memoryview(bytes(self._head_view[:count]))
            self.skip(count)
            return piece
        wanted = min(most, _UPLOAD_PIECE)
        body = self._body
        if len(body) < wanted:
            body = self._new_buffer(wanted)
        target = body[:wanted]
        have = 0
        try:
            while have < wanted and (count := self.sock.recv_into(target[have:])):
                have += count
                self.since = time.monotonic()
        except OSError:
            # What came before counts; the next call meets the error again.
            if not have:
                raise
        if not have:
            raise ConnectionClosedError
        return target[:have]

    def read_line(self) -> bytes:
        """A line of the chunked framing, without CRLF."""
        line = bytearray()
        while not line.endswith(b"\r\n"):
            line += self.read_some(1)
            if len(line) > _MAX_CHUNK_LINE:
                raise InvalidRequestError("A chunk's size line is too long.")
        return bytes(line[:-2])

    def receive_descriptor(self) -> int:
        """The one byte that is next, and the file descriptor sent with it.

        Raises:
            InvalidRequestError: no descriptor came, or more than one.
        """
        if self.buffered:
            raise InvalidRequestError("The byte must not be sent before 100 Continue.")
        descriptors = array.array("i")
        data, ancillary, _, _ = self.sock.recvmsg(1, socket.CMSG_SPACE(4 * descriptors.itemsize))
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(raw[: len(raw) - len(raw) % descriptors.itemsize])
        if not data:
            raise ConnectionClosedError
        if len(descriptors) != 1:
            for descriptor in descriptors:
                os.close(descriptor)
            raise InvalidRequestError("Exactly one file descriptor must come with the byte.")
        return descriptors[0]

    def send(self, head: bytes, buffers: Sequence[Buffer] = ()) -> None:
        """Send a head and the buffers that follow it."""
        size = sum(len(buffer) for buffer in buffers)
        if size <= (_SMALL if self.is_tls else 16384):
            self.send_small(b"".join((head, *buffers)) if buffers else head)
            return
        if self.is_tls:
            self.sock.sendall(head)
            for buffer in buffers:
                self._send_pieces(buffer)
            return
        sent = self.sock.sendmsg((head, *buffers[:64]))
        for buffer in (memoryview(head), *buffers):
            if sent >= len(buffer):
                sent -= len(buffer)
            else:
                self._send_pieces(buffer[sent:])
                sent = 0

    def send_small(self, data: bytes) -> None:
        """Send what is not worth a view."""
        sock = self.sock
        if isinstance(sock, ssl.SSLSocket):
            # One call less than sendall, which goes on only if a record did not take it all.
            sent = sock.write(data)
            if sent == len(data):
                return
            data = data[sent:]
        sock.sendall(data)

    def _send_pieces(self, buffer: Buffer) -> None:
        step = self._send_piece
        for at in range(0, len(buffer), step):
            self.sock.sendall(buffer[at : at + step])
            self.since = time.monotonic()

    def end_sending(self) -> None:
        """Tell the other end that nothing more comes; it may still be read from."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which gives its session up.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket; safe from any thread, and wakes the one that reads."""
        self.release_buffer()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class ChannelBody:
    """A request's body as `routes.Body` wants it."""

    def __init__(self, channel: Channel, head: RequestHead, max_body: int, patience: float) -> None:
        self._channel = channel
        self._head = head
        self._max_body = max_body
        self._patience = patience
        self._continue_due = head.expect_continue
        self._pieces: Iterator[Buffer] | None = None
        self.consumed = head.content_length in (None, 0) and not head.chunked

    def _begin(self) -> None:
        if self._continue_due:
            self._continue_due = False
            self._channel.sock.sendall(CONTINUE)

    def read(self) -> bytes:
        encoding = self._head.headers.get(b"content-encoding", b"identity").lower()
        if encoding in (b"gzip", b"deflate"):
            return self._inflate()
        if encoding != b"identity":
            raise InvalidRequestError(
                f"Content-Encoding {encoding.decode('latin-1')[:40]!r} is not known.",
                next_step="Use gzip, deflate or none.",
            )
        body = bytearray()
        for piece in self._limited():
            body += piece
        return bytes(body)

    def _limited(self) -> Iterator[Buffer]:
        size = 0
        length = self._head.content_length
        if length is not None and length > self._max_body:
            raise body_too_large(self._max_body)
        for piece in self.chunks():
            size += len(piece)
            if size > self._max_body:
                raise body_too_large(self._max_body)
            yield piece

    def _inflate(self) -> bytes:
        # 32: accept the gzip and the zlib header alike.
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        body = bytearray()
        try:
            for piece in self._limited():
                body += inflater.decompress(piece, self._max_body + 1 - len(body))
                if len(body) > self._max_body:
                    raise body_too_large(self._max_body)
        except zlib.error as error:
            raise InvalidRequestError(f"The body is not compressed as said: {error}.") from None
        if not inflater.eof:
            raise InvalidRequestError("The compressed body is cut off.")
        return bytes(body)

    def chunks(self) -> Iterator[Buffer]:
        """What of the body was not read yet."""
        if self._pieces is None:
            self._pieces = self._all()
        return self._pieces

    def _all(self) -> Iterator[Buffer]:
        self._begin()
        self._channel.since = time.monotonic()
        self._channel.patience = self._patience
        if self._head.chunked:
            yield from self._chunked()
        else:
            rest = self._head.content_length or 0
            while rest:
                piece = self._channel.read_some(rest)
                rest -= len(piece)
                self.consumed = rest == 0
                yield piece
        self.consumed = True
        self._channel.patience = float("inf")

    def _chunked(self) -> Iterator[Buffer]:
        while True:
            line = self._channel.read_line().partition(b";")[0].strip()
            try:
                size = int(line, 16) if line.isalnum() else -1
            except ValueError:
                size = -1
            if not 0 <= size < 1 << 62:
                raise InvalidRequestError("A chunk's size is malformed.")
            if size == 0:
                break
            while size:
                piece = self._channel.read_some(size)
                size -= len(piece)
                yield piece
            if self._channel.read_line():
                raise InvalidRequestError("A chunk does not end where its size says.")
        # Trailer fields say nothing that matters here.
        for _ in range(_MAX_TRAILERS):
            if not self._channel.read_line():
                return
        raise InvalidRequestError(f"More than {_MAX_TRAILERS} fields follow the chunks.")

    def receive_descriptor(self) -> int:
        waits = self._head.content_length == 1 and self._head.expect_continue
        if not waits or not self._channel.is_unix:
            raise InvalidRequestError(
                "A memory descriptor comes over the Unix socket, with one byte after "
                "Expect: 100-continue."
            )
        self._channel.since = time.monotonic()
        self._channel.patience = self._patience
        self._begin()
        self.consumed = True
        return self._channel.receive_descriptor()

    def drain(self, most: int = 1 << 20) -> bool:
        """Read what a handler left, so that the next request is found; False if too much."""
        if self.consumed:
            return True
        if self._continue_due:
            return False
        try:
            for piece in self.chunks():
                most -= len(piece)
                if most < 0:
                    return False
        except ElasticInferenceError:
            return False
        # Where the framing was broken there is no end of it to find.
        return self.consumed


def body_too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The request's body is larger than {limit} bytes.",
        next_step="The limit is EI_MAX_BODY.",
    )
