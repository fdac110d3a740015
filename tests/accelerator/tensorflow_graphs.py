"""Graphs for an accelerator's TensorFlow, and an accelerator to load them on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.client.model import Model
from elastic_inference.settings import ClientSettings
from tests.processes import AcceleratorProcess

Build = Callable[[Any, Any], None]
FLOATS: dict[str, Any] = {"name": "x", "tensor": "x:0", "dtype": "float32", "shape": None}
Y: dict[str, Any] = {"name": "y", "tensor": "y:0", "dtype": "float32", "shape": None}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcceleratorProcess]:
    made = AcceleratorProcess(tmp_path_factory.mktemp("tf"), memory_bytes=2 << 30)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def target(process: AcceleratorProcess) -> Iterator[Accelerator]:
    with connected(process) as made:
        yield made


@contextmanager
def connected(process: AcceleratorProcess) -> Iterator[Accelerator]:
    address = Address(socket_path=str(process.config.data_socket))
    with connect(settings=ClientSettings(), address=address, token=process.token()) as made:
        yield made


def graph(build: Build) -> Any:
    """The GraphDef of what `build(tensorflow, tensorflow.compat.v1)` makes."""
    import tensorflow as tf

    with tf.Graph().as_default() as made:
        build(tf, tf.compat.v1)
    return made.as_graph_def()


def interface(
    inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], initializer: str = ""
) -> bytes:
    return json.dumps({"inputs": inputs, "outputs": outputs, "initializer": initializer}).encode()


def load(target: Accelerator, definition: Any, described: bytes | None = None) -> Model:
    raw = definition if isinstance(definition, bytes) else definition.SerializeToString()
    return target.load({"graph.pb": raw, "interface.json": described or interface([FLOATS], [Y])})


def identity(tf: Any, v1: Any) -> None:
    tf.identity(v1.placeholder(tf.float32, name="x"), name="y")


def endless(kind: str) -> Any:
    """A graph that counts up and down for ever.

    Args:
        kind: how it says so: `frames` of TensorFlow 1, or a `function`.
    """

    def build(tf: Any, v1: Any) -> None:
        x = v1.placeholder(tf.float32, name="x")
        if kind == "frames":
            v1.disable_control_flow_v2()
        _, y = tf.while_loop(lambda i, _: i >= 0, lambda i, v: (1 - i, v * 1.0), (0, x))
        tf.identity(y, name="y")

    import tensorflow as tf

    with_functions = tf.compat.v1.control_flow_v2_enabled()
    try:
        definition = graph(build)
    finally:
        if with_functions:
            tf.compat.v1.enable_control_flow_v2()
    assert any(node.op == "Enter" for node in definition.node) is (kind == "frames")
    return definition
