"""Operators that reduce axes, sort them, or look for the largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    choice,
    declare,
    dtype,
    integer,
    shape,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import (
    Shape,
    Shapes,
    Types,
    like_first,
    product,
)
from elastic_inference.frameworks.mxnet.table import operator

_REDUCE = declare(axis=shape(None), keepdims=boolean(False), exclude=boolean(False))


def _axes(a: Attributes, rank: int) -> list[int]:
    """The axes that are reduced; none given means all."""
    given = [axis % rank for axis in a.axis or ()]
    if getattr(a, "exclude", False):
        return [axis for axis in range(rank) if axis not in given]
    return sorted(given) or list(range(rank))


def _without(data: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    if keep:
        return tuple(1 if axis in axes else size for axis, size in enumerate(data))
    return tuple(size for axis, size in enumerate(data) if axis not in axes) or (1,)


def _reduce_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        for axis in s.a.axis or ():
            s.axis(axis, len(data))
        s.give(_without(data, _axes(s.a, len(data)), keep=s.a.keepdims))


def _reduced(e: Emit, onnx: str, x: str) -> str:
    axes = _axes(e.a, e.rank)
    if not axes:
        return x
    keep = int(e.a.keepdims or len(axes) == e.rank)
    if onnx == "ReduceSum":
        y = e.add(onnx, x, e.integers(axes), keepdims=keep)
    else:
        y = e.add(onnx, x, axes=axes, keepdims=keep)
    return e.reshape(y, e.out_shape) if len(axes) == e.rank and not e.a.keepdims else y


def _reduction(onnx: str, missing: float | None = None) -> Callable[[Emit], str]:
    def write(e: Emit) -> str:
        x = e.x
        if missing is not None:
            x = e.add("Where", e.add("IsNaN", x), e.constant(missing), x)
        return _reduced(e, onnx, x)

    return write


for _names, _onnx, _missing in (
    (("sum", "sum_axis", "_sparse_sum"), "ReduceSum", None),
    (("mean", "_sparse_mean"), "ReduceMean", None),
    (("prod",), "ReduceProd", None),
    (("max", "max_axis"), "ReduceMax", None),
    (("min", "min_axis"), "ReduceMin", None),
    (("nansum",), "ReduceSum", 0.0),
    (("nanprod",), "ReduceProd", 1.0),
    (("_square_sum",), "ReduceSumSquare", None),
):
    operator(*_names, parameters=_REDUCE, shapes=_reduce_shapes)(_reduction(_onnx, _missing))


def _norm_types(t: Types) -> None:
    t.expect(0, t.outputs[0])
    t.give(t.a.out_dtype or t.inputs[0])


@operator(
    "norm",
    "_sparse_norm",
    parameters=declare(
        ord=integer(2), axis=shape(None), out_dtype=dtype(None), keepdims=boolean(False)
    ),
    shapes=_reduce_shapes,
    types=_norm_types,
)
def _norm(e: Emit) -> str:
    result = e.out_dtypes[0]
    x = e.x if e.dtype == result else e.cast(e.x, result)
    return _reduced(e, "ReduceL1" if e.a.ord == 1 else "ReduceL2", x)


def _moments_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        axes = [axis % len(data) for axis in s.a.axes or range(len(data))]
        for index in range(2):
            s.give(_without(data, axes, keep=s.a.keepdims), index)


@operator(
    "moments",
    parameters=declare(axes=shape(None), keepdims=boolean(False)),
    shapes=_moments_shapes,
    outputs=2,
)
def _moments(e: Emit) -> tuple[str, str]:
    axes = [axis % e.rank for axis in e.a.axes or range(e.rank)]
    mean = e.add("ReduceMean", e.x, axes=axes, keepdims=1)
    centred = e.add("Sub", e.x, mean)
    variance = e.add("ReduceMean", e.add("Mul", centred, centred), axes=axes, keepdims=1)
    return e.reshape(mean, e.out_shape), e.reshape(variance, e.out_shape)


def _one_axis(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    if s.a.axis is None:
        s.give((1,) * (len(data) if s.a.keepdims else 1))
    else:
        s.give(_without(data, [s.axis(s.a.axis, len(data))], keep=s.a.keepdims))


def _extreme(onnx: str) -> Callable[[Emit], str]:
    def write(e: Emit) -> str:
        x, axis = e.x, e.a.axis
        if axis is None:
            x, axis = e.reshape(x, (product(e.shape),)), 0
        found = e.cast(e.add(onnx, x, axis=axis, keepdims=1), e.out_dtypes[0])
        return e.reshape(found, e.out_shape)

    return write


for _name, _onnx in (("argmax", "ArgMax"), ("argmin", "ArgMin")):
    operator(
        _name,
        parameters=declare(axis=integer(None), keepdims=boolean(False)),
        shapes=_one_axis,
    )(_extreme(_onnx))


@operator(
    "argmax_channel",
    shapes=lambda s: s.give(
        None if s.inputs[0] is None else _without(s.inputs[0], [1], keep=False)
    ),
)
def _argmax_channel(e: Emit) -> str:
    return e.cast(e.add("ArgMax", e.x, axis=1, keepdims=0), e.dtype)


def _sorted_shape(a: Attributes, data: Shape) -> tuple[Shape, int]:
    """What is sorted, and along which axis."""
    if a.axis is None:
        return (product(data),), 0
    return data, a.axis % len(data)


def _count(a: Attributes, size: int) -> int:
    return a.k if 0 < a.k <= size else size


def _topk_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None or 0 in data:
        return
    if s.a.axis is not None:
        s.axis(s.a.axis, len(data))
    whole, axis = _sorted_shape(s.a, data)
    found = [*whole[:axis], _count(s.a, whole[axis]), *whole[axis + 1 :]]
    for index in range(len(s.outputs)):
        s.give(data if s.a.ret_typ == "mask" else found, index)


def _topk_types(t: Types) -> None:
    if t.a.ret_typ == "indices":
        t.give(t.a.dtype)
        return
    t.expect(0, t.outputs[0])
    t.give(t.inputs[0])
    if len(t.outputs) > 1:
        t.give(t.a.dtype, 1)


def _sorted(e: Emit, count: int, *, ascending: bool) -> tuple[str, str]:
    """The first `count` values and their indices."""
    whole, axis = _sorted_shape(e.a, e.shape)
    x = e.x if whole == e.shape else e.reshape(e.x, whole)
    values, indices = e.several(
        "TopK", x, e.integers([count]), count=2, axis=axis, largest=int(not ascending), sorted=1
    )
    return values, indices


@operator(
    "topk",
    "_npx_topk",
    parameters=declare(
        axis=integer(-1, optional=True),
        k=integer(1),
        ret_typ=choice(("both", "indices", "mask", "value"), "indices"),
        is_ascend=boolean(False),
        dtype=dtype(np.float32),
    ),
    shapes=_topk_shapes,
    types=_topk_types,
    outputs=lambda a: 1 if a.ret_typ in {"indices", "mask"} else 2,
    visible=lambda a: 2 if a.ret_typ == "both" else 1,
)
def _topk(e: Emit) -> Sequence[str]:
    whole, axis = _sorted_shape(e.a, e.shape)
    count = _count(e.a, whole[axis])
    values, indices = _sorted(e, count, ascending=e.a.is_ascend)
    if e.a.ret_typ == "mask":
        ones = e.constant(np.ones([*whole[:axis], count, *whole[axis + 1 :]]), e.dtype)
        zeros = e.constant(np.zeros(whole), e.dtype)
        mask = e.add("ScatterElements", zeros, indices, ones, axis=axis)
        return [e.reshape(mask, e.shape)]
    if e.a.ret_typ == "indices":
        return [e.cast(indices, e.a.dtype)]
    return [values, e.cast(indices, e.a.dtype)]


def _sort_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        for index in range(len(s.outputs)):
            s.give(_sorted_shape(s.a, data)[0], index)


def _sort_types(t: Types) -> None:
    t.expect(0, t.outputs[0])
    t.give(t.inputs[0])
    t.give(np.int64, 1)


@operator(
    "sort",
    "_npi_sort",
    parameters=declare(axis=integer(-1, optional=True), is_ascend=boolean(True)),
    shapes=_sort_shapes,
    types=_sort_types,
    outputs=2,
    visible=1,
)
def _sort(e: Emit) -> tuple[str, str]:
    whole, axis = _sorted_shape(e.a, e.shape)
    return _sorted(e, whole[axis], ascending=e.a.is_ascend)


@operator(
    "argsort",
    "_npi_argsort",
    parameters=declare(
        axis=integer(-1, optional=True), is_ascend=boolean(True), dtype=dtype(np.float32)
    ),
    shapes=_sort_shapes,
    types=lambda t: t.give(t.a.dtype),
)
def _argsort(e: Emit) -> str:
    whole, axis = _sorted_shape(e.a, e.shape)
    return e.cast(_sorted(e, whole[axis], ascending=e.a.is_ascend)[1], e.a.dtype)


def _cumsum_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if s.a.axis is not None:
        like_first(s)
    elif data is not None:
        s.give((product(data),))


def _cumsum_types(t: Types) -> None:
    t.expect(0, t.outputs[0])
    t.give(t.a.dtype or t.inputs[0])


@operator(
    "cumsum",
    "_np_cumsum",
    inputs=("a",),
    parameters=declare(axis=integer(None), dtype=dtype(None)),
    shapes=_cumsum_shapes,
    types=_cumsum_types,
)
def _cumsum(e: Emit) -> str:
    result = e.out_dtypes[0]
    x = e.x if e.dtype == result else e.cast(e.x, result)
    axis = 0 if e.a.axis is None else e.axis(e.a.axis)
    if e.a.axis is None:
        x = e.reshape(x, e.out_shape)
    return e.add("CumSum", x, e.constant(axis, np.int64))
