"""Types and values of ONNX Runtime, to and from the protocol's."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import onnxruntime as ort

from elastic_inference.errors import InvalidRequestError, ModelFormatError
from elastic_inference.protocol.tensors import (
    BITS,
    CARRIER,
    CONTAINERS,
    Array,
    Packed,
    TensorSpec,
    Value,
    element_count,
)

_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
    "float": "FP32", "double": "FP64", "bfloat16": "BF16", "string": "BYTES",
    "complex64": "COMPLEX64", "complex128": "COMPLEX128", "float8e4m3fn": "FP8E4M3FN",
    "float8e4m3fnuz": "FP8E4M3FNUZ", "float8e5m2": "FP8E5M2", "float8e5m2fnuz": "FP8E5M2FNUZ",
    "float8e8m0": "FP8E8M0", "int4": "INT4", "uint4": "UINT4", "int2": "INT2", "uint2": "UINT2",
    "float4e2m1": "FP4E2M1",
}  # fmt: skip
# ONNX's element type numbers of the datatypes that numpy has no dtype for.
FOREIGN = {
    "BF16": 16, "FP8E4M3FN": 17, "FP8E4M3FNUZ": 18, "FP8E5M2": 19, "FP8E5M2FNUZ": 20,
    "UINT4": 21, "INT4": 22, "FP4E2M1": 23, "FP8E8M0": 24, "UINT2": 25, "INT2": 26,
}  # fmt: skip
_CONTAINER = re.compile(r"(seq|sequence|optional|map)\((.*)\)")
_TENSOR = re.compile(r"(?:sparse_)?tensor\((\w+)\)")
_CPU = ort.OrtDevice.make("cpu", 0)._get_c_device()  # noqa: SLF001 - no public way to C's form
_C = ort.OrtValue.ortvalue_from_numpy(np.zeros(0, np.uint8))._ortvalue.__class__  # noqa: SLF001


def spec_of(meta: Any, unranked: Collection[str]) -> TensorSpec:
    """The description of an input or output (`NodeArg`) of a session.

    Raises:
        ModelFormatError: a type that no datatype of the protocol stands for.
    """
    shape: tuple[int, ...] | None = tuple(
        size if isinstance(size, int) and size >= 0 else -1 for size in meta.shape
    )
    symbols = tuple(size if isinstance(size, str) else None for size in meta.shape)
    if meta.name in unranked and not shape:
        shape = None
    return _parse_type(meta.name, meta.type, shape, symbols)


def _parse_type(
    name: str, text: str, shape: tuple[int, ...] | None, symbols: tuple[str | None, ...]
) -> TensorSpec:
    if (match := _TENSOR.fullmatch(text)) and match[1] in _DATATYPES:
        if text.startswith("sparse"):
            raise ModelFormatError(f"{name}: sparse tensors cannot be inputs or outputs.")
        return TensorSpec(name, _DATATYPES[match[1]], shape, symbols)
    if match := _CONTAINER.fullmatch(text):
        kind, inner = match[1], match[2]
        key = None
        if kind == "map":
            key, _, inner = (part.strip() for part in inner.partition(","))
        element = _parse_type("", inner, None if kind != "optional" else shape or None, ())
        datatype = {"optional": "OPTIONAL", "map": "MAP"}.get(kind, "SEQUENCE")
        return TensorSpec(name, datatype, (-1,), (key,), element)
    raise ModelFormatError(f"{name}: the engine's type {text} has no datatype.")


def is_plain(spec: TensorSpec) -> bool:
    """Whether numpy arrays of it go in and out of a session as they are."""
    return spec.datatype in CARRIER and spec.datatype not in FOREIGN and spec.datatype != "BYTES"


def describe(value: object) -> str:
    """A value's type for a message, e.g. `FP32[1, 3]`."""
    if isinstance(value, np.ndarray):
        names = [
            name for name, dtype in CARRIER.items() if dtype == value.dtype and name not in FOREIGN
        ]
        return f"{names[0] if names else value.dtype}{list(value.shape)}"
    if isinstance(value, Packed):
        return f"{value.datatype}{list(value.shape)}"
    if value is None:
        return "nothing"
    kind = type(value).__name__
    return {"list": "a SEQUENCE", "dict": "a MAP"}.get(kind, kind)


def expected(spec: TensorSpec) -> str:
    """A spec's type for a message, e.g. `FP32[batch, 3]`."""
    if spec.element is not None:
        return f"{spec.datatype} of {expected(spec.element)}"
    if spec.shape is None:
        return f"{spec.datatype} of any shape"
    names = spec.symbols or (None,) * len(spec.shape)
    sizes = [
        str(size) if size >= 0 else name or "?"
        for size, name in zip(spec.shape, names, strict=False)
    ]
    return f"{spec.datatype}[{', '.join(sizes)}]"


def wrong(spec: TensorSpec, value: object, name: str = "") -> InvalidRequestError:
    what = f"Input {(name or spec.name)!r}" if name or spec.name else "An element"
    return InvalidRequestError(f"{what}: expected {expected(spec)}, got {describe(value)}.")


