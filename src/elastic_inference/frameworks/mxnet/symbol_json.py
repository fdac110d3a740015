"""`-symbol.json` files of every version of MXNet; those of old ones are upgraded as MXNet does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.errors import (
    ElasticInferenceError,
    InvalidRequestError,
    ModelFormatError,
)
from elastic_inference.frameworks.mxnet import table
from elastic_inference.frameworks.mxnet.graph import VARIABLE, Entry, Graph, Node
from elastic_inference.protocol.json_object import parse_object

VERSION = 10901
_FIRST_WITH_VERSION = 800
_HIDDEN = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")
# Attributes of one node are called all of these.
_ATTRIBUTES = ("param", "attr", "attrs")
_MAX_FILE = 256 << 20
_MAX_OUTPUTS = 1 << 16
_MAX_NODES = 1 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """A graph from a file.

    Attributes:
        version: of the MXNet that saved it, as 10901 for 1.9.1.
    """

    graph: Graph
    version: int

    @property
    def is_old(self) -> bool:
        """Whether an older version saved it, so that it was upgraded."""
        return self.version < VERSION


def load(path: str | os.PathLike[str]) -> Loaded:
    """The graph in a file.

    Raises:
        InvalidRequestError: the file cannot be read.
        ModelFormatError: it is no such file, or damaged.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise InvalidRequestError(f"Cannot read {path}: {error.strerror or error}.") from error
    return loads(raw, str(path))


def loads(raw: str | bytes, name: str = "The symbol") -> Loaded:
    """The graph in the text of a file; errors as `load`."""
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(data) > _MAX_FILE:
        raise ModelFormatError(f"{name} is larger than a symbol can be.")
    try:
        document = parse_object(data, name)
    except InvalidRequestError as error:
        raise ModelFormatError(error.message) from None
    version = _version(document)
    try:
        graph = _graph(document, version)
    except _WrongError as error:
        raise ModelFormatError(f"{name} is not a symbol of MXNet: {error}.") from None
    return Loaded(graph, version)


def dumps(graph: Graph) -> str:
    """The graph as MXNet writes it."""
    document = _document(graph)
    return json.dumps({**document, "attrs": {"mxnet_version": ["int", VERSION]}}, indent=2)


def _document(graph: Graph) -> dict[str, Any]:
    nodes = graph.nodes()
    index = {node: at for at, node in enumerate(nodes)}
    rows = [0]
    for node in nodes:
        rows.append(rows[-1] + _outputs(node))
    return {
        "nodes": [_written(node, index) for node in nodes],
        "arg_nodes": [at for node, at in index.items() if node.is_variable],
        "node_row_ptr": rows,
        "heads": [[index[node], output, 0] for node, output in graph.heads],
    }


def _written(node: Node, index: Mapping[Node, int]) -> dict[str, Any]:
    written: dict[str, Any] = {"op": node.operator, "name": node.name}
    if node.attributes:
        written["attrs"] = dict(sorted(node.attributes.items()))
    written["inputs"] = [[index[source], output, 0] for source, output in node.inputs]
    if node.subgraphs:
        written["subgraphs"] = [_document(graph) for graph in node.subgraphs]
    return written


def _outputs(node: Node) -> int:
    found = None if node.is_variable else table.find(node.operator)
    return 1 if found is None else found.outputs(table.parsed(node))


class _WrongError(Exception):
    """What is wrong with a document."""


def _version(document: Mapping[str, Any]) -> int:
    attributes = document.get("attrs")
    found = attributes.get("mxnet_version") if isinstance(attributes, dict) else None
    if isinstance(found, list) and len(found) == 2 and isinstance(found[1], int):
        return found[1]
    return _FIRST_WITH_VERSION


def _graph(document: Any, version: int) -> Graph:
    if not isinstance(document, dict):
        raise _WrongError("a graph is no object")
    entries = _list(document, "nodes")
    if len(entries) > _MAX_NODES:
        raise _WrongError("it has too many nodes")
    nodes: list[Node] = []
    for entry in entries:
        nodes.append(_node(entry, nodes, version))
    heads = [_entry(each, nodes) for each in _list(document, "heads")]
    if not heads:
        raise _WrongError("it has no heads")
    # All nodes are changed, whether or not the heads need them.
    for upgrade, before in _UPGRADES:
        if version < before:
            for node in nodes:
                upgrade(node)
    return Graph(heads)


