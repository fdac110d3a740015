"""Targets of the load path: model files, the documents that ask for them, and the engine."""

from __future__ import annotations

import base64
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto, helper

from elastic_inference.accelerator import onnxfile
from tests.accelerator.graphs import dozen, identity, model, value_info
from tests.accelerator.test_onnxfile import PLACES, external
from tests.fuzz.answers import read_answers
from tests.fuzz.connections import OnAccelerator
from tests.fuzz.documents import request
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.fuzz.target import Target, accepted
from tests.fuzz.wire import mutate_message

_FILES = frozenset({"weights.bin", "a/b.bin"})
_SMALL = 20_000


def plain() -> bytes:
    """`y = relu(x)`."""
    return model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [value_info("x", TensorProto.FLOAT, ["n"])],
        [value_info("y", TensorProto.FLOAT, ["n"])],
    )


def constant() -> bytes:
    """`y = x + w` with weights that are large for a file of this size."""
    return model(
        [helper.make_node("Add", ["x", "w"], ["s"]), helper.make_node("Mul", ["s", "v"], ["y"])],
        [value_info("x", TensorProto.FLOAT, [32])],
        [value_info("y", TensorProto.FLOAT, [32])],
        {"w": np.arange(32, dtype=np.float32), "v": np.ones(32, np.float32)},
    )


def function() -> bytes:
    """A model whose only node calls a function that calls another."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    inner = helper.make_function(
        "own", "G", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets
    )
    outer = helper.make_function(
        "own", "F", ["a"], ["b"], [helper.make_node("G", ["a"], ["b"], domain="own")], opsets
    )
    return model(
        [helper.make_node("F", ["x"], ["y"], domain="own")],
        [value_info("x", TensorProto.FLOAT, ["n"])],
        [value_info("y", TensorProto.FLOAT, ["n"])],
        opsets={"": 17, "own": 1},
        functions=[outer, inner],
    )


def models() -> tuple[bytes, ...]:
    """Small models of every kind."""
    return (
        plain(),
        constant(),
        function(),
        identity(TensorProto.STRING),
        *(graph.model for graph in dozen() if len(graph.model) < _SMALL),
    )


class ModelFiles(Target):
    """What is read of a model file before the engine sees it.

    What is accepted names no other file, by protobuf's own account of it too, and says the same
    after its weights are moved.
    """

    name = "modelfiles"
    cases = 60_000
    max_length = 32_768

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory("-ei-fuzz")
        folder = Path(self._folder.name)
        self._path, self._skeleton, self._weights = (
            folder / name for name in ("model.onnx", "skeleton.onnx", "moved.bin")
        )
        self._before = onnxfile._LARGE, onnxfile.DETACH_LEAST
        # So that models of this size have weights to move.
        onnxfile._LARGE, onnxfile.DETACH_LEAST = 64, 128

    def make_seeds(self) -> Sequence[bytes]:
        tensors = [external(name) for name in ("weights.bin", "a/./b.bin", "../x", "/etc/x")]
        placed = [place(tensor) for place in PLACES for tensor in tensors]
        return (*models(), *placed)

    def run(self, case: bytes) -> None:
        self._path.write_bytes(case)
        info = accepted(onnxfile.inspect, self._path, _FILES)
        if info is None:
            return
        parsed = _parse(case)
        if parsed is not None:
            found = {name for tensor in _tensors(parsed) for name in _locations(tensor)}
            assert found <= {*_FILES, "a/./b.bin"} | info.locations, found
            assert info.locations <= _FILES
        self._move(parsed)

    def _move(self, parsed: Any) -> None:
        try:
            moved = accepted(onnxfile.detach_weights, self._path, self._skeleton, self._weights)
            if not moved or parsed is None:
                return
            again = _parse(self._skeleton.read_bytes())
            weights = self._weights.read_bytes()
            assert again is not None
            _put_back(again, weights)
            assert again.SerializeToString(deterministic=True) == parsed.SerializeToString(
                deterministic=True
            )
        finally:
            self._skeleton.unlink(missing_ok=True)
            self._weights.unlink(missing_ok=True)

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        if chance.random() < 0.7:
            return mutate_message(chance, case, self.seeds)
        return mutate_bytes(chance, case, self.seeds)

    def close(self) -> None:
        onnxfile._LARGE, onnxfile.DETACH_LEAST = self._before
        self._folder.cleanup()


def _parse(data: bytes) -> Any:
    made = onnx.ModelProto()
    try:
        made.ParseFromString(data)
    except DecodeError:
        return None
    return made


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a message, wherever it is."""
    level = [message]
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, TensorProto):
                yield each
            for field, value in each.ListFields():
                if field.message_type is not None:
                    inner += [value] if isinstance(value, Message) else list(value)
        level = inner


