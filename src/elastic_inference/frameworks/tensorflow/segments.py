"""A part of a graph as a graph of its own: what comes in is a placeholder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from elastic_inference.frameworks.tensorflow.frozen import tensor_name
from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.partition import Part
from elastic_inference.frameworks.tensorflow.plan import Shape, Tensor
from elastic_inference.frameworks.tensorflow.variables import called
from elastic_inference.protocol.tensorflow import NUMBERS, node_of

NO_RANKS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Extract:
    """A part's own graph.

    Attributes:
        definition: the GraphDef.
        inputs, outputs: its tensors; their ports are names in that graph.
        initializer: operation of it to run once before anything else, or "".
    """

    definition: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    initializer: str = ""


def extract(
    graph: Graph, part: Part, ranks: Mapping[str, int] = NO_RANKS, *, ranked: bool = True
) -> Extract:
    """The graph of `part` alone.

    Args:
        ranked: placeholders have the shapes that are known of them.
        ranks: of tensors whose rank the graph does not tell.
    """
    source = graph.frozen.definition
    initializer = _initializer(graph, part)
    nodes = set(part.nodes)
    if initializer:
        nodes |= _ancestors(graph, initializer)
    ports = _ports(part.inputs, nodes)
    definition = type(source)()
    definition.versions.CopyFrom(source.versions)
    for tensor, port in ports.items():
        shape = graph.shape(tensor) if ranked else None
        if shape is None and tensor in ranks:
            shape = (None,) * ranks[tensor]
        _add_placeholder(definition, port, graph.dtype(tensor), shape)
    for node in source.node:
        if node.name in nodes:
            _add_node(definition, node, ports, nodes)
    _add_functions(definition, graph)
    return Extract(
        definition,
        tuple(_tensor(graph, name, f"{port}:0") for name, port in ports.items()),
        tuple(_tensor(graph, name, name) for name in part.outputs),
        initializer,
    )


def _tensor(graph: Graph, name: str, port: str) -> Tensor:
    return Tensor(name, graph.dtype(name), graph.shape(name), port)


def _initializer(graph: Graph, part: Part) -> str:
    """The graph's initializer where the part uses what that sets."""
    whole = graph.frozen.initializer
    needs = any(
        graph.dtype(tensor) == "resource" or graph.is_reference(tensor)
        for name in part.nodes
        for tensor in graph.tensors_of(name)
    )
    return whole if needs else ""


def _ancestors(graph: Graph, end: str) -> set[str]:
    every = {node.name: node for node in graph.frozen.definition.node}
    found: set[str] = set()
    pending = [end]
    while pending:
        name = pending.pop()
        if name not in found and name in every:
            found.add(name)
            pending.extend(node_of(each) for each in every[name].input)
    return found


def _ports(tensors: Iterable[str], nodes: set[str]) -> dict[str, str]:
    """A name for each tensor's placeholder that no node of the part has."""
    ports: dict[str, str] = {}
    taken = set(nodes)
    for tensor in tensors:
        node, _, index = tensor.partition(":")
        port = node if index == "0" else f"{node}_{index}"
        while port in taken:
            port += "_in"
        taken.add(port)
        ports[tensor] = port
    return ports


def _add_placeholder(definition: Any, name: str, dtype: str, shape: Shape) -> None:
    node = definition.node.add(name=name, op="Placeholder")
    node.attr["dtype"].type = NUMBERS[dtype]
    described = node.attr["shape"].shape
    if shape is None:
        described.unknown_rank = True
        return
    for size in shape:
        described.dim.add(size=-1 if size is None else size)


def _add_node(definition: Any, node: Any, ports: Mapping[str, str], nodes: set[str]) -> None:
    copy = definition.node.add()
    copy.CopyFrom(node)
    copy.device = ""
    copy.attr.pop("_output_shapes", None)
    copy.attr.pop("_class", None)
    del copy.input[:]
    for entry in node.input:
        if not entry.startswith("^"):
            whole = tensor_name(entry)
            copy.input.append(ports.get(whole, entry))
        elif node_of(entry) in nodes:
            copy.input.append(entry)


def _add_functions(definition: Any, graph: Graph) -> None:
    """The functions that the nodes call, and those that these call."""
    pending = [name for node in definition.node for name in called(node)]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen or name not in graph.functions:
            continue
        seen.add(name)
        definition.library.function.append(graph.functions[name])
        for node in graph.functions[name].node_def:
            pending.extend(called(node))
    for gradient in graph.frozen.definition.library.gradient:
        if gradient.function_name in seen:
            definition.library.gradient.append(gradient)
