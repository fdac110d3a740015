"""CBOR (RFC 8949) as Smithy's RPC v2 uses it: maps with texts as keys, lists, values, times.

A decoder of everything that CBOR has would read cycles, patterns and numbers of a million digits
from anybody. This one takes what the protocol has, to a depth, and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_DEEPEST = 64
_LENGTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_SIMPLE: Mapping[int, bool | None] = {20: False, 21: True, 22: None, 23: None}
_UNBOUNDED = 31
_BREAK = 0xFF
_BYTES, _TEXT, _LIST, _MAP, _TAG, _OTHER = 2, 3, 4, 5, 6, 7
_EPOCH = 1


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, in Unix seconds."""

    seconds: float


def decode(raw: bytes) -> Any:
    """The one value in `raw`.

    Raises:
        ValueError: there is none, more than one, or something that the protocol does not have.
    """
    reader = _Reader(raw)
    value = reader.value(0)
    if reader.at < len(raw):
        raise ValueError("there is more after its end")
    return value


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        kind, detail = self._head()
        if kind == _OTHER:
            return self._other(detail)
        if kind in {_BYTES, _TEXT}:
            return self._string(kind, detail)
        if kind == _LIST:
            return [self.value(depth + 1) for _ in self._items(detail)]
        if kind == _MAP:
            return self._map(detail, depth + 1)
        number = self._number(detail)
        if kind == _TAG:
            return self._moment(number, depth + 1)
        return -1 - number if kind else number

    def _head(self) -> tuple[int, int]:
        if self.at >= len(self._raw):
            raise ValueError("it is cut off")
        first = self._raw[self.at]
        self.at += 1
        return first >> 5, first & 31

    def _take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._raw):
            raise ValueError("it is cut off")
        piece = self._raw[self.at : end]
        self.at = end
        return piece

    def _number(self, detail: int) -> int:
        if detail < 24:
            return detail
        if detail not in _LENGTHS:
            raise ValueError("a number is malformed")
        return int.from_bytes(self._take(_LENGTHS[detail]))

    def _items(self, detail: int) -> Iterable[object]:
        """As many as there are, each of which is at least a byte."""
        if detail == _UNBOUNDED:
            return iter(self._goes_on, False)
        count = self._number(detail)
        if count > len(self._raw) - self.at:
            raise ValueError("it is cut off")
        return range(count)

    def _goes_on(self) -> bool:
        """Whether there is another item before the break, which is passed over."""
        if self.at < len(self._raw) and self._raw[self.at] == _BREAK:
            self.at += 1
            return False
        return True

    def _string(self, kind: int, detail: int) -> str | bytes:
        if detail != _UNBOUNDED:
            return self._piece(kind, self._number(detail))
        pieces: list[Any] = []
        while self._goes_on():
            own, length = self._head()
            if own != kind or length == _UNBOUNDED:
                raise ValueError("a string is malformed")
            pieces.append(self._piece(kind, self._number(length)))
        return "".join(pieces) if kind == _TEXT else b"".join(pieces)

    def _piece(self, kind: int, count: int) -> str | bytes:
        piece = self._take(count)
        return piece.decode() if kind == _TEXT else piece

    def _map(self, detail: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in self._items(detail):
            key = self.value(depth)
            if not isinstance(key, str):
                raise ValueError("a key is no text")  # noqa: TRY004 - outside bytes, no argument
            if key in found:
                raise ValueError("a key is there twice")
            found[key] = self.value(depth)
        return found

    def _moment(self, tag: int, depth: int) -> Moment:
        seconds = self.value(depth) if tag == _EPOCH else None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError("a tag is none of the protocol's")  # noqa: TRY004 - as above
        return Moment(float(seconds))

    def _other(self, detail: int) -> bool | float | None:
        if detail in _FLOATS:
            (value,) = struct.unpack(_FLOATS[detail], self._take(_LENGTHS[detail]))
            return float(value)
        if detail not in _SIMPLE:
            raise ValueError("a value is none of the protocol's")
        return _SIMPLE[detail]


def encode(value: Any) -> bytes:
    """A value as CBOR; floats have eight bytes."""
    return b"".join(_pieces(value))


def _pieces(value: Any) -> Iterator[bytes]:
    match value:
        case None | bool():
            yield bytes([_OTHER << 5 | {False: 20, True: 21, None: 22}[value]])
        case int():
            yield _sized(0, value) if value >= 0 else _sized(1, -1 - value)
        case float():
            yield bytes([_OTHER << 5 | 27]) + struct.pack(">d", value)
        case Moment(seconds):
            yield bytes([_TAG << 5 | _EPOCH]) + encode(seconds)
        case bytes():
            yield _sized(_BYTES, len(value)) + value
        case str():
            raw = value.encode()
            yield _sized(_TEXT, len(raw)) + raw
        case Mapping():
            yield _sized(_MAP, len(value))
            for key, each in value.items():
                yield from _pieces(key)
                yield from _pieces(each)
        case _:
            yield _sized(_LIST, len(value))
            for each in value:
                yield from _pieces(each)


def _sized(kind: int, count: int) -> bytes:
    if count < 24:
        return bytes([kind << 5 | count])
    detail = next(each for each, width in _LENGTHS.items() if count < 1 << 8 * width)
    return bytes([kind << 5 | detail]) + count.to_bytes(_LENGTHS[detail])
