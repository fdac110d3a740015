"""What was seen of one accelerator, minute by minute, in a byte or a few for each minute.

A minute is a number in base 128 (seven bits a byte, the last byte below 128): four bits of flags,
and above them by how many bytes the memory in use has changed. Where nothing changes, that is one
byte. Where minutes are missing, or came twice since a clock was set back, another number says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MINUTE = 60
# Chunks begin at multiples of so many seconds.
LENGTH = 4 * 3600
_FAILED, _UNREACHABLE, _NO_MEMORY, _GAP = 1, 2, 4, 8
_FLAG_BITS = 4


class Sample(NamedTuple):
    """What was seen in a minute.

    Attributes:
        minute: since 1970, as are Unix seconds.
        failed: it was ill.
        unreachable: nothing came through to it.
        memory: bytes in use; None: it did not say.
    """

    minute: int
    failed: bool
    unreachable: bool
    memory: int | None


class Chunk:
    """The samples of one stretch of time, packed.

    Attributes:
        points: the samples that were added.
    """

    def __init__(self, began_at: int, points: bytes = b"") -> None:
        self.points = bytearray(points)
        self._next = began_at // MINUTE
        self._memory = 0
        for sample in unpack(began_at, points):
            self._follow(sample)

    def add(self, sample: Sample) -> None:
        gap = sample.minute - self._next
        flags = (
            _FAILED * sample.failed
            | _UNREACHABLE * sample.unreachable
            | _NO_MEMORY * (sample.memory is None)
            | _GAP * bool(gap)
        )
        change = 0 if sample.memory is None else sample.memory - self._memory
        _append(self.points, _unsigned(change) << _FLAG_BITS | flags)
        if gap:
            _append(self.points, _unsigned(gap))
        self._follow(sample)

    def _follow(self, sample: Sample) -> None:
        self._next = sample.minute + 1
        if sample.memory is not None:
            self._memory = sample.memory


def unpack(began_at: int, points: bytes) -> Iterator[Sample]:
    """The samples of a chunk that begins at a Unix time; what is damaged ends it."""
    numbers = _numbers(points)
    following, memory = began_at // MINUTE, 0
    for number in numbers:
        if number & _GAP:
            following += _signed(next(numbers, 0))
        memory += _signed(number >> _FLAG_BITS)
        yield Sample(
            following,
            bool(number & _FAILED),
            bool(number & _UNREACHABLE),
            None if number & _NO_MEMORY else memory,
        )
        following += 1


def _unsigned(number: int) -> int:
    """Small numbers for those near zero, whatever their sign."""
    return number << 1 if number >= 0 else -number << 1 | 1


def _signed(number: int) -> int:
    return -(number >> 1) if number & 1 else number >> 1


def _append(points: bytearray, number: int) -> None:
    while number > 127:
        points.append(number & 127 | 128)
        number >>= 7
    points.append(number)


def _numbers(points: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in points:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
