"""Bodies of HTTP/1.1 requests as they come (RFC 9112, sections 6 and 7). No I/O."""

from __future__ import annotations

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.http import MAX_HEADERS

MAX_BODY = 256 << 20
_MAX_LINE = 16 * 1024
_HEX = frozenset(b"0123456789abcdefABCDEF")
# What comes next: all of a body of a known size; or a chunk's size, its data, the end of its
# line, or what follows the last chunk.
_WHOLE, _SIZE, _DATA, _AFTER, _TRAILER = range(5)


class Body:
    """A body: of a known size, or in chunks.

    Attributes:
        due: bytes that are known to come; no more than `MAX_BODY` are taken.
    """

    __slots__ = ("_data", "_left", "_state", "_trailers", "due")

    def __init__(self, *, is_chunked: bool = False, due: int = 0) -> None:
        self.due = due
        self._data = bytearray()
        self._left = due
        self._state = _SIZE if is_chunked else _WHOLE
        self._trailers = 0

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    def taken(self) -> bytes:
        """All of it; it is empty then."""
        data = bytes(self._data)
        self._data = bytearray()
        return data

    def feed(self, buffer: bytearray) -> bool:
        """Take what `buffer` has of it; True once it is whole.

        Raises:
            InvalidRequestError: the chunks are none.
        """
        if self._state == _WHOLE:
            return self._take(buffer)
        return self._chunks(buffer)

    def _take(self, buffer: bytearray) -> bool:
        if self._left > MAX_BODY:
            return False
        piece = buffer[: self._left]
        del buffer[: len(piece)]
        self._data += piece
        self._left -= len(piece)
        return not self._left

    def _chunks(self, buffer: bytearray) -> bool:
        while len(self._data) <= MAX_BODY:
            if self._state == _DATA:
                if not self._take(buffer):
                    return False
                self._state = _AFTER
            end = buffer.find(b"\r\n", 0, _MAX_LINE)
            if end < 0:
                if len(buffer) >= _MAX_LINE:
                    raise _malformed()
                return False
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            if self._is_last(line):
                return True
        return False

    def _is_last(self, line: bytes) -> bool:
        """Take a line between chunks; True for the one that ends the body."""
        if self._state == _TRAILER:
            self._trailers += 1
            if self._trailers > MAX_HEADERS:
                raise _malformed()
            return not line
        if self._state == _AFTER:
            if line:
                raise _malformed()
            self._state = _SIZE
            return False
        self._left = _chunk_size(line)
        self.due = max(self.due, self._left)
        self._state = _DATA if self._left else _TRAILER
        return False


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t")
    # What int() takes beside digits is no size: signs, underscores, spaces.
    if not 0 < len(digits) <= 8 or not _HEX.issuperset(digits):
        raise _malformed()
    return int(digits, 16)


def _malformed() -> InvalidRequestError:
    return InvalidRequestError("The body's chunks are malformed.")
