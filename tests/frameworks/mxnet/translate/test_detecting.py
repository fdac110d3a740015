"""Detection in ONNX decides as numpy does, and as MXNet: the grids tell that."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from elastic_inference.frameworks.mxnet import symbol_json, table
from elastic_inference.frameworks.mxnet.translate import NumpySegment, OnnxSegment, translate
from elastic_inference.protocol.tensors import Array
from tests.frameworks.mxnet.running import Loaded
from tests.frameworks.mxnet.translate.cases import Case, Draw

_PICTURES, _BOXES = 60, 24


def both(operator: str, arrays: list[Array], attributes: Mapping[str, Any]) -> tuple[Array, Array]:
    """What the operator gives in ONNX, and in numpy."""
    given = {key: str(each) for key, each in attributes.items()}
    draws = tuple(Draw(each.shape, dtype=each.dtype.name) for each in arrays)
    graph = symbol_json.loads(Case(operator, draws, given).symbol()).graph
    feeds = {f"x{index}": each for index, each in enumerate(arrays)}
    made = translate(graph, {}, {key: (each.shape, each.dtype) for key, each in feeds.items()})
    assert isinstance(made.segments[0], OnnxSegment)
    (onnx,) = Loaded(made).run(feeds)
    found = table.find(operator)
    assert found is not None
    assert found.numpy is not None
    return onnx, found.numpy(found.parse(given), *arrays)


def coarse(chance: np.random.RandomState, shape: tuple[int, ...], *, steps: int) -> Array:
    """Numbers among which many are equal, so that thresholds are met exactly."""
    return (chance.randint(0, steps + 1, shape) / steps).astype(np.float32)


def rows(seed: int, *, classes: int, steps: int) -> Array:
    """Class, score and box; some boxes are empty, some end before they begin."""
    chance = np.random.RandomState(seed)
    shape = (_PICTURES, _BOXES)
    ids = chance.randint(-1, classes, (*shape, 1)).astype(np.float32)
    scores = coarse(chance, (*shape, 1), steps=steps)
    first = coarse(chance, (*shape, 2), steps=8)
    size = (chance.randint(-1, 6, (*shape, 2)) / 8).astype(np.float32)
    return np.concatenate([ids, scores, first, first + size], -1)


def _choices() -> Iterator[dict[str, Any]]:
    overlaps = (0, 0.25, 0.5, 1, 1.5)
    for overlap, topk, forced, id_index in itertools.product(overlaps, (-1, 0, 9), (0, 1), (-1, 0)):
        yield {"overlap_thresh": overlap, "topk": topk, "force_suppress": forced,
               "id_index": id_index, "valid_thresh": 0.1 + overlap / 4,
               "background_id": 1 if forced else -1}  # fmt: skip
    for given, wanted in itertools.product(("corner", "center"), repeat=2):
        yield {"in_format": given, "out_format": wanted, "overlap_thresh": 0.5}


def test_box_nms_decides_as_numpy() -> None:
    for seed, attributes in enumerate(_choices()):
        onnx, numpy = both("_contrib_box_nms", [rows(seed, classes=4, steps=10)], attributes)
        np.testing.assert_array_equal(onnx, numpy, str(attributes))


@pytest.mark.parametrize("scores", [0.0, np.nan, -np.inf, np.inf])
def test_box_nms_without_an_order_of_scores(scores: float) -> None:
    given = rows(1, classes=3, steps=5)
    given[..., 1] = scores
    for thresholds in ({"valid_thresh": 0.5}, {"valid_thresh": -1}):
        onnx, numpy = both("_contrib_box_nms", [given], {"id_index": 0, **thresholds})
        np.testing.assert_array_equal(onnx, numpy)


def test_multi_box_detection_decides_as_numpy() -> None:
    choices = itertools.product((0.05, 0.6, 1.5), (0, 0.25, 0.5, 1), (0, 1), (-1, 7), (0, 1))
    for seed, (threshold, overlap, forced, topk, clip) in enumerate(choices):
        chance = np.random.RandomState(seed)
        scores = coarse(chance, (_PICTURES, 4, _BOXES), steps=10)
        # Whole sizes and places: what is decoded is exact, as far as nothing grows.
        offsets = np.zeros((_PICTURES, _BOXES, 4), np.float32)
        offsets[..., :2] = chance.randint(-2, 3, (_PICTURES, _BOXES, 2))
        anchors = rows(seed, classes=1, steps=1)[:1, :, 2:]
        onnx, numpy = both(
            "_contrib_MultiBoxDetection",
            [scores, offsets.reshape(_PICTURES, -1), np.ascontiguousarray(anchors)],
            {"threshold": threshold, "nms_threshold": overlap, "force_suppress": forced,
             "nms_topk": topk, "clip": clip, "variances": "(0.25, 0.25, 0.5, 0.5)"},
        )  # fmt: skip
        np.testing.assert_array_equal(onnx, numpy, f"{threshold, overlap, forced, topk, clip}")


@pytest.mark.parametrize(
    ("shape", "dtype", "attributes"),
    [
        ((2, 9, 6), "float64", {}),
        ((2, 9, 6), "float32", {"overlap_thresh": "-0.5"}),
        ((1, 40_000, 6), "float32", {"id_index": "0"}),
    ],
)
def test_the_instance_runs_what_onnx_does_not(
    shape: tuple[int, ...], dtype: str, attributes: dict[str, str]
) -> None:
    case = Case("_contrib_box_nms", (Draw(shape, dtype=dtype),), attributes)
    graph = symbol_json.loads(case.symbol()).graph
    (segment,) = translate(graph, {}, {"x0": (shape, dtype)}).segments
    assert isinstance(segment, NumpySegment)
