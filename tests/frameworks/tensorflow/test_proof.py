"""Results are held against TensorFlow's, and samples are found that a graph takes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.plan import Tensor
from elastic_inference.frameworks.tensorflow.proof import (
    TOLERANCES,
    DifferenceError,
    Truth,
    compare,
)
from tests.frameworks.tensorflow.graphs import frozen


def _tensor(dtype: str) -> Tensor:
    return Tensor("y:0", dtype, None)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_floats_may_differ_by_as_much_as_is_stated(dtype: str) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    value = np.array([1.0, 100.0], kind)
    relative = TOLERANCES[dtype].relative
    near = (value.astype(np.float64) * (1 + relative)).astype(kind)
    far = (value.astype(np.float64) * (1 + 4 * relative)).astype(kind)
    assert compare(_tensor(dtype), value, value) == 0.0
    assert compare(_tensor(dtype), value, near) >= 0.0
    with pytest.raises(DifferenceError, match="differs by up to"):
        compare(_tensor(dtype), value, far)


def test_what_is_not_finite_must_be_so_alike() -> None:
    value = np.array([np.nan, np.inf, 1.0], np.float32)
    assert compare(_tensor("float32"), value, value.copy()) == 0.0
    with pytest.raises(DifferenceError, match="not finite"):
        compare(_tensor("float32"), value, np.array([0.0, np.inf, 1.0], np.float32))
    with pytest.raises(DifferenceError):
        compare(_tensor("float32"), np.ones(1, np.float32), np.array([np.nan], np.float32))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_whole_numbers_must_be_equal(dtype: str) -> None:
    value = np.array([1, 0], dtype)
    assert compare(_tensor(dtype), value, value) == 0.0
    with pytest.raises(DifferenceError, match="1 of 2"):
        compare(_tensor(dtype), value, np.array([1, 1], dtype))


def test_texts_must_be_equal() -> None:
    value = np.array([b"a", "ä".encode()], object)
    assert compare(_tensor("string"), value, np.array(["a", "ä"], object)) == 0.0
    with pytest.raises(DifferenceError):
        compare(_tensor("string"), value, np.array(["a", "b"], object))


def test_shapes_and_dtypes_must_be_equal() -> None:
    value = np.zeros((2, 1), np.float32)
    with pytest.raises(DifferenceError, match="shape"):
        compare(_tensor("float32"), value, value[0])
    with pytest.raises(DifferenceError, match="float64"):
        compare(_tensor("float32"), value, value.astype(np.float64))


def _truth(build: Any) -> tuple[Graph, Truth]:
    import tensorflow as tf

    graph = Graph(tf, frozen(build))
    return graph, Truth(tf, graph)


def _values(build: Any) -> list[dict[str, Any]]:
    graph, truth = _truth(build)
    assert not truth.reason
    values = truth.values(sorted(graph.fed), graph.results)
    truth.close()
    return values


def test_samples_have_two_sizes_where_one_is_unknown() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.uint8, [None, None, None, 3], name="x")
        return {"x": x}, {"y": tf.reduce_mean(tf.cast(x, tf.float32), [1, 2])}

    one, other = _values(build)
    assert one["x:0"].shape != other["x:0"].shape
    assert one["x:0"].max() > 100


def test_sizes_that_the_graph_refuses_are_not_taken() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.float32, [None, None], name="x")
        return {"x": x}, {"y": tf.matmul(x, tf.ones([7, 2]))}

    assert [each["x:0"].shape[1] for each in _values(build)] == [7]


def test_samples_take_both_sides_of_a_branch() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.float32, [None], name="x")
        side = v1.cond(tf.reduce_min(x) < 0, lambda: tf.constant(1), lambda: tf.constant(2))
        return {"x": x}, {"side": tf.identity(side, name="side")}

    assert {int(each["side:0"]) for each in _values(build)} == {1, 2}


def test_indices_stay_within_a_small_table() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.int64, [None, 8], name="x")
        return {"x": x}, {"y": tf.gather(tf.ones([2, 3]), x)}

    assert all(each["x:0"].max() < 2 for each in _values(build))


def test_examples_have_the_features_that_are_parsed() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.string, [None], name="x")
        features = {
            "pixels": v1.FixedLenFeature([4], tf.float32),
            "picture": v1.FixedLenFeature([], tf.string),
            "tags": v1.VarLenFeature(tf.int64),
        }
        parsed = v1.io.parse_example(x, features)
        size = tf.shape(tf.io.decode_jpeg(parsed["picture"][0]))
        return {"x": x}, {"y": parsed["pixels"], "n": parsed["tags"].values, "size": size}

    first = _values(build)[0]
    y, n, size = (first[name] for name in sorted(first, key=lambda name: name != "x:0")[1:])
    assert y.shape[1] == 4
    assert n.size >= 2
    assert size.shape == (3,)


def test_pictures_are_drawn_where_they_are_decoded() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.string, [], name="x")
        return {"x": x}, {"y": tf.io.decode_jpeg(tf.io.decode_base64(x))}

    assert _values(build)[0]["x:0"].item()[:4] == b"_9j_"


def test_what_no_sample_makes_run_is_tried_from_its_middle() -> None:
    def build(v1: Any, tf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        here = v1.py_func(lambda value: value, [x], tf.float32, name="here")
        here.set_shape([None, 3])
        return {"x": x}, {"y": tf.matmul(here, tf.ones([3, 2]), name="y")}

    from tensorflow.python.ops import script_ops

    graph, _ = _truth(build)
    import tensorflow as tf

    (token,) = [node.attr["token"].s for node in graph.nodes.values() if "token" in node.attr]
    script_ops._py_funcs._funcs.pop(token.decode(), None)
    truth = Truth(tf, graph)
    assert "pyfunc" in truth.reason
    values = truth.values(["here:0"], ["y:0"])
    truth.close()
    assert values[0]["y:0"].shape[1] == 2
