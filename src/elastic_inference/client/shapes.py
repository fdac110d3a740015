"""The shape and dtype of an array for a model's input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import CARRIER, TensorSpec


def shape_and_dtype(
    spec: TensorSpec, shape: Sequence[int] | None, dtype: Any
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """`shape` and `dtype`, or the input's own where they are None.

    Raises:
        InvalidRequestError: they have to be given, or are not possible.
    """
    if shape is None:
        if spec.shape is None or any(size < 0 for size in spec.shape):
            raise InvalidRequestError(
                f"Input {spec.name!r} has dynamic dimensions.", next_step="Give a shape."
            )
        shape = spec.shape
    if dtype is None:
        if spec.datatype not in CARRIER:
            raise InvalidRequestError(f"Input {spec.name!r} is a {spec.datatype}, not an array.")
        dtype = CARRIER[spec.datatype]
    if any(size < 0 for size in shape):
        raise InvalidRequestError(f"{list(shape)} is not a shape.")
    return tuple(shape), np.dtype(dtype)
