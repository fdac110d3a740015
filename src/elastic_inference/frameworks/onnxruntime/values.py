"""Values as ONNX Runtime's callers see them, and as the accelerator carries them."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.frameworks.onnxruntime.failures import (
    invalid_argument,
    python_error,
    status_error,
)
from elastic_inference.protocol.tensors import BITS, CARRIER, Array, Packed, TensorSpec, Value

# Datatype -> element type as ONNX Runtime writes it, and its number in onnx.TensorProto.
ELEMENT_TYPES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "FP32": ("float", 1),
        "UINT8": ("uint8", 2),
        "INT8": ("int8", 3),
        "UINT16": ("uint16", 4),
        "INT16": ("int16", 5),
        "INT32": ("int32", 6),
        "INT64": ("int64", 7),
        "BYTES": ("string", 8),
        "BOOL": ("bool", 9),
        "FP16": ("float16", 10),
        "FP64": ("double", 11),
        "UINT32": ("uint32", 12),
        "UINT64": ("uint64", 13),
        "COMPLEX64": ("complex64", 14),
        "COMPLEX128": ("complex128", 15),
        "BF16": ("bfloat16", 16),
        "FP8E4M3FN": ("float8e4m3fn", 17),
        "FP8E4M3FNUZ": ("float8e4m3fnuz", 18),
        "FP8E5M2": ("float8e5m2", 19),
        "FP8E5M2FNUZ": ("float8e5m2fnuz", 20),
        "UINT4": ("uint4", 21),
        "INT4": ("int4", 22),
        "FP4E2M1": ("float4e2m1", 23),
        "FP8E8M0": ("float8e8m0", 24),
        "UINT2": ("uint2", 25),
        "INT2": ("int2", 26),
    }
)
DATATYPES: Mapping[str, str] = MappingProxyType(
    {element: datatype for datatype, (element, _) in ELEMENT_TYPES.items()}
)
_FOREIGN = frozenset({"BF16", *(name for name in CARRIER if name.startswith("FP8"))})
PLAIN = frozenset(CARRIER) - _FOREIGN - {"BYTES"}
"""Datatypes whose values are the same numpy arrays on both sides."""

_ML_DTYPES = MappingProxyType(
    {
        "BF16": "bfloat16",
        "FP8E4M3FN": "float8_e4m3fn",
        "FP8E4M3FNUZ": "float8_e4m3fnuz",
        "FP8E5M2": "float8_e5m2",
        "FP8E5M2FNUZ": "float8_e5m2fnuz",
        "FP8E8M0": "float8_e8m0fnu",
        "INT4": "int4",
        "UINT4": "uint4",
        "INT2": "int2",
        "UINT2": "uint2",
        "FP4E2M1": "float4_e2m1fn",
    }
)


@dataclass(frozen=True, slots=True)
class NodeArg:
    """An input or output of a model, as ONNX Runtime describes it.

    Attributes:
        name: as the model has it.
        type: `tensor(float)`, `seq(tensor(string))`, …
        shape: a size, a dimension's name or None for each dimension; [] also where the rank
            is not known.
    """

    name: str
    type: str
    shape: list[int | str | None]

    def __str__(self) -> str:
        return f"NodeArg(name='{self.name}', type='{self.type}', shape={self.shape})"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model says about itself, as `onnxruntime.ModelMetadata` has it."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, metadata: Mapping[str, Any]) -> ModelMetadata:
        """From the `metadata` of a load answer."""
        texts = ("producer_name", "graph_name", "domain", "description", "graph_description")
        return cls(
            **{name: str(metadata.get(name, "")) for name in texts},
            version=int(metadata.get("version", 0)),
            custom_metadata_map={
                str(key): str(value) for key, value in dict(metadata.get("custom", {})).items()
            },
        )


def node_arg(spec: TensorSpec) -> NodeArg:
    """`spec` in ONNX Runtime's words."""
    inner = spec.element if spec.datatype == "OPTIONAL" and spec.element else spec
    symbols = inner.symbols or (None,) * len(inner.shape or ())
    shape = [
        size if size >= 0 else symbol
        for size, symbol in zip(inner.shape or (), symbols, strict=False)
    ]
    if inner.datatype in {"SEQUENCE", "MAP", "OPTIONAL"}:
        shape = []
    return NodeArg(spec.name, type_text(spec), shape)


