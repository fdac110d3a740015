"""Numbers of repeated protobuf fields: gathered as they come, and made one array.

They are read without a step of Python's for each, but where each is a field of its own, as the
format allows too; what was gathered takes no more memory than it did in the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import Array, Buffer
from elastic_inference.protocol.wireformat import BYTES, FIXED32, FIXED64, VARINT, varint

_MASK = (1 << 64) - 1
_PIECE = 1 << 20
_MAX_VARINT = 10
# The dtype of each kind of field, which also says its wire type.
_FIXED: Mapping[str, np.dtype[np.float32] | np.dtype[np.float64]] = MappingProxyType(
    {"float": np.dtype("<f4"), "double": np.dtype("<f8")}
)
WIRE_OF: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("bool", "int32", "int64", "uint32", "uint64"), VARINT),
        "float": FIXED32,
        "double": FIXED64,
    }
)


def malformed(why: str) -> InvalidRequestError:
    """The error for a message that is none."""
    return InvalidRequestError(f"The message is not what the call takes: {why}.")


class Numbers:
    """The numbers of one repeated field.

    Args:
        kind: a key of `WIRE_OF`.
    """

    __slots__ = ("_first", "_fixed", "_kind", "_packed")

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._fixed = _FIXED.get(kind)
        # All of them as if they came packed in one field; of one field alone, where it lies.
        self._first: Buffer | None = None
        self._packed = bytearray()

    def add(self, wire: int, data: Buffer, body: tuple[int, int]) -> bool:
        """Take the numbers of a field as `wireformat.fields` tells it; False if it holds none.

        Raises:
            InvalidRequestError: packed numbers that are cut off.
        """
        if wire == VARINT and self._fixed is None:
            self._append(memoryview(varint(body[0] & _MASK)))
        elif wire in (BYTES, WIRE_OF[self._kind]):
            packed = data[body[0] : body[1]]
            if len(packed):
                self._check(packed)
                self._append(packed)
        else:
            return False
        return True

    def _check(self, packed: Buffer) -> None:
        if packed[-1] & 0x80 if self._fixed is None else len(packed) % self._fixed.itemsize:
            raise malformed("packed numbers are cut off")

    def _append(self, packed: Buffer) -> None:
        if self._first is None:
            self._first = packed
            return
        if not self._packed:
            self._packed += self._first
        self._packed += packed

    def array(self) -> Array:
        """All of them, in order: bool, int32, int64, uint32, uint64, float32 or float64.

        Values too wide for the kind lose their upper bits, as protobuf has it.

        Raises:
            InvalidRequestError: a number is too long.
        """
        packed = memoryview(self._packed) if self._packed else self._first or memoryview(b"")
        if self._fixed is not None:
            return np.frombuffer(packed, self._fixed)
        numbers = decode_varints(packed)
        if self._kind == "bool":
            return numbers.astype(np.bool_)
        if self._kind in ("int32", "uint32"):
            return numbers.astype(np.uint32).view(self._kind)
        return numbers.view(self._kind)

    def few(self, most: int) -> list[int]:
        """All of them, where there are a few.

        Raises:
            InvalidRequestError: there are more than `most`, or one is too long.
        """
        numbers: list[int] = []
        if (len(self._packed) or len(self._first or b"")) <= most * _MAX_VARINT:
            numbers = self.array().tolist()
            if len(numbers) <= most:
                return numbers
        raise malformed(f"more than {most} numbers follow each other")


def decode_varints(packed: Buffer) -> Array:
    """`uint64[n]`: the numbers that lie packed in `packed`.

    Raises:
        InvalidRequestError: the last is cut off, or one is longer than ten bytes.
    """
    raw = np.frombuffer(packed, np.uint8)
    if raw.size and raw[-1] & 0x80:
        raise malformed("packed numbers are cut off")
    pieces = []
    at = 0
    while at < raw.size:
        piece = raw[at : at + _PIECE]
        ends = np.flatnonzero(piece < 0x80)
        if not ends.size:
            raise malformed("a number is too long")
        pieces.append(_decode_piece(piece, ends))
        at += int(ends[-1]) + 1
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint64)


def _decode_piece(piece: Array, ends: Array) -> Array:
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    sizes = ends - starts + 1
    if sizes.max() > _MAX_VARINT:
        raise malformed("a number is too long")
    values = (piece[starts] & 0x7F).astype(np.uint64)
    for index in range(1, int(sizes.max())):
        longer = np.flatnonzero(sizes > index)
        bits = (piece[starts[longer] + index] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * index)
    return values


def encode_varints(values: Array) -> Array:
    """`uint8[n]`: the numbers of `uint64[m]`, packed."""
    sizes = np.ones(len(values), np.int64)
    for index in range(1, _MAX_VARINT):
        longer = values >> np.uint64(7 * index) != 0
        if not longer.any():
            break
        sizes += longer
    ends = np.cumsum(sizes)
    packed = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    starts = ends - sizes
    for index in range(int(sizes.max(initial=0))):
        here = np.flatnonzero(sizes > index)
        bits = (values[here] >> np.uint64(7 * index)) & np.uint64(0x7F)
        more = (sizes[here] > index + 1).astype(np.uint8) << 7
        packed[starts[here] + index] = bits.astype(np.uint8) | more
    return packed
