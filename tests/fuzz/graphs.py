"""TensorFlow graphs, and the descriptions beside them, before the engine sees them."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elastic_inference.accelerator.engines._graphdef import read_graph
from elastic_inference.accelerator.engines._interface import read_interface
from elastic_inference.protocol.tensorflow import node_of
from elastic_inference.protocol.tensorflow_operators import ALLOWED
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.fuzz.target import Target, accepted
from tests.fuzz.wire import mutate_message

_MEMORY = 1 << 20


class Graphs(Target):
    """Graphs: what is accepted holds no operator that may not run, nor names another machine."""

    name = "graphs"
    cases = 40_000
    max_length = 16_384

    def __init__(self) -> None:
        import tensorflow as tf

        self._tf = tf
        self._folder = tempfile.TemporaryDirectory("-ei-fuzz")
        self._path = Path(self._folder.name, "graph.pb")

    def make_seeds(self) -> Sequence[bytes]:
        return tuple(each.SerializeToString() for each in _graphs(self._tf))

    def run(self, case: bytes) -> None:
        self._path.write_bytes(case)
        graph = accepted(read_graph, self._path, _MEMORY, {"x"}, self._tf)
        if graph is None:
            return
        functions = {each.signature.name: each.node_def for each in graph.library.function}
        assert not functions.keys() & ALLOWED
        nodes = [*graph.node, *(node for each in functions.values() for node in each)]
        assert {node.op for node in nodes} <= ALLOWED | functions.keys()
        assert not any(node.device for node in nodes)
        assert not graph.library.gradient
        for node in nodes:
            for key, value in node.attr.items():
                assert not key.startswith("_Xla")
                assert not value.HasField("func") or value.func.name in functions

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        if chance.random() < 0.8:
            return mutate_message(chance, case, self.seeds)
        return mutate_bytes(chance, case, self.seeds)

    def close(self) -> None:
        self._folder.cleanup()


class Interfaces(Target):
    """Descriptions: refused, or read as they are written and bounded."""

    name = "interfaces"
    cases = 20_000

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory("-ei-fuzz")
        self._path = Path(self._folder.name, "interface.json")

    def make_seeds(self) -> Sequence[bytes]:
        x = {"name": "x", "tensor": "x:0", "dtype": "float32", "shape": [None, 3]}
        y = {"name": "é", "tensor": "y:1", "dtype": "string", "shape": None}
        z = {"name": "z", "tensor": "z:0", "dtype": "bfloat16", "shape": []}
        return tuple(
            json.dumps(document).encode()
            for document in (
                {"inputs": [x], "outputs": [y], "initializer": ""},
                {"inputs": [], "outputs": [y, z], "initializer": "init"},
                {"inputs": [x, z], "outputs": []},
                {"inputs": {"x": x}, "outputs": None},
            )
        )

    def run(self, case: bytes) -> None:
        self._path.write_bytes(case)
        found = accepted(read_interface, self._path)
        if found is None:
            return
        document = json.loads(case)
        for ports, entries in (
            (found.inputs, document["inputs"]),
            (found.outputs, document["outputs"]),
        ):
            assert [port.spec.name for port in ports] == [entry["name"] for entry in entries]
            for port, entry in zip(ports, entries, strict=True):
                assert port.tensor == entry["tensor"]
                assert port.dtype == entry["dtype"]
                assert node_of(port.tensor) in port.tensor
                sizes = entry.get("shape")
                known = None if sizes is None else [-1 if size is None else size for size in sizes]
                assert port.spec.shape == (None if known is None else tuple(known))

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        try:
            return json.dumps(mutate_document(chance, json.loads(case))).encode()
        except (ValueError, RecursionError):
            return super().mutate(chance, case)

    def close(self) -> None:
        self._folder.cleanup()


def _graphs(tf: Any) -> list[Any]:
    """Small graphs of every kind that counts: calls, loops, tables, and what may not run."""
    v1 = tf.compat.v1

    def called(x: Any) -> None:
        inner = tf.function(lambda each: each * 2.0)
        tf.identity(tf.function(lambda each: inner(each) + inner(each))(x), name="y")

    def loop(x: Any) -> None:
        tf.identity(tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * 2.0), (0, x))[1])

    def table(x: Any) -> None:
        keys = tf.constant(["a", "b"])
        made = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, [1, 2]), 0)
        tf.identity(made.lookup(tf.as_string(x)), name="y")
        tf.group(v1.tables_initializer(), name="init")

    def large(x: Any) -> None:
        tf.identity(x + tf.constant(1.0, shape=[500, 500]), name="y")

    def reads(x: Any) -> None:
        tf.identity(x, name=tf.function(lambda: tf.io.read_file("/etc/passwd"))().op.name + "_y")

    made = []
    for build in (called, loop, table, large, reads):
        with tf.Graph().as_default() as graph, graph.device("/job:other/task:1"):
            build(v1.placeholder(tf.float32, [None], name="x"))
        made.append(graph.as_graph_def())
    return made
