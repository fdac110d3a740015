"""Reads HTTP/2's frames from a connection, without an extra copy of what is large."""

from __future__ import annotations

import time

from elastic_inference.accelerator.duplex import Duplex
from elastic_inference.protocol.http2 import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    HEAD,
    HEAD_LENGTH,
    STREAM_MASK,
    Http2Error,
)
from elastic_inference.protocol.tensors import Buffer

# Frames other than DATA are small; only a header block may reach its own limit.
_CONTROL = 16384
_TRIFLES = 10_000
_TRIFLES_PER_SECOND = 200


class FrameReader:
    """What came in, frame by frame. One thread at a time uses it.

    Attributes:
        since: monotonic time at which the wait for the present bytes began.
        amid: a frame has begun and is not whole.
        left: how many bytes of the present frame were not read yet.
    """

    def __init__(self, duplex: Duplex, first: bytes, max_block: int) -> None:
        self._duplex = duplex
        self._most = max(max_block, _CONTROL)
        self._buffer = bytearray(self._most + HEAD_LENGTH + 2 * _CONTROL + len(first))
        self._view = memoryview(self._buffer)
        self._view[: len(first)] = first
        self._start = 0
        self._end = len(first)
        self._trifles = float(_TRIFLES)
        self._counted = time.monotonic()
        self.since = self._counted
        self.amid = False
        self.left = 0

    def expect(self, wanted: bytes) -> bool:
        """Whether `wanted` comes next; it is passed over."""
        if self._end - self._start < len(wanted):
            self._fill(len(wanted))
        start = self._start
        self._start += len(wanted)
        return self._buffer.startswith(wanted, start)

    def next(self) -> tuple[int, int, int, int]:
        """The next frame's kind, flags, stream, and the length of its payload, which is next."""
        if self._end - self._start < HEAD_LENGTH:
            self._fill(HEAD_LENGTH)
        high, low, kind, flags, stream = HEAD.unpack_from(self._buffer, self._start)
        self._start += HEAD_LENGTH
        self.left = length = high << 8 | low
        return kind, flags, stream & STREAM_MASK, length

    def payload(self) -> Buffer:
        """The frame's payload, valid until the next call.

        Raises:
            Http2Error: more than any frame but DATA may have.
        """
        length = self.left
        if length > self._most:
            raise Http2Error(FRAME_SIZE_ERROR, "a frame is too large")
        if self._end - self._start < length:
            self._fill(length)
        start = self._start
        self._start = start + length
        self.left = 0
        return self._view[start : start + length]

    def some(self, most: int) -> Buffer:
        """From 1 to `most` bytes of the payload, valid until the next call."""
        if self._start == self._end:
            self._fill(1)
        start = self._start
        end = min(self._end, start + most)
        self._start = end
        self.left -= end - start
        return self._view[start:end]

    def into(self, target: Buffer) -> None:
        """Fill `target` with what is next of the payload."""
        self.left -= len(target)
        at = min(self._end - self._start, len(target))
        target[:at] = self._view[self._start : self._start + at]
        self._start += at
        self.amid = True
        receive = self._duplex.receive_much
        while at < len(target):
            self.since = time.monotonic()
            at += receive(target[at:])
        self.amid = False

    def skip(self) -> None:
        """Pass over what is left of the payload."""
        while self.left:
            self.some(self.left)

    def _fill(self, need: int) -> None:
        """Wait until `need` bytes are there."""
        have = self._end - self._start
        if have:
            self._buffer[:have] = self._buffer[self._start : self._end]
        self._start = 0
        # Not renewed by bytes that trickle in: a small frame has all of its time at once.
        self.since = time.monotonic()
        while have < need:
            self.amid = have > 0 or need > HEAD_LENGTH
            most = max(need - have, self._duplex.first_read)
            have += self._duplex.receive(self._view[have : have + most])
        self._end = have
        self.amid = False

    def trifle(self) -> None:
        """Count a frame that costs its sender nothing.

        Raises:
            Http2Error: there were too many for their time.
        """
        self._trifles -= 1
        if self._trifles < 0:
            now = time.monotonic()
            self._trifles += (now - self._counted) * _TRIFLES_PER_SECOND
            self._counted = now
            if self._trifles < 0:
                raise Http2Error(ENHANCE_YOUR_CALM, "too many frames that do nothing")
            self._trifles = min(self._trifles, _TRIFLES)

    def allow(self, trifles: int) -> None:
        """Work was done, in the course of which the peer sends `trifles` such frames."""
        self._trifles = min(self._trifles + trifles, _TRIFLES)
