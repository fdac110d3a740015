"""Which variables of a graph are weights, where nobody says which are its inputs."""

from __future__ import annotations

from elastic_inference.frameworks.mxnet import table
from elastic_inference.frameworks.mxnet.graph import Graph, Node
from elastic_inference.frameworks.mxnet.onnx_operator import IMPORTED, graph_of

# What operators call them.
_ROLES = frozenset(
    {"weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "parameters", "alpha"}
)
# What people call them, however they are used; Gluon's have attributes that inputs do not.
_ENDINGS = (
    "weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "running_mean", "running_var",
    "parameters",
)  # fmt: skip
_OF_GLUON = frozenset({"__lr_mult__", "__storage_type__", "__init__"})


def looks_like_weights(graph: Graph) -> set[str]:
    """Names of the variables that are most likely weights.

    A wrong guess costs time, no more: a weight that is given anew becomes an input.
    """
    found = {node.name for node in graph.auxiliary_states()}
    for node in graph.nodes():
        if node.is_variable:
            if node.name.endswith(_ENDINGS) or _OF_GLUON & node.attributes.keys():
                found.add(node.name)
        elif node.operator == IMPORTED:
            ports = graph_of(node.attributes["model"])
            entries = node.inputs[len(ports.inputs) :]
            found.update(variable.name for variable, _ in entries)
        else:
            found.update(_weights_of(node))
    return found


def _weights_of(node: Node) -> list[str]:
    operator = table.find(node.operator)
    if operator is None or operator.variadic:
        return []
    names = operator.input_names(table.parsed(node))
    return [
        variable.name
        for (variable, _), name in zip(node.inputs, names, strict=False)
        if variable.is_variable and name in _ROLES
    ]
