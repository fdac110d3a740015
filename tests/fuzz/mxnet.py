"""MXNet's files: `.params`, and `-symbol.json` on its way to ONNX."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
from collections.abc import Sequence

import numpy as np

from elastic_inference.errors import ElasticInferenceError
from elastic_inference.frameworks.mxnet import params, symbol_json
from elastic_inference.frameworks.mxnet.graph import Graph
from elastic_inference.frameworks.mxnet.infer import infer_shapes
from elastic_inference.protocol.tensors import Array
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.fuzz.target import Target, accepted


def _written(data: dict[str, Array] | list[Array]) -> bytes:
    file = io.BytesIO()
    params.write(file, data)
    return file.getvalue()


class Params(Target):
    """`.params` files: refused, or arrays no larger than they may be."""

    name = "mxnet-params"
    cases = 20_000

    def make_seeds(self) -> Sequence[bytes]:
        sparse = struct.pack(
            "<QQQIiiqqiqqiiiiiq4f2qQ", 0x112, 0, 1, 0xF993FAC9, 1, 2, 2, 2, 2, 4, 2, 1, 0, 0,
            6, 1, 2, 1, 2, 3, 4, 1, 3, 0,
        )  # fmt: skip
        old = struct.pack("<QQQIIIiii4fQ", 0x112, 0, 1, 2, 2, 2, 2, 0, 0, 1, 2, 3, 4, 0)
        return (
            _written({"arg:w": np.ones((2, 3), np.float32), "aux:m": np.ones(2, np.float16)}),
            _written([np.arange(5), np.ones(1, np.bool_), np.ones((1, 1, 2), np.uint8)]),
            sparse,
            old,
        )

    def run(self, case: bytes) -> None:
        found = accepted(params.load, case)
        if found is None:
            return
        arrays = list(found.values() if isinstance(found, dict) else found)
        assert len(arrays) <= len(case)
        known = [each for each in arrays if each is not None]
        assert sum(each.nbytes for each in known if each.base is not None) <= 2 * len(case)
        if isinstance(found, dict) and len(known) == len(found):
            again = params.load(
                _written({name: each for name, each in found.items() if each is not None})
            )
            assert isinstance(again, dict)
            assert list(again) == list(found)


class Symbols(Target):
    """Symbols: refused by an error of the tree, or read, written, read, and inferred alike."""

    name = "mxnet-symbols"
    cases = 20_000
    max_length = 16_384

    def make_seeds(self) -> Sequence[bytes]:
        return tuple(json.dumps(document).encode() for document in _documents())

    def run(self, case: bytes) -> None:
        loaded = accepted(symbol_json.loads, case)
        if loaded is None:
            return
        graph = loaded.graph
        text = accepted(symbol_json.dumps, graph)
        if text is not None and not loaded.is_old:
            again = symbol_json.loads(text).graph
            assert [node.name for node in again.nodes()] == [node.name for node in graph.nodes()]
        with contextlib.suppress(ElasticInferenceError):
            self._use(graph)

    def _use(self, graph: Graph) -> None:
        names = graph.output_names()
        assert len(names) == len(graph.heads)
        infer_shapes(graph, {node.name: (2, 3, 8, 8) for node in graph.arguments()[:1]})

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        try:
            return json.dumps(mutate_document(chance, json.loads(case))).encode()
        except (ValueError, RecursionError):
            return mutate_bytes(chance, case, self.seeds)


def _node(operator: str, name: str, inputs: list[int], **attributes: str) -> dict[str, object]:
    return {
        "op": operator,
        "name": name,
        "attrs": attributes,
        "inputs": [[index, 0, 0] for index in inputs],
    }


def _documents() -> list[dict[str, object]]:
    layers = (
        ("Convolution", {"kernel": "(3, 3)", "num_filter": "4", "no_bias": "True"}, 2),
        ("BatchNorm", {"eps": "0.001", "axis": "1"}, 5),
        ("Pooling", {"kernel": "(2, 2)", "pool_type": "avg", "pooling_convention": "full"}, 1),
        ("Reshape", {"shape": "(0, -4, 1, -1, -2)"}, 1),
        ("slice", {"begin": "(None, 1)", "end": "(2, None)", "step": "(1, -1)"}, 1),
        ("SliceChannel", {"num_outputs": "3", "axis": "1"}, 1),
        ("RNN", {"mode": "lstm", "state_size": "3", "num_layers": "2"}, 4),
        ("_contrib_MultiBoxPrior", {"sizes": "(0.2, 0.3)", "ratios": "(1, 2)"}, 1),
    )
    found = []
    for operator, attributes, count in layers:
        variables = [_node("null", f"v{index}", []) for index in range(count)]
        node = _node(operator, "node", list(range(count)), **attributes)
        found.append(
            {
                "nodes": [*variables, node],
                "arg_nodes": list(range(count)),
                "heads": [[count, 0, 0]],
                "attrs": {"mxnet_version": ["int", 10901 if count > 1 else 800]},
            }
        )
    return found