def _node(entry: Any, before: Sequence[Node], version: int) -> Node:
    if not isinstance(entry, dict):
        raise _WrongError("a node is no object")
    operator, name = entry.get("op"), entry.get("name")
    if not isinstance(operator, str) or not isinstance(name, str):
        raise _WrongError("a node has no name or no operator")
    node = Node(operator, name, _attributes(entry, name))
    if operator != VARIABLE:
        found = table.find(operator)
        node.operator = operator if found is None else found.name
    # A node comes after those that it takes results of, so there are no cycles.
    node.inputs = [_entry(each, before) for each in _list(entry, "inputs")]
    if node.is_variable and node.inputs:
        raise _WrongError(f"the variable {name!r} has inputs")
    bodies = entry.get("subgraphs", [])
    if not isinstance(bodies, list):
        raise _WrongError(f"the node {name!r} has subgraphs that are no list")
    node.subgraphs = [_graph(each, version) for each in bodies]
    return node


def _attributes(entry: Mapping[str, Any], name: str) -> dict[str, str]:
    merged: dict[str, str] = {}
    for key in _ATTRIBUTES:
        found = entry.get(key) or {}
        if not isinstance(found, dict):
            raise _WrongError(f"the node {name!r} has attributes that are no object")
        for attribute, value in found.items():
            if not isinstance(value, str):
                raise _WrongError(f"the node {name!r} has attributes that are no text")
            merged[attribute] = value
    return merged


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    if not isinstance(found, list):
        raise _WrongError(f"it has no list of {key}")
    return found


def _entry(given: Any, nodes: Sequence[Node]) -> Entry:
    if not isinstance(given, list) or len(given) not in (2, 3):
        raise _WrongError("an input or a head is no pair of numbers")
    node, index = given[:2]
    if type(node) is not int or type(index) is not int:
        raise _WrongError("an input or a head is no pair of numbers")
    if not 0 <= node < len(nodes):
        raise _WrongError(f"an input or a head refers to the node {node}, which is not before it")
    source = nodes[node]
    if not 0 <= index <= (0 if source.is_variable else _last_output(source, index)):
        raise _WrongError(f"the node {source.name!r} has no output {index}")
    return source, index


def _last_output(node: Node, wanted: int) -> int:
    """The number of the last output; of an unknown operator any may be meant."""
    if wanted == 0:
        return 0
    try:
        return _outputs(node) - 1 if table.find(node.operator) else _MAX_OUTPUTS
    except ElasticInferenceError as error:
        raise _WrongError(str(error)) from None


def _hide(node: Node) -> None:
    """Give attributes that are not the operator's the form that they have today."""
    for key in list(node.attributes):
        hidden = next((each for each in _HIDDEN if key.endswith(each)), "")
        if not hidden or key.startswith("__"):
            continue
        value = node.attributes.pop(key)
        if key == hidden:
            node.attributes[f"__{hidden}__"] = value
        elif not node.is_variable and key.endswith(f"_{hidden}"):
            _hide_in_input(node, key.removesuffix(f"_{hidden}"), f"__{hidden}__", value)


def _hide_in_input(node: Node, argument: str, key: str, value: str) -> None:
    names = _input_names(node)
    if argument in names and names.index(argument) < len(node.inputs):
        variable = node.inputs[names.index(argument)][0]
        if variable.is_variable:
            variable.attributes[key] = value


def _add_missing_inputs(node: Node) -> None:
    """Auxiliary states were no inputs once."""
    for name in _input_names(node)[len(node.inputs) :]:
        full = f"{node.name}_{name}" if node.name else name
        node.inputs.append((Node(VARIABLE, full, dict(node.attributes)), 0))


def _drop_last_axis(node: Node) -> None:
    """An axis of -1 meant all of them once."""
    if node.operator in ("argmax", "argmin") and node.attributes.get("axis") == "-1":
        del node.attributes["axis"]


def _input_names(node: Node) -> tuple[str, ...]:
    found = None if node.is_variable else table.find(node.operator)
    if found is None or found.variadic:
        return ()
    try:
        return found.input_names(table.parsed(node))
    except ElasticInferenceError as error:
        raise _WrongError(str(error)) from None


_UPGRADES: tuple[tuple[Callable[[Node], None], int], ...] = (
    (_hide, VERSION),
    (_add_missing_inputs, 900),
    (_drop_last_axis, 905),
)
