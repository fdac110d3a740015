"""Networks give what real MXNet gave: recorded by `make oracle`, with weights from a seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.accelerator.onnxfile import inspect
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.frameworks.mxnet import params, symbol_json
from elastic_inference.frameworks.mxnet.builder import MAIN
from elastic_inference.frameworks.mxnet.graph import Graph
from elastic_inference.frameworks.mxnet.infer import infer_shapes
from elastic_inference.frameworks.mxnet.translate import (
    NumpySegment,
    OnnxSegment,
    Translation,
    translate,
)
from elastic_inference.protocol.tensors import Array
from tests.frameworks.mxnet.running import Loaded
from tests.frameworks.mxnet.translate import fixtures
from tests.frameworks.mxnet.translate.cases import Case, Draw
from tests.frameworks.mxnet.translate.fixtures import Recorded
from tests.frameworks.mxnet.translate.weights import draw

_NAMES = list(fixtures.recorded())


def weights_of(model: Recorded, graph: Graph) -> dict[str, Array]:
    inferred = infer_shapes(graph, {name: each.shape for name, each in model.feeds.items()})
    shapes = {}
    for node in graph.variables():
        shape = inferred.of((node, 0))
        assert shape is not None
        if node.name not in model.feeds:
            shapes[node.name] = shape
    return draw(shapes, model.gain)


def translated(name: str) -> tuple[Recorded, Translation]:
    model = fixtures.read_model(name)
    graph = symbol_json.loads(model.symbol).graph
    inputs = {key: (each.shape, each.dtype) for key, each in model.feeds.items()}
    return model, translate(graph, weights_of(model, graph), inputs)


@pytest.mark.parametrize("name", _NAMES)
def test_model(name: str) -> None:
    model, translation = translated(name)
    outputs = Loaded(translation).run(model.feeds)
    assert len(outputs) == len(model.expected)
    for mine, (shape, theirs) in zip(outputs, model.expected, strict=True):
        assert mine.shape == shape
        assert mine.dtype == theirs.dtype
        scale = float(np.abs(theirs).max(initial=0))
        np.testing.assert_allclose(fixtures.spread(mine), theirs, rtol=0, atol=1e-4 * scale)


def test_an_accelerator_accepts_the_files(tmp_path: Path) -> None:
    _, translation = translated("ssd")
    for segment in translation.segments:
        if isinstance(segment, OnnxSegment):
            for name, content in segment.files.items():
                assert isinstance(content, bytes)
                (tmp_path / name).write_bytes(content)
            found = inspect(tmp_path / MAIN, set(segment.files))
            assert found.opsets[""] == 17
            assert not found.unranked


def test_detection_is_one_model() -> None:
    _, translation = translated("ssd")
    (segment,) = translation.segments
    assert isinstance(segment, OnnxSegment)
    assert segment.operators["Convolution"] == 10
    assert segment.operators["_contrib_MultiBoxDetection"] == 1


def test_proposals_come_from_the_instance() -> None:
    graph = symbol_json.loads(_PROPOSALS.symbol()).graph
    inputs = {name: (each.shape, each.dtype) for name, each in _PROPOSALS.arrays().items()}
    (segment,) = translate(graph, {}, inputs).segments
    assert isinstance(segment, NumpySegment)
    assert [step.operator for step in segment.steps] == ["_contrib_Proposal"]


_PROPOSALS = Case(
    "_contrib_Proposal",
    (Draw((1, 24, 6, 8), "positive"), Draw((1, 48, 6, 8), "unit"), Draw((1, 3), "positive")),
)


def test_weights_of_a_file_stay_in_it(tmp_path: Path) -> None:
    model = fixtures.read_model("resnext")
    graph = symbol_json.loads(model.symbol).graph
    path = tmp_path / "net-0000.params"
    params.save(path, weights_of(model, graph))
    weights = params.load(path)
    assert isinstance(weights, dict)
    given = {name: each for name, each in weights.items() if each is not None}
    inputs = {key: (each.shape, each.dtype) for key, each in model.feeds.items()}
    (segment,) = translate(graph, given, inputs).segments
    assert isinstance(segment, OnnxSegment)
    assert segment.files.keys() == {MAIN, "net-0000.params"}
    assert segment.files["net-0000.params"] == str(path)
    outputs = Loaded(translate(graph, given, inputs)).run(model.feeds)
    (_, theirs), *_ = model.expected
    np.testing.assert_allclose(fixtures.spread(outputs[0]), theirs, rtol=0, atol=1e-5)


def test_another_batch_size_needs_the_same_weights() -> None:
    model = fixtures.read_model("resnext")
    graph = symbol_json.loads(model.symbol).graph
    weights = weights_of(model, graph)
    files = []
    for batch in (1, 3):
        made = translate(graph, weights, {"data": ((batch, 3, 32, 32), np.float32)})
        (segment,) = made.segments
        assert isinstance(segment, OnnxSegment)
        assert made.outputs[0].shape == (batch, 10)
        files.append(segment.files)
    first, second = files
    assert first[MAIN] != second[MAIN]
    assert first["weights.bin"] == second["weights.bin"]


def single(operator: str, **attributes: str) -> Graph:
    return symbol_json.loads(Case(operator, (Draw((2, 3)),), attributes).symbol()).graph


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (single("Custom", op_type="mine"), r"Operator Custom \(node 'node'\) cannot be run"),
        (single("no_such_operator"), r"Operator no_such_operator \(node 'node'\)"),
        (single("Reshape", shape="(5, 5)"), r'Reshape\(name="node"\): cannot reshape'),
        (single("Activation", act_type="no"), "Invalid Parameter format for act_type"),
        (single("Activation"), "Required parameter act_type"),
        (single("transpose", axes="(0, 5)"), "axis 5 is out of bounds"),
        (single("transpose", axes="(0, 0)"), "are not those of 2 dimensions"),
    ],
)
def test_what_cannot_run_is_named(graph: Graph, why: str) -> None:
    with pytest.raises((ElasticInferenceError, RuntimeError), match=why):
        translate(graph, {}, {"x0": ((2, 3), np.float32)})


def test_a_missing_argument_is_named() -> None:
    graph = single("exp")
    with pytest.raises(ElasticInferenceError, match="x0"):
        translate(graph, {}, {})


def test_an_argument_that_nothing_needs_may_be_missing() -> None:
    graph = symbol_json.loads(fixtures.read_model("resnext").symbol).graph
    model = fixtures.read_model("resnext")
    weights = weights_of(model, graph)
    del weights["softmax_label"]
    made = translate(graph, weights, {"data": ((1, 3, 32, 32), np.float32)})
    assert [each.name for each in made.inputs] == ["data"]


def test_a_head_may_be_an_input_or_a_weight() -> None:
    graph = single("exp")
    inner = graph.internals()
    made = translate(inner, {}, {"x0": ((2, 3), np.float32)})
    feed = np.ones((2, 3), np.float32)
    first, second = Loaded(made).run({"x0": feed})
    np.testing.assert_array_equal(first, feed)
    np.testing.assert_allclose(second, np.exp(feed), rtol=1e-6)
    constant = translate(inner, {"x0": feed}, {})
    assert not constant.inputs
    np.testing.assert_allclose(Loaded(constant).run({})[1], np.exp(feed), rtol=1e-6)


def test_a_round_trip_of_a_graph_translates_alike() -> None:
    model = fixtures.read_model("bert")
    graph = symbol_json.loads(model.symbol).graph
    again = symbol_json.loads(symbol_json.dumps(graph)).graph
    inputs = {key: (each.shape, each.dtype) for key, each in model.feeds.items()}
    weights = weights_of(model, graph)
    files = []
    for each in (graph, again):
        (segment,) = translate(each, weights, inputs).segments
        assert isinstance(segment, OnnxSegment)
        files.append(segment.files)
    assert files[0] == files[1]


def _masked(then: str = "") -> Graph:
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "keep", "inputs": []},
        {"op": "exp", "name": "e", "inputs": [[0, 0, 0]]},
        {"op": "_contrib_boolean_mask", "name": "mask", "inputs": [[2, 0, 0], [1, 0, 0]]},
    ]
    if then:
        nodes.append({"op": then, "name": "last", "inputs": [[3, 0, 0]]})
    document = {
        "nodes": nodes,
        "arg_nodes": [0, 1],
        "heads": [[len(nodes) - 1, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }
    return symbol_json.loads(json.dumps(document)).graph


_MASKED = {"data": ((4, 2), np.float32), "keep": ((4,), np.float32)}


def test_a_result_whose_size_depends_on_values_comes_from_the_instance() -> None:
    made = translate(_masked(), {}, _MASKED)
    assert [each.shape for each in made.outputs] == [(0, 2)]
    feeds = {
        "data": np.arange(8, dtype=np.float32).reshape(4, 2),
        "keep": np.array([1, 0, 0, 1], np.float32),
    }
    (found,) = Loaded(made).run(feeds)
    np.testing.assert_allclose(found, np.exp(feeds["data"][[0, 3]]), rtol=1e-6)


def test_what_would_need_such_a_size_is_named() -> None:
    with pytest.raises(ElasticInferenceError, match=r"Operator exp \(node 'last'\)"):
        translate(_masked("exp"), {}, _MASKED)


def test_a_region_of_no_picture_is_zero() -> None:
    """As MXNet has it on a GPU; on a CPU it leaves what was in memory."""
    rois = Draw((2, 5), "values", values=[[-1, -1, -1, -1, -1], [0, 0, 0, 2, 2]])
    case = Case(
        "_contrib_ROIAlign", (Draw((1, 2, 4, 4), "positive"), rois),
        {"pooled_size": "(2, 2)", "spatial_scale": "1.0", "sample_ratio": "2"},
    )  # fmt: skip
    graph = symbol_json.loads(case.symbol()).graph
    arrays = case.arrays()
    inputs = {name: (each.shape, each.dtype) for name, each in arrays.items()}
    (found,) = Loaded(translate(graph, {}, inputs)).run(arrays)
    assert not found[0].any()
    assert found[1].all()


@pytest.mark.parametrize("operator", ["_random_normal", "_random_uniform"])
def test_drawn_numbers_are_new_each_time(operator: str) -> None:
    case = Case(operator, (), {"shape": "(3, 400)", "dtype": "float32"})
    loaded = Loaded(translate(symbol_json.loads(case.symbol()).graph, {}, {}))
    (first,), (second,) = loaded.run({}), loaded.run({})
    assert first.shape == (3, 400)
    assert not np.array_equal(first, second)
    assert 0.2 < float(first.std()) < 1.2


def test_classes_are_drawn_by_their_probability() -> None:
    case = Case(
        "_sample_multinomial", (Draw((2, 3), "values", values=[[0, 1, 0], [1, 0, 0]]),),
        {"shape": "5"},
    )  # fmt: skip
    graph = symbol_json.loads(case.symbol()).graph
    (found,) = Loaded(translate(graph, {}, {"x0": ((2, 3), np.float32)})).run(case.arrays())
    np.testing.assert_array_equal(found, [[1] * 5, [0] * 5])
