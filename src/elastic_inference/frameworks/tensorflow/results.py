"""Values as TensorFlow's sessions give them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from elastic_inference.protocol.tensors import Array


class SingleValue(np.ndarray[Any, Any]):
    """An array of one element that is also taken for a number, as numpy once took them all.

    Programs of TensorFlow 1's time say `int(results["num_detections"])` of the shape (1,).
    What is computed with it are ordinary arrays.
    """

    __slots__ = ()

    def __int__(self) -> int:
        return int(_element(self))

    def __float__(self) -> float:
        return float(_element(self))

    def __complex__(self) -> complex:
        return complex(_element(self))

    def __index__(self) -> int:
        return operator.index(_element(self))

    def __array_wrap__(
        self, array: Any, context: Any = None, return_scalar: bool = False, /
    ) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


def _element(array: Array) -> Any:
    return array.item() if array.size == 1 else array.view(np.ndarray)


def finish(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, where those of rank 0 are scalars and those of one element `SingleValue`s."""
    finished = {}
    for key, value in values.items():
        if isinstance(value, np.ndarray):
            if not value.ndim:
                finished[key] = value[()]
                continue
            if value.size == 1:
                finished[key] = value.view(SingleValue)
                continue
        finished[key] = value
    return finished
