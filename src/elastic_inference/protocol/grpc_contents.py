"""Tensors whose elements are numbers and texts of the message itself: `InferTensorContents`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import CARRIER, Array, aligned, element_count

# The field in which each datatype's elements are. Of FP16, BF16 and all others there is none.
FIELD_OF: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def tensor_from_contents(
    where: str, datatype: str, shape: tuple[int, ...], contents: Mapping[str, Any]
) -> Array:
    """The tensor of an input's `contents`.

    Args:
        where: the input, as messages name it.
        contents: as `protobuf.decode` reads it: `Numbers`, and a list of bytes.

    Raises:
        InvalidRequestError: the elements are of another type or number, or too large.
    """
    field = FIELD_OF.get(datatype)
    if field is None:
        raise InvalidRequestError(
            f"{where}: {datatype} has no contents of its own.",
            next_step="Send the tensor's bytes in raw_input_contents.",
        )
    others = contents.keys() - {field}
    if others:
        raise InvalidRequestError(f"{where}: a {datatype} is in {field}, not {min(others)}.")
    found = contents.get(field)
    if datatype == "BYTES":
        flat = np.empty(len(found or ()), np.object_)
        flat[:] = found or ()
    else:
        flat = np.empty(0, CARRIER[datatype]) if found is None else found.array()
    if len(flat) != element_count(shape):
        raise InvalidRequestError(
            f"{where}: {datatype}{list(shape)} has {element_count(shape)} elements, "
            f"got {len(flat)}."
        )
    return _narrowed(where, datatype, flat).reshape(shape)


def _narrowed(where: str, datatype: str, flat: Array) -> Array:
    dtype = CARRIER[datatype]
    if flat.dtype == dtype:
        return aligned(flat)
    limits = np.iinfo(dtype)
    if flat.size and (flat.min() < limits.min or flat.max() > limits.max):
        raise InvalidRequestError(f"{where}: an element is too large for {datatype}.")
    return flat.astype(dtype)
