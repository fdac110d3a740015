"""The tensors of a JSON request to predict: rows in "instances", or columns in "inputs".

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.protocol.tensorflow import carrier_of
from elastic_inference.protocol.tensors import Array
from elastic_inference.serving.json_documents import bytes_of, is_b64, wrong_format
from elastic_inference.serving.json_numbers import Numbers
from elastic_inference.serving.json_refusals import is_named, rows_refusal, tensor_refusal

INSTANCES, INPUTS = "instances", "inputs"
_MAX_RANK = 32
_FLOATS = frozenset({"float32", "float64", "float16", "bfloat16"})
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
SUPPORTED = _FLOATS | _INTEGERS | {"bool", "string"}

_Info: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Feeds:
    """The tensors of a request.

    Attributes:
        by_row: the answer goes row by row, as the request came.
    """

    inputs: dict[str, Array]
    by_row: bool


def read_feeds(document: Mapping[str, Any], info: _Info) -> Feeds:
    """The tensors in `document`.

    Args:
        document: with `Numbers` in the place of large arrays of numbers.
        info: the signature's inputs by key.

    Raises:
        InvalidRequestError: they do not fit `info`, in TensorFlow Serving's words.
    """
    has_rows, has_columns = INSTANCES in document, INPUTS in document
    if has_rows and has_columns:
        raise wrong_format(
            document,
            f"Not formatted correctly expecting only one of '{INPUTS}' or '{INSTANCES}' "
            "keys to exist ",
        )
    if has_rows:
        rows = document[INSTANCES]
        if not isinstance(rows, list | Numbers):
            raise wrong_format(document, f"Expecting '{INSTANCES}' to be an list/array")
        if isinstance(rows, list) and not rows:
            raise wrong_format(document, f"No values in '{INSTANCES}' array")
        return Feeds(_rows(rows, info), by_row=True)
    if has_columns:
        return Feeds(_columns(document[INPUTS], info), by_row=False)
    raise InvalidRequestError(f"Missing '{INPUTS}' or '{INSTANCES}' key")


def _columns(value: Any, info: _Info) -> dict[str, Array]:
    if not isinstance(value, dict) or is_b64(value):
        if len(info) > 1:
            raise InvalidRequestError(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        key = next(iter(info))
        return {key: _column(value, info[key].dtype)}
    for key in info:
        if key not in value:
            raise InvalidRequestError(f"Missing named input: {key} in 'inputs' object.")
    return {key: _column(value[key], tensor.dtype) for key, tensor in info.items()}


def _column(value: Any, dtype: str) -> Array:
    array = _fitting(value, dtype)
    if array is None:
        raise tensor_refusal(_lists(value), dtype)
    return array


def _rows(rows: list[Any] | Numbers, info: _Info) -> dict[str, Array]:
    columns: dict[str, Any] | None = None
    if isinstance(rows, list) and is_named(rows[0]):
        if all(is_named(row) and row.keys() == info.keys() for row in rows):
            columns = {key: [row[key] for row in rows] for key in info}
    elif len(info) > 1:
        raise InvalidRequestError(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    else:
        columns = {next(iter(info)): rows}
    if columns is not None:
        found = {key: _fitting(_joined(columns[key]), info[key].dtype) for key in info}
        arrays = {key: array for key, array in found.items() if array is not None}
        if len(arrays) == len(info):
            return arrays
    raise rows_refusal(_lists(rows), info)


def _joined(rows: list[Any] | Numbers) -> Any:
    """Rows as one value: of large arrays of one shape one array."""
    if isinstance(rows, Numbers) or not any(isinstance(row, Numbers) for row in rows):
        return rows
    if all(isinstance(row, Numbers) for row in rows) and len({r.values.shape for r in rows}) == 1:
        values = np.stack([row.values for row in rows])
        texts = [row.text for row in rows]
        if all(text is None for text in texts):
            return Numbers(values)
        return Numbers(np.stack([row.doubles() for row in rows]))
    return _lists(rows)


def _lists(value: Any) -> Any:
    """The value with lists in the place of large arrays."""
    if isinstance(value, Numbers):
        return value.values.tolist()
    if isinstance(value, list):
        return [_lists(each) if isinstance(each, Numbers | dict) else each for each in value]
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    return value


def _fitting(value: Any, dtype: str) -> Array | None:
    """The tensor of a value, or None where it is none of that type."""
    if dtype not in SUPPORTED:
        return None
    if isinstance(value, Numbers):
        return _numbers(value, dtype)
    shape: list[int] = []
    flat = [value]
    while flat and set(map(type, flat)) == {list}:
        sizes = set(map(len, flat))
        if len(sizes) > 1 or len(shape) == _MAX_RANK:
            return None
        shape += sizes
        flat = list(chain.from_iterable(flat))
    try:
        array = _flat(flat, dtype)
    except (InvalidRequestError, OverflowError, ValueError):
        return None
    return None if array is None else array.reshape(shape)


def _flat(flat: list[Any], dtype: str) -> Array | None:
    # Without a step of Python's for each element, of which an image has 150,000.
    types = set(map(type, flat))
    if dtype == "string":
        if types <= {str, dict}:
            strings = np.empty(len(flat), np.object_)
            strings[:] = list(map(bytes_of, flat))
            return strings
        return None
    if dtype == "bool":
        return np.array(flat, np.bool_) if types <= {bool} else None
    if dtype in _INTEGERS:
        limits = np.iinfo(carrier_of(dtype))
        if types <= {int} and (not flat or (limits.min <= min(flat) and max(flat) <= limits.max)):
            return np.array(flat, carrier_of(dtype))
        return None
    return _floats(np.array(flat, np.float64), dtype) if types <= {int, float} else None


def _numbers(numbers: Numbers, dtype: str) -> Array | None:
    values = numbers.values
    if dtype == "float64":
        return numbers.doubles()
    if dtype in _FLOATS:
        return _floats(values, dtype)
    if dtype not in _INTEGERS or values.dtype != np.int64:
        return None
    limits = np.iinfo(carrier_of(dtype))
    if int(values.min()) < limits.min or int(values.max()) > limits.max:
        return None
    return values.astype(carrier_of(dtype))


def _floats(values: Array, dtype: str) -> Array:
    # What is too large becomes infinite, as a number of TensorFlow's does.
    with np.errstate(over="ignore"):
        if dtype != "bfloat16":
            return values.astype(carrier_of(dtype), copy=False)
        # The upper half of a float32, rounded to nearest even.
        bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Rounding would carry some of what is not a number over into what is one.
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
