"""A model's graph with the questions that cutting it asks: who makes, who uses, how large."""

from __future__ import annotations

import graphlib
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import onnx

_LARGE_INITIALIZER = 4096
_UNKNOWN_SIZE = 4096


class Graph:
    """The top-level graph of an ONNX model.

    Attributes:
        nodes: its nodes that the results need, in an order in which they can run.
        node_inputs: for each node the names it reads, those of its subgraphs included.
        inputs: names that the caller gives.
        results: names that the caller gets.
        initializers: weights by name.
        producer: the node that makes a name.
        users: the nodes that read a name, for inputs and made names.
        predecessors, successors: for each node, the nodes it depends on and the reverse.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes: list[Any] = _needed(_sorted(graph.node), graph.output)
        self.initializers: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        self.sparse_initializers: dict[str, Any] = {
            tensor.values.name: tensor for tensor in graph.sparse_initializer
        }
        self.inputs: dict[str, Any] = {value.name: value for value in graph.input}
        self.results: dict[str, Any] = {value.name: value for value in graph.output}
        self.node_inputs = [tuple(dict.fromkeys(read_names(node))) for node in self.nodes]
        self.producer: dict[str, int] = {
            name: index for index, node in enumerate(self.nodes) for name in node.output if name
        }
        self.users: dict[str, list[int]] = {}
        for index, names in enumerate(self.node_inputs):
            for name in names:
                if name in self.producer or name in self.inputs:
                    self.users.setdefault(name, []).append(index)
        self.predecessors = [
            sorted({self.producer[name] for name in names if name in self.producer})
            for names in self.node_inputs
        ]
        self.successors: list[list[int]] = [[] for _ in self.nodes]
        for index, before in enumerate(self.predecessors):
            for other in before:
                self.successors[other].append(index)
        self._model = model

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return _known_sizes(self._model)

    def is_result(self, index: int) -> bool:
        """Whether the caller gets something that this node makes."""
        return any(name in self.results for name in self.nodes[index].output)

    def byte_size(self, name: str) -> int | None:
        """Bytes of a value, dynamic dimensions counted as 1; None where nothing is known."""
        return self._sizes.get(name)

    def weight(self, name: str) -> int:
        """`byte_size`, with a guess where nothing is known."""
        return self._sizes.get(name, _UNKNOWN_SIZE)


def _sorted(nodes: Any) -> list[Any]:
    """`nodes` so that each comes after those whose results it reads."""
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = {
        index: {producer[name] for name in read_names(node) if name in producer}
        for index, node in enumerate(nodes)
    }
    if all(index > max(others, default=-1) for index, others in before.items()):
        return list(nodes)
    return [nodes[index] for index in graphlib.TopologicalSorter(before).static_order()]


def _needed(nodes: list[Any], outputs: Any) -> list[Any]:
    """The nodes that something among `outputs` depends on."""
    wanted = {value.name for value in outputs}
    kept = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted.update(read_names(node))
    return kept[::-1]


def read_names(node: Any) -> Iterator[str]:
    """The names that a node reads from the graph it is in."""
    for name in node.input:
        if name:
            yield name
    for subgraph in subgraphs(node):
        yield from _free_names(subgraph)


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def every_node(nodes: Any) -> Iterator[Any]:
    """`nodes` and those in their subgraphs, at any depth."""
    for node in nodes:
        yield node
        for subgraph in subgraphs(node):
            yield from every_node(subgraph.node)


def _free_names(graph: Any) -> Iterator[str]:
    bound = {value.name for value in graph.input}
    bound.update(tensor.name for tensor in graph.initializer)
    bound.update(tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        for name in read_names(node):
            if name not in bound:
                yield name
        bound.update(node.output)
    for value in graph.output:
        if value.name not in bound:
            yield value.name


def _known_sizes(model: onnx.ModelProto) -> dict[str, int]:
    try:
        inferred = onnx.shape_inference.infer_shapes(_skeleton(model), data_prop=True)
    except Exception:  # noqa: BLE001 - sizes only sharpen a guess; the engines check the model
        inferred = model
    sizes = {}
    graph = inferred.graph
    for value in (*graph.value_info, *graph.input, *graph.output):
        size = _byte_size(value.type)
        if size is not None:
            sizes[value.name] = size
    return sizes


def _skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large weights as inputs, so that it is small."""
    small = onnx.ModelProto(ir_version=model.ir_version)
    small.opset_import.extend(model.opset_import)
    small.functions.extend(model.functions)
    small.graph.name = model.graph.name
    small.graph.node.extend(model.graph.node)
    small.graph.input.extend(model.graph.input)
    small.graph.output.extend(model.graph.output)
    small.graph.value_info.extend(model.graph.value_info)
    given = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        external = tensor.data_location == onnx.TensorProto.EXTERNAL
        if not external and math.prod(tensor.dims) <= _LARGE_INITIALIZER:
            small.graph.initializer.append(tensor)
        elif tensor.name not in given:
            small.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return small


def _byte_size(kind: Any) -> int | None:
    if kind.WhichOneof("value") != "tensor_type" or not kind.tensor_type.HasField("shape"):
        return None
    sizes = [max(dim.dim_value, 1) for dim in kind.tensor_type.shape.dim]
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type).itemsize
    except KeyError:
        return None
    return int(math.prod(sizes) * width)
