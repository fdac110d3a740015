"""Graphs that an accelerator runs in TensorFlow, and those that it must not, over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from elastic_inference.client import Accelerator
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    InvalidRequestError,
    ModelFormatError,
)
from tests.accelerator.tensorflow_graphs import (
    FLOATS,
    Build,
    Y,
    connected,
    graph,
    identity,
    interface,
    load,
    process,
    target,
)
from tests.processes import AcceleratorProcess

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.slow
__all__ = ["process", "target"]  # fixtures

# What runs


@pytest.mark.parametrize(
    "dtype",
    [
        *("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16"),
        *("uint32", "uint64", "bool", "complex64", "complex128", "bfloat16"),
    ],
)
def test_every_type_comes_back(target: Accelerator, dtype: str) -> None:
    def build(tf: Any, v1: Any) -> None:
        tf.reverse(v1.placeholder(dtype, [None, 3], name="x"), [0], name="y")

    entry = {"name": "x", "tensor": "x:0", "dtype": dtype, "shape": [None, 3]}
    with load(
        target, graph(build), interface([entry], [{**entry, "name": "y", "tensor": "y:0"}])
    ) as model:
        kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
        x = np.arange(12).reshape(4, 3).astype(kind)
        fed = x.view(np.uint16) if dtype == "bfloat16" else x
        (y,) = model.run({"x": fed})
        assert isinstance(y, np.ndarray)
        assert y.dtype == fed.dtype
        assert y.tolist() == fed[::-1].tolist()
        assert model.providers == ("TensorFlow",)


def test_texts_and_a_table(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        keys, values = tf.constant(["cat", "dog"]), tf.constant([1, 2], tf.int64)
        table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1)
        words = v1.placeholder(tf.string, [None], name="words")
        tf.identity(table.lookup(words), name="ids")
        tf.strings.upper(words, name="loud")
        tf.group(v1.tables_initializer(), name="init")

    described = interface(
        [{"name": "words", "tensor": "words:0", "dtype": "string", "shape": [None]}],
        [
            {"name": "ids", "tensor": "ids:0", "dtype": "int64", "shape": [None]},
            {"name": "loud", "tensor": "loud:0", "dtype": "string", "shape": None},
        ],
        "init",
    )
    with load(target, graph(build), described) as model:
        ids, loud = model.run({"words": np.array([b"dog", b"cow", b"cat"], object)})
        assert np.asarray(ids).tolist() == [2, -1, 1]
        assert np.asarray(loud).tolist() == [b"DOG", b"COW", b"CAT"]
        (only,) = model.run({"words": np.array(["dog"], object)}, ["loud"])
        assert np.asarray(only).tolist() == [b"DOG"]


def test_loops_and_functions(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        x = v1.placeholder(tf.float32, [None], name="x")
        double = tf.function(lambda each: each * 2.0)
        _, y = tf.while_loop(lambda i, _: i < 10, lambda i, v: (i + 1, double(v)), (0, x))
        tf.identity(y, name="y")

    with load(target, graph(build)) as model, ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda n: model.run({"x": np.full(3, n, np.float32)})[0], range(20))
        for number, answer in enumerate(answers):
            assert np.asarray(answer).tolist() == [number * 1024.0] * 3


def test_an_answer_shares_no_memory_with_a_request(target: Accelerator) -> None:
    with load(target, graph(identity)) as model:
        first = np.full((300, 300), 1, np.float32)
        (kept,) = model.run({"x": first})
        model.run({"x": first * 2})
        assert np.array_equal(np.asarray(kept), first)


def test_mistakes_of_a_call(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        x = v1.placeholder(tf.float32, name="x")
        tf.matmul(x, x, name="y")

    with load(target, graph(build)) as model:
        for feeds, text in (
            ({}, "Input 'x' is missing"),
            ({"x": np.zeros((2, 2)), "z": np.zeros(1)}, "must be a FP32 tensor"),
            ({"x": np.zeros((2, 2))}, "must be a FP32 tensor, not float64"),
            ({"x": np.zeros((2, 3), np.float32)}, "TensorFlow: Matrix size-incompatible"),
            ({"x": np.zeros(3, np.float32)}, "TensorFlow: In"),
        ):
            with pytest.raises(InvalidRequestError, match=text):
                model.run(feeds)
        with pytest.raises(InvalidRequestError, match="no output 'z'"):
            model.run({"x": np.eye(2, dtype=np.float32)}, ["z"])
        assert np.asarray(model.run({"x": np.eye(2, dtype=np.float32)})[0]).tolist() == [
            [1, 0],
            [0, 1],
        ]
        with pytest.raises(InvalidRequestError, match="cannot be profiled"):
            model.profile({"x": np.eye(2, dtype=np.float32)})


def test_what_the_accelerator_says_of_it(process: AcceleratorProcess, target: Accelerator) -> None:
    assert target.info()["engines"] == ["onnxruntime", "tensorflow"]
    with load(target, graph(identity)) as model:
        status, _, body = process.request("GET", f"/v2/models/{model.handle}")
        assert status == 200
        assert json.loads(body)["platform"] == "tensorflow_graphdef"


# What does not


def _read_file(tf: Any, v1: Any) -> None:
    identity(tf, v1)
    tf.raw_ops.ReadFile(filename="/etc/passwd")


def _write_file(tf: Any, v1: Any) -> None:
    identity(tf, v1)
    tf.raw_ops.WriteFile(filename="file", contents="text")


def _python(tf: Any, v1: Any) -> None:
    tf.identity(v1.py_func(lambda each: each, [v1.placeholder(tf.float32)], tf.float32), name="y")


def _in_a_function(tf: Any, v1: Any) -> None:
    identity(tf, v1)
    tf.function(lambda: tf.io.read_file("/etc/passwd"))()


def _in_a_branch(tf: Any, v1: Any) -> None:
    identity(tf, v1)
    v1.enable_control_flow_v2()
    tf.cond(
        v1.placeholder(tf.bool, []),
        lambda: tf.io.read_file("/etc/passwd"),
        lambda: tf.constant(""),
    )


def _variable(tf: Any, v1: Any) -> None:
    identity(tf, v1)
    v1.get_variable("state", [1], use_resource=True)


def _reader(tf: Any, v1: Any) -> None:
    identity(tf, v1)
    v1.data.make_one_shot_iterator(tf.data.TFRecordDataset("/etc/passwd")).get_next()


def _table_from_a_file(tf: Any, v1: Any) -> None:
    identity(tf, v1)
    handle = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=handle, filename="/etc/passwd", key_index=-2, value_index=-1
    )


@pytest.mark.parametrize(
    ("build", "operator"),
    [
        (_read_file, "ReadFile"),
        (_write_file, "WriteFile"),
        (_python, "PyFunc"),
        (_in_a_function, "ReadFile"),
        (_in_a_branch, "ReadFile"),
        (_variable, "AssignVariableOp"),
        (_reader, "FlatMapDataset"),
        (_table_from_a_file, "InitializeTableFromTextFileV2"),
    ],
)
def test_operators_that_may_not_run(target: Accelerator, build: Build, operator: str) -> None:
    with pytest.raises(ModelFormatError, match=f"does not run the operator '({operator})"):
        load(target, graph(build))


def test_a_function_that_only_an_attribute_names(target: Accelerator) -> None:
    definition = graph(identity)
    hidden = graph(_in_a_function)
    definition.library.CopyFrom(hidden.library)
    node = definition.node.add(name="call", op="PartitionedCall")
    node.attr["f"].func.name = hidden.library.function[0].signature.name
    with pytest.raises(ModelFormatError, match="'ReadFile'"):
        load(target, definition)
    node.attr["f"].func.name = "elsewhere"
    del definition.library.function[:]
    with pytest.raises(ModelFormatError, match="calls the function 'elsewhere', which it lacks"):
        load(target, definition)


def test_an_operator_named_as_a_function_is(target: Accelerator) -> None:
    definition = graph(_read_file)
    function = definition.library.function.add()
    function.signature.name = "ReadFile"
    with pytest.raises(ModelFormatError, match="'ReadFile' is named as an operator is"):
        load(target, definition)


def test_a_constant_that_claims_more_than_there_is(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        identity(tf, v1)
        tf.constant(1.0, name="large")

    definition = graph(build)
    (node,) = [each for each in definition.node if each.name == "large"]
    for _ in range(2):
        node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 20)
    with pytest.raises(AcceleratorOutOfMemoryError):
        load(target, definition)


def test_other_machines_devices_are_nobody_s(target: Accelerator) -> None:
    definition = graph(identity)
    for node in definition.node:
        node.device = "/job:worker/replica:0/task:7/device:GPU:3"
    with load(target, definition) as model:
        assert np.asarray(model.run({"x": np.ones(1, np.float32)})[0]).tolist() == [1]


@pytest.mark.parametrize(
    ("described", "text"),
    [
        (b" ", "malformed"),
        (b"[]", "no object"),
        (b"{}", "must be lists"),
        (b"[" * 100_000, "malformed"),
        (b'{"inputs": [3], "outputs": []}', "no object"),
        (interface([FLOATS, FLOATS], [Y]), "stands twice"),
        (interface([{**FLOATS, "dtype": "resource"}], [Y]), "cannot be passed"),
        (interface([{**FLOATS, "shape": [-2]}], [Y]), "a size is not valid"),
        (interface([{**FLOATS, "shape": [1] * 1000}], [Y]), "no list of sizes"),
        (interface([{**FLOATS, "name": "x" * 5000}], [Y]), "too long"),
        (interface([FLOATS] * 5000, [Y]), "at most 4096"),
        (interface([FLOATS], [{**Y, "tensor": "z:0"}]), "no tensor 'z:0'"),
        (interface([FLOATS], [{**Y, "tensor": "y:7"}]), "no tensor 'y:7'"),
        (interface([FLOATS], [{**Y, "tensor": "y"}]), "no tensor 'y'"),
        (interface([FLOATS], [{**Y, "dtype": "int32"}]), "is of type float32, not int32"),
        (interface([FLOATS], [Y], "nothing"), "TensorFlow refuses"),
        (b'{"inputs": [], "outputs": []}' + b" " * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_interfaces_that_are_wrong(target: Accelerator, described: bytes, text: str) -> None:
    with pytest.raises(ModelFormatError, match=text):
        target.load({"graph.pb": graph(identity).SerializeToString(), "interface.json": described})


def test_graphs_that_are_wrong(target: Accelerator) -> None:
    whole = graph(identity).SerializeToString()
    for raw in (whole[:-3], b"\xff" * 100, b"text"):
        with pytest.raises(ModelFormatError, match=r"GraphDef|refuses"):
            load(target, raw)
    with pytest.raises(ModelFormatError, match=r"has no file interface\.json"):
        target.load({"graph.pb": whole})
    definition = graph(identity)
    definition.node[1].input[0] = "nobody"
    with pytest.raises(ModelFormatError, match="TensorFlow refuses the graph"):
        load(target, definition)


def test_one_that_leaves_no_room(start_accelerator: Callable[..., AcceleratorProcess]) -> None:
    process = start_accelerator(memory_bytes=96 << 20)
    with connected(process) as small:
        with pytest.raises(AcceleratorOutOfMemoryError) as caught:
            load(small, graph(identity))
        assert "whose libraries take 208 MB of 96 MB" in str(caught.value)
        assert "larger accelerator" in str(caught.value)
        info = small.info()
        assert info["pid"] == process.pid
        # It was refused before anything was loaded.
        assert info["memory"]["used"] < 32 << 20


def test_the_fixture_leaves_nothing(process: AcceleratorProcess, target: Accelerator) -> None:
    assert target.info()["models"] == 0
    assert Path(f"/proc/{process.pid}").exists()
