"""The choice among boxes that overlap: the best stays, what overlaps it too much goes."""

from __future__ import annotations

import numpy as np

from elastic_inference.protocol.tensors import Array


def suppress(
    boxes: Array,
    threshold: float,
    *,
    groups: Array | None = None,
    inclusive: bool = False,
    pixel: float = 0.0,
    most: int | None = None,
) -> Array:
    """Which boxes stay, of those that come best first.

    Args:
        boxes: left, top, right and bottom of each.
        threshold: the overlap, as intersection over union, that is too much.
        groups: boxes of different groups leave each other alone.
        inclusive: an overlap of exactly the threshold is too much as well.
        pixel: how much wider a box is than its ends tell.
        most: no more than so many stay.
    """
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    areas = np.maximum(right - left + pixel, 0) * np.maximum(bottom - top + pixel, 0)
    stays = np.zeros(len(boxes), np.bool_)
    alive = np.arange(len(boxes))
    while len(alive) and (most is None or stays.sum() < most):
        best, alive = alive[0], alive[1:]
        stays[best] = True
        width = np.minimum(right[best], right[alive]) - np.maximum(left[best], left[alive])
        height = np.minimum(bottom[best], bottom[alive]) - np.maximum(top[best], top[alive])
        common = np.maximum(width + pixel, 0) * np.maximum(height + pixel, 0)
        union = areas[best] + areas[alive] - common
        overlap = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        gone = overlap >= threshold if inclusive else overlap > threshold
        if groups is not None:
            gone &= groups[alive] == groups[best]
        alive = alive[~gone]
    return stays
