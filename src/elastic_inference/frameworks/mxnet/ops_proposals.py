"""Proposals of regions, from anchors and what a network says of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet.attributes import (
    boolean,
    declare,
    integer,
    number,
    numbers,
)
from elastic_inference.frameworks.mxnet.rules import Shapes
from elastic_inference.frameworks.mxnet.suppression import suppress
from elastic_inference.frameworks.mxnet.table import Operator, enter
from elastic_inference.protocol.tensors import Array

_PARAMETERS = declare(
    rpn_pre_nms_top_n=integer(6000),
    rpn_post_nms_top_n=integer(300),
    threshold=number(0.7),
    rpn_min_size=integer(16),
    scales=numbers((4.0, 8.0, 16.0, 32.0)),
    ratios=numbers((0.5, 1.0, 2.0)),
    feature_stride=integer(16),
    output_score=boolean(False),
    iou_loss=boolean(False),
)


def _shapes(s: Shapes) -> None:
    scores = s.inputs[0]
    if scores is None:
        return
    batch, channels, height, width = scores
    s.expect(1, (batch, channels * 2, height, width))
    s.expect(2, (batch, 3))
    s.give((batch * s.a.rpn_post_nms_top_n, 5))
    s.give((batch * s.a.rpn_post_nms_top_n, 1), 1)


def _proposals(a: Any, scores: Array, deltas: Array, info: Array) -> tuple[Array, Array]:
    """Boxes as picture, left, top, right, bottom; and the score of each."""
    count = scores.shape[1] // 2
    boxes, found = [], []
    for index in range(len(scores)):
        chosen, score = _of_picture(a, scores[index, count:], deltas[index], info[index])
        picture = np.full((len(chosen), 1), index, scores.dtype)
        boxes.append(np.concatenate([picture, chosen], 1))
        found.append(score)
    return np.concatenate(boxes), np.concatenate(found)


def _of_picture(a: Any, scores: Array, deltas: Array, info: Array) -> tuple[Array, Array]:
    anchors, height, width = scores.shape
    single = scores.dtype
    base = _anchors(a)
    shift = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) * a.feature_stride
    boxes = (np.tile(shift, 2)[:, :, None] + base).astype(single).reshape(-1, 4)
    score = scores.transpose(1, 2, 0).reshape(-1).copy()
    moves = deltas.reshape(anchors, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
    boxes = boxes + moves if a.iou_loss else _moved(boxes, moves)
    limits = np.array([info[1], info[0], info[1], info[0]]) - 1
    boxes = np.maximum(np.minimum(boxes, limits), 0).astype(single)
    rows, columns = np.divmod(np.arange(len(boxes)) // anchors, width)
    outside = (rows >= int(info[0] / a.feature_stride)) | (
        columns >= int(info[1] / a.feature_stride)
    )
    score[outside] = -1
    _drop_small(boxes, score, a.rpn_min_size * info[2])
    most = a.rpn_pre_nms_top_n if a.rpn_pre_nms_top_n > 0 else len(boxes)
    order = np.argsort(-score, kind="stable")[:most]
    boxes, score = boxes[order], score[order]
    wanted = min(a.rpn_post_nms_top_n, len(boxes))
    kept = np.flatnonzero(suppress(boxes, a.threshold, pixel=1, most=wanted))
    # What is missing is filled up with the same ones again.
    kept = kept[np.arange(a.rpn_post_nms_top_n) % len(kept)]
    return boxes[kept], score[kept, None]


def _drop_small(boxes: Array, score: Array, least: float) -> None:
    small = (boxes[:, 2:] - boxes[:, :2] + 1 < least).any(1)
    boxes[small, :2] -= least / 2
    boxes[small, 2:] += least / 2
    score[small] = -1


def _moved(boxes: Array, moves: Array) -> Array:
    size = boxes[:, 2:] - boxes[:, :2] + 1
    centre = boxes[:, :2] + (size - 1) / 2
    centre = moves[:, :2] * size + centre
    half = (np.exp(moves[:, 2:]) * size - 1) / 2
    return np.concatenate([centre - half, centre + half], 1)


def _anchors(a: Any) -> Array:
    """The boxes around the first place, one for each ratio and scale."""
    side = a.feature_stride
    middle = (side - 1) / 2
    found = []
    for ratio in a.ratios:
        width = np.floor(np.sqrt(np.floor(side * side / ratio)) + 0.5)
        height = np.floor(width * ratio + 0.5)
        for scale in a.scales:
            half = np.array([width * scale - 1, height * scale - 1]) / 2
            found.append([*(middle - half), *(middle + half)])
    return np.array(found)


for _name in ("_contrib_Proposal", "_contrib_MultiProposal"):
    enter(
        Operator(
            _name,
            ("cls_prob", "bbox_pred", "im_info"),
            _PARAMETERS,
            _shapes,
            outputs=lambda _: 2,
            shown=lambda a: 2 if a.output_score else 1,
            names=("output", "score"),
            numpy=_proposals,
        )
    )
