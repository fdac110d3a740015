"""Tensors in JSON form: the `data` member of the Open Inference Protocol."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import (
    CARRIER,
    STANDARD,
    Array,
    TensorSpec,
    Value,
    element_count,
)

_INTEGERS = {name: np.iinfo(CARRIER[name]) for name in STANDARD if name.strip("U")[:3] == "INT"}

_NUMBERS: set[type] = {int, float}
_TYPES: dict[str, set[type]] = {
    "BYTES": {str},
    "BOOL": {bool},
    **{name: {int} for name in _INTEGERS},
}


def tensor_from_json(name: str, datatype: str, shape: tuple[int, ...], data: list[Any]) -> Array:
    """The tensor of nested or flat JSON `data`.

    Raises:
        InvalidRequestError: the datatype has no JSON form, or an element or the count is wrong.
    """
    if datatype not in STANDARD:
        raise InvalidRequestError(f"input {name[:100]!r}: {datatype} has no JSON form.")
    flat = _flatten(data)
    if len(flat) != element_count(shape):
        raise InvalidRequestError(
            f"input {name[:100]!r}: {datatype}{list(shape)} has {element_count(shape)} elements, "
            f"got {len(flat)}."
        )
    _check(name, datatype, flat)
    try:
        return _array(datatype, shape, flat)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"input {name[:100]!r}: an element of the data is too large for {datatype}."
        ) from None


def _array(datatype: str, shape: tuple[int, ...], flat: list[Any]) -> Array:
    if datatype == "BYTES":
        strings = np.empty(len(flat), np.object_)
        strings[:] = [item.encode() for item in flat]
        return strings.reshape(shape)
    if datatype == "BF16":
        # The upper half of a float32, rounded to nearest even.
        bits = np.array(flat, np.float32).view(np.uint32).astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return rounded.astype(np.uint16).reshape(shape)
    with np.errstate(over="ignore"):
        return np.array(flat, CARRIER[datatype]).reshape(shape)


def _flatten(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list) and set(map(type, data)) == {list}:
        data = list(chain.from_iterable(data))
    return data


def _check(name: str, datatype: str, flat: list[Any]) -> None:
    # Without a step of Python's for each element, of which an image has 150,000.
    good = set(map(type, flat)) <= _TYPES.get(datatype, _NUMBERS)
    limits = _INTEGERS.get(datatype)
    if good and flat and limits is not None:
        good = limits.min <= min(flat) and max(flat) <= limits.max
    if not good:
        raise InvalidRequestError(
            f"input {name[:100]!r}: an element of the data is not a {datatype}."
        )


def value_to_json(value: Value, spec: TensorSpec) -> dict[str, Any]:
    """The entry (without a name) that carries `value` as JSON.

    Raises:
        InvalidRequestError: the value's type has a binary form only.
    """
    if not isinstance(value, np.ndarray) or spec.datatype not in STANDARD:
        raise InvalidRequestError(
            f"output {spec.name[:100]!r}: {spec.datatype} has a binary form only.",
            next_step='Ask for it with "binary_data": true.',
        )
    data: list[Any]
    if spec.datatype == "BYTES":
        data = [
            item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
            for item in value.ravel().tolist()
        ]
    elif spec.datatype == "BF16":
        data = (value.astype(np.uint32) << 16).view(np.float32).ravel().tolist()
    else:
        data = value.ravel().tolist()
    return {"datatype": spec.datatype, "shape": list(value.shape), "data": data}
