"""What a graph parses from tf.Example protocol buffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.protocol.tensorflow import name_of

_PARSERS = {"ParseExample", "ParseExampleV2", "ParseSingleExample"}
_SPARSE_VALUES = 2


def features_of(graph: Graph) -> Iterator[tuple[str, str, int]]:
    """Key, dtype and count of values of each feature that some node parses."""
    for name, node in graph.nodes.items():
        if node.op in _PARSERS:
            yield from _features(graph, node, graph.inputs[name])
        for inner in graph.bodies(node):
            if inner.op == "ParseSingleExample":
                yield from _features(graph, inner, ())


def _features(graph: Graph, node: Any, inputs: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    shapes = [
        prod(max(dim.size, 1) for dim in each.dim) for each in _list(node, "dense_shapes").shape
    ]
    dense_types = [name_of(each) for each in _list(node, "Tdense").type]
    sparse_types = [name_of(each) for each in _list(node, "sparse_types").type]
    ragged_types = [name_of(each) for each in _list(node, "ragged_value_types").type]
    sparse, dense, ragged = _keys(graph, node, inputs, len(sparse_types), len(dense_types))
    yield from zip(dense, dense_types, shapes, strict=False)
    for key, dtype in (
        *zip(sparse, sparse_types, strict=False),
        *zip(ragged, ragged_types, strict=False),
    ):
        yield key, dtype, _SPARSE_VALUES


def _list(node: Any, attribute: str) -> Any:
    return node.attr[attribute].list


def _keys(
    graph: Graph, node: Any, inputs: Sequence[str], sparse: int, dense: int
) -> tuple[list[str], list[str], list[str]]:
    """The keys: attributes of one version, constant inputs of the others."""
    if node.op == "ParseSingleExample":
        return (
            [each.decode() for each in _list(node, "sparse_keys").s],
            [each.decode() for each in _list(node, "dense_keys").s],
            [],
        )
    if node.op == "ParseExampleV2":
        # serialized, names, sparse_keys, dense_keys, ragged_keys, defaults
        found = [_constant(graph, name) for name in inputs[2:5]]
        return found[0], found[1], found[2]
    # serialized, names, sparse_keys..., dense_keys..., defaults
    keys = [key for name in inputs[2 : 2 + sparse + dense] for key in _constant(graph, name)]
    return keys[:sparse], keys[sparse:], []


def _constant(graph: Graph, tensor: str) -> list[str]:
    from tensorflow import make_ndarray  # noqa: PLC0415 - with TensorFlow

    node = graph.nodes[tensor.partition(":")[0]]
    if node.op != "Const":
        return []
    values = make_ndarray(node.attr["value"].tensor).reshape(-1)
    return [value.decode() for value in values]
