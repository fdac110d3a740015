"""Boxes: anchors, decoding, and the choice among those that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import detecting
from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    choice,
    declare,
    integer,
    number,
    numbers,
)
from elastic_inference.frameworks.mxnet.emit import Emit
from elastic_inference.frameworks.mxnet.rules import Shapes, like_first
from elastic_inference.frameworks.mxnet.suppression import suppress
from elastic_inference.frameworks.mxnet.table import Operator, enter, operator
from elastic_inference.protocol.tensors import Array

_FORMAT = choice(("center", "corner"), "corner")


def _prior_shapes(s: Shapes) -> None:
    data = s.inputs[0]
    if data is not None and data[2] and data[3]:
        count = len(s.a.sizes) + len(s.a.ratios) - 1
        s.give((1, data[2] * data[3] * count, 4))


@operator(
    "_contrib_MultiBoxPrior",
    "_npx_multibox_prior",
    parameters=declare(
        sizes=numbers((1.0,)),
        ratios=numbers((1.0,)),
        clip=boolean(False),
        steps=numbers((-1.0, -1.0)),
        offsets=numbers((0.5, 0.5)),
    ),
    shapes=_prior_shapes,
)
def _multi_box_prior(e: Emit) -> str:
    """All that it depends on is known: the size of the feature map."""
    a, (height, width) = e.a, e.shape[2:]
    step_y, step_x = (
        step if step > 0 else 1 / size for step, size in zip(a.steps, (height, width), strict=True)
    )
    root = np.sqrt(a.ratios[0])
    halves = [(size * height / width * root / 2, size / root / 2) for size in a.sizes]
    halves += [
        (a.sizes[0] * height / width * np.sqrt(ratio) / 2, a.sizes[0] / np.sqrt(ratio) / 2)
        for ratio in a.ratios[1:]
    ]
    rows = (np.arange(height) + a.offsets[0]) * step_y
    columns = (np.arange(width) + a.offsets[1]) * step_x
    y, x = np.meshgrid(rows, columns, indexing="ij")
    centres = np.stack([x, y, x, y], -1)[:, :, None]
    reach = np.array([[-w, -h, w, h] for w, h in halves])
    boxes = (centres + reach).reshape(1, -1, 4)
    return e.constant(np.clip(boxes, 0, 1) if a.clip else boxes)


def _detection_shapes(s: Shapes) -> None:
    scores = s.inputs[0]
    if scores is not None:
        if len(scores) != 3:
            raise s.refuse(f"Provided: {list(scores)} and expected: 3 dimensions")
        s.expect(1, (scores[0], scores[2] * 4))
        s.expect(2, (1, scores[2], 4))
        s.give((scores[0], scores[2], 6))


def _multi_box_detection(a: Any, scores: Array, offsets: Array, anchors: Array) -> Array:
    """Rows of class, score and box, best first; -1 as class for what is suppressed."""
    found = np.full((scores.shape[0], scores.shape[2], 6), -1, scores.dtype)
    boxes = _decoded(a, offsets.reshape(len(scores), -1, 4), anchors[0])
    for rows, classes, places in zip(found, scores, boxes, strict=True):
        best = classes[1:].argmax(0)
        score = classes[1:].max(0)
        valid = np.flatnonzero((score >= a.threshold) & (score > -1))
        rows[: len(valid), 0] = best[valid]
        rows[: len(valid), 1] = score[valid]
        rows[: len(valid), 2:] = places[valid]
        if len(valid) and 0 < a.nms_threshold <= 1:
            _choose(a, rows[: len(valid)])
    return found


def _choose(a: Any, rows: Array) -> None:
    """Sort the best rows in place, and mark the others and what is suppressed."""
    order = np.argsort(-rows[:, 1], kind="stable")
    kept = len(rows) if a.nms_topk <= 0 else min(a.nms_topk, len(rows))
    rows[:kept] = rows[order[:kept]]
    rows[kept:, 0] = -1
    best = rows[:kept]
    groups = None if a.force_suppress else best[:, 0]
    stays = suppress(best[:, 2:], a.nms_threshold, groups=groups, inclusive=True)
    best[~stays, 0] = -1


def _decoded(a: Any, offsets: Array, anchors: Array) -> Array:
    variances = np.array(a.variances, offsets.dtype)
    size = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    middle = offsets[..., :2] * variances[:2] * size + centre
    half = np.exp(offsets[..., 2:] * variances[2:]) * size / 2
    boxes = np.concatenate([middle - half, middle + half], -1)
    return np.clip(boxes, 0, 1) if a.clip else boxes


enter(
    Operator(
        "_contrib_MultiBoxDetection",
        ("cls_prob", "loc_pred", "anchor"),
        declare(
            clip=boolean(True),
            threshold=number(0.01),
            background_id=integer(0),
            nms_threshold=number(0.5),
            force_suppress=boolean(False),
            variances=numbers((0.1, 0.1, 0.2, 0.2)),
            nms_topk=integer(-1),
        ),
        _detection_shapes,
        aliases=("_npx_multibox_detection",),
        onnx=detecting.multi_box_detection,
        numpy=_multi_box_detection,
        here=detecting.detection_runs_here,
    )
)


def _nms_shapes(s: Shapes) -> None:
    like_first(s)
    data = s.inputs[0]
    if data is not None:
        if len(data) < 2:
            raise s.refuse("box_nms needs at least two dimensions")
        s.give((*data[:-1], 1), 1)


def _box_nms(a: Any, data: Array) -> Array:
    """Rows that stay, best first, in the place of all; the rest is -1."""
    flat = data.reshape(-1, *data.shape[-2:])
    found = np.full_like(flat, -1)
    topk = flat.shape[1] if a.topk < 0 else min(a.topk, flat.shape[1])
    if topk < 1:
        return data
    places = slice(a.coord_start, a.coord_start + 4)
    for rows, given in zip(found, flat, strict=True):
        valid = given[:, a.score_index] > a.valid_thresh
        if a.id_index >= 0:
            valid &= given[:, a.id_index] != a.background_id
        chosen = given[valid]
        chosen = chosen[np.argsort(-chosen[:, a.score_index], kind="stable")][:topk]
        boxes = chosen[:, places]
        groups = None if a.force_suppress or a.id_index < 0 else chosen[:, a.id_index]
        corners = boxes if a.in_format == "corner" else _corners(boxes)
        chosen = chosen[suppress(corners, a.overlap_thresh, groups=groups, inclusive=False)]
        rows[: len(chosen)] = chosen
        if a.in_format != a.out_format:
            rows[: len(chosen), places] = _converted(chosen[:, places], a.out_format)
    return found.reshape(data.shape)


def _corners(boxes: Array) -> Array:
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def _converted(boxes: Array, wanted: str) -> Array:
    """Boxes in the other format; MXNet leaves those alone that begin below 0."""
    if wanted == "corner":
        made = _corners(boxes)
    else:
        first, last = boxes[:, :2], boxes[:, 2:]
        made = np.concatenate([(first + last) / 2, last - first], -1)
    return np.where(boxes[:, :1] < 0, boxes, made)


enter(
    Operator(
        "_contrib_box_nms",
        ("data",),
        declare(
            overlap_thresh=number(0.5),
            valid_thresh=number(0.0),
            topk=integer(-1),
            coord_start=integer(2),
            score_index=integer(1),
            id_index=integer(-1),
            background_id=integer(-1),
            force_suppress=boolean(False),
            in_format=_FORMAT,
            out_format=_FORMAT,
        ),
        _nms_shapes,
        aliases=("_contrib_box_non_maximum_suppression",),
        outputs=lambda _: 2,
        shown=lambda _: 1,
        onnx=detecting.box_nms,
        numpy=_box_nms,
        here=detecting.runs_here,
    )
)


def _iou_shapes(s: Shapes) -> None:
    left, right = s.inputs
    if left is not None and right is not None:
        s.give((*left[:-1], *right[:-1]))


@operator(
    "_contrib_box_iou",
    inputs=("lhs", "rhs"),
    parameters=declare(format=_FORMAT),
    shapes=_iou_shapes,
)
def _box_iou(e: Emit) -> str:
    count = [int(np.prod(each[:-1])) for each in e.shapes]
    first = _ends(e, e.reshape(e.x, (count[0], 1, 4)))
    second = _ends(e, e.reshape(e.inputs[1], (1, count[1], 4)))
    zero = e.constant(0)
    low = [e.add("Max", a, b) for a, b in zip(first[:2], second[:2], strict=True)]
    high = [e.add("Min", a, b) for a, b in zip(first[2:], second[2:], strict=True)]
    sides = [e.add("Max", e.add("Sub", b, a), zero) for a, b in zip(low, high, strict=True)]
    common = e.add("Mul", *sides)
    areas = [
        e.add("Mul", *(e.add("Max", e.add("Sub", box[at + 2], box[at]), zero) for at in (0, 1)))
        for box in (first, second)
    ]
    union = e.add("Sub", e.add("Add", *areas), common)
    nothing = e.add("LessOrEqual", union, zero)
    safe = e.add("Where", nothing, e.constant(1), union)
    return e.reshape(e.add("Where", nothing, zero, e.add("Div", common, safe)), e.out_shape)


def _ends(e: Emit, boxes: str) -> Sequence[str]:
    """Left, top, right and bottom."""
    parts = e.split(boxes, [1, 1, 1, 1], 2)
    parts = [e.squeeze(part, [2]) for part in parts]
    if e.a.format == "corner":
        return parts
    half = [e.add("Div", part, e.constant(2)) for part in parts[2:]]
    return [e.add(kind, parts[at], half[at]) for kind in ("Sub", "Add") for at in (0, 1)]


@operator(
    "_contrib_box_decode",
    inputs=("data", "anchors"),
    parameters=declare(
        std0=number(1.0),
        std1=number(1.0),
        std2=number(1.0),
        std3=number(1.0),
        clip=number(-1.0),
        format=choice(("center", "corner"), "center"),
    ),
    shapes=lambda s: s.give(s.inputs[0]),
)
def _box_decode(e: Emit) -> str:
    a = e.a
    anchors = e.split(e.inputs[1], [2, 2], 2)
    if a.format == "corner":
        size = e.add("Sub", anchors[1], anchors[0])
        centre = e.add("Add", anchors[0], e.add("Mul", size, e.constant(0.5)))
    else:
        centre, size = anchors
    offsets = e.split(e.x, [2, 2], 2)
    move = e.add("Mul", offsets[0], e.constant([a.std0, a.std1]))
    grow = e.add("Mul", offsets[1], e.constant([a.std2, a.std3]))
    if a.clip > 0:
        grow = e.add("Min", grow, e.constant(a.clip))
    middle = e.add("Add", e.add("Mul", move, size), centre)
    half = e.add("Mul", e.add("Mul", e.add("Exp", grow), size), e.constant(0.5))
    return e.concat([e.add("Sub", middle, half), e.add("Add", middle, half)], 2)
