"""What is done to arrays before and after a model, by numpy: no model has to be made for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.arrays import reshaped
from elastic_inference.frameworks.mxnet.attributes import Attributes
from elastic_inference.protocol.tensors import Array

Function = Callable[..., Any]


def _transpose(a: Attributes, x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(a.axes or None))


def _reshape(a: Attributes, x: Array) -> Array:
    return x.reshape(reshaped(x.shape, a.shape, reverse=a.reverse))


def _squeeze(a: Attributes, x: Array) -> Array:
    return np.squeeze(x, a.axis)


def _argsort(a: Attributes, x: Array) -> Array:
    return np.argsort(x if a.is_ascend else -x, axis=a.axis, kind="stable").astype(a.dtype)


FUNCTIONS: Mapping[str, Function] = {
    "transpose": _transpose,
    "Reshape": _reshape,
    "expand_dims": lambda a, x: np.expand_dims(x, a.axis),
    "Flatten": lambda _, x: x.reshape(x.shape[0], -1),
    "squeeze": _squeeze,
    "Concat": lambda a, *parts: np.concatenate(parts, a.dim),
    "stack": lambda a, *parts: np.stack(parts, a.axis),
    "Cast": lambda a, x: x.astype(a.dtype),
    "argsort": _argsort,
    "zeros_like": lambda _, x: np.zeros_like(x),
    "ones_like": lambda _, x: np.ones_like(x),
    "clip": lambda a, x: np.clip(x, a.a_min, a.a_max).astype(x.dtype),
}
