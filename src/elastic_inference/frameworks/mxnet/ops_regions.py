"""Operators that look at regions of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    declare,
    integer,
    number,
    shape,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import Shapes, same_dtype
from elastic_inference.frameworks.mxnet.table import Operator, enter, operator
from elastic_inference.protocol.tensors import Array


def _regions(s: Shapes, channels: int | None, height: int, width: int) -> None:
    data, rois = s.inputs[:2]
    if rois is not None:
        s.expect(1, (rois[0], 5))
    if data is not None and rois is not None:
        for index in range(len(s.outputs)):
            s.give((rois[0], data[1] if channels is None else channels, height, width), index)


_POOLED = declare(pooled_size=shape(), spatial_scale=number())


@operator(
    "ROIPooling",
    "_npx_roi_pooling",
    inputs=("data", "rois"),
    parameters=_POOLED,
    shapes=lambda s: _regions(s, None, s.a.pooled_size[0], s.a.pooled_size[-1]),
    outputs=2,
    visible=1,
    output_names=("output", "maxidx"),
)
def _roi_pooling(e: Emit) -> tuple[str, str]:
    height, width = e.a.pooled_size[0], e.a.pooled_size[-1]
    y = e.add(
        "MaxRoiPool", e.x, e.inputs[1], pooled_shape=[height, width],
        spatial_scale=float(e.a.spatial_scale),
    )  # fmt: skip
    return y, y


def _pooling_shapes(s: Shapes) -> None:
    size = s.a.pooled_size
    data = s.inputs[0]
    channels = None
    if s.a.position_sensitive and data is not None:
        channels = data[1] // (size[0] * size[-1])
    _regions(s, channels, size[0], size[-1])


@operator(
    "_contrib_ROIAlign",
    inputs=("data", "rois"),
    parameters=_POOLED
    | declare(sample_ratio=integer(-1), position_sensitive=boolean(False), aligned=boolean(False)),
    shapes=_pooling_shapes,
)
def _roi_align(e: Emit) -> str:
    a = e.a
    height, width = a.pooled_size[0], a.pooled_size[-1]
    index, boxes = e.split(e.inputs[1], [1, 4], 1)
    # A region of no picture has the index -1 and the value 0.
    picture = e.reshape(index, (e.shapes[1][0],))
    chosen = e.cast(e.add("Max", picture, e.constant(0)), np.int64)
    y = e.add(
        "RoiAlign", e.x, boxes, chosen,
        output_height=height, output_width=width, sampling_ratio=max(a.sample_ratio, 0),
        spatial_scale=float(a.spatial_scale), mode="avg",
        coordinate_transformation_mode="half_pixel" if a.aligned else "output_half_pixel",
    )  # fmt: skip
    if a.position_sensitive:
        y = _own_channels(e, y, height, width)
    valid = e.add("GreaterOrEqual", e.reshape(index, (-1, 1, 1, 1)), e.constant(0))
    return e.add("Where", valid, y, e.constant(0))


def _own_channels(e: Emit, y: str, height: int, width: int) -> str:
    """Each place of the result has a channel of its own: take that from all channels' results."""
    count, channels = e.shapes[1][0], e.out_shape[1]
    bins = height * width
    flat = e.reshape(y, (count, channels, bins * bins))
    return e.reshape(
        e.add("Gather", flat, e.constant(np.arange(bins) * (bins + 1), np.int64), axis=2),
        (count, channels, height, width),
    )


def _position_sensitive(a: Any, data: Array, rois: Array) -> Array:
    """Averages of the channels that belong to each part of a region."""
    size, groups = a.pooled_size, a.group_size or a.pooled_size
    _, _, height, width = data.shape
    found = np.zeros((len(rois), a.output_dim, size, size), data.dtype)
    for number_, roi in enumerate(rois):
        plane = data[int(roi[0])]
        left, top, right, bottom = np.add(np.floor(roi[1:] + 0.5), (0, 0, 1, 1)) * a.spatial_scale
        step_x, step_y = max(right - left, 0.1) / size, max(bottom - top, 0.1) / size
        for row in range(size):
            y0 = min(max(int(np.floor(row * step_y + top)), 0), height)
            y1 = min(max(int(np.ceil((row + 1) * step_y + top)), 0), height)
            for column in range(size):
                x0 = min(max(int(np.floor(column * step_x + left)), 0), width)
                x1 = min(max(int(np.ceil((column + 1) * step_x + left)), 0), width)
                if y1 <= y0 or x1 <= x0:
                    continue
                part = (row * groups // size) * groups + column * groups // size
                channels = np.arange(a.output_dim) * groups * groups + part
                found[number_, :, row, column] = plane[channels, y0:y1, x0:x1].mean((1, 2))
    return found


enter(
    Operator(
        "_contrib_PSROIPooling",
        ("data", "rois"),
        declare(
            spatial_scale=number(),
            output_dim=integer(),
            pooled_size=integer(),
            group_size=integer(0),
        ),
        lambda s: _regions(s, s.a.output_dim, s.a.pooled_size, s.a.pooled_size),
        same_dtype,
        numpy=_position_sensitive,
    )
)
