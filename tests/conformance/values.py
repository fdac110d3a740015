"""Values of the cases, as each way to run a model takes and gives them.

ONNX's own helpers pack and unpack, so that the product's packing is compared with another.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from elastic_inference.frameworks.onnxruntime import real
from elastic_inference.protocol.tensors import CARRIER, Packed, TensorSpec

_T = onnx.TensorProto
# Of the types that numpy lacks: ONNX Runtime's name, and the protocol's.
FOREIGN = {
    _T.BFLOAT16: ("bfloat16", "BF16"),
    _T.FLOAT8E4M3FN: ("float8e4m3fn", "FP8E4M3FN"),
    _T.FLOAT8E4M3FNUZ: ("float8e4m3fnuz", "FP8E4M3FNUZ"),
    _T.FLOAT8E5M2: ("float8e5m2", "FP8E5M2"),
    _T.FLOAT8E5M2FNUZ: ("float8e5m2fnuz", "FP8E5M2FNUZ"),
    _T.FLOAT8E8M0: ("float8e8m0", "FP8E8M0"),
    _T.FLOAT4E2M1: ("float4e2m1", "FP4E2M1"),
    _T.INT4: ("int4", "INT4"),
    _T.UINT4: ("uint4", "UINT4"),
    _T.INT2: ("int2", "INT2"),
    _T.UINT2: ("uint2", "UINT2"),
}
_BY_NAME = {f"tensor({name})": number for number, (name, _) in FOREIGN.items()}
_BY_DATATYPE = {datatype: number for number, (_, datatype) in FOREIGN.items()}
_SUB_BYTE = {_T.FLOAT4E2M1, _T.INT4, _T.UINT4, _T.INT2, _T.UINT2}


class NoOrtValueError(Exception):
    """A limit of ONNX Runtime's Python interface: OrtValues hold tensors of numbers."""


def is_foreign(type_text: str) -> bool:
    """Whether ONNX Runtime's type is one of a tensor that numpy has no dtype for."""
    return type_text in _BY_NAME


def to_ort_value(array: Any, type_text: str) -> Any:
    """A numeric tensor as ONNX Runtime's OrtValue.

    Raises:
        NoOrtValueError: ONNX Runtime's Python interface makes none of such a value.
    """
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        raise NoOrtValueError(f"Python makes no OrtValue of a {type_text}")
    number = _BY_NAME.get(type_text)
    if number is None:
        return real.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    raw = numpy_helper.from_array(array).raw_data
    made = real.OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    if made.tensor_size_in_bytes() != len(raw):
        raise AssertionError(f"{type_text}{list(array.shape)} is not {len(raw)} bytes")
    ctypes.memmove(made.data_ptr(), raw, len(raw))
    return made


def from_ort_value(made: Any) -> Any:
    """A tensor's array.

    Raises:
        NoOrtValueError: it holds something else, which Python cannot look into.
    """
    if not made.is_tensor():
        raise NoOrtValueError(f"Python reads no OrtValue of a {made.data_type()}")
    number = _BY_NAME.get(made.data_type())
    if number is None:
        return made.numpy()
    return _unpack(
        number, made.shape(), ctypes.string_at(made.data_ptr(), made.tensor_size_in_bytes())
    )


def to_client(value: Any, spec: TensorSpec) -> Any:
    """A value as `elastic_inference.client.Model.run` takes it."""
    if isinstance(value, list):
        return [to_client(item, spec.element or spec) for item in value]
    if value is None:
        return None
    inner = spec.element if spec.datatype == "OPTIONAL" and spec.element else spec
    if _BY_DATATYPE.get(inner.datatype) in _SUB_BYTE:
        raw = numpy_helper.from_array(value).raw_data
        return Packed(inner.datatype, value.shape, np.frombuffer(raw, np.uint8))
    return value


def from_client(value: Any, spec: TensorSpec) -> Any:
    """What `elastic_inference.client.Model.run` gave, as a case has it."""
    if isinstance(value, list):
        return [from_client(item, spec.element or spec) for item in value]
    if value is None:
        return None
    if isinstance(value, Packed):
        return _unpack(_BY_DATATYPE[value.datatype], value.shape, value.data.tobytes())
    if value.dtype == np.object_:
        return _texts(value)
    inner = spec.element if spec.datatype == "OPTIONAL" and spec.element else spec
    if (number := _BY_DATATYPE.get(inner.datatype)) is not None:
        return _unpack(number, value.shape, value.tobytes())
    return value


def to_json(value: Any, spec: TensorSpec) -> dict[str, Any]:
    """An input of a request whose tensors are JSON."""
    data = value.astype(np.float32) if value.dtype.name == "bfloat16" else value
    return {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": list(value.shape),
        "data": data.ravel().tolist(),
    }


def from_json(entry: Mapping[str, Any]) -> Any:
    """An output of an answer whose tensors are JSON."""
    shape, datatype = entry["shape"], entry["datatype"]
    if datatype == "BF16":
        bfloat16 = helper.tensor_dtype_to_np_dtype(_T.BFLOAT16)
        return np.array(entry["data"], np.float32).astype(bfloat16).reshape(shape)
    return np.array(entry["data"], CARRIER[datatype]).reshape(shape)


def from_triton(value: Any, spec: TensorSpec) -> Any:
    """An output as tritonclient gives it."""
    if spec.datatype == "BF16":
        return value.astype(helper.tensor_dtype_to_np_dtype(_T.BFLOAT16))
    return _texts(value) if value.dtype == np.object_ else value


def _texts(value: Any) -> Any:
    flat = [item.decode() for item in value.ravel()]
    return np.array(flat, np.object_).reshape(value.shape)


def bits(value: Any) -> Any:
    """Equal for two values only if their types, shapes and every bit are."""
    if isinstance(value, list):
        return tuple(bits(item) for item in value)
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        return "string", array.shape, tuple(array.ravel().tolist())
    return array.dtype.name, array.shape, array.tobytes()


def numbers(value: Any) -> Any:
    """`bits` where one NaN is as good as another, since JSON has no more than one."""
    if isinstance(value, list):
        return tuple(numbers(item) for item in value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc" and np.isnan(value).any():
        return bits(np.where(np.isnan(value), value.dtype.type(np.nan), value))
    return bits(value)


def show(value: Any) -> str:
    """The beginning of a value, in words."""
    if isinstance(value, list):
        return f"[{', '.join(show(item) for item in value[:4])}]"
    if value is None:
        return "nothing"
    array = np.asarray(value)
    return f"{array.dtype}{list(array.shape)} {array.ravel()[:8].tolist()!r:.120}"


def shapes(value: Any) -> Any:
    """What is left of `bits` where a result is drawn at random."""
    if isinstance(value, list):
        return tuple(shapes(item) for item in value)
    return None if value is None else (np.asarray(value).dtype.name, np.asarray(value).shape)


def _unpack(number: int, shape: Any, raw: bytes) -> Any:
    return numpy_helper.to_array(onnx.TensorProto(data_type=number, dims=shape, raw_data=raw))
