"""Numbers of repeated protobuf fields: gathered as they come, and made one array.

Packed numbers are read without a step of Python's for each. What comes one by one, as the
format allows too, is kept in as few bytes as an array takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import Array, Buffer
from elastic_inference.protocol.wireformat import BYTES, FIXED32, FIXED64, VARINT, read_varint

_MASK = (1 << 64) - 1
# Packed numbers of fewer bytes are read one by one: an array of their own would be larger.
_FEW = 256
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

    __slots__ = ("_fixed", "_kind", "_loose", "_pieces")

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._fixed = _FIXED.get(kind)
        self._pieces: list[Array] = []
        self._loose = array("Q")

    def add(self, wire: int, data: Buffer, body: tuple[int, int]) -> bool:
        """Take the numbers of a field as `wireformat.fields` tells it; False if it holds none.

        Raises:
            InvalidRequestError: packed numbers that are cut off.
        """
        if wire == BYTES:
            self._add_packed(data, body)
        elif wire == VARINT and self._fixed is None:
            self._loose.append(body[0] & _MASK)
        elif wire == WIRE_OF[self._kind]:
            self._loose.append(int.from_bytes(data[body[0] : body[1]], "little"))
        else:
            return False
        return True

    def _add_packed(self, data: Buffer, body: tuple[int, int]) -> None:
        at, end = body
        if self._fixed is not None and (end - at) % self._fixed.itemsize:
            raise malformed("packed numbers are cut off")
        if end - at >= _FEW:
            self._gather()
            packed = data[at:end]
            self._pieces.append(
                decode_varints(packed)
                if self._fixed is None
                else np.frombuffer(packed, self._fixed)
            )
        elif self._fixed is not None:
            size = self._fixed.itemsize
            for each in range(at, end, size):
                self._loose.append(int.from_bytes(data[each : each + size], "little"))
        else:
            while at < end:
                value, at = read_varint(data, at, end, malformed)
                self._loose.append(value & _MASK)

    def _gather(self) -> None:
        if self._loose:
            loose = np.array(self._loose, np.uint64)
            if self._fixed is not None:
                loose = loose.astype(f"<u{self._fixed.itemsize}").view(self._fixed)
            self._pieces.append(loose)
            self._loose = array("Q")

    def array(self) -> Array:
        """All of them, in order: bool, int32, int64, uint32, uint64, float32 or float64.

        Values too wide for the kind lose their upper bits, as protobuf has it.
        """
        self._gather()
        pieces = self._pieces
        if not pieces:
            pieces = [np.empty(0, self._fixed or np.uint64)]
        numbers = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        if self._kind == "bool":
            return numbers.astype(np.bool_)
        if self._kind in ("int32", "uint32"):
            return numbers.astype(np.uint32).view(self._kind)
        return numbers if self._fixed is not None else numbers.view(self._kind)


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
