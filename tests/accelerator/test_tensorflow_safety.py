"""What hostile graphs try on an accelerator's TensorFlow, beside operators that may not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.client import Accelerator
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ConfigurationError,
    DeadlineExceededError,
    ModelFormatError,
)
from elastic_inference.settings import Limits
from tests.accelerator.tensorflow_graphs import (
    FLOATS,
    Y,
    connected,
    endless,
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

_ONE = np.ones(1, np.float32)


# Functions


def _add_function(definition: Any, name: str, calls: list[str]) -> None:
    function = definition.library.function.add()
    function.signature.name = name
    for number, called in enumerate(calls):
        node = function.node_def.add(name=f"call{number}", op="PartitionedCall")
        node.attr["f"].func.name = called


def test_functions_that_call_themselves(target: Accelerator) -> None:
    for calls in ({"a": ["a"]}, {"a": ["b"], "b": ["c"], "c": ["a"]}):
        definition = graph(identity)
        for name, called in calls.items():
            _add_function(definition, name, called)
        with pytest.raises(ModelFormatError, match="calls itself"):
            load(target, definition)
    definition = graph(identity)
    for number in range(500):
        _add_function(definition, f"f{number}", [f"f{number + 1}"])
    _add_function(definition, "f500", [])
    with pytest.raises(ModelFormatError, match="nested too deeply"):
        load(target, definition)


def test_calls_that_double_what_is_called(target: Accelerator) -> None:
    definition = graph(identity)
    for number in range(40):
        _add_function(definition, f"f{number}", [f"f{number + 1}"] * 2)
    _add_function(definition, "f40", [])
    definition.node.add(name="call", op="PartitionedCall").attr["f"].func.name = "f0"
    with pytest.raises(ModelFormatError, match="come to more than"):
        load(target, definition)


def test_functions_of_one_name(target: Accelerator) -> None:
    definition = graph(identity)
    for _ in range(2):
        _add_function(definition, "f", [])
    with pytest.raises(ModelFormatError, match="same name"):
        load(target, definition)


def test_a_function_that_an_argument_of_a_function_names(target: Accelerator) -> None:
    definition = graph(identity)
    _add_function(definition, "f", [])
    call = definition.node.add(name="call", op="PartitionedCall").attr["f"].func
    call.name = "f"
    call.attr["g"].func.name = "elsewhere"
    with pytest.raises(ModelFormatError, match="'elsewhere', which it lacks"):
        load(target, definition)


def test_a_call_s_own_settings_are_nobody_s(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        x = v1.placeholder(tf.float32, [None], name="x")
        tf.identity(tf.function(lambda each: each + 1.0)(x), name="y")

    definition = graph(build)
    calls = [each for each in definition.node if each.op.endswith("PartitionedCall")]
    assert calls
    for node in calls:
        node.attr["config_proto"].s = b"\xff\xff"
        node.attr["executor_type"].s = b"another"
        node.attr["_XlaMustCompile"].b = True
    definition.library.function[0].attr["_XlaMustCompile"].b = True
    with load(target, definition) as model:
        assert np.asarray(model.run({"x": _ONE})[0]).tolist() == [2.0]


# State


def _filled_from_a_call(tf: Any, v1: Any) -> None:
    x = v1.placeholder(tf.float32, [None], name="x")
    table = tf.raw_ops.HashTableV2(key_dtype=tf.float32, value_dtype=tf.float32)
    filled = tf.raw_ops.LookupTableImportV2(table_handle=table, keys=x * 1.0, values=x)
    with tf.control_dependencies([filled]):
        tf.identity(x, name="y")


def _filled_in_a_function(tf: Any, v1: Any) -> None:
    x = v1.placeholder(tf.float32, [None], name="x")

    def fill(values: Any) -> Any:
        table = tf.raw_ops.HashTableV2(key_dtype=tf.float32, value_dtype=tf.float32)
        tf.raw_ops.LookupTableImportV2(table_handle=table, keys=values, values=values)
        return values

    tf.identity(tf.function(fill)(x), name="y")


@pytest.mark.parametrize("build", [_filled_from_a_call, _filled_in_a_function])
def test_a_table_is_not_filled_by_a_call(target: Accelerator, build: Any) -> None:
    with pytest.raises(ModelFormatError, match="filled from the input 'x'"):
        load(target, graph(build))


def test_a_constant_that_is_fed_fills_no_table(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        identity(tf, v1)
        keys = tf.constant([1.0], name="keys")
        table = tf.raw_ops.HashTableV2(key_dtype=tf.float32, value_dtype=tf.float32)
        tf.raw_ops.LookupTableImportV2(table_handle=table, keys=keys, values=keys)

    fed = {**FLOATS, "name": "keys", "tensor": "keys:0"}
    with pytest.raises(ModelFormatError, match="filled from the input 'keys'"):
        load(target, graph(build), interface([FLOATS, fed], [Y]))


def test_what_writes_into_its_input_does_not_run(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        x = v1.placeholder(tf.float32, [None, 1], name="x")
        tf.raw_ops.InplaceAdd(x=x, i=[0], v=[[1.0]])
        tf.identity(x, name="y")

    with pytest.raises(ModelFormatError, match="'InplaceAdd'"):
        load(target, graph(build))


def test_memory_that_nobody_wrote_is_not_answered(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        identity(tf, v1)
        tf.raw_ops.Empty(shape=[1000], dtype=tf.float32)

    with pytest.raises(ModelFormatError, match="'Empty'"):
        load(target, graph(build))


@pytest.mark.parametrize("number", [20, 21])
def test_constants_that_are_no_values(target: Accelerator, number: int) -> None:
    definition = graph(identity)
    node = definition.node.add(name="handle", op="Const")
    node.attr["dtype"].type = number
    node.attr["value"].tensor.dtype = number
    with pytest.raises(ModelFormatError, match="no tensor of values"):
        load(target, definition)


def test_a_constant_of_two_types(target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        ones = tf.constant(1.0, shape=[500, 500])
        tf.add(v1.placeholder(tf.float32, name="x"), ones, name="y")

    definition = graph(build)
    (node,) = [each for each in definition.node if each.op == "Const"]
    node.attr["value"].tensor.dtype = 13
    with pytest.raises(ModelFormatError, match="no tensor of values"):
        load(target, definition)


# Bounds


def test_inputs_that_are_one_tensor(target: Accelerator) -> None:
    with pytest.raises(ModelFormatError, match="TensorFlow refuses the graph"):
        load(target, graph(identity), interface([FLOATS, {**FLOATS, "name": "again"}], [Y]))


def test_more_memory_than_there_is(process: AcceleratorProcess, target: Accelerator) -> None:
    def build(tf: Any, v1: Any) -> None:
        tf.fill(v1.placeholder(tf.int64, [None], name="n"), 1.0, name="y")

    sizes = {"name": "n", "tensor": "n:0", "dtype": "int64", "shape": [None]}
    with load(target, graph(build), interface([sizes], [Y])) as model:
        with pytest.raises(AcceleratorOutOfMemoryError):
            model.run({"n": np.array([1 << 33])})
        assert np.asarray(model.run({"n": np.array([2])})[0]).tolist() == [1.0, 1.0]
    assert target.info()["pid"] == process.pid


def test_weights_that_do_not_fit_beside_the_libraries(
    start_accelerator: Callable[..., AcceleratorProcess],
) -> None:
    def build(tf: Any, v1: Any) -> None:
        x = v1.placeholder(tf.float32, [None, 3000], name="x")
        weights = np.random.default_rng(0).random((3000, 3000), np.float32)
        tf.matmul(x, weights, name="y")

    small = start_accelerator(memory_bytes=256 << 20)
    with connected(small) as accelerator:
        with pytest.raises(AcceleratorOutOfMemoryError) as caught:
            load(accelerator, graph(build))
        assert "MB of 256 MB: it does not fit in the" in str(caught.value)
        with load(accelerator, graph(identity)) as model:
            assert np.asarray(model.run({"x": _ONE})[0]).tolist() == [1.0]
        used = accelerator.info()["memory"]["used"]
        assert 100 << 20 < used < 256 << 20
        assert accelerator.info()["pid"] == small.pid


# Ends


@pytest.mark.parametrize("kind", ["frames", "function"])
def test_a_loop_without_end_is_ended(
    start_accelerator: Callable[..., AcceleratorProcess], kind: str
) -> None:
    limited = start_accelerator(limits=Limits(run_timeout=0.5))
    with connected(limited) as accelerator, load(accelerator, endless(kind)) as model:
        for _ in range(2):
            with pytest.raises(DeadlineExceededError, match="took too long"):
                model.run({"x": _ONE})
        with load(accelerator, graph(identity)) as other:
            assert np.asarray(other.run({"x": _ONE})[0]).tolist() == [1.0]
        assert accelerator.info()["pid"] == limited.pid


def test_an_initializer_without_end_is_ended(
    start_accelerator: Callable[..., AcceleratorProcess],
) -> None:
    limited = start_accelerator(limits=Limits(run_timeout=0.5))
    definition = endless("function")
    (x,) = [node for node in definition.node if node.name == "x"]
    # An initializer runs before anything is fed.
    x.CopyFrom(graph(lambda tf, _: tf.constant(1.0, name="x")).node[0])
    with connected(limited) as accelerator:
        with pytest.raises(DeadlineExceededError, match="took too long"):
            load(accelerator, definition, interface([], [Y], "y"))
        assert accelerator.info()["models"] == 0


def test_where_tensorflow_is_not_installed(
    tmp_path: Path,
) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('it is gone')\n")
    process = AcceleratorProcess(tmp_path, environment={"PYTHONPATH": str(tmp_path)})
    try:
        with connected(process) as accelerator:
            with pytest.raises(ConfigurationError) as caught:
                load(accelerator, graph(identity))
            assert "pip install 'elastic-inference[tensorflow]'" in str(caught.value)
    finally:
        process.stop()
