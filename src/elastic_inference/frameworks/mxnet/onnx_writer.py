"""ONNX files written as protobuf wire format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elastic_inference._version import __version__
from elastic_inference.protocol.tensors import Array
from elastic_inference.protocol.wireformat import FIXED32, number_field, submessage, varint

OPSET = 17
_IR_VERSION = 8
TYPES: Mapping[str, int] = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip
_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 5, 6, 7, 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file of external data an array lies."""

    location: str
    offset: int
    length: int


class Body(bytes):
    """A subgraph, as an attribute's value."""


def onnx_type(dtype: Any) -> int:
    """ONNX's number of a dtype."""
    return TYPES[np.dtype(dtype).name]


def node(
    operator: str,
    inputs: Iterable[str],
    outputs: Iterable[str],
    name: str,
    attributes: Mapping[str, Any],
    domain: str = "",
) -> bytes:
    """A NodeProto; attributes that are None are left out."""
    return (
        b"".join(_text(1, each) for each in inputs)
        + b"".join(_text(2, each) for each in outputs)
        + _text(3, name)
        + _text(4, operator)
        + b"".join(
            submessage(5, _attribute(key, value))
            for key, value in attributes.items()
            if value is not None
        )
        + (_text(7, domain) if domain else b"")
    )


def tensor(name: str, array: Array, place: Place | None = None) -> bytes:
    """A TensorProto: the bytes themselves, or where they are."""
    head = (
        b"".join(number_field(1, size) for size in array.shape)
        + number_field(2, onnx_type(array.dtype))
        + _text(8, name)
    )
    if place is None:
        return head + submessage(9, np.ascontiguousarray(array).tobytes())
    entries = (
        ("location", place.location),
        ("offset", str(place.offset)),
        ("length", str(place.length)),
    )
    return (
        head
        + b"".join(submessage(13, _text(1, key) + _text(2, value)) for key, value in entries)
        + number_field(14, 1)
    )


def value_info(name: str, dtype: Any, shape: Sequence[int] | None) -> bytes:
    """A ValueInfoProto of a tensor; of any rank if `shape` is None."""
    kind = number_field(1, onnx_type(dtype))
    if shape is not None:
        kind += submessage(2, b"".join(submessage(1, number_field(1, size)) for size in shape))
    return _text(1, name) + submessage(2, submessage(1, kind))


def graph(
    nodes: Iterable[bytes],
    initializers: Iterable[bytes],
    inputs: Iterable[bytes],
    outputs: Iterable[bytes],
    name: str = "mxnet",
) -> bytes:
    """A GraphProto."""
    return (
        b"".join(submessage(1, each) for each in nodes)
        + _text(2, name)
        + b"".join(submessage(5, each) for each in initializers)
        + b"".join(submessage(11, each) for each in inputs)
        + b"".join(submessage(12, each) for each in outputs)
    )


def model(body: bytes) -> bytes:
    """A ModelProto around a graph."""
    return (
        number_field(1, _IR_VERSION)
        + _text(2, "elastic-inference")
        + _text(3, __version__)
        + submessage(7, body)
        + submessage(8, _text(1, "") + number_field(2, OPSET))
    )


def _text(number: int, value: str) -> bytes:
    return submessage(number, value.encode())


def _float(value: float) -> bytes:
    return struct.pack("<f", value)


def _attribute(name: str, value: Any) -> bytes:
    body, kind = _typed(value)
    return _text(1, name) + body + number_field(20, kind)


def _typed(value: Any) -> tuple[bytes, int]:
    """The field of an AttributeProto that holds the value, and the number of its type."""
    if isinstance(value, str | Body | np.ndarray):
        return _compound(value)
    if isinstance(value, float):
        return varint(2 << 3 | FIXED32) + _float(value), _FLOAT
    if isinstance(value, int):
        return _integer(3, int(value)), _INT
    if any(isinstance(each, float) for each in value):
        return b"".join(varint(7 << 3 | FIXED32) + _float(each) for each in value), _FLOATS
    if any(isinstance(each, str) for each in value):
        return b"".join(_text(9, each) for each in value), _STRINGS
    return b"".join(_integer(8, int(each)) for each in value), _INTS


def _compound(value: str | Body | Array) -> tuple[bytes, int]:
    if isinstance(value, str):
        return _text(4, value), _STRING
    if isinstance(value, Body):
        return submessage(6, value), _GRAPH
    return submessage(5, tensor("", value)), _TENSOR


def _integer(number: int, value: int) -> bytes:
    # Negative numbers are written as those of 64 bits are in memory.
    return number_field(number, value & 0xFFFF_FFFF_FFFF_FFFF)
