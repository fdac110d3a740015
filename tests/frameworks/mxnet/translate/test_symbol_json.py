"""`-symbol.json` files: a round trip, old versions, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elastic_inference.errors import ModelFormatError
from elastic_inference.frameworks.mxnet import symbol_json
from elastic_inference.frameworks.mxnet.graph import Graph, Node

_SMALL: dict[str, Any] = {
    "nodes": [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "null", "name": "w", "inputs": []},
        {
            "op": "FullyConnected",
            "name": "fc",
            "attrs": {"num_hidden": "3", "no_bias": "True"},
            "inputs": [[0, 0, 0], [1, 0, 0]],
        },
    ],
    "arg_nodes": [0, 1],
    "heads": [[2, 0, 0]],
    "attrs": {"mxnet_version": ["int", 10901]},
}


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(json.dumps(_SMALL)), **changes})


def names(nodes: list[Node]) -> list[str]:
    return [node.name for node in nodes]


def old(nodes: list[dict[str, Any]], version: int | None = None) -> Graph:
    """A graph of another version whose last node is the head."""
    attributes = {} if version is None else {"attrs": {"mxnet_version": ["int", version]}}
    text = json.dumps(
        {"nodes": nodes, "arg_nodes": [], "heads": [[len(nodes) - 1, 0]], **attributes}
    )
    loaded = symbol_json.loads(text)
    assert loaded.is_old
    return loaded.graph


def test_a_graph_comes_back() -> None:
    loaded = symbol_json.loads(json.dumps(_SMALL))
    assert not loaded.is_old
    assert names(loaded.graph.arguments()) == ["data", "w"]
    assert loaded.graph.output_names() == ["fc_output"]
    text = symbol_json.dumps(loaded.graph)
    assert symbol_json.dumps(symbol_json.loads(text).graph) == text
    document = json.loads(text)
    assert document["attrs"] == {"mxnet_version": ["int", 10901]}
    assert document["node_row_ptr"] == [0, 1, 2, 3]


def test_aliases_become_the_operators_own_names() -> None:
    graph = old([{"op": "null", "name": "a", "inputs": []}, {"op": "Softmax", "name": "s",
                  "inputs": [[0, 0]]}])  # fmt: skip
    assert graph.heads[0][0].operator == "SoftmaxOutput"


def test_missing_inputs_are_added_to_the_oldest_files() -> None:
    graph = old(
        [
            {"op": "null", "name": "data", "inputs": []},
            {"op": "null", "name": "bn_gamma", "inputs": []},
            {"op": "null", "name": "bn_beta", "inputs": []},
            {"op": "BatchNorm", "name": "bn", "param": {"eps": "0.001"},
             "attr": {"lr_mult": "0.1"}, "inputs": [[0, 0], [1, 0], [2, 0]],
             "backward_source_id": -1},
        ]
    )  # fmt: skip
    assert names(graph.arguments()) == ["data", "bn_gamma", "bn_beta"]
    assert names(graph.auxiliary_states()) == ["bn_moving_mean", "bn_moving_var"]
    (head, _), *_ = graph.heads
    assert head.attributes["eps"] == "0.001"
    assert head.attributes["__lr_mult__"] == "0.1"


def test_hidden_attributes_move_to_the_input_that_they_name() -> None:
    graph = old(
        [
            {"op": "null", "name": "data", "inputs": []},
            {"op": "null", "name": "fc_weight", "inputs": []},
            {"op": "FullyConnected", "name": "fc", "inputs": [[0, 0], [1, 0]],
             "attr": {"num_hidden": "2", "no_bias": "1", "weight_lr_mult": "3",
                      "ctx_group": "g"}},
        ],
        10000,
    )  # fmt: skip
    (head, _), *_ = graph.heads
    assert head.attributes == {"num_hidden": "2", "no_bias": "1", "__ctx_group__": "g"}
    assert head.inputs[1][0].attributes == {"__lr_mult__": "3"}


def test_an_axis_of_minus_one_meant_all_once() -> None:
    nodes: list[dict[str, Any]] = [
        {"op": "null", "name": "x", "inputs": []},
        {"op": "argmax", "name": "m", "attr": {"axis": "-1"}, "inputs": [[0, 0]]},
    ]
    assert "axis" not in old(nodes, 904).heads[0][0].attributes
    assert old(nodes, 905).heads[0][0].attributes["axis"] == "-1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[]", "must be a JSON object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "no list of nodes"),
        (changed(nodes=3), "no list of nodes"),
        (changed(nodes=[7]), "a node is no object"),
        (changed(nodes=[{"op": "null"}]), "no name"),
        (changed(heads=[]), "no heads"),
        (changed(heads=[[3, 0, 0]]), "refers to the node 3"),
        (changed(heads=[[-1, 0, 0]]), "refers to the node -1"),
        (changed(heads=[[0, 1, 0]]), "has no output 1"),
        (changed(heads=[[2, 1 << 40, 0]]), "has no output"),
        (changed(heads=[["0", 0, 0]]), "no pair of numbers"),
        (changed(heads=[[True, 0]]), "no pair of numbers"),
        (changed(heads=[[0]]), "no pair of numbers"),
    ],
)
def test_damaged_files_are_refused(text: str, why: str) -> None:
    with pytest.raises(ModelFormatError, match=why):
        symbol_json.loads(text)


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ({"op": "exp", "name": "e", "inputs": [[3, 0]]}, "refers to the node 3"),
        ({"op": "exp", "name": "e", "inputs": [[9, 0]]}, "refers to the node 9"),
        ({"op": "exp", "name": "e"}, "no list of inputs"),
        ({"op": "null", "name": "v", "inputs": [[0, 0]]}, "variable 'v' has inputs"),
        ({"op": "exp", "name": "e", "attrs": {"a": 3}, "inputs": []}, "no text"),
        ({"op": "exp", "name": "e", "attrs": [3], "inputs": []}, "no object"),
        ({"op": "exp", "name": "e", "subgraphs": 3, "inputs": []}, "no list"),
        ({"op": "exp", "name": "e", "subgraphs": [3], "inputs": []}, "graph is no object"),
    ],
)
def test_damaged_nodes_are_refused(node: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelFormatError, match=why):
        symbol_json.loads(changed(nodes=[*_SMALL["nodes"], node]))


def test_a_cycle_cannot_be_written() -> None:
    """A node comes after all that it takes results of."""
    first = {"op": "exp", "name": "a", "inputs": [[1, 0, 0]]}
    second = {"op": "exp", "name": "b", "inputs": [[0, 0, 0]]}
    with pytest.raises(ModelFormatError, match="not before it"):
        symbol_json.loads(changed(nodes=[first, second], heads=[[1, 0, 0]]))


def test_a_long_chain_needs_no_deep_stack() -> None:
    nodes: list[dict[str, Any]] = [{"op": "null", "name": "x", "inputs": []}]
    nodes += [{"op": "exp", "name": f"e{at}", "inputs": [[at, 0, 0]]} for at in range(20_000)]
    graph = symbol_json.loads(changed(nodes=nodes, heads=[[20_000, 0, 0]])).graph
    assert len(graph.nodes()) == 20_001
