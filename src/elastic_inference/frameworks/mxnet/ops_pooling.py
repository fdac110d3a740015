"""Pooling, resizing, and what else looks at windows."""

from __future__ import annotations

from collections.abc import Sequence
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


@operator("Pooling", "Pooling_v1", "_npx_pooling", parameters=_POOLING, shapes=_pooling_shapes)
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
    if kind == "lp":
        return e.add("GlobalLpPool", x, p=_power(e))
    y = e.add("GlobalAveragePool", x)
    if kind == "avg":
        return y
    return e.add("Mul", y, e.constant(np.prod(sizes[2:])))


def _power(e: Emit) -> int:
    return 2 if e.a.p_value is None else int(e.a.p_value)


def _window_pooling(e: Emit, x: str, sizes: Shape) -> str:
    """The last windows may reach beyond the padding: how far, is padded explicitly."""
    rank = len(sizes) - 2
    kernels, strides, pads = _window(e.a, rank)
    ends = [
        max((extent - 1) * stride + kernel - size - pad, 0)
        for extent, stride, kernel, size, pad in zip(
            _pooled(e.a, sizes[2:]), strides, kernels, sizes[2:], pads, strict=True
        )
    ]
    attributes: dict[str, Any] = {"kernel_shape": kernels, "strides": strides}
    kind = e.a.pool_type
    if any(pad >= kernel for pad, kernel in zip((*pads, *ends), kernels * 2, strict=True)):
        # ONNX has no padding that is as wide as the kernel.
        filling = e.constant(-np.inf if kind == "max" else 0)
        x = e.add("Pad", x, e.integers([0, 0, *pads, 0, 0, *ends]), filling)
        divisor = _divisor(e, sizes, pads, whole=True)
        pads_written = [0] * (2 * rank)
    else:
        pads_written = [*pads, *ends]
        divisor = None
    attributes["pads"] = pads_written
    if kind == "max":
        return e.add("MaxPool", x, **attributes)
    if kind == "lp":
        return e.add("LpPool", x, p=_power(e), **attributes)
    included = e.a.count_include_pad is not False
    if kind == "avg" and not included and divisor is None:
        return e.add("AveragePool", x, count_include_pad=0, **attributes)
    y = e.add("AveragePool", x, count_include_pad=1, **attributes)
    if kind == "sum":
        return e.add("Mul", y, e.constant(np.prod(kernels)))
    if divisor is None and ends == pads:
        return y
    divisor = _divisor(e, sizes, pads, whole=included)
    return e.add("Mul", y, e.constant(np.prod(kernels) / divisor))


def _divisor(e: Emit, sizes: Shape, pads: Sequence[int], *, whole: bool) -> np.ndarray[Any, Any]:
    """How many elements each window has: within the padding if `whole`, else within the data."""
    kernels, strides, _ = _window(e.a, len(pads))
    found = np.ones((1, 1), np.float64)
    for size, kernel, stride, pad, extent in zip(
        sizes[2:], kernels, strides, pads, _pooled(e.a, sizes[2:]), strict=True
    ):
        first = np.arange(extent) * stride - pad
        last = np.minimum(first + kernel, size + pad)
        if not whole:
            first, last = np.maximum(first, 0), np.minimum(last, size)
        found = found[..., None] * np.maximum(last - first, 1)
    return found


@operator(
    "_contrib_AdaptiveAvgPooling2D",
    parameters=declare(output_size=shape(())),
    shapes=lambda s: _adaptive_shapes(s),
)
def _adaptive_pooling(e: Emit) -> str:
    height, width = _adaptive_size(e.a)
    if (height, width) == (1, 1):
        return e.add("GlobalAveragePool", e.x)
    rows = _adaptive_matrix(e.shape[2], height)
    columns = _adaptive_matrix(e.shape[3], width)
    # Averages are taken along each axis: rows @ x @ columns.T
    return e.add("MatMul", e.add("MatMul", e.constant(rows), e.x), e.constant(columns.T))


def _adaptive_size(a: Attributes) -> tuple[int, int]:
    size = a.output_size or (1,)
    return int(size[0]), int(size[-1])


def _adaptive_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.give((*data[:2], *_adaptive_size(s.a)))


def _adaptive_matrix(size: int, wanted: int) -> np.ndarray[Any, Any]:
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
