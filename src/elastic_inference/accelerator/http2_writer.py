"""What goes out on an HTTP/2 connection, within the windows that the peer opens."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from elastic_inference.accelerator.duplex import Duplex
from elastic_inference.accelerator.http2_stream import Stream
from elastic_inference.protocol.http2 import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    MAX_WINDOW,
    MIN_FRAME_SIZE,
    NO_ERROR,
    Http2Error,
    StreamError,
    frame_head,
    reset_stream,
)
from elastic_inference.protocol.tensors import Buffer

# So much at a time, so that other answers and the frames that steer come between.
_AT_ONCE = 4 * 1024 * 1024
_WAIT = 1.0


class Writer:
    """The sending side of a connection; any thread may use it.

    Attributes:
        initial: the window that a new stream has.
        max_frame: the peer's limit of a frame.
        waiting: how many threads wait for a window.
    """

    def __init__(self, duplex: Duplex, read_on: Callable[[], bool]) -> None:
        """
        Args:
            duplex: where to send.
            read_on: reads a frame, unless another thread reads or the connection is over.
        """
        self._duplex = duplex
        self._read_on = read_on
        self._sending = threading.Lock()
        # Held for moments only, never while sending.
        self._changed = threading.Condition(threading.Lock())
        self._urgent: deque[bytes] = deque()
        self._window = DEFAULT_WINDOW
        self.initial = DEFAULT_WINDOW
        self.max_frame = MIN_FRAME_SIZE
        self.waiting = 0
        self.closed = False

    @property
    def busy(self) -> bool:
        """Whether something is being sent or is about to be."""
        return bool(self._urgent) or self._sending.locked()

    def control(self, frame: bytes) -> None:
        """Send a small frame soon: now, or after what is being sent."""
        self._urgent.append(frame)
        self._flush()

    def _flush(self) -> None:
        while self._urgent and self._sending.acquire(blocking=False):
            try:
                frames = self._take_urgent()
                if frames:
                    self._duplex.send((frames,), len(frames))
            finally:
                self._sending.release()

    def _take_urgent(self) -> bytes:
        frames = []
        try:
            while True:
                frames.append(self._urgent.popleft())
        except IndexError:
            return b"".join(frames)

    def message(
        self,
        stream: Stream,
        parts: Sequence[Buffer | bytes],
        size: int,
        *,
        block: bytes,
        trailers: bytes,
    ) -> int:
        """Send a message of `size` bytes with its prefix.

        Args:
            stream: where to; one that is over is passed by.
            block: the header block that goes before, or b"".
            trailers: the header block that ends the stream after it, or b"".

        Returns:
            How many bytes of DATA were sent.

        Raises:
            ConnectionClosedError, OSError: the connection is gone.
        """
        number = stream.id
        lead = _headers(number, block, END_HEADERS) if block else b""
        tail = self._tail(stream, trailers) if trailers else b""
        changed = self._changed
        with changed:
            fits = size <= self._window and size <= stream.window and size <= self.max_frame
            if fits:
                self._window -= size
                stream.window -= size
        if not fits:
            return self._in_pieces(stream, parts, size, lead, tail)
        out = [lead + frame_head(size, DATA, 0, number), *parts, tail]
        return (
            size if self._send(stream, out, len(out[0]) + size + len(tail), size, bool(tail)) else 0
        )

    def _in_pieces(
        self, stream: Stream, parts: Sequence[Buffer | bytes], size: int, lead: bytes, tail: bytes
    ) -> int:
        views = deque(memoryview(part) for part in parts if len(part))
        left = size
        while left:
            granted = self._take_window(stream, left)
            if not granted:
                return size - left
            out: list[Buffer | bytes] = [lead] if lead else []
            total = len(lead) + granted
            rest = granted
            while rest:
                count = min(rest, self.max_frame)
                head = frame_head(count, DATA, 0, stream.id)
                out.append(head)
                total += len(head)
                out += _cut(views, count)
                rest -= count
            left -= granted
            if not left and tail:
                out.append(tail)
                total += len(tail)
            if not self._send(stream, out, total, granted, bool(tail) and not left):
                return size - left - granted
            lead = b""
        return size

    def _send(
        self, stream: Stream, out: Sequence[Buffer | bytes], total: int, taken: int, last: bool
    ) -> bool:
        """Send frames of one stream unless it is over; `taken` was taken from the window."""
        with self._sending:
            if stream.over:
                sent = False
            else:
                sent = True
                stream.over = last
                if self._urgent:
                    urgent = self._take_urgent()
                    out, total = [urgent, *out], total + len(urgent)
                self._duplex.send(out, total)
        if not sent and taken:
            with self._changed:
                self._window += taken
                self._changed.notify_all()
        if self._urgent:
            self._flush()
        return sent

    def end(self, stream: Stream, block: bytes) -> bool:
        """End a stream with a header block; False if it was over already."""
        tail = self._tail(stream, block)
        return self._send(stream, (tail,), len(tail), 0, last=True)

    @staticmethod
    def _tail(stream: Stream, block: bytes) -> bytes:
        tail = _headers(stream.id, block, END_HEADERS | END_STREAM)
        # Who still sends is told to stop.
        return tail if stream.ended else tail + reset_stream(stream.id, NO_ERROR)

    def _take_window(self, stream: Stream, most: int) -> int:
        """From 1 to `most` bytes of the windows; 0 if the stream is over."""
        while not (stream.over or self.closed):
            with self._changed:
                granted = min(most, _AT_ONCE, self._window, stream.window)
                if granted > 0:
                    self._window -= granted
                    stream.window -= granted
                    stream.stalled = 0.0
                    return granted
                stream.stalled = stream.stalled or time.monotonic()
            # What opens the window must be read by somebody: best by who waits for it.
            if not self._read_on():
                self._await_change(stream)
        return 0

    def _await_change(self, stream: Stream) -> None:
        with self._changed:
            if min(self._window, stream.window) <= 0 and not (stream.over or self.closed):
                self.waiting += 1
                try:
                    self._changed.wait(_WAIT)
                finally:
                    self.waiting -= 1

    def credit(self, stream: Stream | None, increment: int) -> None:
        """The peer takes `increment` more bytes, in one stream or in all together.

        Raises:
            Http2Error, StreamError: that is more than there can be.
        """
        with self._changed:
            if stream is None:
                self._window += increment
                if self._window > MAX_WINDOW:
                    raise Http2Error(FLOW_CONTROL_ERROR, "the connection's window is too large")
            else:
                stream.window += increment
                if stream.window > MAX_WINDOW:
                    raise StreamError(stream.id, FLOW_CONTROL_ERROR, "its window is too large")
            self._changed.notify_all()

    def resize(self, initial: int, streams: Sequence[Stream]) -> None:
        """New streams have a window of `initial` bytes; those that are open change with it.

        Raises:
            Http2Error: a window becomes larger than there can be.
        """
        with self._changed:
            for stream in streams:
                stream.window += initial - self.initial
                if stream.window > MAX_WINDOW:
                    raise Http2Error(FLOW_CONTROL_ERROR, "a stream's window is too large")
            self.initial = initial
            self._changed.notify_all()

    def wake(self) -> None:
        """Have who waits look whether its stream is over."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        self.closed = True
        self.wake()


def _headers(stream: int, block: bytes, flags: int) -> bytes:
    # Every block that is sent is far smaller than the smallest limit of a frame.
    return frame_head(len(block), HEADERS, flags, stream) + block


def _cut(views: deque[Buffer], count: int) -> list[Buffer]:
    """The first `count` bytes of `views`, which lose them."""
    pieces = []
    while count:
        view = views[0]
        if len(view) <= count:
            pieces.append(views.popleft())
            count -= len(view)
        else:
            pieces.append(view[:count])
            views[0] = view[count:]
            count = 0
    return pieces
