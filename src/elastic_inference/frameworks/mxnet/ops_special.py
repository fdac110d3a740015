"""Operators that ONNX lacks: the instance computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    declare,
    integer,
    number,
)
from elastic_inference.frameworks.mxnet.rules import (
    Shapes,
    Types,
    first_dtype,
    like_first,
    same_dtype,
)
from elastic_inference.frameworks.mxnet.table import Operator, enter
from elastic_inference.protocol.tensors import Array

_Function = Callable[..., Any]


def _each(function: Callable[[float], float]) -> _Function:
    """Of each element; what is not defined is not a number."""

    def one(value: float) -> float:
        try:
            return function(value)
        except (ValueError, OverflowError):
            return math.inf if value > 0 else math.nan

    whole = np.vectorize(one, otypes=[np.float64])
    return lambda _, data: whole(data)


def _inverse_erf(value: float) -> float:
    if abs(value) >= 1:
        return math.copysign(math.inf, value) if abs(value) == 1 else math.nan
    # An approximation by Winitzki, then Newton's steps.
    log = math.log1p(-value * value)
    half = 2 / (math.pi * 0.147) + log / 2
    found = math.copysign(math.sqrt(math.sqrt(half * half - log / 0.147) - half), value)
    for _ in range(3):
        slope = 2 / math.sqrt(math.pi) * math.exp(-found * found)
        if slope == 0:
            break
        found -= (math.erf(found) - value) / slope
    return found


_ELEMENTS: dict[str, Callable[[float], float]] = {
    "gamma": math.gamma,
    "gammaln": math.lgamma,
    "erfinv": _inverse_erf,
}
for _name, _element in _ELEMENTS.items():
    enter(
        Operator(
            _name,
            ("data",),
            {},
            like_first,
            aliases=(f"_npx_{_name}",),
            numpy=_each(_element),
        )
    )


def _mask_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        axis = s.axis(s.a.axis, len(data))
        s.expect(1, (data[axis],))
        # How many stay, the values decide.
        s.give((*data[:axis], 0, *data[axis + 1 :]))


def _boolean_mask(a: Any, data: Array, index: Array) -> Array:
    return np.compress(index != 0, data, axis=a.axis)


enter(
    Operator(
        "_contrib_boolean_mask",
        ("data", "index"),
        declare(axis=integer(0)),
        _mask_shapes,
        first_dtype,
        aliases=("_npi_boolean_mask",),
        numpy=_boolean_mask,
    )
)


def _without_matrix(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        for index in range(len(s.outputs)):
            s.give(data[:-2] or (1,), index)


def _logarithms(_: Any, data: Array) -> Array:
    found: Array = np.log(np.diagonal(data, axis1=-2, axis2=-1)).sum(-1)
    return found.reshape(data.shape[:-2] or (1,))


def _triangle_inverse(_: Any, data: Array) -> Array:
    """The inverse of the matrix whose triangle is given."""
    found: Array = np.linalg.inv(data @ np.swapaxes(data, -1, -2))
    return found


def _determinant(_: Any, data: Array) -> Array:
    found: Array = np.linalg.det(data)
    return found.reshape(data.shape[:-2] or (1,))


def _sign_and_logarithm(_: Any, data: Array) -> tuple[Array, Array]:
    sign, logarithm = np.linalg.slogdet(data)
    shape = data.shape[:-2] or (1,)
    return np.asarray(sign).reshape(shape), np.asarray(logarithm).reshape(shape)


def _solved(a: Any, data: Array, other: Array) -> Array:
    """X of `A X = alpha B`, or of `X A = alpha B`, for a triangular A."""
    triangle = np.tril(data) if a.lower else np.triu(data)
    if a.transpose:
        triangle = np.swapaxes(triangle, -1, -2)
    found: Array
    if not a.rightside:
        found = np.linalg.solve(triangle, a.alpha * other)
    else:
        turned = np.linalg.solve(np.swapaxes(triangle, -1, -2), np.swapaxes(other, -1, -2))
        found = a.alpha * np.swapaxes(turned, -1, -2)
    return found


_MATRICES: tuple[tuple[str, _Function, Callable[[Shapes], None]], ...] = (
    ("potrf", lambda _, data: np.linalg.cholesky(data), like_first),
    ("potri", _triangle_inverse, like_first),
    ("inverse", lambda _, data: np.linalg.inv(data), like_first),
    ("sumlogdiag", _logarithms, _without_matrix),
)
for _name, _function, _shapes in _MATRICES:
    enter(
        Operator(
            f"_linalg_{_name}",
            ("A",),
            {},
            _shapes,
            aliases=(f"linalg_{_name}",),
            numpy=_function,
        )
    )
enter(
    Operator(
        "_linalg_trsm",
        ("A", "B"),
        declare(
            transpose=boolean(False),
            rightside=boolean(False),
            lower=boolean(True),
            alpha=number(1.0),
        ),
        lambda s: s.give(s.inputs[1]),
        aliases=("linalg_trsm",),
        numpy=_solved,
    )
)


def _three(s: Shapes) -> None:
    """A determinant, and the factors that training wants."""
    data = s.inputs[0]
    if data is None:
        return
    results = len(s.outputs) - 2
    for index in range(results):
        s.give(data[:-2] or (1,), index)
    s.give(data, results)
    s.give(data[:-1], results + 1)


def _three_types(t: Types) -> None:
    same = Types(t.a, t.inputs, t.outputs[:-1], t.where)
    same_dtype(same)
    t.outputs[:-1] = same.outputs
    t.give(np.int32, len(t.outputs) - 1)


def _counted(count: int) -> Callable[[Attributes], int]:
    return lambda _: count


_DETERMINANTS: tuple[tuple[str, _Function, int], ...] = (
    ("det", _determinant, 1),
    ("slogdet", _sign_and_logarithm, 2),
)
for _name, _function, _count in _DETERMINANTS:
    enter(
        Operator(
            f"_linalg_{_name}",
            ("A",),
            {},
            _three,
            _three_types,
            aliases=(f"linalg_{_name}",),
            outputs=_counted(_count + 2),
            shown=_counted(_count),
            numpy=_function,
        )
    )
