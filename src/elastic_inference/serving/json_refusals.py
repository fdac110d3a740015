"""Why JSON values are no tensors, in TensorFlow Serving's words.

This is the slow way through a request that was already found to be wrong: it looks at value
after value, in the order in which TensorFlow Serving does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.serving.json_documents import (
    bytes_of,
    is_b64,
    shown,
    type_name,
    wrong_format,
)
from elastic_inference.serving.statuses import UnsupportedError, status_of

# TensorFlow's names where they are others than numpy's.
NAMES: Mapping[str, str] = {"float32": "float", "float64": "double", "float16": "half"}
_FLOATS = frozenset({"float32", "float64", "float16", "bfloat16"})
_UNSUPPORTED = frozenset({"", "complex64", "complex128", "resource", "variant"})


def is_named(row: Any) -> bool:
    """Whether a row has its inputs by their names."""
    return isinstance(row, dict) and not is_b64(row)


def tensor_refusal(value: Any, dtype: str) -> InvalidRequestError:
    """Why `value` is no tensor of that type."""
    try:
        _walk(value, 0, _shape(value), dtype)
    except InvalidRequestError as error:
        return error
    return wrong_format(value, f"does not fit a tensor of type {NAMES.get(dtype, dtype)}")


def rows_refusal(rows: list[Any], info: Mapping[str, Tensor]) -> InvalidRequestError:
    """Why `rows` do not make the tensors of `info`."""
    try:
        _check_rows(rows, info)
    except InvalidRequestError as error:
        return error
    return wrong_format(rows, "does not fit the signature's inputs")


def _check_rows(rows: list[Any], info: Mapping[str, Tensor]) -> None:
    seen: dict[str, tuple[int, list[int]]] = {}
    are_named = is_named(rows[0])
    for index, row in enumerate(rows):
        if is_named(row) is not are_named:
            got = "object but got list" if are_named else "value/list but got object"
            raise InvalidRequestError(f"Expecting {got} at item {index} of input list")
        if not are_named:
            _check_item(row, next(iter(info)), info, seen, f"element: {index} of")
            continue
        for key, value in row.items():
            _check_item(value, key, info, seen, f"element: {index} key: {key} of")
        if row.keys() != info.keys():
            raise InvalidRequestError(
                f"Failed to process element: {index} of 'instances' list. "
                f"JSON object: {shown(row)} keys must be equal to: {','.join(sorted(info))}"
            )


def _check_item(
    value: Any,
    key: str,
    info: Mapping[str, Tensor],
    seen: dict[str, tuple[int, list[int]]],
    where: str,
) -> None:
    try:
        if key not in info:
            raise InvalidRequestError(f"JSON object: does not have named input: {key}")
        shape = _shape(value)
        size = _walk(value, 0, shape, info[key].dtype)
        first_size, first_shape = seen.setdefault(key, (size, shape))
        if size != first_size:
            raise InvalidRequestError(f"Expecting tensor size: {first_size} but got: {size}")
        if shape != first_shape:
            raise InvalidRequestError(
                f"Expecting shape {_shown_shape(first_shape)} but got: {_shown_shape(shape)}"
            )
    except InvalidRequestError as error:
        raise InvalidRequestError(
            f"Failed to process {where} 'instances' list. "
            f"Error: {status_of(error).name}: {error.message}"
        ) from None


def _shape(value: Any) -> list[int]:
    """The sizes of the first list of each level."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _shown_shape(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _walk(value: Any, level: int, shape: list[int], dtype: str) -> int:
    """How many elements a value has; its depth is bounded by the parser."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise wrong_format(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}",
            )
        _check_element(value, dtype)
        return 1
    if level >= rank:
        raise InvalidRequestError(
            f"Encountered list at unexpected level: {level} expected < {rank}"
        )
    if len(value) != shape[level]:
        raise InvalidRequestError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    return sum(_walk(each, level + 1, shape, dtype) for each in value)


def _check_element(value: Any, dtype: str) -> None:
    name = NAMES.get(dtype, dtype)
    if dtype in _UNSUPPORTED:
        raise UnsupportedError(f"Conversion of JSON Value: {shown(value)} to type: {name}")
    if dtype == "string" and isinstance(value, dict):
        bytes_of(value)
        return
    if not _is_element(value, dtype):
        raise wrong_format(value, f"Type: {type_name(value)} is not of expected type: {name}")
    if isinstance(value, str):
        bytes_of(value)


def _is_element(value: Any, dtype: str) -> bool:
    if dtype == "string":
        return isinstance(value, str)
    if dtype == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if dtype in _FLOATS:
        return True
    if not isinstance(value, int):
        return False
    bits = int(dtype.lstrip("uint"))
    least = 0 if dtype[0] == "u" else -(1 << (bits - 1))
    return least <= value < least + (1 << bits)
