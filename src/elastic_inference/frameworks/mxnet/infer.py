"""Shapes and dtypes of a whole graph, from those that are known of any of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from elastic_inference.frameworks.mxnet import table
from elastic_inference.frameworks.mxnet.attributes import dtype as dtype_parameter
from elastic_inference.frameworks.mxnet.attributes import shape as shape_parameter
from elastic_inference.frameworks.mxnet.errors import mxnet_error
from elastic_inference.frameworks.mxnet.graph import Entry, Graph, Node
from elastic_inference.frameworks.mxnet.rules import Shape, Shapes, Types, is_known, merged
from elastic_inference.frameworks.mxnet.table import Operator

T = TypeVar("T")
# Each pass tells something new or is the last; a graph of n nodes needs no more than n.
_PASSES = 1000
_SHAPE, _DTYPE = shape_parameter(()), dtype_parameter(None)
_read_dtype: Callable[[str], np.dtype[Any] | None] = _DTYPE.read


@dataclass(frozen=True, slots=True)
class Inferred(Generic[T]):
    """What was found.

    Attributes:
        nodes: the graph's nodes, in order.
        found: for each node what is known of its results.
    """

    nodes: list[Node]
    found: dict[Node, list[T | None]]

    def of(self, entry: Entry) -> T | None:
        """What is known of a result."""
        node, index = entry
        return self.found[node][index]


def infer_shapes(graph: Graph, known: Mapping[str, Shape | None]) -> Inferred[Shape]:
    """The shapes of all results; None, or 0 for a size, is what cannot be told.

    Args:
        known: of variables by name; with their own `__shape__` it is what inference begins with.

    Raises:
        MXNetError: shapes contradict each other, or an operator is unknown.
    """

    def begin(node: Node) -> Shape | None:
        own = node.attributes.get("__shape__")
        declared = None if own is None else _read(node, "__shape__", own, _SHAPE.read)
        given = known.get(node.name)
        if given is None:
            return declared or None
        if declared and len(declared) == len(given):
            return merged(tuple(int(size) for size in given), declared)
        return tuple(int(size) for size in given)

    def visit(node: Node, found: Operator, inputs: list[Any], outputs: list[Any]) -> None:
        shapes = Shapes(table.parsed(node), inputs, outputs, where(node))
        found.shapes(shapes)

    return _infer(graph, begin, visit, is_known)


def infer_types(
    graph: Graph, known: Mapping[str, Any], default: Any = np.float32
) -> Inferred[np.dtype[Any]]:
    """The dtypes of all results.

    Args:
        known: of variables by name; with their own `__dtype__` it is what inference begins with.
        default: of variables of which nothing tells the dtype; None leaves them unknown.

    Raises:
        MXNetError: an operator is unknown.
    """

    def begin(node: Node) -> np.dtype[Any] | None:
        given = known.get(node.name)
        own = node.attributes.get("__dtype__")
        found: np.dtype[Any] | None = None
        if given is not None:
            found = np.dtype(given)
        elif own is not None:
            found = _read(node, "__dtype__", own, _read_dtype)
        return found

    def visit(node: Node, found: Operator, inputs: list[Any], outputs: list[Any]) -> None:
        found.types(Types(table.parsed(node), inputs, outputs, where(node)))

    inferred = _infer(graph, begin, visit, _is_told)
    if default is None:
        return inferred
    for node in inferred.nodes:
        if node.is_variable and inferred.found[node][0] is None:
            inferred.found[node][0] = np.dtype(default)
            _settle(inferred, visit, _is_told)
    return inferred


def where(node: Node) -> str:
    """A node, for errors."""
    return f'{node.operator}(name="{node.name}")'


def _is_told(dtype: np.dtype[Any] | None) -> bool:
    return dtype is not None


def _read(node: Node, key: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise mxnet_error(
            "src/executor/infer_graph_attr_pass.cc:1",
            f"The variable {node.name!r} has an attribute {key} that is wrong: {text[:200]!r}",
        ) from error


_Visit = Callable[[Node, Operator, list[Any], list[Any]], None]


def _infer(
    graph: Graph,
    begin: Callable[[Node], T | None],
    visit: _Visit,
    complete: Callable[[T | None], bool],
) -> Inferred[T]:
    nodes = graph.nodes()
    found: dict[Node, list[T | None]] = {}
    for node in nodes:
        if node.is_variable:
            found[node] = [begin(node)]
        else:
            found[node] = [None] * table.of_node(node).outputs(table.parsed(node))
        for source, index in node.inputs:
            if index >= len(found[source]):
                raise table.unsupported(node, f"{source.name!r} has no output {index}")
    inferred = Inferred(nodes, found)
    _settle(inferred, visit, complete)
    return inferred


def _settle(inferred: Inferred[T], visit: _Visit, complete: Callable[[T | None], bool]) -> None:
    """Apply all rules, forward and backward, until they tell nothing new."""
    remaining = [node for node in inferred.nodes if not node.is_variable]
    for turn in range(_PASSES):
        changed = False
        left = []
        for node in remaining if turn % 2 == 0 else reversed(remaining):
            told, done = _apply(inferred, node, visit, complete)
            changed = changed or told
            if not done:
                left.append(node)
        if turn % 2:
            left.reverse()
        if not left or not (changed or turn == 0):
            return
        remaining = left


def _apply(
    inferred: Inferred[T], node: Node, visit: _Visit, complete: Callable[[T | None], bool]
) -> tuple[bool, bool]:
    """Apply a node's rule; whether it told something, and whether all around it is known."""
    found = inferred.found
    before = [found[source][index] for source, index in node.inputs]
    inputs, outputs = list(before), list(found[node])
    operator = table.of_node(node)
    values = table.parsed(node)
    wanted = len(operator.input_names(values, len(inputs)))
    if len(inputs) < wanted:
        raise table.unsupported(node, f"it has {len(inputs)} inputs and needs {wanted}")
    visit(node, operator, inputs, outputs)
    changed = outputs != found[node]
    found[node] = outputs
    for (source, index), old, new in zip(node.inputs, before, inputs, strict=True):
        if new != old:
            found[source][index] = new
            changed = True
    return changed, all(complete(each) for each in (*inputs, *outputs))