def to_engine(value: Value, spec: TensorSpec, name: str = "") -> Any:
    """`value` as a session takes it: an array, an OrtValue, a list, a dict or None.

    Raises:
        InvalidRequestError: it is not a value of `spec`.
    """
    name = name or spec.name
    inner = spec.element
    if spec.datatype not in CONTAINERS:
        return _tensor(value, spec, name)
    if spec.datatype == "OPTIONAL" and inner is not None:
        return None if value is None else to_engine(value, inner, name)
    if spec.datatype == "SEQUENCE" and inner is not None and isinstance(value, list):
        if inner.datatype in FOREIGN:
            raise InvalidRequestError(f"{name}: sequences of {inner.datatype} are not supported.")
        return [to_engine(item, inner, name) for item in value]
    if spec.datatype == "MAP" and isinstance(value, dict):
        return value
    raise wrong(spec, value, name)


def _tensor(value: Value, spec: TensorSpec, name: str) -> Any:
    if isinstance(value, Packed) and value.datatype == spec.datatype:
        return _packed(value)
    carrier = CARRIER.get(spec.datatype)
    if carrier is None or not isinstance(value, np.ndarray) or value.dtype != carrier:
        raise wrong(spec, value, name)
    if spec.datatype == "BYTES":
        return _text(value, name)
    if spec.datatype in FOREIGN:
        contiguous = np.ascontiguousarray(value).reshape(value.shape)
        made = _C.ortvalue_from_numpy_with_onnx_type(contiguous, FOREIGN[spec.datatype])
        return ort.OrtValue(made, contiguous)
    return value


def _text(value: Array, name: str) -> Array:
    """Strings as the engine takes them; it would take the `repr` of anything else."""
    out = np.empty(value.size, np.object_)
    try:
        for index, item in enumerate(value.flat):
            out[index] = item.decode() if isinstance(item, bytes) else _checked(item)
    except UnicodeError:
        raise InvalidRequestError(
            f"Input {name!r}: string {index} is not UTF-8.",
            next_step="The engine takes text; pass other bytes as UINT8.",
        ) from None
    except TypeError:
        raise InvalidRequestError(f"Input {name!r}: element {index} is not a string.") from None
    return out.reshape(value.shape)


def _checked(item: object) -> str:
    if not isinstance(item, str):
        raise TypeError
    item.encode()
    return item


def _packed(value: Packed) -> ort.OrtValue:
    made = _C.ortvalue_from_shape_and_onnx_type(list(value.shape), FOREIGN[value.datatype], _CPU)
    data = np.ascontiguousarray(value.data, np.uint8)
    size = made.tensor_size_in_bytes()
    if data.size != size:
        raise InvalidRequestError(f"{value.datatype}{list(value.shape)} has {data.size} bytes.")
    if size:
        ctypes.memmove(made.data_ptr(), data.ctypes.data, size)
    return ort.OrtValue(made)


def to_ort_value(value: Any, spec: TensorSpec) -> Any:
    """What `to_engine` gave, as the C form of an OrtValue (tensors of numbers only)."""
    if isinstance(value, ort.OrtValue):
        return value._ortvalue  # noqa: SLF001 - the C form has no public accessor
    if isinstance(value, np.ndarray) and value.dtype != np.object_:
        return _C.ortvalue_from_numpy(np.ascontiguousarray(value).reshape(value.shape), _CPU)
    raise InvalidRequestError(
        f"Input {spec.name!r}: the engine cannot take {spec.datatype} in a model that answers "
        "with types such as BF16.",
        next_step="Cast the output to FP32 in the model.",
    )


def from_ort_value(made: Any, spec: TensorSpec) -> Value:
    """A tensor output of any datatype, copied out of the engine where numpy lacks its dtype."""
    if spec.datatype not in FOREIGN:
        return from_engine(made.numpy(), spec)
    shape = tuple(made.shape())
    size = made.tensor_size_in_bytes()
    raw = np.empty(size, np.uint8)
    if size:
        ctypes.memmove(raw.ctypes.data, made.data_ptr(), size)
    if spec.datatype in BITS:
        used = element_count(shape) * BITS[spec.datatype] % 8
        if used:  # the engine leaves what it likes in the rest of the last byte
            raw[-1] &= (1 << used) - 1
        return Packed(spec.datatype, shape, raw)
    array: Array = raw.view(CARRIER[spec.datatype]).reshape(shape)
    return array


def from_engine(value: Any, spec: TensorSpec) -> Value:
    """A session's output as a value of the protocol; text becomes bytes."""
    if spec.datatype == "BYTES" and isinstance(value, np.ndarray):
        out = np.empty(value.size, np.object_)
        for index, item in enumerate(value.flat):
            out[index] = item.encode() if isinstance(item, str) else bytes(item)
        return out.reshape(value.shape)
    if spec.element is not None and isinstance(value, list):
        return [from_engine(item, spec.element) for item in value]
    if spec.datatype == "OPTIONAL" and value is not None and spec.element is not None:
        return from_engine(value, spec.element)
    return value  # type: ignore[no-any-return]  # a numeric array, a map, or nothing
