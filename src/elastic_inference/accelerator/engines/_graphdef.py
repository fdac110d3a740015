"""A TensorFlow graph from outside: what it may hold.

The graph is a serialised GraphDef without variables. What it may compute with is
`protocol.tensorflow_operators.ALLOWED`, wherever in it an operator stands: in the graph, or in a
function of its library.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from elastic_inference.accelerator.engines._graphcalls import Calls, check_tables
from elastic_inference.errors import AcceleratorOutOfMemoryError, ModelFormatError
from elastic_inference.protocol.tensorflow import DATATYPES, GRAPH, NUMBERS, carrier_of
from elastic_inference.protocol.tensorflow_operators import ALLOWED

# TensorFlow reads no larger message.
_LARGEST = 2**31 - 1
_MOST_NODES = 500_000
_MOST_FUNCTIONS = 20_000
# What ties a graph to a compiler or to a gradient, by how the attribute's name begins.
_TIES = ("_Xla", "_xla", "_jit", "_gradient", "_tpu", "_TPU")
# How a call would have its function run: settings of TensorFlow, which are the accelerator's.
_SETTINGS = ("config", "executor_type")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_RESOURCE, _VARIANT = NUMBERS["resource"], NUMBERS["variant"]
# By TensorFlow's number of the type; texts take what they hold and a pointer.
_SIZES = {NUMBERS[name]: carrier_of(name).itemsize for name in DATATYPES}


def read_graph(path: Path, memory_bytes: int, fed: AbstractSet[str], tf: Any) -> Any:
    """The GraphDef in the file at `path`, checked, without what ties it to other machines.

    Args:
        memory_bytes: what its constants may take; 0 for no bound.
        fed: names of the nodes whose outputs calls give.
        tf: the module `tensorflow`.

    Raises:
        ModelFormatError: it is none, over its bounds, or holds an operator that may not run.
        AcceleratorOutOfMemoryError: its constants say that they are larger than the memory.
    """
    if path.stat().st_size > _LARGEST:
        raise ModelFormatError(f"{GRAPH} is larger than 2 GB.")
    try:
        graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    except MemoryError as error:
        raise AcceleratorOutOfMemoryError from error
    except Exception as error:
        # protobuf's implementations have no common error.
        raise ModelFormatError(f"{GRAPH} is no GraphDef: {error}.") from error
    functions = {each.signature.name: each.node_def for each in graph.library.function}
    _check_counts(graph, functions)
    everything = [*graph.node, *(node for each in functions.values() for node in each)]
    _check_operators({node.op for node in everything}, functions.keys())
    calls = Calls(functions)
    calls.check_calls(graph.node)
    if calls.size(graph.node) > _MOST_NODES:
        raise ModelFormatError(f"The graph's calls come to more than {_MOST_NODES} nodes.")
    check_tables(graph.node, calls, fed)
    if memory_bytes and sum(map(_constant_bytes, everything)) > memory_bytes:
        raise AcceleratorOutOfMemoryError
    _untie(graph, everything)
    return graph


def _check_counts(graph: Any, functions: dict[str, Any]) -> None:
    count = len(graph.node) + sum(map(len, functions.values()))
    if count > _MOST_NODES or len(functions) > _MOST_FUNCTIONS:
        raise ModelFormatError(
            f"The graph has more than {_MOST_NODES} nodes or {_MOST_FUNCTIONS} functions."
        )
    if len(functions) != len(graph.library.function):
        raise ModelFormatError("Two functions of the graph have the same name.")


def _check_operators(operators: AbstractSet[str], functions: AbstractSet[str]) -> None:
    from tensorflow.python.framework import op_def_registry  # noqa: PLC0415 - with TensorFlow

    refused = sorted(operators - ALLOWED - functions)
    if refused:
        raise ModelFormatError(
            f"The accelerator does not run the operator {refused[0][:100]!r}"
            f"{f' and {len(refused) - 1} others' if refused[1:] else ''} of this graph.",
            next_step="It runs on the instance instead: see `ei explain`, and docs/security.md.",
        )
    for name in functions:
        # Which of the two runs must not be for TensorFlow to say.
        if name in ALLOWED or op_def_registry.get(name) is not None:
            raise ModelFormatError(f"The function {name[:100]!r} is named as an operator is.")


def _constant_bytes(node: Any) -> int:
    """What the value of a constant takes, as it says itself."""
    if node.op != "Const":
        return 0
    tensor = node.attr["value"].tensor
    # What optimises the graph ends the process where the two types differ.
    if tensor.dtype in (_RESOURCE, _VARIANT) or tensor.dtype != node.attr["dtype"].type:
        raise ModelFormatError(f"The constant {node.name[:100]!r} is no tensor of values.")
    count = 1
    for dimension in tensor.tensor_shape.dim:
        count *= max(0, dimension.size)
    return int(count) * _SIZES.get(tensor.dtype, 8)


def _untie(graph: Any, nodes: Iterable[Any]) -> None:
    for node in nodes:
        node.device = ""
        _drop(node.attr, _TIES)
        if node.op in _CALLS:
            _drop(node.attr, _SETTINGS)
    for function in graph.library.function:
        _drop(function.attr, _TIES)
    del graph.library.gradient[:]
    del graph.library.registered_gradients[:]


def _drop(attributes: Any, beginnings: tuple[str, ...]) -> None:
    for key in [key for key in attributes if key.startswith(beginnings)]:
        del attributes[key]
