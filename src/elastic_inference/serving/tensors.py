"""TensorProto to numpy and back, on the wire format.

A tensor's numbers stay where they are in the message wherever its bytes allow: `tensor_content`
and packed `float_val`, `double_val`, `scomplex_val` and `dcomplex_val` are viewed in place.
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/tensor.proto
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from elastic_inference.errors import InvalidRequestError, PayloadTooLargeError
from elastic_inference.protocol.tensorflow import NUMBERS, carrier_of, name_of
from elastic_inference.protocol.tensors import Array, Buffer
from elastic_inference.protocol.varints import Numbers, encode_varints, malformed
from elastic_inference.protocol.wireformat import (
    BYTES,
    VARINT,
    Span,
    fields,
    read_varint,
    varint,
)

# NumPy's own bound, in every version that serves.
_MAX_RANK = 32
# What one message's tensors may take, protobuf's own bound, where they lie in it as they are …
_MAX_BYTES = 2**31 - 1
# … and where a few values of it are repeated to fill a shape.
MAX_FILLED = 1 << 27
# Shapes that are remembered, by their bytes and as they are written.
_MOST_SHAPES = 512
_LONGEST = 512
_DTYPE, _SHAPE, _CONTENT, _STRINGS = 1, 2, 4, 8
_DIM, _UNKNOWN_RANK = 2, 3
# The typed fields of numbers: the kind of each on the wire.
_KINDS: Mapping[int, str] = MappingProxyType(
    {
        5: "float",
        6: "double",
        7: "int32",
        9: "float",
        10: "int64",
        11: "bool",
        12: "double",
        13: "int32",
        16: "uint32",
        17: "uint64",
    }
)
# The field that holds a type's elements.
_FIELDS: Mapping[str, int] = MappingProxyType(
    {
        "float32": 5,
        "float64": 6,
        **dict.fromkeys(("int32", "uint8", "int16", "int8", "uint16"), 7),
        "string": _STRINGS,
        "complex64": 9,
        "int64": 10,
        "bool": 11,
        "complex128": 12,
        **dict.fromkeys(("float16", "bfloat16"), 13),
        "uint32": 16,
        "uint64": 17,
    }
)
# Both are carried as their bits.
_BITS = frozenset({"float16", "bfloat16"})
_PAIRS = frozenset({"complex64", "complex128"})


@dataclass(slots=True)
class _Proto:
    """The fields of one TensorProto."""

    dtype: int = 0
    sizes: list[int] = field(default_factory=list)
    content: Span | None = None
    strings: list[Span] = field(default_factory=list)
    numbers: dict[int, Numbers] = field(default_factory=dict)


class Reader:
    """Reads the tensors of one message.

    Args:
        data: the message.
    """

    __slots__ = ("_data", "_left")

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._left = MAX_FILLED

    def tensor(self, span: Span) -> tuple[str, Array]:
        """Element type and array of the TensorProto in `span`.

        Too few values fill the shape with the last one, too many are cut off, as TensorFlow has
        it. bfloat16 comes as uint16, strings as object arrays of bytes; numbers are not aligned.

        Raises:
            InvalidRequestError: the bytes are no tensor, or one that cannot be passed.
        """
        proto = self._proto(span)
        dtype = name_of(proto.dtype)
        if dtype not in _FIELDS:
            raise InvalidRequestError(f"Tensors of type {dtype or 'invalid'} cannot be passed.")
        shape = tuple(proto.sizes)
        carrier = carrier_of(dtype)
        count = math.prod(shape)
        # An empty tensor may have huge sizes beside the zero, which numpy does not take.
        if math.prod(filter(None, shape)) * carrier.itemsize > _MAX_BYTES:
            raise PayloadTooLargeError(
                f"A tensor of shape {list(shape)[:8]} and type {dtype} is larger than 2 GB."
            )
        if not count:
            return dtype, np.empty(shape, carrier)
        if dtype == "string":
            return dtype, self._strings(proto, count).reshape(shape)
        if proto.content is not None:
            return dtype, self._content(proto.content, shape, carrier)
        return dtype, self._numbers(proto, dtype, count).reshape(shape)

    def _proto(self, span: Span) -> _Proto:
        proto = _Proto()
        data = self._data
        for number, wire, body in fields(data, span, malformed):
            if number == _DTYPE and wire == VARINT:
                proto.dtype = body[0]
            elif number == _SHAPE and wire == BYTES:
                read = _sizes if body[1] - body[0] <= _LONGEST else _sizes.__wrapped__
                proto.sizes += read(data[body[0] : body[1]].tobytes())
            elif number == _CONTENT and wire == BYTES:
                proto.content = body if body[0] < body[1] else None
            elif number == _STRINGS and wire == BYTES:
                proto.strings.append(body)
            elif number in _KINDS:
                numbers = proto.numbers.get(number)
                if numbers is None:
                    numbers = proto.numbers[number] = Numbers(_KINDS[number])
                numbers.add(wire, data, body)
        return proto

    def _content(self, span: Span, shape: tuple[int, ...], carrier: np.dtype[np.generic]) -> Array:
        wanted = math.prod(shape) * carrier.itemsize
        if span[1] - span[0] != wanted:
            raise InvalidRequestError(
                f"tensor_content has {span[1] - span[0]} bytes, the tensor {wanted}."
            )
        array: Array = np.ndarray(shape, carrier, self._data, span[0])
        # A byte other than 0 and 1 would be a third truth value.
        return array.view(np.uint8) != 0 if carrier == np.bool_ else array

    def _numbers(self, proto: _Proto, dtype: str, count: int) -> Array:
        number = _FIELDS[dtype]
        found = proto.numbers[number].array() if number in proto.numbers else np.empty(0)
        carrier = carrier_of(dtype)
        if dtype in _PAIRS:
            values = found[: len(found) // 2 * 2].view(carrier) if len(found) else found
        elif dtype in _BITS:
            values = found.astype(np.uint16).view(carrier)
        else:
            values = found.astype(carrier, copy=False)
        if len(values) >= count:
            return values[:count]
        self._spend(count * carrier.itemsize)
        if len(values) < 2:
            return np.full(count, values[0] if len(values) else 0, carrier)
        return np.concatenate((values, np.full(count - len(values), values[-1], carrier)))

    def _strings(self, proto: _Proto, count: int) -> Array:
        data = self._data
        spans = proto.strings
        if proto.content is not None:
            spans = self._listed(proto.content, count)
        texts = [data[start:end].tobytes() for start, end in spans[:count]]
        if len(texts) < count:
            self._spend(count * np.dtype(np.object_).itemsize)
            texts += [texts[-1] if texts else b""] * (count - len(texts))
        array = np.empty(count, np.object_)
        array[:] = texts
        return array

    def _listed(self, span: Span, count: int) -> list[Span]:
        """Strings in `tensor_content`: all their sizes, then all their bytes."""
        at, end = span
        if count > end - at:
            raise malformed("its strings are cut off")
        sizes = []
        for _ in range(count):
            size, at = read_varint(self._data, at, end, malformed)
            sizes.append(size)
        if sum(sizes) != end - at:
            raise malformed("the sizes of its strings do not fit their bytes")
        spans = []
        for size in sizes:
            spans.append((at, at + size))
            at += size
        return spans

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise PayloadTooLargeError(
                "The request has few values for tensors of many elements.",
                next_step="Send the elements themselves.",
            )


@lru_cache(_MOST_SHAPES)
def _sizes(shape: bytes) -> tuple[int, ...]:
    """The sizes in a TensorShapeProto; most requests bring those of one before."""
    view = memoryview(shape)
    sizes = []
    for number, wire, body in fields(view, (0, len(view)), malformed):
        if number == _UNKNOWN_RANK and wire == VARINT and body[0]:
            raise InvalidRequestError("The tensor's rank is unknown.")
        if number == _DIM and wire == BYTES:
            size = 0
            for inner, kind, value in fields(view, body, malformed):
                if inner == 1 and kind == VARINT:
                    size = value[0]
            # A negative size has its upper bit set.
            if size >> 63:
                raise InvalidRequestError("The tensor's shape has a negative size.")
            sizes.append(size)
            if len(sizes) > _MAX_RANK:
                raise InvalidRequestError("The tensor has too many dimensions.")
    return tuple(sizes)


def tensor_parts(array: Array, dtype: str, *, as_content: bool = False) -> list[bytes | Buffer]:
    """The bytes of a TensorProto; joined they are the message.

    Args:
        dtype: TensorFlow's name of the element type.
        as_content: in `tensor_content`, in place of the field of its type.

    Raises:
        InvalidRequestError: the type's elements cannot be passed.
    """
    head = _head(dtype, array.shape)
    carrier = carrier_of(dtype)
    if not array.size:
        return [head]
    if dtype == "string":
        return [head, *_string_parts(array)]
    # Arrays of ml_dtypes are no buffers; their bits are.
    bits = array.view(np.uint16) if dtype == "bfloat16" else array
    flat = np.ascontiguousarray(bits, carrier).reshape(-1)
    if as_content:
        return [head, *_delimited(_CONTENT, flat)]
    return [head, *_delimited(_FIELDS[dtype], _packed(flat, dtype))]


@lru_cache(_MOST_SHAPES)
def _head(dtype: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(
        b"\x12" + varint(len(size)) + size
        for size in (b"\x08" + varint(each) if each else b"" for each in shape)
    )
    return b"\x08" + varint(NUMBERS[dtype]) + b"\x12" + varint(len(dims)) + dims


def _packed(flat: Array, dtype: str) -> Array:
    """The elements as they lie packed in the field of their type."""
    if dtype in {"float32", "float64", "bool", *_PAIRS}:
        return flat
    if dtype in _BITS:
        flat = flat.view(np.uint16)
    # A negative number is sign-extended to 64 bits, whatever its type.
    wide = flat.astype(np.uint64 if flat.dtype.kind == "u" else np.int64)
    return encode_varints(wide.view(np.uint64))


def _delimited(number: int, body: Array) -> list[bytes | Buffer]:
    return [varint(number << 3 | BYTES) + varint(body.nbytes), body.data.cast("B")]


def _string_parts(array: Array) -> list[bytes | Buffer]:
    parts: list[bytes | Buffer] = []
    tag = varint(_STRINGS << 3 | BYTES)
    for item in array.ravel().tolist():
        text = item.encode() if isinstance(item, str) else bytes(item)
        parts.append(tag + varint(len(text)))
        parts.append(text)
    return parts