def _locations(tensor: Any) -> Iterator[str]:
    return (entry.value for entry in tensor.external_data if entry.key == "location")


def _put_back(made: Any, weights: bytes) -> None:
    for tensor in made.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries.get("location") == "moved.bin":
            start = int(entries["offset"])
            tensor.raw_data = weights[start : start + int(entries["length"])]
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")


class Loads(OnAccelerator):
    """Model files all the way: inspected, opened by the engine, run, unloaded.

    The engine may refuse a model, or fail to run it. It may not take the process with it, nor
    the witness.
    """

    name = "loads"
    cases = 25_000
    max_length = 32_768
    # What the slice has.
    most_memory = 1 << 30
    alone = True
    settle_every = 100

    def make_seeds(self) -> Sequence[bytes]:
        return models()

    def run(self, case: bytes) -> None:
        accelerator = self.accelerator
        loaded = accelerator.load("fuzzed", case)
        assert loaded.status in (200, 400, 507), loaded
        if loaded.status == 200:
            described = json.loads(accelerator.ask("GET", "/v2/models/fuzzed").body)
            inputs = [_some(entry) for entry in described["inputs"]]
            answer = accelerator.ask("POST", "/v2/models/fuzzed/infer", {"inputs": inputs})
            assert answer.status in (200, 400, 500, 507), answer
            accelerator.unload("fuzzed")
        accelerator.witness()

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        if chance.random() < 0.7:
            return mutate_message(chance, case, self.seeds)
        return mutate_bytes(chance, case, self.seeds)


def _some(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An input that fits a description, more or less."""
    shape = [size if 0 <= size < 64 else 3 for size in entry["shape"]]
    values: dict[str, Any] = {"BOOL": True, "BYTES": "text"}
    datatype = entry["datatype"]
    data = [values.get(datatype, 1)] * min(int(np.prod(shape)), 100_000)
    return {"name": entry["name"], "datatype": datatype, "shape": shape, "data": data}


class LoadRequests(OnAccelerator):
    """The documents of both load requests: files, names, configurations and options."""

    name = "loadrequests"
    cases = 25_000

    def make_seeds(self) -> Sequence[bytes]:
        digest = self.accelerator.upload(plain())
        weights = self.accelerator.upload(bytes(16))
        inline = base64.b64encode(plain()).decode()
        config = {
            "name": "fuzzed",
            "backend": "onnxruntime",
            "default_model_filename": "model.onnx",
            "input": [{"name": "x"}],
            "output": [{"name": "y"}],
        }
        options = {
            "threads": 1,
            "graph_optimization_level": "basic",
            "execution_mode": "parallel",
            "free_dimensions": {"n": 4},
            "config": {"session.intra_op.allow_spinning": "0"},
        }
        standard = {
            "parameters": {
                "config": json.dumps(config),
                "file:1/model.onnx": inline,
                "file:1/weights.bin": "AAAA",
                "file:2/other.onnx": inline,
            }
        }
        own = {
            "files": {"model.onnx": digest, "a/weights.bin": weights},
            "main": "model.onnx",
            "options": options,
        }
        return b"\0" + json.dumps(standard).encode(), b"\1" + json.dumps(own).encode()

    def run(self, case: bytes) -> None:
        path = "/v2/repository/models/fuzzed/load"
        if case[:1] == b"\1":
            path = "/v2/elastic-inference/models"
        asked = self.accelerator.authorised(request("POST", path, case[1:]))
        (answer,) = read_answers(self.accelerator.exchange(asked))
        assert answer.status != 500, answer
        if answer.status == 200 and case[:1] == b"\1":
            self.accelerator.unload(json.loads(answer.body)["name"])
        self.accelerator.witness()

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        try:
            document = mutate_document(chance, json.loads(case[1:]))
            return case[:1] + json.dumps(document).encode()
        except (ValueError, RecursionError):
            return mutate_bytes(chance, case, self.seeds)
