"""What runs where, for a graph with its weights and the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elastic_inference.frameworks.mxnet import table
from elastic_inference.frameworks.mxnet.builder import Tensor
from elastic_inference.frameworks.mxnet.graph import VARIABLE, Entry, Graph, Node
from elastic_inference.frameworks.mxnet.infer import infer_shapes
from elastic_inference.frameworks.mxnet.onnx_file import Port
from elastic_inference.frameworks.mxnet.onnx_operator import IMPORTED, graph_of
from elastic_inference.frameworks.mxnet.rules import is_known
from elastic_inference.frameworks.mxnet.translate import OnnxSegment, Translation, translate
from elastic_inference.protocol.tensors import Array

Plan = Translation
Inputs = Mapping[str, tuple[Any, Any]]


def check(graph: Graph) -> None:
    """Refuse what no segment can run.

    Raises:
        MXNetError: it names the operator and the node.
    """
    for node in graph.nodes():
        if node.is_variable or node.operator == IMPORTED:
            continue
        operator = table.of_node(node)
        if operator.onnx is None and operator.numpy is None:
            raise table.unsupported(node, "it has no translation")


def plan(graph: Graph, params: Mapping[str, Array], inputs: Inputs) -> Plan:
    """The segments of a graph, with imported models as they are; errors as `translate`."""
    imported = [node for node in graph.nodes() if node.operator == IMPORTED]
    if not imported:
        return translate(graph, params, inputs)
    return _with_imported(graph, imported, params, inputs)


def _with_imported(
    graph: Graph, imported: list[Node], params: Mapping[str, Array], inputs: Inputs
) -> Plan:
    segments: list[Any] = []
    taken: dict[str, Tensor] = {}
    constants: dict[str, Array] = {}
    results: dict[Entry, Tensor] = {}
    infer_shapes(graph, {name: tuple(shape) for name, (shape, _) in inputs.items()})
    named: set[str] = set()
    for node in imported:
        segment, given = _segment(node, params, inputs)
        segments.append(segment)
        taken |= {tensor.name: tensor for tensor in given if tensor.name in inputs}
        constants |= {tensor.name: params[tensor.name] for tensor in given
                      if tensor.name in params}  # fmt: skip
        for index, tensor in enumerate(segment.outputs):
            results[node, index] = tensor
        made = {tensor.name for tensor in segment.outputs}
        if named & made:
            raise table.unsupported(node, "another imported model has outputs of the same names")
        named |= made
    if all(head in results for head in graph.heads):
        return Translation(
            segments=tuple(segments),
            inputs=tuple(taken.values()),
            outputs=tuple(results[head] for head in graph.heads),
            names=tuple(graph.output_names()),
            constants=constants,
        )
    return _followed(graph, segments, results, (taken, constants), (params, inputs))


def _segment(
    node: Node, params: Mapping[str, Array], inputs: Inputs
) -> tuple[OnnxSegment, list[Tensor]]:
    found = graph_of(node.attributes["model"])
    names = {}
    for (variable, _), port in zip(node.inputs, (*found.inputs, *found.weights), strict=True):
        if not variable.is_variable:
            raise table.unsupported(node, f"its input {port.name!r} has to be a variable")
        names[port.name] = variable.name
    weights = {
        port.name: params[names[port.name]] for port in found.weights if names[port.name] in params
    }
    fed = (*found.inputs, *(port for port in found.weights if port.name not in weights))
    given = [_tensor(port, names[port.name], inputs, params) for port in fed]
    outputs = tuple(Tensor(port.name, port.shape or (), np.dtype(port.dtype))
                    for port in found.outputs)  # fmt: skip
    ports = tuple(
        Tensor(port.name, tensor.shape, tensor.dtype)
        for port, tensor in zip(fed, given, strict=True)
    )
    renamed = {port.name for port, tensor in zip(ports, given, strict=True)
               if port.name != tensor.name}  # fmt: skip
    if renamed:
        raise table.unsupported(node, f"its input {min(renamed)!r} cannot have another name")
    return OnnxSegment(found.files(weights), ports, outputs, {IMPORTED: 1}), given


def _tensor(port: Port, name: str, inputs: Inputs, params: Mapping[str, Array]) -> Tensor:
    shape, dtype = inputs.get(name) or (params[name].shape, params[name].dtype)
    return Tensor(name, tuple(shape), np.dtype(dtype if dtype is not None else port.dtype))


def _followed(
    graph: Graph,
    segments: list[Any],
    results: Mapping[Entry, Tensor],
    kept: tuple[dict[str, Tensor], dict[str, Array]],
    given: tuple[Mapping[str, Array], Inputs],
) -> Plan:
    """The plan where operators of MXNet follow the imported models."""
    taken, constants = kept
    params, inputs = given
    stands = {entry: (Node(VARIABLE, tensor.name), 0) for entry, tensor in results.items()}
    made: dict[Node, Node] = {}
    for node in graph.nodes():
        if node.operator == IMPORTED:
            continue
        entries = [stands.get(each) or (made[each[0]], each[1]) for each in node.inputs]
        made[node] = Node(node.operator, node.name, node.attributes, entries, node.subgraphs)
    rest = Graph([stands.get(head) or (made[head[0]], head[1]) for head in graph.heads])
    read = {node.name for node in rest.variables()}
    more = {}
    for (node, _), tensor in results.items():
        if tensor.name in read and not (tensor.shape and is_known(tensor.shape)):
            raise table.unsupported(
                node,
                f"the shape of its result {tensor.name!r} is not told, and operators follow it",
            )
        more[tensor.name] = (tensor.shape, tensor.dtype)
    following = translate(rest, params, dict(inputs) | more)
    return Translation(
        segments=(*segments, *following.segments),
        inputs=(*taken.values(), *(each for each in following.inputs
                                   if each.name not in taken and each.name not in more)),
        outputs=following.outputs,
        names=tuple(graph.output_names()),
        constants=constants | dict(following.constants),
    )  # fmt: skip
