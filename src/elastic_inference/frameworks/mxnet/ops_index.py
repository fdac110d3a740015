"""Operators that look elements up."""

from __future__ import annotations

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    choice,
    declare,
    dtype,
    integer,
    number,
    shape,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import (
    Shapes,
    Types,
    first_dtype,
    merged,
    product,
)
from elastic_inference.frameworks.mxnet.table import operator

_MODES = ("clip", "raise", "wrap")


def _places(e: Emit, indices: str, size: int, mode: str = "clip") -> str:
    """Indices within 0 and `size`, as ONNX takes them."""
    found = e.cast(indices, np.int64)
    if mode == "wrap":
        return e.add("Mod", found, e.constant(size, np.int64))
    last = e.constant(size - 1, np.int64)
    # Every index that is too large or too small is that of an end.
    return e.add("Min", e.add("Max", found, e.constant(0, np.int64)), last)


def _embedding_shapes(s: Shapes) -> None:
    s.expect(1, (s.a.input_dim, s.a.output_dim))
    if s.inputs[0] is not None:
        s.give((*s.inputs[0], s.a.output_dim))


def _embedding_types(t: Types) -> None:
    weight = t.inputs[1] or t.outputs[0] or t.a.dtype
    t.expect(1, weight)
    t.expect(0, weight)
    t.give(weight)


_EMBEDDING = declare(
    input_dim=integer(), output_dim=integer(), dtype=dtype(np.float32), sparse_grad=boolean(False)
)


@operator(
    "_contrib_SparseEmbedding",
    inputs=("data", "weight"),
    parameters=_EMBEDDING,
    shapes=_embedding_shapes,
    types=_embedding_types,
)
@operator(
    "Embedding",
    "_npx_embedding",
    "_sparse_Embedding",
    inputs=("data", "weight"),
    parameters=_EMBEDDING,
    shapes=_embedding_shapes,
    types=_embedding_types,
)
def _embedding(e: Emit) -> str:
    return e.add("Gather", e.inputs[1], _places(e, e.x, e.a.input_dim), axis=0)


def _take_shapes(s: Shapes) -> None:
    data, indices = s.inputs
    if data is not None and indices is not None:
        axis = s.axis(s.a.axis, len(data))
        s.give((*data[:axis], *indices, *data[axis + 1 :]))


@operator(
    "take",
    "_npi_take",
    inputs=("a", "indices"),
    parameters=declare(axis=integer(0), mode=choice(_MODES, "clip")),
    shapes=_take_shapes,
    types=first_dtype,
)
def _take(e: Emit) -> str:
    axis = e.axis(e.a.axis)
    places = _places(e, e.inputs[1], e.shape[axis], e.a.mode)
    return e.add("Gather", e.x, places, axis=axis)


def _batch_take_shapes(s: Shapes) -> None:
    s.expect(1, None if s.inputs[0] is None else s.inputs[0][:1])
    s.give(s.inputs[1])


@operator("batch_take", inputs=("a", "indices"), shapes=_batch_take_shapes, types=first_dtype)
def _batch_take(e: Emit) -> str:
    places = e.unsqueeze(_places(e, e.inputs[1], e.shape[1]), [1])
    return e.squeeze(e.add("GatherElements", e.x, places, axis=1), [1])


def _pick_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    if s.a.axis is None:
        raise s.refuse("pick without an axis")
    axis = s.axis(s.a.axis, len(data))
    without = (*data[:axis], *data[axis + 1 :])
    kept = (*data[:axis], 1, *data[axis + 1 :])
    if s.inputs[1] is not None and len(s.inputs[1]) != len(data):
        s.expect(1, without)
    s.give(kept if s.a.keepdims else without or (1,))


@operator(
    "pick",
    "choose_element_0index",
    "_npx_pick",
    inputs=("data", "index"),
    parameters=declare(
        axis=integer(-1, optional=True),
        keepdims=boolean(False),
        mode=choice(("clip", "wrap"), "clip"),
    ),
    shapes=_pick_shapes,
    types=first_dtype,
)
def _pick(e: Emit) -> str:
    axis = e.axis(e.a.axis)
    places = _places(e, e.inputs[1], e.shape[axis], e.a.mode)
    places = e.reshape(places, (*e.shape[:axis], 1, *e.shape[axis + 1 :]))
    return e.reshape(e.add("GatherElements", e.x, places, axis=axis), e.out_shape)


@operator(
    "one_hot",
    "_npx_one_hot",
    inputs=("indices",),
    parameters=declare(
        depth=integer(), on_value=number(1.0), off_value=number(0.0), dtype=dtype(np.float32)
    ),
    shapes=lambda s: s.give(None if s.inputs[0] is None else (*s.inputs[0], s.a.depth)),
    types=lambda t: t.give(t.a.dtype),
)
def _one_hot(e: Emit) -> str:
    indices = e.unsqueeze(e.cast(e.x, np.int64), [e.rank])
    chosen = e.add("Equal", indices, e.constant(np.arange(e.a.depth), np.int64))
    on, off = (e.constant(each, e.a.dtype) for each in (e.a.on_value, e.a.off_value))
    return e.add("Where", chosen, on, off)


def _gather_nd_shapes(s: Shapes) -> None:
    data, indices = s.inputs
    if data is not None and indices is not None:
        s.give((*indices[1:], *data[indices[0] :]))


@operator(
    "gather_nd",
    "_npi_gather_nd",
    "_npx_gather_nd",
    inputs=("data", "indices"),
    shapes=_gather_nd_shapes,
    types=first_dtype,
)
def _gather_nd(e: Emit) -> str:
    return e.add("GatherND", e.x, _last(e, e.inputs[1], len(e.shapes[1])))


