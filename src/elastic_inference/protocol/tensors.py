"""Datatypes, tensor descriptions and the binary form of values.

Numeric values are numpy arrays, viewed in place where their bytes are aligned. The dtype that
carries a datatype is in `CARRIER`; where numpy has no such dtype (BF16, FP8) the carrier is an
unsigned integer of the same width. Sub-byte types are `Packed`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from elastic_inference.errors import InvalidRequestError

Array: TypeAlias = npt.NDArray[Any]
Buffer: TypeAlias = memoryview

ALIGNED = 16
"""What the address of an engine's input is a multiple of, as that of numpy's own memory is. From
one that is not, vector instructions add numbers up in another order, and the last bit of a sum
may be another.
"""
MAX_RANK = 64
MAX_DEPTH = 8
# What fits in memory's address space with the largest elements.
_MAX_ELEMENTS = 1 << 58

CARRIER: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        "BF16": np.dtype("<u2"),
        "BYTES": np.dtype(np.object_),
        "COMPLEX64": np.dtype("<c8"),
        "COMPLEX128": np.dtype("<c16"),
        "FP8E4M3FN": np.dtype(np.uint8),
        "FP8E4M3FNUZ": np.dtype(np.uint8),
        "FP8E5M2": np.dtype(np.uint8),
        "FP8E5M2FNUZ": np.dtype(np.uint8),
        "FP8E8M0": np.dtype(np.uint8),
    }
)
BITS: Mapping[str, int] = MappingProxyType(
    {"INT4": 4, "UINT4": 4, "FP4E2M1": 4, "INT2": 2, "UINT2": 2}
)
CONTAINERS = frozenset({"SEQUENCE", "OPTIONAL", "MAP"})
# The datatypes that the Open Inference Protocol itself defines.
STANDARD = frozenset(
    {
        *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
        *("FP16", "FP32", "FP64", "BF16", "BYTES"),
    }
)
# What numpy dtype names mean on the wire. The last ones are those of ml_dtypes, which
# need not be installed.
_BY_DTYPE_NAME: Mapping[str, str] = MappingProxyType(
    {
        **{
            dtype.name: name
            for name, dtype in CARRIER.items()
            if name in STANDARD | {"COMPLEX64", "COMPLEX128"} and name not in {"BF16", "BYTES"}
        },
        "bfloat16": "BF16",
        "float8_e4m3fn": "FP8E4M3FN",
        "float8_e4m3fnuz": "FP8E4M3FNUZ",
        "float8_e5m2": "FP8E5M2",
        "float8_e5m2fnuz": "FP8E5M2FNUZ",
        "float8_e8m0fnu": "FP8E8M0",
    }
)


@dataclass(frozen=True, slots=True)
class Packed:
    """A tensor of a sub-byte type, packed as in ONNX's raw_data.

    Attributes:
        datatype: one of `BITS`.
        shape: the logical shape.
        data: `uint8[ceil(elements * bits / 8)]`, first element in the low bits.
    """

    datatype: str
    shape: tuple[int, ...]
    data: Array


Value: TypeAlias = "Array | Packed | list[Value] | dict[Any, Any] | None"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A model's input or output.

    Attributes:
        name: as the model has it.
        datatype: a key of `CARRIER` or `BITS`, or one of `CONTAINERS`.
        shape: sizes, -1 where dynamic; () for scalars; None where the rank is not known.
        symbols: the name of each dynamic dimension or None, as long as `shape`; for a MAP, the
            type of its keys.
        element: for containers, what is inside (for MAP, the values' spec).
    """

    name: str
    datatype: str
    shape: tuple[int, ...] | None
    symbols: tuple[str | None, ...] = ()
    element: TensorSpec | None = None

    def to_dict(self, *, extended: bool = True) -> dict[str, Any]:
        """The entry in model metadata; `extended` adds what docs/protocol.md says."""
        entry: dict[str, Any] = {
            "name": self.name,
            "datatype": self.datatype,
            "shape": list(self.shape) if self.shape is not None else [-1],
        }
        if extended:
            if self.shape is None:
                entry["shape"] = None
            entry["symbols"] = list(self.symbols)
            if self.element is not None:
                entry["element"] = self.element.to_dict()
        return entry

    @classmethod
    def from_dict(cls, entry: Any, depth: int = 0) -> TensorSpec:
        """The description that `to_dict` wrote.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(entry, Mapping) or depth > MAX_DEPTH:
            raise TypeError("a tensor's description is not an object")
        shape, element = entry.get("shape"), entry.get("element")
        symbols = entry.get("symbols", ())
        if not isinstance(shape, list | tuple | None) or not isinstance(symbols, list | tuple):
            raise TypeError("a tensor's shape is not a list")
        if not all(type(size) is int for size in shape or ()):
            raise TypeError("a tensor's size is not a number")
        return cls(
            str(entry.get("name", "")),
            str(entry.get("datatype", "")),
            None if shape is None else tuple(shape),
            tuple(symbols),
            None if element is None else cls.from_dict(element, depth + 1),
        )


def datatype_of(array: Array) -> str:
    """The datatype that carries `array`'s values.

    Raises:
        InvalidRequestError: no datatype of the protocol carries that dtype.
    """
    dtype = array.dtype
    name = _BY_DTYPE_NAME.get(dtype.name)
    if name is not None:
        return name
    if dtype.kind in "OSU":
        return "BYTES"
    raise InvalidRequestError(f"No tensor datatype carries numpy arrays of dtype {dtype}.")


def element_count(shape: Sequence[int]) -> int:
    return math.prod(shape)


def byte_size(datatype: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor with a fixed element size.

    Raises:
        InvalidRequestError: BYTES, a container or an unknown datatype.
    """
    if datatype in BITS:
        return (element_count(shape) * BITS[datatype] + 7) // 8
    carrier = CARRIER.get(datatype)
    if carrier is None or carrier.hasobject:
        raise InvalidRequestError(f"Datatype {datatype[:32]!r} has no fixed size.")
    return element_count(shape) * carrier.itemsize


