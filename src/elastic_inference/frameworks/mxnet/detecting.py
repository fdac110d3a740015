"""The choice among boxes that overlap, as ONNX; `ops_boxes` says the same in numpy.

What both decide by is computed from the same float32 numbers in the same order, so they decide
alike, down to overlaps of exactly the threshold and equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import Shape, product

_F32 = np.dtype(np.float32)
_LOWEST = np.finfo(np.float32).min
# The most numbers that scores by boxes and groups may be.
_MOST = 1 << 28


def runs_here(a: Any, shapes: Sequence[Shape], dtypes: Sequence[np.dtype[Any]]) -> bool:
    """Whether the instance must run `box_nms`: ONNX has a type for it, and bounds."""
    batch, count = product(shapes[0][:-2]), _most(a, shapes[0])
    grouped = a.id_index >= 0 and not a.force_suppress
    return (
        dtypes[0] != _F32
        or a.overlap_thresh < 0
        # There may be as many groups as boxes.
        or (grouped and batch * count * count > _MOST)
    )


def detection_runs_here(a: Any, shapes: Sequence[Shape], dtypes: Sequence[np.dtype[Any]]) -> bool:
    """Whether the instance must run `MultiBoxDetection`."""
    del a
    return any(each != _F32 for each in dtypes) or shapes[0][1] < 2


def box_nms(e: Emit) -> str:
    """Rows that stay, best first, in the place of all; the rest is -1."""
    a = e.a
    *_, count, width = e.shape
    most = _most(a, e.shape)
    if most < 1:
        return e.add("Identity", e.x)
    batch = product(e.shape[:-2])
    data = e.reshape(e.x, (batch, count, width))
    score = _column(e, data, a.score_index)
    valid = e.add("Greater", score, e.constant(a.valid_thresh))
    if a.id_index >= 0:
        other = e.add("Equal", _column(e, data, a.id_index), e.constant(a.background_id))
        valid = e.add("And", valid, e.add("Not", other))
    scores, order = _best(e, e.add("Where", valid, score, e.constant(-np.inf)), most)
    rows = _rows(e, data, order)
    boxes = e.slice(rows, [a.coord_start], [a.coord_start + 4], [2])
    if a.in_format == "center":
        boxes = _corners(e, boxes)
    by_group = _of_one_group(e, scores)
    if a.id_index >= 0 and not a.force_suppress:
        ids = _column(e, rows, a.id_index)
        groups = e.add("Unique", ids)
        by_group = _of_groups(e, scores, ids, groups)
    stays = _stays(e, boxes, by_group, (batch, most), a.overlap_thresh)
    first = _first(e, stays, most)
    chosen = _rows(e, rows, first)
    if a.in_format != a.out_format:
        chosen = _converted(e, chosen)
    there = e.unsqueeze(_is_below(e, _count(e, stays), most), [2])
    chosen = e.add("Where", there, chosen, e.constant(-1))
    if most < count:
        rest = e.constant(np.full((batch, count - most, width), -1))
        chosen = e.concat([chosen, rest], 1)
    return e.reshape(chosen, e.shape)


def multi_box_detection(e: Emit) -> str:
    """Rows of class, score and box, best first; -1 as class for what is suppressed."""
    a = e.a
    batch, classes, count = e.shape
    front = e.slice(e.x, [1], [classes], [1])
    best = e.cast(e.add("ArgMax", front, axis=1, keepdims=0), np.float32)
    score = e.add("ReduceMax", front, axes=[1], keepdims=0)
    valid = e.add("GreaterOrEqual", score, e.constant(a.threshold))
    valid = e.add("And", valid, e.add("Greater", score, e.constant(-1)))
    columns = [e.unsqueeze(best, [2]), e.unsqueeze(score, [2]), _decoded(e, batch, count)]
    data = e.concat(columns, 2)
    rows = _rows(e, data, _first(e, valid, count))
    found = _count(e, valid)
    if 0 < a.nms_threshold <= 1:
        most = count if a.nms_topk <= 0 else min(a.nms_topk, count)
        rows = _suppressed(e, data, rows, e.add("Where", valid, score, e.constant(-np.inf)), most)
    there = e.unsqueeze(_is_below(e, found, count), [2])
    return e.add("Where", there, rows, e.constant(-1))


def _suppressed(e: Emit, data: str, rows: str, score: str, most: int) -> str:
    """The best rows in their order, and behind them `rows`; with -1 for what does not stay."""
    a = e.a
    batch, classes, count = e.shape
    scores, order = _best(e, score, most)
    best = _rows(e, data, order)
    by_group = _of_one_group(e, scores)
    if not a.force_suppress:
        groups = e.constant(np.arange(classes - 1))
        by_group = _of_groups(e, scores, _column(e, best, 0), groups)
    # An overlap of exactly the threshold is too much here.
    threshold = np.nextafter(np.float32(a.nms_threshold), np.float32(0))
    boxes = e.slice(best, [2], [6], [2])
    stays = e.unsqueeze(_stays(e, boxes, by_group, (batch, most), threshold), [2])
    ids, rest = e.split(best, [1, 5], 2)
    best = e.concat([e.add("Where", stays, ids, e.constant(-1)), rest], 2)
    if most == count:
        return best
    further = e.slice(rows, [most, 1], [count, 6], [1, 2])
    gone = e.constant(np.full((batch, count - most, 1), -1))
    return e.concat([best, e.concat([gone, further], 2)], 1)


def _decoded(e: Emit, batch: int, count: int) -> str:
    a = e.a
    offsets = e.split(e.reshape(e.inputs[1], (batch, count, 4)), [2, 2], 2)
    first, last = e.split(e.inputs[2], [2, 2], 2)
    size = e.add("Sub", last, first)
    centre = e.add("Div", e.add("Add", first, last), e.constant(2))
    middle = e.add("Mul", e.add("Mul", offsets[0], e.constant(a.variances[:2])), size)
    middle = e.add("Add", middle, centre)
    grown = e.add("Exp", e.add("Mul", offsets[1], e.constant(a.variances[2:])))
    half = e.add("Div", e.add("Mul", grown, size), e.constant(2))
    boxes = e.concat([e.add("Sub", middle, half), e.add("Add", middle, half)], 2)
    return e.add("Clip", boxes, e.constant(0), e.constant(1)) if a.clip else boxes


def _most(a: Any, shape: Shape) -> int:
    return shape[-2] if a.topk < 0 else min(a.topk, shape[-2])


def _column(e: Emit, rows: str, index: int) -> str:
    """(batch, rows): one number of each row."""
    return e.squeeze(e.slice(rows, [index], [index + 1], [2]), [2])


def _best(e: Emit, score: str, most: int) -> list[str]:
    """The highest scores of each picture, and their places; equal ones by their places."""
    return e.several("TopK", score, e.integers([most]), count=2, axis=1)


def _first(e: Emit, chosen: str, count: int) -> str:
    """(batch, count): places of what is chosen, in order, and then of the rest."""
    # These are exact in float32.
    places = np.arange(count)
    key = e.add("Where", chosen, e.constant([2 * count - places]), e.constant([count - places]))
    return e.several("TopK", key, e.integers([count]), count=2, axis=1)[1]


def _rows(e: Emit, data: str, places: str) -> str:
    """(batch, places, width): those rows of each picture."""
    return e.add("GatherND", data, e.unsqueeze(places, [2]), batch_dims=1)


def _count(e: Emit, chosen: str) -> str:
    """(batch, 1): how many are chosen."""
    return e.add("ReduceSum", e.cast(chosen, np.int64), e.integers([1]), keepdims=1)


def _is_below(e: Emit, counts: str, count: int) -> str:
    """(batch, count): whether the place is below the picture's own count."""
    return e.add("Less", e.integers(range(count)), counts)