def type_text(spec: TensorSpec) -> str:
    """The type of a value as ONNX Runtime writes it."""
    inner = spec.element
    if spec.datatype == "SEQUENCE":
        return f"seq({type_text(inner) if inner else ''})"
    if spec.datatype == "OPTIONAL":
        return f"optional({type_text(inner) if inner else ''})"
    if spec.datatype == "MAP":
        key = spec.symbols[0] if spec.symbols else None
        return f"map({key or 'int64'},{type_text(inner) if inner else ''})"
    return f"tensor({ELEMENT_TYPES[spec.datatype][0]})"


def spec_of(arg: Any) -> TensorSpec:
    """The description of a local session's input or output (a `NodeArg` of either kind)."""
    spec = _parse_type(arg.type)
    sizes = tuple(size if isinstance(size, int) else -1 for size in arg.shape)
    symbols = tuple(size if isinstance(size, str) else None for size in arg.shape)
    # ONNX Runtime gives [] for scalars and for unknown ranks alike.
    return TensorSpec(arg.name, spec.datatype, sizes or None, symbols, spec.element)


def _parse_type(text: str) -> TensorSpec:
    outer, _, rest = text.partition("(")
    rest = rest.removesuffix(")")
    if outer == "tensor":
        return TensorSpec("", DATATYPES[rest], None)
    if outer == "seq":
        return TensorSpec("", "SEQUENCE", None, (), _parse_type(rest))
    if outer == "optional":
        return TensorSpec("", "OPTIONAL", None, (), _parse_type(rest))
    if outer == "map":
        key, _, value = rest.partition(",")
        return TensorSpec("", "MAP", None, (key,), _parse_type(value))
    raise status_error("NOT_IMPLEMENTED", f"Values of type {text} cannot cross to an accelerator.")


def is_plain(specs: Sequence[TensorSpec]) -> bool:
    """Whether every value needs no conversion at all."""
    return all(spec.datatype in PLAIN for spec in specs)


def to_wire(value: Any, spec: TensorSpec) -> Value:
    """A caller's value for the input `spec`, checked as ONNX Runtime checks it.

    Raises:
        ElasticInferenceError: what ONNX Runtime raises too: wrong dtype, rank or size, or an
            object that is no value of that type.
    """
    if isinstance(value, real.OrtValue):
        value = from_ort_value(value)
    if spec.datatype == "OPTIONAL":
        return None if value is None else to_wire(value, spec.element or spec)
    if spec.datatype == "SEQUENCE" and isinstance(value, list | tuple) and spec.element:
        return [to_wire(item, spec.element) for item in value]
    if spec.datatype == "MAP" and isinstance(value, dict):
        return dict(value)
    if isinstance(value, Packed):
        return value
    if spec.datatype in {"SEQUENCE", "MAP"} or value is None:
        raise status_error("FAIL", f"{spec.name}: {value!r:.40} is no {type_text(spec)}.")
    return _tensor_to_wire(value, spec)


def _tensor_to_wire(value: Any, spec: TensorSpec) -> Array | Packed:
    if spec.datatype == "BYTES":
        array = _strings(value, spec)
    elif isinstance(value, np.ndarray):
        array = value
    elif isinstance(value, list):
        array = np.array(value, CARRIER.get(spec.datatype))
    else:
        raise python_error(RuntimeError, f"Unable to handle object of type {type(value)}")
    _check_shape(array, spec)
    if spec.datatype in BITS:
        return _pack(array, spec)
    carrier = CARRIER[spec.datatype]
    if spec.datatype in _FOREIGN and array.dtype.name == _ML_DTYPES[spec.datatype]:
        return array.view(carrier)
    if array.dtype != carrier.newbyteorder("=") and array.dtype != carrier:
        raise invalid_argument(
            f"Unexpected input data type. Actual: ({_actual_type(array)}) , "
            f"expected: ({type_text(spec)}) for input {spec.name!r}"
        )
    return array