def decode_tensor(datatype: str, shape: tuple[int, ...], data: Buffer) -> Array | Packed:
    """The tensor whose binary form is `data`: a view where the bytes are aligned, else a copy.

    Raises:
        InvalidRequestError: the bytes do not fit datatype and shape.
    """
    if datatype == "BYTES":
        return decode_strings(data, shape)
    expected = byte_size(datatype, shape)
    if len(data) != expected:
        raise InvalidRequestError(
            f"Expected {expected} bytes for {datatype}{list(shape)}, got {len(data)}."
        )
    if datatype in BITS:
        return Packed(datatype, shape, np.frombuffer(data, np.uint8))
    if datatype == "BOOL" and expected and np.frombuffer(data, np.uint8).max() > 1:
        # Compiled code may take a byte of another value for as many.
        raise InvalidRequestError("A BOOL is 0 or 1.")
    return aligned(np.ndarray(shape, CARRIER[datatype], data))


def aligned(array: Array) -> Array:
    """`array`, or a copy of it where its memory does not begin at a multiple of `ALIGNED`."""
    return array if array.__array_interface__["data"][0] % ALIGNED == 0 else array.copy()


def decode_strings(data: Buffer, shape: tuple[int, ...]) -> Array:
    """`object[shape]` of bytes; each element is a little-endian uint32 length and its bytes."""
    count = element_count(shape)
    raw = bytes(data)
    if count * 4 > len(raw):
        raise InvalidRequestError(f"Expected {count} strings, got {len(raw)} bytes.")
    flat = np.empty(count, np.object_)
    at = 0
    for index in range(count):
        start = at + 4
        if start > len(raw):
            raise InvalidRequestError(f"String {index} of {count} is cut off.")
        at = start + int.from_bytes(raw[at:start], "little")
        if at > len(raw):
            raise InvalidRequestError(f"String {index} of {count} is cut off.")
        flat[index] = raw[start:at]
    if at != len(raw):
        raise InvalidRequestError(f"{len(raw) - at} bytes follow the last of {count} strings.")
    return flat.reshape(shape)


def encode_strings(array: Array) -> bytes:
    """The binary form of an array of str or bytes; str is encoded as UTF-8."""
    parts = []
    for item in array.ravel().tolist():
        raw = item if isinstance(item, bytes) else str(item).encode()
        parts.append(struct.pack("<I", len(raw)))
        parts.append(raw)
    return b"".join(parts)


def encode_tensor(value: Array | Packed) -> Buffer:
    """The bytes of a tensor: a view of contiguous numeric arrays, else a copy."""
    if isinstance(value, Packed):
        return memoryview(np.ascontiguousarray(value.data))
    if value.dtype.kind in "OSU":
        return memoryview(encode_strings(value))
    contiguous = value if value.flags.c_contiguous else np.ascontiguousarray(value)
    if not contiguous.dtype.isnative:
        contiguous = contiguous.astype(contiguous.dtype.newbyteorder("="))
    # A view of bytes: memoryview cannot cast zero-size or foreign (ml_dtypes) arrays itself.
    return memoryview(contiguous.reshape(-1).view(np.uint8))


def encode_value(value: Value, spec: TensorSpec) -> tuple[dict[str, Any], list[Buffer]]:
    """The entry (without a name) and the bytes of any value of type `spec`.

    Raises:
        InvalidRequestError: the value is not of that type.
    """
    if spec.datatype not in CONTAINERS:
        if not isinstance(value, np.ndarray | Packed):
            raise InvalidRequestError(
                f"{spec.name or 'An element'}: expected a {spec.datatype} tensor, "
                f"got {type(value).__name__}."
            )
        data = encode_tensor(value)
        entry: dict[str, Any] = {
            "datatype": spec.datatype,
            "shape": list(value.shape),
            "parameters": {"binary_data_size": len(data)},
        }
        return entry, [data]
    children = _children(value, spec)
    count = len(value) if isinstance(value, list | dict) else len(children)
    elements = []
    buffers: list[Buffer] = []
    for child, child_spec in children:
        element, parts = encode_value(child, child_spec)
        elements.append(element)
        buffers.extend(parts)
    size = sum(len(part) for part in buffers)
    return {
        "datatype": spec.datatype,
        "shape": [count],
        "elements": elements,
        "parameters": {"binary_data_size": size},
    }, buffers