def _of_one_group(e: Emit, scores: str) -> str:
    return e.unsqueeze(scores, [1])


def _of_groups(e: Emit, scores: str, ids: str, groups: str) -> str:
    """(batch, groups, rows): the scores in their own groups, and nothing in others."""
    own = e.add("Equal", e.unsqueeze(ids, [1]), e.unsqueeze(groups, [0, 2]))
    return e.add("Where", own, e.unsqueeze(scores, [1]), e.constant(-np.inf))


def _stays(e: Emit, boxes: str, scores: str, shape: Shape, threshold: float) -> str:
    """(batch, rows): whether a box stays; one without a score does not."""
    if threshold > 1:
        return _scored(e, scores)
    # ONNX turns boxes around that end before they begin; here they overlap with nothing.
    first, last = e.split(boxes, [2, 2], 2)
    boxes = e.concat([first, e.add("Max", first, last)], 2)
    chosen = e.add(
        "NonMaxSuppression", boxes, scores, e.integers([shape[1]]),
        e.constant([threshold]), e.constant([_LOWEST]),
    )  # fmt: skip
    places = e.add("Gather", chosen, e.integers([0, 2]), axis=1)
    size = e.add("Slice", e.add("Shape", chosen), e.integers([0]), e.integers([1]))
    ones = e.add("Expand", e.constant([1]), size)
    marked = e.add("ScatterND", e.constant(np.zeros(shape)), places, ones)
    return e.add("Greater", marked, e.constant(0))


def _scored(e: Emit, scores: str) -> str:
    highest = e.add("ReduceMax", scores, axes=[1], keepdims=0)
    return e.add("Greater", highest, e.constant(_LOWEST))


def _corners(e: Emit, boxes: str) -> str:
    centre, size = e.split(boxes, [2, 2], 2)
    half = e.add("Div", size, e.constant(2))
    return e.concat([e.add("Sub", centre, half), e.add("Add", centre, half)], 2)


def _converted(e: Emit, rows: str) -> str:
    """Rows with boxes in the other format; those stay that begin below 0."""
    start, width = e.a.coord_start, e.shape[-1]
    boxes = e.slice(rows, [start], [start + 4], [2])
    if e.a.out_format == "corner":
        made = _corners(e, boxes)
    else:
        first, last = e.split(boxes, [2, 2], 2)
        middle = e.add("Div", e.add("Add", first, last), e.constant(2))
        made = e.concat([middle, e.add("Sub", last, first)], 2)
    negative = e.add("Less", e.slice(boxes, [0], [1], [2]), e.constant(0))
    parts = [e.add("Where", negative, boxes, made)]
    if start:
        parts.insert(0, e.slice(rows, [0], [start], [2]))
    if start + 4 < width:
        parts.append(e.slice(rows, [start + 4], [width], [2]))
    return e.concat(parts, 2)
