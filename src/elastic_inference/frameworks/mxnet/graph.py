"""Graphs of MXNet: nodes that compute, variables, and what the graph gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

VARIABLE = "null"


@dataclass(eq=False, slots=True)
class Node:
    """A variable, or an operator applied to results of other nodes.

    Attributes:
        operator: its name, which may be an alias; `null` for a variable.
        name: unique in sound graphs; MXNet does not insist.
        attributes: as text, the node's own settings (`__shape__` and the like) among them.
        inputs: which result of which node.
        subgraphs: bodies of control flow.
    """

    operator: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    inputs: list[Entry] = field(default_factory=list)
    subgraphs: list[Graph] = field(default_factory=list)

    @property
    def is_variable(self) -> bool:
        return self.operator == VARIABLE


Entry: TypeAlias = tuple[Node, int]


@dataclass(eq=False, slots=True)
class Graph:
    """What a symbol stands for: the results `heads`, and all that they depend on."""

    heads: list[Entry]

    def nodes(self) -> list[Node]:
        """Every node, after those that it depends on, in MXNet's order."""
        return ordered(node for node, _ in self.heads)

    def arguments(self) -> list[Node]:
        """The variables that are given by the caller or trained."""
        states = self._states()
        return [node for node in self.nodes() if node.is_variable and node not in states]

    def auxiliary_states(self) -> list[Node]:
        """The variables that training would update beside the gradients, as moving means."""
        states = self._states()
        return [node for node in self.nodes() if node in states]

    def variables(self) -> list[Node]:
        return [node for node in self.nodes() if node.is_variable]

    def output_names(self) -> list[str]:
        """What MXNet calls the heads, as `fc1_output`."""
        return [output_name(entry) for entry in self.heads]

    def internals(self) -> Graph:
        """The graph whose heads are all visible results of all nodes."""
        heads: list[Entry] = []
        for node in self.nodes():
            heads += [(node, index) for index in range(visible_outputs(node))]
        return Graph(heads)

    def _states(self) -> set[Node]:
        states: set[Node] = set()
        for node in self.nodes():
            for index in _auxiliary_inputs(node):
                if index < len(node.inputs) and node.inputs[index][0].is_variable:
                    states.add(node.inputs[index][0])
        return states


def output_name(entry: Entry) -> str:
    """What MXNet calls a result."""
    from elastic_inference.frameworks.mxnet.table import (  # noqa: PLC0415 - it needs this module
        of_node,
        parsed,
    )

    node, index = entry
    if node.is_variable:
        return node.name
    names = of_node(node).output_names(parsed(node))
    return f"{node.name}_{names[index]}" if node.name else names[index]


def visible_outputs(node: Node) -> int:
    """How many results of a node a symbol shows."""
    from elastic_inference.frameworks.mxnet.table import (  # noqa: PLC0415 - it needs this module
        of_node,
        parsed,
    )

    return 1 if node.is_variable else of_node(node).visible(parsed(node))


def _auxiliary_inputs(node: Node) -> Sequence[int]:
    from elastic_inference.frameworks.mxnet.table import (  # noqa: PLC0415 - it needs this module
        auxiliary_inputs,
    )

    return () if node.is_variable else auxiliary_inputs(node)


def ordered(heads: Iterable[Node]) -> list[Node]:
    """The nodes that `heads` depend on and they themselves, each after its inputs."""
    found: list[Node] = []
    seen: set[Node] = set()
    for head in heads:
        if head in seen:
            continue
        seen.add(head)
        path: list[tuple[Node, Sequence[Entry], int]] = [(head, head.inputs, 0)]
        while path:
            node, inputs, at = path.pop()
            while at < len(inputs) and inputs[at][0] in seen:
                at += 1
            if at == len(inputs):
                found.append(node)
                continue
            path.append((node, inputs, at + 1))
            following = inputs[at][0]
            seen.add(following)
            path.append((following, following.inputs, 0))
    return found
