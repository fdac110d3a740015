"""Operators that move elements, and compute none."""

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
from elastic_inference.frameworks.mxnet.rules import (
    Shape,
    Shapes,
    Types,
    first_dtype,
    is_known,
    like_first,
    product,
)
from elastic_inference.frameworks.mxnet.table import operator


def reshaped(s: Shapes, sizes: Sequence[int], wanted: Sequence[int], *, reverse: bool) -> Shape:
    """The shape that MXNet's reshape gives.

    0 copies a size, -1 takes what is left, -2 copies all others, -3 merges two, -4 splits one in
    the two that follow.
    """
    if reverse:
        return reshaped(s, sizes[::-1], wanted[::-1], reverse=False)[::-1]
    try:
        found, open_at = _followed(sizes, wanted)
    except IndexError:
        raise s.refuse(f"cannot reshape array of shape {list(sizes)} into {list(wanted)}") from None
    if 0 in sizes:
        if open_at >= 0:
            found[open_at] = 0
        return tuple(found)
    if open_at >= 0:
        found[open_at] = product(sizes) // max(product(found), 1)
    if product(found) != product(sizes):
        raise s.refuse(f"cannot reshape array of shape {list(sizes)} into {list(wanted)}")
    return tuple(found)


def _followed(sizes: Sequence[int], wanted: Sequence[int]) -> tuple[list[int], int]:
    """The sizes that the codes tell, and where the open one is, which counts as 1; or -1."""
    found: list[int] = []
    at, open_at = 0, -1
    codes = list(wanted)
    while codes:
        code = codes.pop(0)
        if code == 0:
            found.append(sizes[at])
        elif code == -1:
            open_at = len(found)
            found.append(1)
        elif code == -2:
            found += sizes[at:]
            at = len(sizes) - 1
        elif code == -3:
            found.append(sizes[at] * sizes[at + 1])
            at += 1
        elif code == -4:
            found += _split(sizes[at], codes.pop(0), codes.pop(0))
        else:
            found.append(code)
        at += 1
    return found, open_at


