"""Normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    choice,
    declare,
    integer,
    number,
    text,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import Shapes, Types, like_first, product, same_dtype
from elastic_inference.frameworks.mxnet.table import operator


def _batch_norm_shapes(s: Shapes) -> None:
    like_first(s)
    data = s.inputs[0]
    if data is None:
        return
    channels = (data[s.axis(s.a.axis, len(data))],)
    for index in range(1, 5):
        s.expect(index, channels)
    s.give(channels, 1)
    s.give(channels, 2)


def _batch_norm_types(t: Types) -> None:
    same = Types(t.a, t.inputs[:1], t.outputs[:1], t.where)
    same_dtype(same)
    t.inputs[0], t.outputs[0] = same.inputs[0], same.outputs[0]
    if t.inputs[0] is None:
        return
    # Statistics of halves are kept in single precision.
    statistics = np.dtype(np.float32) if t.inputs[0] == np.float16 else t.inputs[0]
    for index in range(1, 5):
        t.expect(index, statistics)
    t.give(statistics, 1)
    t.give(statistics, 2)


BATCH_NORM = declare(
    eps=number(1e-3),
    momentum=number(0.9),
    fix_gamma=boolean(True),
    use_global_stats=boolean(False),
    output_mean_var=boolean(False),
    axis=integer(1),
    cudnn_off=boolean(False),
    min_calib_range=number(None),
    max_calib_range=number(None),
)


# All of them take and give the same.
_batch_normalization = partial(
    operator,
    inputs=("data", "gamma", "beta", "moving_mean", "moving_var"),
    auxiliary=("moving_mean", "moving_var"),
    shapes=_batch_norm_shapes,
    types=_batch_norm_types,
    outputs=3,
    visible=lambda a: 3 if a.output_mean_var else 1,
    output_names=("output", "mean", "var"),
)


@_batch_normalization("BatchNorm", "_npx_batch_norm", parameters=BATCH_NORM)
def _batch_norm(e: Emit) -> tuple[str, str, str]:
    return batch_norm(e), e.inputs[3], e.inputs[4]


def batch_norm(e: Emit) -> str:
    """The first result of a BatchNorm."""
    x, gamma, beta, mean, variance = e.inputs
    axis = e.axis(e.a.axis)
    if e.a.fix_gamma:
        gamma = e.constant(np.ones(e.shapes[1]), e.dtypes[1])
    if axis == 1:
        return e.add("BatchNormalization", x, gamma, beta, mean, variance, epsilon=float(e.a.eps))
    epsilon = e.constant(e.a.eps, e.dtypes[4])
    scale = e.add("Div", gamma, e.add("Sqrt", e.add("Add", variance, epsilon)))
    shift = e.add("Sub", beta, e.add("Mul", mean, scale))
    wide = [size if at == axis else 1 for at, size in enumerate(e.shape)]
    scale, shift = (e.cast(e.reshape(each, wide), e.dtype) for each in (scale, shift))
    return e.add("Add", e.add("Mul", x, scale), shift)


_batch_normalization("BatchNorm_v1", parameters=BATCH_NORM)(_batch_norm)


@_batch_normalization("_contrib_BatchNormWithReLU", parameters=BATCH_NORM)
def _batch_norm_with_relu(e: Emit) -> tuple[str, str, str]:
    return e.add("Relu", batch_norm(e)), e.inputs[3], e.inputs[4]


_batch_normalization(
    "_contrib_SyncBatchNorm",
    parameters={**BATCH_NORM, **declare(ndev=integer(1), key=text(""))},
)(_batch_norm)


def _per_channel(s: Shapes, axis: int) -> None:
    like_first(s)
    data = s.inputs[0]
    if data is not None:
        size = (data[s.axis(axis, len(data))],)
        s.expect(1, size)
        s.expect(2, size)


@operator(
    "InstanceNorm",
    inputs=("data", "gamma", "beta"),
    parameters=declare(eps=number(1e-3)),
    shapes=lambda s: _per_channel(s, 1),
)
def _instance_norm(e: Emit) -> str:
    return e.add("InstanceNormalization", *e.inputs, epsilon=float(e.a.eps))


def _layer_norm_shapes(s: Shapes) -> None:
    _per_channel(s, s.a.axis)
    data = s.inputs[0]
    if data is not None:
        axis = s.axis(s.a.axis, len(data))
        for index in (1, 2):
            s.give([1 if at == axis else size for at, size in enumerate(data)], index)


@operator(
    "LayerNorm",
    "_npx_layer_norm",
    inputs=("data", "gamma", "beta"),
    parameters=declare(axis=integer(-1), eps=number(1e-5), output_mean_var=boolean(False)),
    shapes=_layer_norm_shapes,
    outputs=3,
    visible=lambda a: 3 if a.output_mean_var else 1,
    output_names=("output", "mean", "std"),
)
def _layer_norm(e: Emit) -> tuple[str, str, str]:
    axis = e.axis(e.a.axis)
    if axis == e.rank - 1 and not e.a.output_mean_var:
        y = e.add("LayerNormalization", *e.inputs, axis=-1, epsilon=float(e.a.eps))
        return y, y, y
    wide = [size if at == axis else 1 for at, size in enumerate(e.shape)]
    y, mean, deviation = normalized(e, e.x, [axis], e.a.eps)
    y = e.add("Mul", y, e.reshape(e.inputs[1], wide))
    return e.add("Add", y, e.reshape(e.inputs[2], wide)), mean, deviation


def normalized(e: Emit, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str, str]:
    """`x` with mean 0 and variance 1 along `axes`; its mean and deviation."""
    mean = e.add("ReduceMean", x, axes=list(axes), keepdims=1)
    centred = e.add("Sub", x, mean)
    variance = e.add("ReduceMean", e.add("Mul", centred, centred), axes=list(axes), keepdims=1)
    deviation = e.add("Sqrt", e.add("Add", variance, e.constant(epsilon)))
    return e.add("Div", centred, deviation), mean, deviation


def _group_norm_shapes(s: Shapes) -> None:
    like_first(s)
    groups = s.a.num_groups
    data = s.inputs[0]
    s.expect(1, (groups,))
    s.expect(2, (groups,))
    if data is not None:
        s.give((data[0], groups), 1)
        s.give((data[0], groups), 2)


@operator(
    "GroupNorm",
    inputs=("data", "gamma", "beta"),
    parameters=declare(num_groups=integer(1), eps=number(1e-5), output_mean_var=boolean(False)),
    shapes=_group_norm_shapes,
    outputs=3,
    visible=lambda a: 3 if a.output_mean_var else 1,
    output_names=("output", "mean", "std"),
)
def _group_norm(e: Emit) -> tuple[str, str, str]:
    groups, count = e.a.num_groups, e.shape[0]
    grouped = e.reshape(e.x, (count, groups, product(e.shape[1:]) // groups))
    y, mean, deviation = normalized(e, grouped, [2], e.a.eps)
    y = e.add("Mul", y, e.reshape(e.inputs[1], (1, groups, 1)))
    y = e.add("Add", y, e.reshape(e.inputs[2], (1, groups, 1)))
    flat = (count, groups)
    return e.reshape(y, e.shape), e.reshape(mean, flat), e.reshape(deviation, flat)


@operator(
    "L2Normalization",
    parameters=declare(
        eps=number(1e-10), mode=choice(("instance", "channel", "spatial"), "instance")
    ),
    shapes=like_first,
)
def _l2_normalization(e: Emit) -> str:
    axes = {
        "instance": range(1, e.rank),
        "channel": range(1, 2),
        "spatial": range(2, e.rank),
    }[e.a.mode]
    squares = e.add("ReduceSumSquare", e.x, axes=list(axes), keepdims=1)
    return e.add("Div", e.x, e.add("Sqrt", e.add("Add", squares, e.constant(e.a.eps))))