def _strings(value: Any, spec: TensorSpec) -> Array:
    array = np.array(value, np.object_) if isinstance(value, list) else value
    if not isinstance(array, np.ndarray):
        raise python_error(
            RuntimeError,
            f"Input must be a list of dictionaries or a single numpy array for input "
            f"{spec.name!r}.",
        )
    if array.dtype.kind == "S":
        array = np.char.decode(array.astype(np.bytes_), "utf-8")
    if array.dtype.kind not in "OU":
        raise invalid_argument(
            f"Unexpected input data type. Actual: ({_actual_type(array)}) , "
            f"expected: (tensor(string)) for input {spec.name!r}"
        )
    strings = np.empty(array.shape, np.object_)
    flat = strings.reshape(-1)
    for index, item in enumerate(array.ravel().tolist()):
        # ONNX Runtime takes str() of whatever is in the array.
        flat[index] = str(item)
    return strings


def _check_shape(array: Array, spec: TensorSpec) -> None:
    if spec.shape is None:
        return
    if array.ndim != len(spec.shape):
        raise invalid_argument(
            f"Invalid rank for input: {spec.name} Got: {array.ndim} Expected: "
            f"{len(spec.shape)} Please fix either the inputs/outputs or the model."
        )
    for index, (got, expected) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if expected not in (-1, got):
            raise invalid_argument(
                f"Got invalid dimensions for input: {spec.name} for the following indices\n"
                f" index: {index} Got: {got} Expected: {expected}\n"
                " Please fix either the inputs/outputs or the model."
            )


def _actual_type(array: Array) -> str:
    for datatype, carrier in CARRIER.items():
        if datatype in PLAIN and array.dtype == carrier:
            return f"tensor({ELEMENT_TYPES[datatype][0]})"
    return f"tensor({'string' if array.dtype.kind in 'OSU' else array.dtype.name})"


def _pack(array: Array, spec: TensorSpec) -> Packed:
    """Sub-byte elements, one per byte in `array`, packed with the first in the low bits."""
    bits = BITS[spec.datatype]
    if array.dtype.name != _ML_DTYPES[spec.datatype] and array.dtype not in (np.int8, np.uint8):
        raise invalid_argument(
            f"Unexpected input data type. Actual: ({_actual_type(array)}) , "
            f"expected: ({type_text(spec)}) for input {spec.name!r}"
        )
    per_byte = 8 // bits
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8) & np.uint8((1 << bits) - 1)
    padded = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
    padded[: flat.size] = flat
    lanes = padded.reshape(-1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * np.uint8(bits))
    return Packed(spec.datatype, array.shape, np.bitwise_or.reduce(lanes, axis=1))


def _unpack(packed: Packed) -> Array:
    bits = BITS[packed.datatype]
    count = int(np.prod(packed.shape, dtype=np.int64))
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    lanes = (packed.data.reshape(-1, 1) >> shifts) & np.uint8((1 << bits) - 1)
    flat = lanes.reshape(-1)[:count]
    if packed.datatype.startswith("INT"):
        sign = np.uint8(1 << (bits - 1))
        signed = ((flat ^ sign) - sign).view(np.int8)
        return _as_ml_dtype(signed, packed.datatype, convert=True).reshape(packed.shape)
    if packed.datatype.startswith("UINT"):
        return _as_ml_dtype(flat, packed.datatype, convert=True).reshape(packed.shape)
    return _as_ml_dtype(flat, packed.datatype, convert=False).reshape(packed.shape)


