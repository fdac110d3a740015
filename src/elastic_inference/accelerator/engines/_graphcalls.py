"""Which functions of a TensorFlow graph call which, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from elastic_inference.errors import ModelFormatError
from elastic_inference.protocol.tensorflow import node_of

_FILLS_TABLE = ("InitializeTable", "LookupTableImport")
# What stands in a graph for a value from outside.
_FED = "Placeholder"
_DEEPEST = 128


class Calls:
    """The functions of a graph's library, whose calls of each other end.

    Args:
        functions: the nodes of each, by its name.

    Raises:
        ModelFormatError: one calls what the library lacks, or itself, or calls are nested too
            deeply.
    """

    def __init__(self, functions: Mapping[str, Sequence[Any]]) -> None:
        self._functions = functions
        # What the body of each comes to with all that it calls: its nodes, and whether it fills
        # a table.
        self._sizes: dict[str, int] = {}
        self._fills: dict[str, bool] = {}
        for name in functions:
            self._visit(name, ())

    def size(self, nodes: Iterable[Any]) -> int:
        """How many nodes there are when every call is replaced by what it calls."""
        return sum(1 + sum(self._sizes[name] for name in self.called(node)) for node in nodes)

    def check_calls(self, nodes: Iterable[Any]) -> None:
        """Nothing may be called that is not there.

        Raises:
            ModelFormatError: it is not.
        """
        for node in nodes:
            for name in self.called(node):
                if name not in self._functions:
                    raise ModelFormatError(
                        f"The graph calls the function {name[:100]!r}, which it lacks."
                    )

    def called(self, node: Any) -> Iterator[str]:
        """The functions that a node names, by its attributes or as its operator."""
        if node.op in self._functions:
            yield node.op
        yield from _named(node.attr)

    def fills(self, node: Any) -> bool:
        """Whether a node, or what it calls, fills a table."""
        return node.op.startswith(_FILLS_TABLE) or any(
            self._fills[name] for name in self.called(node)
        )

    def _visit(self, name: str, above: tuple[str, ...]) -> None:
        if name in self._sizes:
            return
        if name in above or len(above) >= _DEEPEST:
            raise ModelFormatError(
                f"The function {name[:100]!r} calls itself, or calls are nested too deeply."
            )
        nodes = self._functions[name]
        self.check_calls(nodes)
        for inner in dict.fromkeys(each for node in nodes for each in self.called(node)):
            self._visit(inner, (*above, name))
        self._sizes[name] = self.size(nodes)
        self._fills[name] = any(self.fills(node) for node in nodes)


def _named(attributes: Mapping[str, Any]) -> Iterator[str]:
    for value in attributes.values():
        functions = [value.func] if value.HasField("func") else value.list.func
        for each in functions:
            yield each.name
            yield from _named(each.attr)


def check_tables(nodes: Sequence[Any], calls: Calls, fed: AbstractSet[str]) -> None:
    """What fills tables must be in the graph: a call would change them for later ones.

    Args:
        fed: names of the nodes whose outputs calls give.

    Raises:
        ModelFormatError: a table is filled from a call's inputs.
    """
    filling = [node for node in nodes if calls.fills(node)]
    if not filling:
        return
    by_name = {node.name: node for node in nodes}
    waiting = [node.name for node in filling]
    seen = set(waiting)
    while waiting:
        node = by_name.get(waiting.pop())
        if node is None:
            continue
        if node.name in fed or node.op.startswith(_FED):
            raise ModelFormatError(
                f"A table of the graph is filled from the input {node.name[:100]!r}: its content"
                " would stay for later calls.",
                next_step="Fill tables from constants, by the initializer.",
            )
        for source in node.input:
            name = node_of(source)
            if name not in seen:
                seen.add(name)
                waiting.append(name)