def _split(size: int, first: int, second: int) -> list[int]:
    if first == -1:
        return [size // second if second > 0 else 0, second]
    return [first, size // first if second == -1 and first > 0 else second]


def _reshape_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    if s.a.shape:
        s.give(reshaped(s, data, s.a.shape, reverse=s.a.reverse))
    elif s.a.target_shape:
        # Before 0.9: 0 is what is left.
        target = [size or -1 for size in s.a.target_shape]
        if s.a.keep_highest:
            target[0] = data[0]
        s.give(reshaped(s, data, target, reverse=False))
    else:
        s.give(data)


def _to_result(e: Emit) -> str:
    """The elements as they are, in another shape."""
    return e.x if e.shape == e.out_shape else e.reshape(e.x, e.out_shape)


operator(
    "Reshape",
    "reshape",
    parameters=declare(
        shape=shape(()),
        reverse=boolean(False),
        target_shape=shape(()),
        keep_highest=boolean(False),
    ),
    shapes=_reshape_shapes,
)(_to_result)


def _flatten_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.give((data[0], product(data[1:])))


operator("Flatten", "flatten", "_npx_batch_flatten", shapes=_flatten_shapes)(_to_result)


def _reshape_like_shapes(s: Shapes) -> None:
    data, like, a = s.inputs[0], s.inputs[1], s.a
    if data is None or like is None:
        return
    first, last = _range(a.lhs_begin, a.lhs_end, len(data))
    begin, end = _range(a.rhs_begin, a.rhs_end, len(like))
    s.give((*data[:first], *like[begin:end], *data[last:]))


def _range(begin: int | None, end: int | None, rank: int) -> tuple[int, int]:
    first = 0 if begin is None else begin + rank * (begin < 0)
    return first, rank if end is None else end + rank * (end < 0)


operator(
    "reshape_like",
    "_npx_reshape_like",
    inputs=("lhs", "rhs"),
    parameters=declare(
        lhs_begin=integer(None),
        lhs_end=integer(None),
        rhs_begin=integer(None),
        rhs_end=integer(None),
    ),
    shapes=_reshape_like_shapes,
    types=first_dtype,
)(_to_result)


def _expand_dims_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        axis = s.axis(s.a.axis, len(data) + 1)
        s.give((*data[:axis], 1, *data[axis:]))


operator(
    "expand_dims",
    "_npi_expand_dims",
    parameters=declare(axis=integer()),
    shapes=_expand_dims_shapes,
)(_to_result)


def _squeeze_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None or (s.a.axis is None and 0 in data):
        return
    if s.a.axis is None:
        left = tuple(size for size in data if size != 1)
    else:
        axes = {s.axis(axis, len(data)) for axis in s.a.axis}
        if any(data[axis] > 1 for axis in axes):
            raise s.refuse("cannot select an axis to squeeze out which has size != 1")
        left = tuple(size for axis, size in enumerate(data) if axis not in axes)
    s.give(left or (1,))


operator("squeeze", parameters=declare(axis=shape(None)), shapes=_squeeze_shapes)(_to_result)


def _transpose_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    axes = [s.axis(axis, len(data)) for axis in s.a.axes]
    if axes and sorted(axes) != list(range(len(data))):
        raise s.refuse(f"the axes {list(s.a.axes)} are not those of {len(data)} dimensions")
    s.give([data[axis] for axis in _axes(s.a, len(data))])


def _axes(a: Attributes, rank: int) -> list[int]:
    return [axis % rank for axis in a.axes] if a.axes else list(range(rank))[::-1]


@operator("transpose", parameters=declare(axes=shape(())), shapes=_transpose_shapes)
def _transpose(e: Emit) -> str:
    return e.transpose(e.x, _axes(e.a, e.rank))


def _swapped(a: Attributes, rank: int) -> list[int]:
    axes = list(range(rank))
    axes[a.dim1], axes[a.dim2] = axes[a.dim2], axes[a.dim1]
    return axes


def _swap_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        s.axis(s.a.dim1, len(data))
        s.axis(s.a.dim2, len(data))
        s.give([data[axis] for axis in _swapped(s.a, len(data))])


@operator(
    "SwapAxis",
    "swapaxes",
    "_npi_swapaxes",
    parameters=declare(dim1=integer(0), dim2=integer(0)),
    shapes=_swap_shapes,
)
def _swap(e: Emit) -> str:
    return e.transpose(e.x, _swapped(e.a, e.rank))


def _concat_shapes(s: Shapes) -> None:
    known = [each for each in s.inputs if each is not None]
    if not known:
        return
    axis = s.axis(s.a.dim, len(known[0]))
    others: list[int] = list(known[0])
    for each in (*known, s.outputs[0]):
        if each is not None and len(each) == len(others):
            others = [a or b for a, b in zip(others, each, strict=True)]
    for index, each in enumerate(s.inputs):
        size = 0 if each is None or len(each) <= axis else each[axis]
        s.expect(index, [*others[:axis], size, *others[axis + 1 :]])
    parts = [0 if each is None else each[axis] for each in s.inputs]
    total = 0 if 0 in parts else sum(parts)
    s.give([*others[:axis], total, *others[axis + 1 :]])
    out = s.outputs[0]
    if out is not None and out[axis] and parts.count(0) == 1:
        index = parts.index(0)
        s.expect(index, [*others[:axis], out[axis] - sum(parts), *others[axis + 1 :]])


@operator(
    "_rnn_param_concat",
    "_npi_rnn_param_concat",
    variadic="num_args",
    parameters=declare(num_args=integer(0), dim=integer(1)),
    shapes=_concat_shapes,
)
@operator(
    "Concat",
    "concat",
    "_sparse_concat",
    variadic="num_args",
    parameters=declare(num_args=integer(0), dim=integer(1)),
    shapes=_concat_shapes,
)
def _concat(e: Emit) -> str:
    return e.concat(e.inputs, e.axis(e.a.dim))


def _stack_shapes(s: Shapes) -> None:
    found = next((each for each in s.inputs if is_known(each)), None)
    if found is not None:
        for index in range(len(s.inputs)):
            s.expect(index, found)
        axis = s.axis(s.a.axis, len(found) + 1)
        s.give((*found[:axis], len(s.inputs), *found[axis:]))


@operator(
    "stack",
    variadic="num_args",
    parameters=declare(axis=integer(0), num_args=integer(0)),
    shapes=_stack_shapes,
)
def _stack(e: Emit) -> str:
    axis = e.axis(e.a.axis, e.rank + 1)
    return e.concat([e.unsqueeze(each, [axis]) for each in e.inputs], axis)


def _repeat_shapes(s: Shapes) -> None:
    data, count = s.inputs[0], s.a.repeats
    if data is None:
        return
    if s.a.axis is None:
        s.give((product(data) * count,))
    else:
        axis = s.axis(s.a.axis, len(data))
        s.give((*data[:axis], data[axis] * count, *data[axis + 1 :]))


@operator(
    "repeat",
    "_np_repeat",
    parameters=declare(repeats=integer(), axis=integer(None)),
    shapes=_repeat_shapes,
)
def _repeat(e: Emit) -> str:
    before = (product(e.shape),) if e.a.axis is None else e.shape
    axis = len(before) - 1 if e.a.axis is None else e.axis(e.a.axis)
    wide = e.reshape(e.x, (*before[: axis + 1], 1, *before[axis + 1 :]))
    wide = e.expand(wide, (*before[: axis + 1], e.a.repeats, *before[axis + 1 :]))
    return e.reshape(wide, e.out_shape)


def _tile_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None:
        rank = max(len(data), len(s.a.reps))
        wide = (1,) * (rank - len(data)) + data
        reps = (1,) * (rank - len(s.a.reps)) + s.a.reps
        s.give([size * count for size, count in zip(wide, reps, strict=True)])


@operator("tile", "_npi_tile", parameters=declare(reps=shape()), shapes=_tile_shapes)
def _tile(e: Emit) -> str:
    rank = len(e.out_shape)
    x = e.x if e.rank == rank else e.reshape(e.x, (1,) * (rank - e.rank) + e.shape)
    return e.add("Tile", x, e.integers((1,) * (rank - len(e.a.reps)) + e.a.reps))


@operator("reverse", "flip", parameters=declare(axis=shape()), shapes=like_first)
def _reverse(e: Emit) -> str:
    axes = [e.axis(axis) for axis in e.a.axis]
    count = len(axes)
    return e.slice(e.x, [-1] * count, [TO_THE_START] * count, axes, [-1] * count)


def _pad_shapes(s: Shapes) -> None:
    data, widths = s.inputs[0], s.a.pad_width
    if data is None:
        return
    if len(widths) != 2 * len(data):
        raise s.refuse(f"pad_width needs {2 * len(data)} numbers")
    s.give(
        [
            size + before + after if size else 0
            for size, before, after in zip(data, widths[::2], widths[1::2], strict=True)
        ]
    )


@operator(
    "Pad",
    "pad",
    parameters=declare(
        mode=choice(("constant", "edge", "reflect")),
        pad_width=shape(),
        constant_value=number(0.0),
    ),
    shapes=_pad_shapes,
)
def _pad(e: Emit) -> str:
    widths = e.a.pad_width
    pads = e.integers([*widths[::2], *widths[1::2]])
    filling = [e.constant(e.a.constant_value)] if e.a.mode == "constant" else []
    return e.add("Pad", e.x, pads, *filling, mode=e.a.mode)


def _broadcast_to_shapes(s: Shapes) -> None:
    data, wanted = s.inputs[0], s.a.shape
    if data is None:
        return
    if len(data) != len(wanted):
        raise s.refuse(f"operand of shape {list(data)} cannot be broadcast to {list(wanted)}")
    s.give([size or known for size, known in zip(wanted, data, strict=True)])


def _expanded(e: Emit) -> str:
    return e.x if e.shape == e.out_shape else e.expand(e.x, e.out_shape)


operator("broadcast_to", parameters=declare(shape=shape(())), shapes=_broadcast_to_shapes)(
    _expanded
)


def _broadcast_axis_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is None:
        return
    found = list(data)
    for axis, size in zip(s.a.axis, s.a.size, strict=False):
        found[s.axis(axis, len(data))] = size
    s.give(found)


operator(
    "broadcast_axis",
    "broadcast_axes",
    parameters=declare(axis=shape(()), size=shape(())),
    shapes=_broadcast_axis_shapes,
)(_expanded)


def _broadcast_like_shapes(s: Shapes) -> None:
    data, like, a = s.inputs[0], s.inputs[1], s.a
    if data is None or like is None:
        return
    if not a.lhs_axes:
        s.give(like)
        return
    found = list(data)
    for axis, other in zip(a.lhs_axes, a.rhs_axes or (), strict=False):
        found[s.axis(axis, len(data))] = like[s.axis(other, len(like))]
    s.give(found)


operator(
    "broadcast_like",
    inputs=("lhs", "rhs"),
    parameters=declare(lhs_axes=shape(None), rhs_axes=shape(None)),
    shapes=_broadcast_like_shapes,
    types=first_dtype,
)(_expanded)


def _integers(t: Types) -> None:
    t.give(np.int64)


@operator(
    "shape_array",
    "_npx_shape_array",
    shapes=lambda s: s.give(None if s.inputs[0] is None else (len(s.inputs[0]),)),
    types=_integers,
)
def _shape_array(e: Emit) -> str:
    return e.integers(e.shape)


@operator("size_array", shapes=lambda s: s.give((1,)), types=_integers)
def _size_array(e: Emit) -> str:
    return e.integers((product(e.shape),))


def _blocks(s: Shapes, *, to_space: bool) -> None:
    data, block = s.inputs[0], s.a.block_size
    if data is None or 0 in data:
        return
    count, channels, height, width = data
    divided = (channels % block**2,) if to_space else (height % block, width % block)
    if block < 1 or any(divided):
        raise s.refuse(f"block_size {block} does not fit the shape {list(data)}")
    if to_space:
        s.give((count, channels // block**2, height * block, width * block))
    else:
        s.give((count, channels * block**2, height // block, width // block))


@operator(
    "depth_to_space",
    parameters=declare(block_size=integer()),
    shapes=lambda s: _blocks(s, to_space=True),
)
def _depth_to_space(e: Emit) -> str:
    return e.add("DepthToSpace", e.x, blocksize=e.a.block_size, mode="DCR")


@operator(
    "space_to_depth",
    parameters=declare(block_size=integer()),
    shapes=lambda s: _blocks(s, to_space=False),
)
def _space_to_depth(e: Emit) -> str:
    return e.add("SpaceToDepth", e.x, blocksize=e.a.block_size)