def _last(e: Emit, indices: str, rank: int) -> str:
    """Indices whose first axis is ONNX's last."""
    return e.transpose(e.cast(indices, np.int64), [*range(1, rank), 0])


@operator(
    "scatter_nd",
    inputs=("data", "indices"),
    parameters=declare(shape=shape()),
    shapes=lambda s: s.give(s.a.shape),
    types=first_dtype,
)
def _scatter_nd(e: Emit) -> str:
    zeros = e.expand(e.constant(0), e.out_shape)
    return e.add("ScatterND", zeros, _last(e, e.inputs[1], len(e.shapes[1])), e.x)


@operator(
    "_scatter_set_nd",
    "_npi_scatter_set_nd",
    inputs=("lhs", "rhs", "indices"),
    parameters=declare(shape=shape()),
    shapes=lambda s: s.give(s.inputs[0]),
    types=first_dtype,
)
def _scatter_set_nd(e: Emit) -> str:
    return e.add("ScatterND", e.x, _last(e, e.inputs[2], len(e.shapes[2])), e.inputs[1])


@operator(
    "_contrib_index_copy",
    inputs=("old_tensor", "index_vector", "new_tensor"),
    shapes=lambda s: s.give(s.inputs[0]),
    types=first_dtype,
)
def _index_copy(e: Emit) -> str:
    indices = e.unsqueeze(e.cast(e.inputs[1], np.int64), [1])
    return e.add("ScatterND", e.x, indices, e.inputs[2])


def _where_shapes(s: Shapes) -> None:
    found = merged(merged(s.inputs[1], s.inputs[2]), s.outputs[0])
    s.expect(1, found)
    s.expect(2, found)
    s.give(found)
    condition = s.inputs[0]
    if condition is not None and found is not None and len(condition) == len(found):
        s.expect(0, found)


def _where_types(t: Types) -> None:
    found = t.inputs[1] or t.inputs[2] or t.outputs[0]
    for index in (1, 2, 0):
        t.expect(index, found)
    t.give(found)


@operator(
    "where",
    "_sparse_where",
    inputs=("condition", "x", "y"),
    shapes=_where_shapes,
    types=_where_types,
)
def _where(e: Emit) -> str:
    condition = e.cast(e.x, np.bool_)
    rank = len(e.out_shape)
    if e.rank == 1 and rank > 1:
        condition = e.reshape(condition, (e.shape[0], *(1,) * (rank - 1)))
    return e.add("Where", condition, *e.inputs[1:])


def _diag_shapes(s: Shapes) -> None:
    data, k = s.inputs[0], s.a.k
    if data is None:
        return
    if len(data) == 1:
        size = data[0] + abs(k)
        s.give((size, size))
        return
    first, second = s.axis(s.a.axis1, len(data)), s.axis(s.a.axis2, len(data))
    rows, columns = data[first] + min(k, 0), data[second] - max(k, 0)
    rest = [size for axis, size in enumerate(data) if axis not in {first, second}]
    s.give((*rest, max(min(rows, columns), 0)))


@operator(
    "diag",
    parameters=declare(k=integer(0), axis1=integer(0), axis2=integer(1)),
    shapes=_diag_shapes,
)
def _diag(e: Emit) -> str:
    k = e.a.k
    if e.rank == 1:
        size = e.out_shape[0]
        places = np.arange(e.shape[0])
        rows, columns = places - min(k, 0), places + max(k, 0)
        zeros = e.constant(np.zeros((size, size)))
        indices = e.constant(np.stack([rows, columns], -1), np.int64)
        return e.add("ScatterND", zeros, indices, e.x)
    first, second = e.axis(e.a.axis1), e.axis(e.a.axis2)
    rest = [axis for axis in range(e.rank) if axis not in {first, second}]
    sizes = [e.shape[axis] for axis in rest]
    width = e.shape[second]
    flat = e.transpose(e.x, [*rest, first, second])
    flat = e.reshape(flat, (*sizes, e.shape[first] * width))
    places = np.arange(e.out_shape[-1])
    indices = (places - min(k, 0)) * width + places + max(k, 0)
    return e.add("Gather", flat, e.constant(indices, np.int64), axis=len(rest))


def _ravel_onnx(e: Emit) -> str:
    strides = [product(e.a.shape[axis + 1 :]) for axis in range(len(e.a.shape))]
    wide = np.array(strides).reshape(-1, *(1,) * (e.rank - 1))
    steps = e.add("Mul", e.cast(e.x, np.int64), e.constant(wide, np.int64))
    found = e.add("ReduceSum", steps, e.integers([0]), keepdims=0)
    return e.cast(e.reshape(found, e.out_shape), e.dtype)


operator(
    "_ravel_multi_index",
    "ravel_multi_index",
    parameters=declare(shape=shape()),
    shapes=lambda s: s.give(None if s.inputs[0] is None else s.inputs[0][1:] or (1,)),
)(_ravel_onnx)


@operator(
    "_unravel_index",
    "unravel_index",
    parameters=declare(shape=shape()),
    shapes=lambda s: s.give(None if s.inputs[0] is None else (len(s.a.shape), *s.inputs[0])),
)
def _unravel_onnx(e: Emit) -> str:
    sizes = e.a.shape
    x = e.unsqueeze(e.cast(e.x, np.int64), [0])
    wide = (len(sizes), *(1,) * e.rank)
    strides = np.array([product(sizes[axis + 1 :]) for axis in range(len(sizes))])
    found = e.add("Div", x, e.constant(strides.reshape(wide), np.int64))
    found = e.add("Mod", found, e.constant(np.array(sizes).reshape(wide), np.int64))
    return e.cast(found, e.dtype)
