"""Divided graphs give what the whole graph gives.

The sides are played by two local engines, of which the "remote" one refuses what the accelerator
would refuse.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from elastic_inference.errors import ModelFormatError
from elastic_inference.frameworks.onnxruntime.graph import Graph, every_node
from elastic_inference.frameworks.onnxruntime.partition import Segment, divide
from elastic_inference.frameworks.onnxruntime.partitioned import (
    PartitionedModel,
    Support,
    parse,
    plan,
)
from elastic_inference.frameworks.onnxruntime.runners import LocalRunner, Runner, local_session

# A toy domain whose operators the local engine runs (they are model-local functions' names
# there) and the remote one does not.
TOY = "toy"
DOMAINS = {"": 27, "ai.onnx.ml": 5, "com.microsoft": 1}
SUPPORT = Support(DOMAINS)


def value(name: str, dtype: int = TensorProto.FLOAT, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def build(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any] | None = None
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights or [])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def weight(name: str, *shape: int, seed: int = 0) -> Any:
    data = np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)
    return numpy_helper.from_array(data, name)


def gelu(source: str, result: str) -> Any:
    """A node that the local engine runs and that these tests keep from the accelerator."""
    return helper.make_node("Gelu", [source], [result], domain="com.microsoft")


def matmul(left: str, right: str, result: str) -> Any:
    return helper.make_node("MatMul", [left, right], [result])


LOCAL_GELU = Support({"": 27})


class Sides:
    """Loads segments, remembers them, and refuses remote ones with foreign operators."""

    def __init__(self) -> None:
        self.remote: list[onnx.ModelProto] = []
        self.local: list[onnx.ModelProto] = []

    def load_remote(self, piece: bytes) -> Runner:
        model = onnx.load_from_string(piece)
        assert {node.domain for node in every_node(model.graph.node)} <= {""}
        self.remote.append(model)
        return LocalRunner(local_session(piece, None))

    def load_local(self, piece: bytes) -> Runner:
        self.local.append(onnx.load_from_string(piece))
        return LocalRunner(local_session(piece, None))


def divided(
    model: onnx.ModelProto, support: Support = LOCAL_GELU, directory: Path | None = None
) -> tuple[PartitionedModel, Sides]:
    sides = Sides()
    parsed, segments = plan(model, support)
    whole = PartitionedModel(
        parsed,
        segments,
        load_remote=sides.load_remote,
        load_local=sides.load_local,
        directory=directory,
    )
    return whole, sides


def shape_of(segments: list[Segment] | tuple[Segment, ...]) -> str:
    return "".join("R" if segment.remote else "L" for segment in segments)


def same(model: onnx.ModelProto, whole: PartitionedModel, feeds: dict[str, Any]) -> None:
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    got = whole.run(None, feeds)
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("MG", "RL"),
        ("GM", "LR"),
        ("GMG", "LRL"),
        ("MGM", "RLR"),
        ("MGMG", "RLRL"),
        ("GMGMG", "LRLRL"),
        ("MGMGMG", "RLRLRL"),
        ("GGMMGG", "LRL"),
    ],
)
def test_chains_are_cut_where_they_must_be(kinds: str, expected: str) -> None:
    nodes, last = [], "x"
    for index, kind in enumerate(kinds):
        made = f"t{index}"
        nodes.append(gelu(last, made) if kind == "G" else matmul(last, "w", made))
        last = made
    model = build(nodes, [value("x", shape=["n", 4])], [value(last)], [weight("w", 4, 4)])
    whole, _ = divided(model)
    assert shape_of(whole.segments) == expected
    same(model, whole, {"x": X})


def test_independent_branches_share_segments() -> None:
    nodes, ends = [], []
    for branch in range(4):
        nodes += [
            matmul("x", "w", f"m{branch}"),
            gelu(f"m{branch}", f"g{branch}"),
            matmul(f"g{branch}", "w", f"e{branch}"),
        ]
        ends.append(f"e{branch}")
    nodes.append(helper.make_node("Sum", ends, ["y"]))
    model = build(nodes, [value("x", shape=["n", 4])], [value("y")], [weight("w", 4, 4)])
    whole, _ = divided(model)
    assert shape_of(whole.segments) == "RLR"
    same(model, whole, {"x": X})


def test_the_start_with_fewer_segments_is_taken() -> None:
    # Starting here: L(g) R(a, m) L(h). Starting there: R(a) L(g) R(m) L(h).
    nodes = [
        matmul("x", "w", "a"),
        gelu("x", "g"),
        helper.make_node("MatMul", ["a", "g"], ["m"]),
        gelu("m", "y"),
    ]
    model = build(nodes, [value("x", shape=[4, 4])], [value("y")], [weight("w", 4, 4)])
    whole, _ = divided(model)
    assert shape_of(whole.segments) == "LRL"
    same(model, whole, {"x": np.eye(4, dtype=np.float32)})


def test_cheap_nodes_are_no_islands() -> None:
    nodes = [
        gelu("x", "a"),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        gelu("c", "d"),
        matmul("d", "w", "y"),
    ]
    model = build(nodes, [value("x", shape=["n", 4])], [value("y")], [weight("w", 4, 4)])
    whole, _ = divided(model)
    assert shape_of(whole.segments) == "LR"
    same(model, whole, {"x": X})


def test_a_cut_falls_where_few_bytes_cross() -> None:
    # The frame is cropped before it is sent: Slice runs here although it could run there.
    crop = [
        numpy_helper.from_array(np.array(item, np.int64), name)
        for name, item in (("from", [0, 0]), ("to", [8, 8]), ("axes", [0, 1]))
    ]
    nodes = [
        gelu("x", "a"),
        helper.make_node("Slice", ["a", "from", "to", "axes"], ["b"]),
        matmul("b", "w", "y"),
    ]
    known = value("a", shape=[1024, 1024])
    model = build(nodes, [value("x", shape=[1024, 1024])], [value("y")], [weight("w", 8, 8), *crop])
    model.graph.value_info.append(known)
    whole, sides = divided(model)
    assert [node.op_type for node in sides.local[0].graph.node] == ["Gelu", "Slice"]
    same(model, whole, {"x": np.ones((1024, 1024), np.float32)})


def test_a_models_without_foreign_nodes_is_one_segment() -> None:
    model = build(
        [matmul("x", "w", "y")], [value("x", shape=["n", 4])], [value("y")], [weight("w", 4, 4)]
    )
    _, segments = plan(model, LOCAL_GELU)
    assert shape_of(segments) == "R"


def test_weights_go_only_where_they_are_used() -> None:
    nodes = [
        matmul("x", "large", "a"),
        gelu("a", "b"),
        helper.make_node("BiasGelu", ["b", "bias"], ["y"], domain="com.microsoft"),
    ]
    model = build(
        nodes,
        [value("x", shape=["n", 4])],
        [value("y")],
        [weight("large", 4, 64), weight("bias", 64)],
    )
    whole, sides = divided(model)
    assert [tensor.name for tensor in sides.remote[0].graph.initializer] == ["large"]
    assert [tensor.name for tensor in sides.local[0].graph.initializer] == ["bias"]
    same(model, whole, {"x": X})


def test_control_flow_with_a_foreign_node_stays_here() -> None:
    def branch(name: str, node: Any) -> Any:
        return helper.make_graph([node], name, [], [value(f"{name}_y")])

    chosen = helper.make_node(
        "If",
        ["c"],
        ["b"],
        then_branch=branch("then", gelu("a", "then_y")),
        else_branch=branch("else", helper.make_node("Neg", ["a"], ["else_y"])),
    )
    model = build(
        [matmul("x", "w", "a"), chosen, matmul("b", "w", "y")],
        [value("x", shape=["n", 4]), value("c", TensorProto.BOOL, [])],
        [value("y", shape=["n", 4])],
        [weight("w", 4, 4)],
    )
    whole, sides = divided(model)
    assert shape_of(whole.segments) == "RLR"
    assert [node.op_type for node in sides.local[0].graph.node] == ["If"]
    for flag in (True, False):
        same(model, whole, {"x": X, "c": np.array(flag)})


def test_functions_with_foreign_nodes_are_opened() -> None:
    body = helper.make_function(
        TOY,
        "Block",
        ["p"],
        ["q"],
        [helper.make_node("Neg", ["p"], ["n"]), gelu("n", "q")],
        [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)],
    )
    nodes = [
        matmul("x", "w", "a"),
        helper.make_node("Block", ["a"], ["b"], domain=TOY),
        matmul("b", "w", "y"),
    ]
    model = build(
        nodes, [value("x", shape=["n", 4])], [value("y", shape=["n", 4])], [weight("w", 4, 4)]
    )
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid(TOY, 1))
    whole, _ = divided(model)
    assert shape_of(whole.segments) == "RLR"
    same(model, whole, {"x": X})


def test_functions_without_foreign_nodes_are_kept() -> None:
    body = helper.make_function(
        TOY,
        "Block",
        ["p"],
        ["q"],
        [helper.make_node("Neg", ["p"], ["q"])],
        [helper.make_opsetid("", 21)],
    )
    model = build(
        [helper.make_node("Block", ["x"], ["y"], domain=TOY)],
        [value("x", shape=["n", 4])],
        [value("y", shape=["n", 4])],
    )
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid(TOY, 1))
    parsed, segments = plan(model, LOCAL_GELU)
    assert shape_of(segments) == "R"
    assert len(parsed.functions) == 1


def test_external_weights_reach_local_segments(tmp_path: Path) -> None:
    nodes = [
        matmul("x", "w", "a"),
        helper.make_node("BiasGelu", ["a", "bias"], ["y"], domain="com.microsoft"),
    ]
    model = build(
        nodes, [value("x", shape=["n", 4])], [value("y")], [weight("w", 4, 4), weight("bias", 4)]
    )
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    parsed, segments = plan(parse(str(path)), LOCAL_GELU)
    assert shape_of(segments) == "RL"
    pieces: list[onnx.ModelProto] = []

    def load_remote(piece: bytes) -> Runner:
        pieces.append(onnx.load_from_string(piece))
        (tmp_path / "piece.onnx").write_bytes(piece)
        return LocalRunner(local_session(str(tmp_path / "piece.onnx"), None))

    whole = PartitionedModel(
        parsed,
        segments,
        load_remote=load_remote,
        load_local=lambda piece: LocalRunner(local_session(piece, None)),
        directory=tmp_path,
    )
    # The remote segment refers to the file as the whole model did: nothing is uploaded twice.
    assert pieces[0].graph.initializer[0].data_location == TensorProto.EXTERNAL
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": X})
    np.testing.assert_array_equal(whole.run(None, {"x": X})[0], expected[0])


def test_sequences_cross() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["s"]),
        gelu("x", "g"),
        helper.make_node("SequenceInsert", ["s", "g"], ["t"]),
        helper.make_node("ConcatFromSequence", ["t"], ["u"], axis=0),
        matmul("u", "w", "y"),
    ]
    model = build(nodes, [value("x", shape=[2, 4])], [value("y")], [weight("w", 4, 4)])
    whole, _ = divided(model)
    same(model, whole, {"x": X})


def test_inputs_and_weights_may_be_results() -> None:
    model = build(
        [gelu("x", "a"), matmul("a", "w", "y")],
        [value("x", shape=["n", 4])],
        [value("y"), value("w", shape=[4, 4])],
        [weight("w", 4, 4)],
    )
    whole, _ = divided(model)
    same(model, whole, {"x": X})


def test_nodes_may_come_in_any_order() -> None:
    nodes = [matmul("a", "w", "y"), gelu("x", "a")]
    graph = Graph(build(nodes, [value("x")], [value("y")], [weight("w", 4, 4)]))
    segments = divide(graph, lambda node: node.domain == "")
    assert shape_of(segments) == "LR"


def test_garbage_is_no_model() -> None:
    with pytest.raises(ModelFormatError):
        parse(b"garbage garbage")


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Random graphs of exact integer arithmetic, over two inputs."""
    names = ["x", "z"]
    nodes = []
    for index in range(draw(st.integers(1, 14))):
        made = f"t{index}"
        kind = draw(
            st.sampled_from(["Abs", "Neg", "Add", "Mul", "MatMul", "Transpose", "Identity", "Max"])
        )
        left, right = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        arity = 1 if kind in {"Abs", "Neg", "Transpose", "Identity"} else 2
        node = helper.make_node(kind, [left, right][:arity], [made])
        if draw(st.booleans()):
            node.metadata_props.add(key="side", value="local")
        nodes.append(node)
        names.append(made)
    results = draw(st.lists(st.sampled_from(names[2:]), min_size=1, max_size=3, unique=True))
    return build(
        nodes,
        [value("x", TensorProto.INT32, [3, 3]), value("z", TensorProto.INT32, ["n", 3])],
        [value(name, TensorProto.INT32) for name in results],
    )


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_any_division_gives_the_same(model: onnx.ModelProto) -> None:
    def stays_here(node: Any) -> bool:
        return any(item.value == "local" for item in node.metadata_props)

    graph = Graph(model)
    segments = divide(graph, lambda node: not stays_here(node))
    load = lambda piece: LocalRunner(local_session(piece, None))  # noqa: E731
    whole = PartitionedModel(model, segments, load_remote=load, load_local=load, directory=None)
    positions = [index for segment in segments for index in segment.nodes]
    assert sorted(positions) == list(range(len(graph.nodes)))
    for segment in segments:
        forced = any(stays_here(graph.nodes[index]) for index in segment.nodes)
        assert not (segment.remote and forced)
    for before, after in pairwise(segments):
        assert before.remote != after.remote
    square = np.arange(9, dtype=np.int32).reshape(3, 3) - 4
    same(model, whole, {"x": square, "z": square.T.copy()})
