"""Graphs are divided into parts that respect every edge, and that give what the whole gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.partition import Part
from elastic_inference.frameworks.tensorflow.placement import Home
from elastic_inference.protocol.tensorflow import node_of
from tests.frameworks.tensorflow.graphs import divided, frozen, run_parts, run_whole

# What converts, what TensorFlow alone knows, and what must be here.
STEPS = ("relu", "matmul", "betainc", "decode", "add", "pair", "loop")


def _step(v1: Any, tf: Any, kind: str, one: Any, other: Any) -> Any:
    def decode() -> Any:
        # Decoding pictures is the instance's.
        pixels = tf.cast(tf.reshape(one[:1, :1] * 0 + 7, [1, 1, 1]), tf.uint8)
        picture = tf.io.decode_png(tf.io.encode_png(pixels), channels=1)
        return other + tf.cast(tf.reshape(picture, [1, 1]), tf.float32)

    def pair() -> Any:
        low, high = tf.split(tf.concat([one, other], 0), 2)
        return low * high

    def loop() -> Any:
        return v1.while_loop(
            lambda step, _: step < 2, lambda step, value: (step + 1, value * 0.5), [0, one]
        )[1]

    made = {
        "relu": lambda: tf.nn.relu(one) - other,
        "matmul": lambda: tf.tanh(tf.matmul(one, np.full((3, 3), 0.25, np.float32))),
        "betainc": lambda: tf.math.betainc(1.5, 2.0, tf.sigmoid(one)),
        "decode": decode,
        "add": lambda: one + other,
        "pair": pair,
        "loop": loop,
    }
    return made[kind]()


def _chain(steps: list[tuple[str, int, int]], wanted: list[int]) -> Any:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        first = v1.placeholder(tf.float32, [None, 3], name="first")
        second = v1.placeholder(tf.float32, [None, 3], name="second")
        tensors = [first, second]
        for kind, one, other in steps:
            pair = tensors[one % len(tensors)], tensors[other % len(tensors)]
            tensors.append(_step(v1, tf, kind, *pair))
        outputs = {str(n): tensors[n % len(tensors)] for n in [*wanted, len(tensors) - 1]}
        return {"first": first, "second": second}, outputs

    return build


def _check_edges(graph: Graph, parts: list[Part]) -> None:
    made = set(graph.fed)
    owners: dict[str, int] = {}
    for number, part in enumerate(parts):
        assert set(part.inputs) <= made, "a part takes what no earlier one gave"
        made.update(part.outputs)
        for name in part.own:
            assert owners.setdefault(name, number) == number, "a node is in two parts"
        for name in part.nodes:
            for tensor in graph.inputs[name]:
                assert tensor in part.inputs or node_of(tensor) in part.nodes
    assert set(graph.results) <= made


FEEDS = {
    "first:0": np.array([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]], np.float32),
    "second:0": np.array([[1.5, 0.5, -2.0], [0.0, 1.0, 3.0]], np.float32),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=9,
    ),
    st.lists(st.integers(0, 9), max_size=2),
)
@pytest.mark.slow
def test_parts_in_order_give_what_the_whole_gives(
    steps: list[tuple[str, int, int]], wanted: list[int]
) -> None:
    graph, parts = divided(frozen(_chain(steps, wanted)))
    _check_edges(graph, parts)
    expected = run_whole(graph, FEEDS)
    found = run_parts(graph, parts, FEEDS)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def _homes(steps: list[tuple[str, int, int]]) -> list[Home]:
    return [part.home for part in divided(frozen(_chain(steps, [])))[1]]


def test_what_converts_is_one_part() -> None:
    assert _homes([("matmul", 0, 0), ("relu", 2, 1), ("matmul", 3, 0)]) == [Home.ONNX]


def test_what_tensorflow_alone_knows_runs_in_it_on_the_accelerator() -> None:
    assert _homes([("betainc", 0, 0)]) == [Home.TENSORFLOW]
    assert _homes([("matmul", 0, 0), ("betainc", 2, 2)]) == [Home.ONNX, Home.TENSORFLOW]


def test_light_work_beside_what_must_be_here_is_done_here() -> None:
    assert _homes([("relu", 0, 1), ("decode", 2, 2), ("add", 3, 1)]) == [Home.INSTANCE]


def test_heavy_work_is_not_split_by_what_must_be_here() -> None:
    heavy = [("decode", 0, 1), ("matmul", 2, 0), ("matmul", 3, 0)]
    # The first does not wait for what is heavy, and is done before; the second does.
    assert _homes([*heavy, ("decode", 0, 4)]) == [Home.INSTANCE, Home.ONNX]
    after = [*heavy, ("decode", 4, 1), ("add", 5, 0)]
    assert _homes(after) == [Home.INSTANCE, Home.ONNX, Home.INSTANCE]


def test_pictures_cross_as_bytes_and_not_as_floats() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        encoded = v1.placeholder(tf.string, [], name="encoded")
        picture = tf.reshape(tf.io.decode_png(encoded, channels=3), [-1, 3], name="picture")
        scaled = tf.cast(picture, tf.float32) * 0.5
        return {"encoded": encoded}, {"y": tf.matmul(scaled, np.eye(3, dtype=np.float32))}

    graph, (here, there) = divided(frozen(build))
    assert (here.home, there.home) == (Home.INSTANCE, Home.ONNX)
    (crossing,) = there.inputs
    assert graph.dtype(crossing) == "uint8"


def test_a_loop_and_a_branch_within_another_are_not_cut() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        v1.disable_control_flow_v2()
        x = v1.placeholder(tf.float32, [], name="x")

        def outer() -> Any:
            inner = v1.cond(x > 2, lambda: x * 3, lambda: x * 4)
            return tf.math.lgamma(inner) + 1

        y = v1.cond(x > 0, outer, lambda: -x)
        z = v1.while_loop(lambda v: v < 10, lambda v: v * 2 + 1, [tf.abs(y)])
        return {"x": x}, {"z": z}

    graph, parts = divided(frozen(build))
    operators = [{graph.nodes[name].op for name in part.own} for part in parts]
    for both in ({"Switch", "Merge"}, {"Enter", "Exit"}):
        assert all(both <= each or not both & each for each in operators)
    _check_edges(graph, parts)
    for value in (-3.0, 1.0, 5.0):
        feeds = {"x:0": np.float32(value)}
        assert run_parts(graph, parts, feeds) == run_whole(graph, feeds)


def test_what_is_printed_stays_printed() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        with tf.control_dependencies([tf.print("seen", output_stream="file:///dev/null")]):
            y = tf.identity(x)
        return {"x": x}, {"y": tf.matmul(y, np.eye(3, dtype=np.float32))}

    graph, parts = divided(frozen(build))
    printing = [p for p in parts if any(graph.nodes[n].op == "PrintV2" for n in p.own)]
    assert [part.home for part in printing] == [Home.INSTANCE]


def test_an_input_may_be_any_tensor_of_the_graph() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        words = v1.placeholder(tf.string, [None], name="words")
        numbers = tf.strings.to_number(words)
        return {"numbers": numbers}, {"y": tf.nn.relu(numbers), "same": numbers}

    _, (part,) = divided(frozen(build))
    assert part.home is Home.ONNX


def test_an_output_that_needs_more_than_the_inputs_is_refused() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x, y = (v1.placeholder(tf.float32, [], name=name) for name in "xy")
        return {"x": x}, {"sum": x + y}

    with pytest.raises(InvalidRequestError, match="y:0"):
        divided(frozen(build))
