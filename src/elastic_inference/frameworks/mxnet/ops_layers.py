"""Layers with weights."""

from __future__ import annotations

from collections.abc import Sequence

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    choice,
    declare,
    integer,
    shape,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import (
    Shape,
    Shapes,
    product,
)
from elastic_inference.frameworks.mxnet.table import operator

_TUNE = choice(("fastest", "limited_workspace", "off"), None)
_LAYOUTS = ("NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC")


def _weight_and_bias(a: Attributes) -> tuple[str, ...]:
    return ("data", "weight") if a.no_bias else ("data", "weight", "bias")


def per_dimension(values: Sequence[int], rank: int, default: int) -> list[int]:
    """`values` for `rank` dimensions; MXNet's empty tuple means the default for all."""
    return list(values) if values else [default] * rank


def _fully_connected_shapes(s: Shapes) -> None:
    data, out = s.inputs[0], s.outputs[0]
    if data is not None:
        if s.a.flatten:
            size = product(data[1:])
            s.give((data[0], s.a.num_hidden))
        else:
            size = data[-1]
            s.give((*data[:-1], s.a.num_hidden))
        s.expect(1, (s.a.num_hidden, size))
    elif out is not None and s.inputs[1] is not None and len(out) == 2 and not s.a.flatten:
        s.expect(0, (out[0], s.inputs[1][1]))
    s.expect(2, (s.a.num_hidden,))


@operator(
    "FullyConnected",
    "_npx_fully_connected",
    "_sparse_FullyConnected",
    inputs=_weight_and_bias,
    parameters=declare(num_hidden=integer(), no_bias=boolean(False), flatten=boolean(True)),
    shapes=_fully_connected_shapes,
)
def _fully_connected(e: Emit) -> str:
    weight = e.inputs[1]
    if e.rank == 2 or e.a.flatten:
        x = e.x if e.rank == 2 else e.reshape(e.x, (e.shape[0], product(e.shape[1:])))
        return e.add("Gemm", x, *e.inputs[1:], transB=1)
    y = e.add("MatMul", e.x, e.transpose(weight, (1, 0)))
    return y if e.a.no_bias else e.add("Add", y, e.inputs[2])


CONVOLUTION = declare(
    kernel=shape(),
    stride=shape(()),
    dilate=shape(()),
    pad=shape(()),
    num_filter=integer(),
    num_group=integer(1),
    workspace=integer(1024),
    no_bias=boolean(False),
    cudnn_tune=_TUNE,
    cudnn_off=boolean(False),
    layout=choice(_LAYOUTS, None),
)


def channels_last(a: Attributes) -> bool:
    """Whether a layout puts the channels behind the sizes."""
    return bool(a.layout) and a.layout.endswith("C")


def to_channels_first(shape: Sequence[int]) -> Shape:
    """The shape of the same data with its channels second."""
    return (shape[0], shape[-1], *shape[1:-1])


def to_channels_last(shape: Sequence[int]) -> Shape:
    """The shape of the same data with its channels last."""
    return (shape[0], *shape[2:], shape[1])


def first_axes(rank: int) -> list[int]:
    """The axes of a transposition that puts the channels second."""
    return [0, rank - 1, *range(1, rank - 1)]


def last_axes(rank: int) -> list[int]:
    """The axes of a transposition that puts the channels last."""
    return [0, *range(2, rank), 1]


def convolution_shapes(s: Shapes) -> None:
    """Of data, weight and perhaps a bias."""
    a, rank, last = s.a, len(s.a.kernel), channels_last(s.a)
    s.expect(2, (a.num_filter,))
    data = s.inputs[0]
    if data is None:
        return
    if len(data) != rank + 2:
        raise s.refuse(f"Input data should be {rank + 2}D, but the shape is {list(data)}")
    sizes = to_channels_first(data) if last else data
    if a.num_group < 1 or a.num_filter % a.num_group or sizes[1] % a.num_group:
        raise s.refuse("input channels and num_filter must be divisible by num_group")
    weight = (a.num_filter, sizes[1] // a.num_group, *a.kernel)
    s.expect(1, to_channels_last(weight) if last else weight)
    found = [
        (size + 2 * pad - (dilate * (kernel - 1) + 1)) // stride + 1 if size else 0
        for size, kernel, stride, dilate, pad in zip(
            sizes[2:], a.kernel,
            per_dimension(a.stride, rank, 1),
            per_dimension(a.dilate, rank, 1),
            per_dimension(a.pad, rank, 0),
            strict=True,
        )
    ]  # fmt: skip
    if any(size and extent < 1 for size, extent in zip(sizes[2:], found, strict=True)):
        raise s.refuse(f"kernel size exceed input, the shape is {list(data)}")
    shape = (sizes[0], a.num_filter, *found)
    s.give(to_channels_last(shape) if last else shape)


@operator(
    "Convolution_v1", inputs=_weight_and_bias, parameters=CONVOLUTION, shapes=convolution_shapes
)
@operator(
    "Convolution",
    "_npx_convolution",
    inputs=_weight_and_bias,
    parameters=CONVOLUTION,
    shapes=convolution_shapes,
)
def _convolution(e: Emit) -> str:
    a, rank = e.a, len(e.a.kernel)
    x, weight, *bias = e.inputs
    if channels_last(a):
        x = e.transpose(x, first_axes(rank + 2))
        weight = e.transpose(weight, first_axes(rank + 2))
    y = e.add(
        "Conv", x, weight, *bias,
        kernel_shape=list(a.kernel),
        strides=per_dimension(a.stride, rank, 1),
        dilations=per_dimension(a.dilate, rank, 1),
        pads=per_dimension(a.pad, rank, 0) * 2,
        group=a.num_group,
    )  # fmt: skip
    return e.transpose(y, last_axes(rank + 2)) if channels_last(a) else y
