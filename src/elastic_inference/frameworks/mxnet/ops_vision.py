"""Operators that resize, sample, and convolve at other places than the grid's."""

from __future__ import annotations

from collections.abc import Sequence

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
from elastic_inference.frameworks.mxnet.emit import TO_THE_START, Emit
from elastic_inference.frameworks.mxnet.ops_layers import (
    CONVOLUTION,
    convolution_shapes,
    per_dimension,
)
from elastic_inference.frameworks.mxnet.rules import Shape, Shapes, first_dtype, product
from elastic_inference.frameworks.mxnet.table import operator
from elastic_inference.protocol.tensors import Array

_DECONVOLUTION = CONVOLUTION | declare(
    adj=shape(()), target_shape=shape(()), no_bias=boolean(True), workspace=integer(512)
)


def _margins(a: Attributes, sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding, and how much is added at the end."""
    rank = len(a.kernel)
    if not a.target_shape:
        return per_dimension(a.pad, rank, 0), per_dimension(a.adj, rank, 0)
    pads, more = [], []
    for size, wanted, kernel, stride, dilate in zip(
        sizes, a.target_shape, a.kernel,
        per_dimension(a.stride, rank, 1), per_dimension(a.dilate, rank, 1), strict=True,
    ):  # fmt: skip
        excess = stride * (size - 1) + dilate * (kernel - 1) + 1 - wanted
        pads.append((excess + 1) // 2)
        more.append(excess % 2)
    return pads, more


def _deconvolution_shapes(s: Shapes) -> None:
    a, data = s.a, s.inputs[0]
    s.expect(2, (a.num_filter,))
    if data is None:
        return
    rank = len(a.kernel)
    if len(data) != rank + 2 or a.num_group < 1 or a.num_filter % a.num_group:
        raise s.refuse(f"the shape {list(data)} does not fit kernel and num_group")
    s.expect(1, (data[1], a.num_filter // a.num_group, *a.kernel))
    pads, more = _margins(a, data[2:])
    found = [
        stride * (size - 1) + dilate * (kernel - 1) + 1 - 2 * pad + extra if size else 0
        for size, kernel, stride, dilate, pad, extra in zip(
            data[2:], a.kernel, per_dimension(a.stride, rank, 1),
            per_dimension(a.dilate, rank, 1), pads, more, strict=True,
        )
    ]  # fmt: skip
    s.give((data[0], a.num_filter, *found))


@operator(
    "Deconvolution",
    "_npx_deconvolution",
    inputs=lambda a: ("data", "weight") if a.no_bias else ("data", "weight", "bias"),
    parameters=_DECONVOLUTION,
    shapes=_deconvolution_shapes,
)
def _deconvolution(e: Emit) -> str:
    a, rank = e.a, len(e.a.kernel)
    if a.layout and a.layout.endswith("C"):
        raise e.refuse("only layouts with channels first are supported")
    pads, more = _margins(a, e.shape[2:])
    return e.add(
        "ConvTranspose", *e.inputs,
        kernel_shape=list(a.kernel),
        strides=per_dimension(a.stride, rank, 1),
        dilations=per_dimension(a.dilate, rank, 1),
        pads=pads * 2,
        output_padding=more,
        group=a.num_group,
    )  # fmt: skip


def _up_sampling_inputs(a: Attributes) -> tuple[str, ...]:
    if a.sample_type == "bilinear":
        return ("data", "weight")
    return tuple(f"arg{index}" for index in range(a.num_args or 1))


def _up_sampling_shapes(s: Shapes) -> None:
    a, data = s.a, s.inputs[0]
    if data is None or a.scale < 1:
        return
    height, width = (size * a.scale for size in data[2:])
    if a.sample_type == "bilinear":
        kernel = 2 * a.scale - a.scale % 2
        s.expect(1, (data[1], 1, kernel, kernel))
        s.give((*data[:2], height, width))
        return
    known = [each for each in s.inputs if each is not None]
    if len(known) == len(s.inputs):
        channels = data[1] if a.multi_input_mode == "sum" else sum(each[1] for each in known)
        s.give((data[0], channels, height, width))


@operator(
    "UpSampling",
    variadic="num_args",
    inputs=_up_sampling_inputs,
    parameters=declare(
        scale=integer(),
        num_filter=integer(0),
        sample_type=choice(("bilinear", "nearest")),
        multi_input_mode=choice(("concat", "sum"), "concat"),
        num_args=integer(1),
        workspace=integer(512),
    ),
    shapes=_up_sampling_shapes,
)
def _up_sampling(e: Emit) -> str:
    scale = e.a.scale
    if e.a.sample_type == "bilinear":
        pad = -(-(scale - 1) // 2)
        kernel = 2 * scale - scale % 2
        # What is left of the padded result is exactly `scale` times as large.
        more = scale * e.shape[2] - (scale * (e.shape[2] - 1) + kernel - 2 * pad)
        return e.add(
            "ConvTranspose", *e.inputs, kernel_shape=[kernel] * 2, strides=[scale] * 2,
            pads=[pad] * 4, output_padding=[more] * 2, group=e.shape[1],
        )  # fmt: skip
    wanted = e.out_shape[2:]
    parts = [
        x if sizes[2:] == wanted else _nearest(e, x, wanted[0] // sizes[2])
        for x, sizes in zip(e.inputs, e.shapes, strict=True)
    ]
    if e.a.multi_input_mode == "sum":
        return parts[0] if len(parts) == 1 else e.add("Sum", *parts)
    return e.concat(parts, 1)


def _nearest(e: Emit, x: str, scale: int) -> str:
    scales = e.constant([1, 1, scale, scale], np.float32)
    return e.add(
        "Resize", x, "", scales, mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip


def _resize_inputs(a: Attributes) -> tuple[str, ...]:
    return ("data", "like") if a.mode == "like" else ("data",)


def _resized(a: Attributes, sizes: Sequence[int], like: Shape | None) -> list[int] | None:
    """The wanted height and width."""
    if a.mode == "like":
        return None if like is None else list(like[2:])
    if a.mode == "size":
        if a.scale_height is None:
            return [a.height, a.width]
        return [int(size * scale) for size, scale in zip(sizes, _scales(a), strict=True)]
    if a.mode == "odd_scale":
        return [
            int(size * scale) if size % 2 == 0 else int((size - 1) * scale) + 1
            for size, scale in zip(sizes, _scales(a), strict=True)
        ]
    _, parity, direction = a.mode.split("_")
    odd = parity == "odd"
    step = 1 if direction == "up" else -1
    return [size if size % 2 == odd else size + step for size in sizes]


def _scales(a: Attributes) -> tuple[float, float]:
    return a.scale_height or 1.0, a.scale_width or 1.0


def _resize_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None or len(data) != 4:
        return
    wanted = _resized(s.a, data[2:], s.inputs[1] if len(s.inputs) > 1 else None)
    if wanted is not None:
        s.give((*data[:2], *wanted))


@operator(
    "_contrib_BilinearResize2D",
    inputs=_resize_inputs,
    parameters=declare(
        height=integer(1),
        width=integer(1),
        scale_height=number(None),
        scale_width=number(None),
        mode=choice(
            ("like", "odd_scale", "size", "to_even_down", "to_even_up", "to_odd_down", "to_odd_up"),
            "size",
        ),
        align_corners=boolean(True),
    ),
    shapes=_resize_shapes,
    types=first_dtype,
)
def _bilinear_resize(e: Emit) -> str:
    if e.shape == e.out_shape:
        return e.x
    corners = "align_corners" if e.a.align_corners else "half_pixel"
    # A single row or column is the first one.
    single = [axis for axis in (2, 3) if e.out_shape[axis] == 1]
    x = e.slice(e.x, [0] * len(single), [1] * len(single), single) if single else e.x
    return e.add(
        "Resize", x, "", "", e.integers(e.out_shape), mode="linear",
        coordinate_transformation_mode=corners,
    )  # fmt: skip


def _sampled(e: Emit, x: str, grid: str, padding: str = "zeros") -> str:
    return e.add("GridSample", x, grid, align_corners=1, mode="bilinear", padding_mode=padding)


def _sampler_shapes(s: Shapes) -> None:
    data, grid = s.inputs
    if data is not None and grid is not None:
        s.expect(1, (data[0], 2, 0, 0))
        s.give((*data[:2], *grid[2:]))


@operator(
    "BilinearSampler",
    inputs=("data", "grid"),
    parameters=declare(cudnn_off=boolean(None)),
    shapes=_sampler_shapes,
)
def _bilinear_sampler(e: Emit) -> str:
    return _sampled(e, e.x, e.transpose(e.inputs[1], (0, 2, 3, 1)))


def _line(size: int) -> Sequence[float]:
    """Places from -1 to 1."""
    return [-1 + index * 2 / max(size - 1, 1) for index in range(size)]


def _affine_grid(e: Emit, transform: str, batch: int, sizes: Sequence[int]) -> str:
    """(batch, 2, height, width): where each element of the result comes from."""
    height, width = sizes
    rows, columns = np.meshgrid(_line(height), _line(width), indexing="ij")
    places = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    theta = e.reshape(transform, (batch, 2, 3))
    return e.reshape(e.add("MatMul", theta, e.constant(places)), (batch, 2, height, width))


_GRID = declare(transform_type=choice(("affine", "warp")), target_shape=shape((0, 0)))


def _grid_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    if s.a.transform_type == "affine":
        s.expect(0, (data[0], 6))
        s.give((data[0], 2, *s.a.target_shape))
    else:
        s.give(data)


@operator("GridGenerator", parameters=_GRID, shapes=_grid_shapes)
def _grid_generator(e: Emit) -> str:
    if e.a.transform_type == "affine":
        return _affine_grid(e, e.x, e.shape[0], e.a.target_shape)
    height, width = e.shape[2:]
    rows, columns = np.indices((height, width))
    moved = e.add("Add", e.x, e.constant(np.stack([columns, rows])))
    scale = np.array([max(width - 1, 1) / 2, max(height - 1, 1) / 2]).reshape(2, 1, 1)
    return e.add("Sub", e.add("Div", moved, e.constant(scale)), e.constant(1))


def _transformer_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.expect(1, (data[0], 6))
        wanted = s.a.target_shape if any(s.a.target_shape) else data[2:]
        s.give((*data[:2], *wanted))


@operator(
    "SpatialTransformer",
    inputs=("data", "loc"),
    parameters=declare(
        target_shape=shape((0, 0)),
        transform_type=choice(("affine",)),
        sampler_type=choice(("bilinear",)),
        cudnn_off=boolean(None),
    ),
    shapes=_transformer_shapes,
)
def _spatial_transformer(e: Emit) -> str:
    grid = _affine_grid(e, e.inputs[1], e.shape[0], e.out_shape[2:])
    return _sampled(e, e.x, e.transpose(grid, (0, 2, 3, 1)))


_DEFORMABLE = CONVOLUTION | declare(num_deformable_group=integer(1), im2col_step=integer(64))


def _deformable_shapes(s: Shapes, *, masked: bool) -> None:
    a = s.a
    first = 3 if masked else 2
    plain = Shapes(a, [s.inputs[0], *s.inputs[first:]], [s.outputs[0]], s.where)
    convolution_shapes(plain)
    s.inputs[0], s.inputs[first:], s.outputs[0] = (
        plain.inputs[0],
        plain.inputs[1:],
        plain.outputs[0],
    )
    out = s.outputs[0]
    if out is not None:
        points = a.num_deformable_group * product(a.kernel)
        s.expect(1, (out[0], 2 * points, *out[2:]))
        if masked:
            s.expect(2, (out[0], points, *out[2:]))


def _deformable(e: Emit, offset: str, weight: str, mask: str = "") -> str:
    """Samples every point of every window, and multiplies them with the weights as one matrix."""
    a, (batch, channels, height, width) = e.a, e.shape
    groups, points = a.num_deformable_group, product(a.kernel)
    rows, columns = e.out_shape[2:]
    base = _window_places(a, (rows, columns))
    spread = (batch * groups, points, 2, rows, columns)
    places = e.add("Add", e.reshape(offset, spread), e.constant(base))
    factor = mask or _inside(e, places)
    scale = np.array([2 / max(height - 1, 1), 2 / max(width - 1, 1)]).reshape(1, 1, 2, 1, 1)
    grid = e.add("Sub", e.add("Mul", places, e.constant(scale)), e.constant(1))
    # ONNX has x first.
    grid = e.slice(e.transpose(grid, (0, 1, 3, 4, 2)), [-1], [TO_THE_START], [4], [-1])
    grid = e.reshape(grid, (batch * groups, points * rows, columns, 2))
    x = e.reshape(e.x, (batch * groups, channels // groups, height, width))
    # The version with a mask fades out beyond the border, the other one ends there.
    found = _sampled(e, x, grid, "zeros" if mask else "border")
    found = e.add("Mul", found, e.reshape(factor, (batch * groups, 1, points * rows, columns)))
    parts = a.num_group
    found = e.reshape(found, (batch, parts, channels // parts * points, rows * columns))
    matrix = e.reshape(weight, (1, parts, a.num_filter // parts, channels // parts * points))
    return e.reshape(e.add("MatMul", matrix, found), e.out_shape)


def _inside(e: Emit, places: str) -> str:
    """1 for places within the data, 0 for others."""
    limits = e.constant(np.array(e.shape[2:]).reshape(1, 1, 2, 1, 1))
    inside = e.add(
        "And", e.add("GreaterOrEqual", places, e.constant(0)), e.add("Less", places, limits)
    )
    return e.add("ReduceMin", e.cast(inside, e.dtype), axes=[2], keepdims=0)


def _window_places(a: Attributes, sizes: Sequence[int]) -> Array:
    """(1, points, 2, rows, columns): row and column of each point of each window."""
    rank = len(a.kernel)
    strides, dilates, pads = (
        per_dimension(a.stride, rank, 1),
        per_dimension(a.dilate, rank, 1),
        per_dimension(a.pad, rank, 0),
    )
    found = np.zeros((a.kernel[0], a.kernel[1], 2, *sizes))
    for axis, wanted in ((0, 0), (1, 1)):
        points = np.arange(a.kernel[axis]) * dilates[axis] - pads[axis]
        origins = np.arange(sizes[axis]) * strides[axis]
        point = points.reshape(-1, 1, 1, 1) if axis == 0 else points.reshape(1, -1, 1, 1)
        origin = origins.reshape(1, 1, -1, 1) if axis == 0 else origins.reshape(1, 1, 1, -1)
        found[:, :, wanted] = point + origin
    return found.reshape(1, -1, 2, *sizes)


@operator(
    "_contrib_DeformableConvolution",
    inputs=lambda a: ("data", "offset", "weight", *(() if a.no_bias else ("bias",))),
    parameters={key: each for key, each in _DEFORMABLE.items() if key != "im2col_step"},
    shapes=lambda s: _deformable_shapes(s, masked=False),
)
def _deformable_convolution(e: Emit) -> str:
    return _with_bias(e, _deformable(e, e.inputs[1], e.inputs[2]), 3)


@operator(
    "_contrib_ModulatedDeformableConvolution",
    inputs=lambda a: ("data", "offset", "mask", "weight", *(() if a.no_bias else ("bias",))),
    parameters=_DEFORMABLE,
    shapes=lambda s: _deformable_shapes(s, masked=True),
)
def _modulated_convolution(e: Emit) -> str:
    return _with_bias(e, _deformable(e, e.inputs[1], e.inputs[3], e.inputs[2]), 4)


def _with_bias(e: Emit, x: str, index: int) -> str:
    if e.a.no_bias:
        return x
    return e.add("Add", x, e.reshape(e.inputs[index], (1, e.a.num_filter, 1, 1)))


_MOST_ACROSS = 65
_CORRELATION = declare(
    kernel_size=integer(1),
    max_displacement=integer(1),
    stride1=integer(1),
    stride2=integer(1),
    pad_size=integer(0),
    is_multiply=boolean(True),
)


def _correlation_sizes(a: Attributes, sizes: Sequence[int]) -> tuple[list[int], int]:
    border = a.max_displacement + (a.kernel_size - 1) // 2
    found = [-(-(size + 2 * a.pad_size - 2 * border) // a.stride1) for size in sizes]
    return found, 2 * (a.max_displacement // a.stride2) + 1


def _correlation_shapes(s: Shapes) -> None:
    data = s.inputs[0] or s.inputs[1]
    s.expect(0, data)
    s.expect(1, data)
    if data is not None:
        if s.a.stride1 < 1 or s.a.stride2 < 1:
            raise s.refuse("strides must be at least 1")
        sizes, across = _correlation_sizes(s.a, data[2:])
        if not 0 < across <= _MOST_ACROSS:
            raise s.refuse(f"{across} displacements in each direction are too many")
        s.give((data[0], across * across, *sizes))


@operator(
    "Correlation", inputs=("data1", "data2"), parameters=_CORRELATION, shapes=_correlation_shapes
)
def _correlation(e: Emit) -> str:
    """One plane for each displacement: the mean over channels and window of the products."""
    a = e.a
    (rows, columns), across = _correlation_sizes(a, e.shape[2:])
    pads = e.integers([0, 0, a.pad_size, a.pad_size] * 2)
    first, second = (e.add("Pad", x, pads, e.constant(0)) for x in e.inputs)
    radius = across // 2
    kernel = a.kernel_size
    extents = [(count - 1) * a.stride1 + kernel for count in (rows, columns)]
    origin = a.max_displacement
    base = e.slice(first, [origin] * 2, [origin + extent for extent in extents], [2, 3])
    planes = []
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            starts = [origin + down * a.stride2, origin + right * a.stride2]
            ends = [start + extent for start, extent in zip(starts, extents, strict=True)]
            moved = e.slice(second, starts, ends, [2, 3])
            both = (
                e.add("Mul", base, moved)
                if a.is_multiply
                else e.add("Abs", e.add("Sub", base, moved))
            )
            planes.append(e.add("ReduceMean", both, axes=[1], keepdims=1))
    together = e.concat(planes, 1)
    return e.add("AveragePool", together, kernel_shape=[kernel] * 2, strides=[a.stride1] * 2)
