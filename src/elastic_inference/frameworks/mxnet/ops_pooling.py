"""Pooling, resizing, and what else looks at windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    choice,
    declare,
    integer,
    number,
    shape,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.ops_layers import (
    channels_last,
    first_axes,
    last_axes,
    per_dimension,
    to_channels_first,
    to_channels_last,
)
from elastic_inference.frameworks.mxnet.rules import Shape, Shapes, like_first
from elastic_inference.frameworks.mxnet.table import operator
from elastic_inference.protocol.tensors import Array

_POOLING = declare(
    kernel=shape(()),
    pool_type=choice(("max", "avg", "sum", "lp"), "max"),
    global_pool=boolean(False),
    cudnn_off=boolean(False),
    pooling_convention=choice(("valid", "full", "same"), "valid"),
    stride=shape(()),
    pad=shape(()),
    p_value=integer(None),
    count_include_pad=boolean(None),
    layout=choice(("NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"), None),
)


def _window(a: Attributes, rank: int) -> tuple[list[int], list[int], list[int]]:
    """Kernel, stride and padding of each dimension."""
    return list(a.kernel), per_dimension(a.stride, rank, 1), per_dimension(a.pad, rank, 0)


def _pooled(a: Attributes, sizes: Sequence[int]) -> list[int]:
    kernels, strides, pads = _window(a, len(sizes))
    found = []
    for size, kernel, stride, pad in zip(sizes, kernels, strides, pads, strict=True):
        room = size + 2 * pad - kernel
        if not size:
            found.append(0)
        elif a.pooling_convention == "valid":
            found.append(room // stride + 1)
        elif a.pooling_convention == "full":
            found.append(-(-room // stride) + 1)
        else:
            found.append(-(-(size + 2 * pad) // stride))
    return found


def _pooling_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    if len(data) not in (3, 4, 5):
        raise s.refuse("Pooling: Input data should be 3D in (batch, channel, x), 4D or 5D")
    last = channels_last(s.a)
    sizes = to_channels_first(data) if last else data
    rank = len(data) - 2
    if s.a.global_pool:
        found = [1] * rank
    elif len(s.a.kernel) != rank:
        raise s.refuse(f"kernel has {len(s.a.kernel)} dimensions and the data {rank}")
    else:
        found = _pooled(s.a, sizes[2:])
        if any(size and extent < 1 for size, extent in zip(sizes[2:], found, strict=True)):
            raise s.refuse(f"kernel size exceeds input, the shape is {list(data)}")
    shape = (*sizes[:2], *found)
    s.give(to_channels_last(shape) if last else shape)


@operator("Pooling_v1", parameters=_POOLING, shapes=_pooling_shapes)
@operator("Pooling", "_npx_pooling", parameters=_POOLING, shapes=_pooling_shapes)
def _pooling(e: Emit) -> str:
    last = channels_last(e.a)
    sizes = to_channels_first(e.shape) if last else e.shape
    x = e.transpose(e.x, first_axes(e.rank)) if last else e.x
    y = _global_pooling(e, x, sizes) if e.a.global_pool else _window_pooling(e, x, sizes)
    return e.transpose(y, last_axes(e.rank)) if last else y


def _global_pooling(e: Emit, x: str, sizes: Shape) -> str:
    kind = e.a.pool_type
    if kind == "max":
        return e.add("GlobalMaxPool", x)
    if kind == "lp" and _power(e) == 2:
        return e.add("GlobalLpPool", x, p=2)
    y = e.add("GlobalAveragePool", x)
    if kind == "avg":
        return y
    if kind == "lp" and _power(e) != 1:
        raise e.refuse("p_value must be 1 or 2")
    return e.add("Mul", y, e.constant(np.prod(sizes[2:])))


def _power(e: Emit) -> int:
    return 2 if e.a.p_value is None else int(e.a.p_value)


def _window_pooling(e: Emit, x: str, sizes: Shape) -> str:
    """Windows that see nothing but padding are no part of ONNX's pooling: they are added to it."""
    rank = len(sizes) - 2
    kernels, strides, pads = _window(e.a, rank)
    begins, ends, before, after = [], [], [], []
    for size, kernel, stride, pad, extent in zip(
        sizes[2:], kernels, strides, pads, _pooled(e.a, sizes[2:]), strict=True
    ):
        starts = [index * stride - pad for index in range(extent)]
        seeing = [index for index in range(extent) if -kernel < starts[index] < size]
        before.append(seeing[0])
        after.append(extent - 1 - seeing[-1])
        begins.append(-starts[seeing[0]])
        ends.append(max(starts[seeing[-1]] + kernel - size, 0))
    y = _seeing(e, x, sizes, [begins, ends, before, after])
    if not any(before) and not any(after):
        return y
    filling = e.constant(np.finfo(e.dtype).min if e.a.pool_type == "max" else 0)
    return e.add("Pad", y, e.integers([0, 0, *before, 0, 0, *after]), filling)