def _children(value: Value, spec: TensorSpec) -> list[tuple[Value, TensorSpec]]:
    inner = spec.element
    if spec.datatype == "OPTIONAL":
        return [] if value is None else [(value, inner or _guess(value))]
    if spec.datatype == "SEQUENCE" and isinstance(value, list | tuple):
        return [(item, inner or _guess(item)) for item in value]
    if spec.datatype == "MAP" and isinstance(value, dict):
        return [(part, _guess(part)) for part in (_column(value), _column(value.values()))]
    raise InvalidRequestError(
        f"{spec.name or 'An element'}: expected a {spec.datatype}, got {type(value).__name__}."
    )


def _column(items: Any) -> Array:
    """Keys or values of a map as a tensor: strings as objects, numbers by their own dtype."""
    listed = list(items)
    if any(isinstance(item, str | bytes) for item in listed):
        return np.array(listed, np.object_)
    column: Array = np.array(listed)
    return column


def _guess(value: Value) -> TensorSpec:
    if isinstance(value, np.ndarray):
        return TensorSpec("", datatype_of(value), value.shape)
    if isinstance(value, Packed):
        return TensorSpec("", value.datatype, value.shape)
    if isinstance(value, list):
        return TensorSpec("", "SEQUENCE", (len(value),))
    if isinstance(value, dict):
        return TensorSpec("", "MAP", (len(value),))
    return TensorSpec("", "OPTIONAL", (0,))


def decode_value(entry: Mapping[str, Any], data: Buffer, depth: int = 0) -> Value:
    """The value that `entry` (datatype, shape, elements, parameters) and its bytes describe.

    Raises:
        InvalidRequestError: the entry is malformed, too deep, or does not fit its bytes.
    """
    datatype = entry.get("datatype")
    if not isinstance(datatype, str):
        raise InvalidRequestError("An element has no datatype.")
    shape = parse_shape(entry.get("shape"))
    if datatype not in CONTAINERS:
        return decode_tensor(datatype, shape, data)
    elements = entry.get("elements", [])
    if depth >= MAX_DEPTH or not isinstance(elements, list) or len(shape) != 1:
        raise InvalidRequestError(f"The {datatype} is malformed.")
    values = [decode_value(child, part, depth + 1) for child, part in _split(elements, data)]
    if datatype == "OPTIONAL" and len(values) == shape[0] <= 1:
        return values[0] if values else None
    if datatype == "SEQUENCE" and len(values) == shape[0]:
        return values
    if datatype == "MAP" and len(values) == 2:
        keys, items = values
        if (
            isinstance(keys, np.ndarray)
            and isinstance(items, np.ndarray)
            and keys.shape == items.shape == shape
        ):
            return dict(zip(_plain(keys), _plain(items), strict=True))
    raise InvalidRequestError(f"The {datatype} does not have the elements its shape says.")


def _plain(column: Array) -> list[Any]:
    return [
        item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item
        for item in column.tolist()
    ]


def _split(elements: list[Any], data: Buffer) -> Iterator[tuple[Mapping[str, Any], Buffer]]:
    at = 0
    for element in elements:
        if not isinstance(element, dict) or not isinstance(element.get("parameters"), dict):
            raise InvalidRequestError("An element is malformed.")
        size = element["parameters"].get("binary_data_size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(data) - at:
            raise InvalidRequestError("An element's binary_data_size does not fit.")
        yield element, data[at : at + size]
        at += size
    if at != len(data):
        raise InvalidRequestError(f"{len(data) - at} bytes follow the last element.")


def parse_shape(raw: Any) -> tuple[int, ...]:
    """A request's shape, checked.

    Raises:
        InvalidRequestError: not a list of sizes from 0 on, or of too many dimensions.
    """
    if not isinstance(raw, list) or len(raw) > MAX_RANK:
        raise InvalidRequestError("A shape must be a list of sizes.")
    for size in raw:
        if type(size) is not int or not 0 <= size < 1 << 62:
            raise InvalidRequestError(f"A shape must be a list of sizes, not {str(raw)[:100]}.")
    # As numpy counts: a dimension of no size does not make the others smaller.
    if math.prod(size or 1 for size in raw) > _MAX_ELEMENTS:
        raise InvalidRequestError(f"The shape {str(raw)[:100]} is too large.")
    return tuple(raw)
