"""Operators that cut arrays into parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from elastic_inference.frameworks.mxnet.attributes import (
    Attributes,
    boolean,
    declare,
    integer,
    shape,
    sizes,
)
from elastic_inference.frameworks.mxnet.emit import TO_THE_START, Emit
from elastic_inference.frameworks.mxnet.rules import Shape, Shapes, first_dtype
from elastic_inference.frameworks.mxnet.table import operator


def _slice_channel_shapes(s: Shapes) -> None:
    data, count = s.inputs[0], s.a.num_outputs
    if data is None:
        return
    axis = s.axis(s.a.axis, len(data))
    if count < 1 or data[axis] % count:
        raise s.refuse(f"num_outputs={count} does not divide the {data[axis]} of axis {axis}")
    _give_parts(s, data, axis, [data[axis] // count] * count)


def _give_parts(s: Shapes, data: Shape, axis: int, lengths: Sequence[int]) -> None:
    for index, length in enumerate(lengths):
        middle = () if s.a.squeeze_axis else (length,)
        s.give((*data[:axis], *middle, *data[axis + 1 :]), index)


def _parts(e: Emit, lengths: Sequence[int]) -> list[str]:
    axis = e.axis(e.a.axis)
    found = [e.x] if len(lengths) == 1 else e.split(e.x, lengths, axis)
    return [e.squeeze(each, [axis]) for each in found] if e.a.squeeze_axis else found


@operator(
    "SliceChannel",
    "split",
    parameters=declare(num_outputs=integer(), axis=integer(1), squeeze_axis=boolean(False)),
    shapes=_slice_channel_shapes,
    outputs=lambda a: max(int(a.num_outputs), 1),
)
def _slice_channel(e: Emit) -> list[str]:
    count = e.a.num_outputs
    return _parts(e, [e.shape[e.axis(e.a.axis)] // count] * count)


def _lengths(a: Attributes, size: int) -> list[int]:
    if a.sections > 0:
        return [size // a.sections] * a.sections
    bounds = [min(each + size * (each < 0), size) for each in a.indices] + [size]
    return [max(last - first, 0) for first, last in itertools.pairwise(bounds)]


def _split_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        axis = s.axis(s.a.axis, len(data))
        _give_parts(s, data, axis, _lengths(s.a, data[axis]))


@operator(
    "_split_v2",
    "_npi_split",
    parameters=declare(
        indices=shape(()), axis=integer(1), squeeze_axis=boolean(False), sections=integer(0)
    ),
    shapes=_split_shapes,
    outputs=lambda a: max(int(a.sections) if a.sections > 0 else len(a.indices), 1),
)
def _split_v2(e: Emit) -> list[str]:
    return _parts(e, _lengths(e.a, e.shape[e.axis(e.a.axis)]))


def _steps(a: Attributes, data: Shape) -> list[tuple[int, int, int]]:
    """Start, end and step of each axis, as Python's `range` takes them."""
    found = []
    for axis, size in enumerate(data):
        begin = a.begin[axis] if axis < len(a.begin) else None
        end = a.end[axis] if axis < len(a.end) else None
        step = (a.step[axis] if axis < len(a.step) else None) or 1
        found.append(slice(begin, end, step).indices(size))
    return found


def _slice_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    if len(s.a.begin) > len(data):
        raise s.refuse("slice has more axes than the data")
    found = [len(range(*each)) for each in _steps(s.a, data)]
    if any(size and not length for size, length in zip(data, found, strict=True)):
        raise s.refuse("a slice without any element")
    s.give(found)


@operator(
    "slice",
    "crop",
    "_npi_slice",
    "_npx_slice",
    "_sparse_slice",
    parameters=declare(begin=sizes(), end=sizes(), step=sizes(())),
    shapes=_slice_shapes,
)
def _slice(e: Emit) -> str:
    return _sliced(e, e.x, _steps(e.a, e.shape), e.shape)


def _sliced(e: Emit, x: str, steps: Sequence[tuple[int, int, int]], data: Shape) -> str:
    kept = [axis for axis, each in enumerate(steps) if each != (0, data[axis], 1)]
    if not kept:
        return x
    starts = [steps[axis][0] for axis in kept]
    ends = [steps[axis][1] if steps[axis][1] >= 0 else TO_THE_START for axis in kept]
    return e.slice(x, starts, ends, kept, [steps[axis][2] for axis in kept])


def _axis_range(a: Attributes, size: int) -> tuple[int, int, int]:
    return slice(a.begin, a.end, 1).indices(size)


def _slice_axis_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    axis = s.axis(s.a.axis, len(data))
    length = len(range(*_axis_range(s.a, data[axis])))
    if data[axis] and not length:
        raise s.refuse("a slice without any element")
    s.give((*data[:axis], length, *data[axis + 1 :]))


@operator(
    "slice_axis",
    parameters=declare(axis=integer(), begin=integer(), end=integer(None)),
    shapes=_slice_axis_shapes,
)
def _slice_axis(e: Emit) -> str:
    axis = e.axis(e.a.axis)
    first, last, _ = _axis_range(e.a, e.shape[axis])
    return e.slice(e.x, [first], [last], [axis])


def _slice_like_shapes(s: Shapes) -> None:
    data, like = s.inputs
    if data is None or like is None:
        return
    axes = [s.axis(axis, len(data)) for axis in s.a.axes] or list(range(len(like)))
    s.give([like[axis] if axis in axes else size for axis, size in enumerate(data)])


@operator(
    "slice_like",
    inputs=("data", "shape_like"),
    parameters=declare(axes=shape(())),
    shapes=_slice_like_shapes,
    types=first_dtype,
)
def _slice_like(e: Emit) -> str:
    return _sliced(e, e.x, [(0, size, 1) for size in e.out_shape], e.shape)


def _crop_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    like = s.inputs[1][2:] if len(s.inputs) > 1 and s.inputs[1] is not None else None
    if data is not None and (like is not None or s.a.num_args == 1):
        s.give((*data[:2], *(like if like is not None else s.a.h_w)))


@operator(
    "Crop",
    variadic="num_args",
    parameters=declare(
        num_args=integer(1), offset=shape((0, 0)), h_w=shape((0, 0)), center_crop=boolean(False)
    ),
    shapes=_crop_shapes,
)
def _crop(e: Emit) -> str:
    wanted = e.out_shape[2:]
    offset = [
        (size - part) // 2 if e.a.center_crop else first
        for size, part, first in zip(e.shape[2:], wanted, e.a.offset, strict=True)
    ]
    ends = [first + part for first, part in zip(offset, wanted, strict=True)]
    return e.slice(e.x, offset, ends, [2, 3])