def _seeing(e: Emit, x: str, sizes: Shape, margins: Sequence[list[int]]) -> str:
    """The pooling of the windows that see something."""
    begins, ends, before, after = margins
    kernels, strides, pads = _window(e.a, len(begins))
    # A window that begins within the data is cut off at its front by nothing.
    cut = [max(-begin, 0) for begin in begins]
    if any(cut):
        axes = [axis + 2 for axis in range(len(cut))]
        x = e.slice(x, cut, list(sizes[2:]), axes)
    attributes: dict[str, Any] = {
        "kernel_shape": kernels,
        "strides": strides,
        "pads": [*(max(begin, 0) for begin in begins), *ends],
    }
    kind = e.a.pool_type
    if kind == "max":
        return e.add("MaxPool", x, **attributes)
    if kind == "avg":
        included = e.a.count_include_pad is not False
        y = e.add("AveragePool", x, count_include_pad=int(included), **attributes)
        if not included or (ends == pads and begins == pads):
            return y
        divisor = _divisor(e, sizes, pads, before, after)
        return e.add("Mul", y, e.constant(np.prod(kernels) / divisor))
    return _sums(e, x, 1 if kind == "sum" else _power(e), attributes)


def _sums(e: Emit, x: str, power: int, attributes: Mapping[str, Any]) -> str:
    """Roots of sums of powers; MXNet takes the powers of the values with their sign."""
    if power == 2:
        return e.add("LpPool", x, p=2, **attributes)
    if power == 3:
        x = e.add("Mul", x, e.add("Mul", x, x))
    y = e.add("AveragePool", x, count_include_pad=1, **attributes)
    y = e.add("Mul", y, e.constant(np.prod(attributes["kernel_shape"])))
    if power == 3:
        root = e.add("Pow", e.add("Abs", y), e.constant(1 / 3))
        return e.add("Mul", e.add("Sign", y), root)
    return y


def _divisor(
    e: Emit, sizes: Shape, pads: Sequence[int], before: Sequence[int], after: Sequence[int]
) -> Array:
    """How many elements of the data and its padding each window has."""
    kernels, strides, _ = _window(e.a, len(pads))
    found = np.ones((1, 1), np.float64)
    for size, kernel, stride, pad, extent, front, back in zip(
        sizes[2:], kernels, strides, pads, _pooled(e.a, sizes[2:]), before, after, strict=True
    ):
        first = np.arange(front, extent - back) * stride - pad
        found = found[..., None] * (np.minimum(first + kernel, size + pad) - first)
    return found


def _adaptive_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        if len(data) != 4 or max(_adaptive_size(s.a)) > _LARGEST_SIDE:
            raise s.refuse("output_size is too large, or the data are no pictures")
        s.give((*data[:2], *_adaptive_size(s.a)))


@operator(
    "_contrib_AdaptiveAvgPooling2D",
    parameters=declare(output_size=shape(())),
    shapes=_adaptive_shapes,
)
def _adaptive_pooling(e: Emit) -> str:
    height, width = _adaptive_size(e.a)
    if (height, width) == (1, 1):
        return e.add("GlobalAveragePool", e.x)
    rows = _adaptive_matrix(e.shape[2], height)
    columns = _adaptive_matrix(e.shape[3], width)
    # Averages are taken along each axis: rows @ x @ columns.T
    return e.add("MatMul", e.add("MatMul", e.constant(rows), e.x), e.constant(columns.T))


_LARGEST_SIDE = 1 << 14


def _adaptive_size(a: Attributes) -> tuple[int, int]:
    size = a.output_size or (1,)
    return int(size[0]), int(size[-1])


def _adaptive_matrix(size: int, wanted: int) -> Array:
    """Row i averages the elements that fall into window i."""
    matrix = np.zeros((wanted, size))
    for index in range(wanted):
        first, last = index * size // wanted, -(-(index + 1) * size // wanted)
        matrix[index, first:last] = 1 / (last - first)
    return matrix


@operator(
    "LRN",
    parameters=declare(nsize=integer(), alpha=number(1e-4), beta=number(0.75), knorm=number(2.0)),
    shapes=like_first,
)
def _lrn(e: Emit) -> str:
    a = e.a
    return e.add(
        "LRN", e.x, size=a.nsize, alpha=float(a.alpha), beta=float(a.beta), bias=float(a.knorm)
    )