def _as_ml_dtype(array: Array, datatype: str, *, convert: bool) -> Array:
    """`array` in the dtype of `ml_dtypes`, or as it is where that is not installed."""
    try:
        import ml_dtypes  # noqa: PLC0415 - optional
    except ImportError:
        return array
    dtype = np.dtype(getattr(ml_dtypes, _ML_DTYPES[datatype]))
    return array.astype(dtype) if convert else array.view(dtype)


def from_wire(value: Value, spec: TensorSpec) -> Any:
    """An answer's value as ONNX Runtime gives it."""
    if isinstance(value, Packed):
        return _unpack(value)
    if isinstance(value, list):
        return [from_wire(item, spec.element or spec) for item in value]
    if spec.datatype == "OPTIONAL" and spec.element is not None:
        return None if value is None else from_wire(value, spec.element)
    if isinstance(value, np.ndarray):
        if value.dtype == np.object_:
            return _decoded(value)
        if spec.datatype in _FOREIGN:
            return _as_ml_dtype(value, spec.datatype, convert=False)
    return value


def _decoded(array: Array) -> Array:
    texts = np.empty(array.shape, np.object_)
    flat = texts.reshape(-1)
    for index, item in enumerate(array.ravel().tolist()):
        flat[index] = item.decode() if isinstance(item, bytes) else item
    return texts


def from_ort_value(value: Any) -> Any:
    """What an `OrtValue` in the machine's memory holds; tensors are views where they can be."""
    kind = value.data_type()
    if not value.is_tensor():
        raise status_error("NOT_IMPLEMENTED", f"An OrtValue of type {kind} cannot be sent.")
    datatype = DATATYPES[kind.removeprefix("tensor(").removesuffix(")")]
    if datatype not in _FOREIGN and datatype not in BITS:
        return value.numpy()
    shape = tuple(value.shape())
    memory = view_memory(value.data_ptr(), value.tensor_size_in_bytes())
    if datatype in BITS:
        return Packed(datatype, shape, memory)
    return memory.view(CARRIER[datatype]).reshape(shape)


def to_ort_value(value: Any, spec: TensorSpec) -> Any:
    """An `OrtValue` in the machine's memory that holds `value`, and keeps it as long as need be.

    ONNX Runtime's `ortvalue_from_numpy` only borrows: what the OrtValue's `numpy()` gives, and
    its form in C, would outlive the memory.
    """
    if spec.datatype in BITS and isinstance(value, np.ndarray):
        value = _pack(value, spec)
    if isinstance(value, Packed):
        return _filled(value.data, value.shape, ELEMENT_TYPES[value.datatype][1])
    if not isinstance(value, np.ndarray):
        raise status_error(
            "NOT_IMPLEMENTED", f"{spec.name}: an OrtValue of type {type_text(spec)} cannot be made."
        )
    if spec.datatype in _FOREIGN:
        return _filled(value, value.shape, ELEMENT_TYPES[spec.datatype][1])
    if value.dtype.hasobject:
        return real.OrtValue.ortvalue_from_numpy(value)
    with contextlib.suppress(AttributeError, BufferError, RuntimeError):
        # Without a copy, where ONNX Runtime has DLPack and DLPack the dtype.
        return real.OrtValue.from_dlpack(value)
    return _filled(value, value.shape, value.dtype.type)


def _filled(data: Array, shape: Sequence[int], element_type: Any) -> Any:
    """An OrtValue with memory of its own."""
    made = real.OrtValue.ortvalue_from_shape_and_type(list(shape), element_type)
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    memory = view_memory(made.data_ptr(), made.tensor_size_in_bytes())
    if flat.size != memory.size:
        raise invalid_argument(f"{flat.size} bytes are no {made.data_type()}{list(shape)}.")
    memory[...] = flat
    return made


def view_memory(address: int, byte_size: int) -> Array:
    """`uint8[byte_size]` over memory that the caller keeps alive."""
    if byte_size == 0:
        return np.empty(0, np.uint8)
    block = (ctypes.c_uint8 * byte_size).from_address(address)
    return np.ctypeslib.as_array(block)
