"""A TensorFlow graph from outside: what it may hold, and how it is described.

The graph is a serialised GraphDef without variables. What it may compute with is
`protocol.tensorflow_operators.ALLOWED`, wherever in it an operator stands: in the graph, or in a
function of its library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    ModelFormatError,
)
from elastic_inference.protocol.tensorflow_operators import ALLOWED
from elastic_inference.protocol.tensors import CARRIER, MAX_RANK, TensorSpec

GRAPH, INTERFACE = "graph.pb", "interface.json"
# TensorFlow reads no larger message.
_LARGEST_GRAPH = 2**31 - 1
_LARGEST_INTERFACE = 1 << 20
_MOST_TENSORS = 4096
_MOST_NODES = 500_000
_MOST_FUNCTIONS = 20_000
_LONGEST_NAME = 1024
DATATYPES: Mapping[str, str] = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "bfloat16": "BF16",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "bool": "BOOL", "string": "BYTES", "complex64": "COMPLEX64", "complex128": "COMPLEX128",
}  # fmt: skip
# Compilers that a graph could ask for by an attribute.
_COMPILE = ("_Xla", "_xla", "_jit")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output.

    Attributes:
        spec: how the protocol describes it.
        tensor: its name in the graph, as `x:0`.
        dtype: TensorFlow's name of its elements' type.
    """

    spec: TensorSpec
    tensor: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Interface:
    """What `interface.json` says.

    Attributes:
        initializer: an operation to run once, or "".
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    initializer: str


def read_interface(path: Path) -> Interface:
    """The interface in the file at `path`.

    Raises:
        ModelFormatError: it is none, or over its bounds.
    """
    try:
        if path.stat().st_size > _LARGEST_INTERFACE:
            raise ValueError("it is larger than 1 MiB")
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise TypeError("it is no object")
        initializer = document.get("initializer", "")
        if not isinstance(initializer, str) or len(initializer) > _LONGEST_NAME:
            raise TypeError("the initializer is no name")
        return Interface(
            _ports(document.get("inputs")), _ports(document.get("outputs")), initializer
        )
    except FileNotFoundError:
        raise ModelFormatError(
            f"The model has no file {INTERFACE}.",
            next_step=f"Upload {GRAPH} and {INTERFACE} together; see docs/protocol.md.",
        ) from None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelFormatError(f"{INTERFACE} is malformed: {error}.") from error


def _ports(entries: Any) -> tuple[Port, ...]:
    if not isinstance(entries, list) or len(entries) > _MOST_TENSORS:
        raise TypeError(f"inputs and outputs must be lists of at most {_MOST_TENSORS}")
    ports = tuple(_port(entry) for entry in entries)
    if len({port.spec.name for port in ports}) != len(ports):
        raise ValueError("a name stands twice")
    return ports


def _port(entry: Any) -> Port:
    if not isinstance(entry, dict):
        raise TypeError("an entry is no object")
    name, tensor, dtype = (entry.get(key) for key in ("name", "tensor", "dtype"))
    for text in (name, tensor):
        if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_NAME:
            raise TypeError("a name is no text, or too long")
    if not isinstance(dtype, str) or dtype not in DATATYPES:
        raise ValueError(f"tensors of type {str(dtype)[:32]!r} cannot be passed")
    spec = TensorSpec(str(name), DATATYPES[dtype], _shape(entry.get("shape")))
    return Port(spec, str(tensor), dtype)


def _shape(sizes: Any) -> tuple[int, ...] | None:
    if sizes is None:
        return None
    if not isinstance(sizes, list) or len(sizes) > MAX_RANK:
        raise TypeError("a shape is no list of sizes")
    for size in sizes:
        if size is not None and (type(size) is not int or not 0 <= size < 1 << 40):
            raise ValueError("a size is not valid")
    return tuple(-1 if size is None else size for size in sizes)


def read_graph(path: Path, memory_bytes: int, tf: Any) -> Any:
    """The GraphDef in the file at `path`, checked, without what ties it to other machines.

    Args:
        memory_bytes: what its constants may take; 0 for no bound.
        tf: the module `tensorflow`.

    Raises:
        ModelFormatError: it is none, over its bounds, or holds an operator that may not run.
        AcceleratorOutOfMemoryError: its constants say that they are larger than the memory.
    """
    if path.stat().st_size > _LARGEST_GRAPH:
        raise ModelFormatError(f"{GRAPH} is larger than 2 GB.")
    try:
        graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    except Exception as error:
        # protobuf's implementations have no common error.
        raise ModelFormatError(f"{GRAPH} is no GraphDef: {error}.") from error
    functions = {function.signature.name for function in graph.library.function}
    nodes = list(_nodes(graph))
    if len(nodes) > _MOST_NODES or len(functions) > _MOST_FUNCTIONS:
        raise ModelFormatError(
            f"The graph has more than {_MOST_NODES} nodes or {_MOST_FUNCTIONS} functions."
        )
    # A function is called by its name as an operator is; no function may take an operator's.
    called = {name for name in functions if not hasattr(tf.raw_ops, name)}
    refused = sorted({node.op for node in nodes if node.op not in ALLOWED} - called)
    if refused:
        raise ModelFormatError(
            f"The accelerator does not run the operator {refused[0][:100]!r}"
            f"{f' and {len(refused) - 1} others' if refused[1:] else ''} of this graph.",
            next_step="It runs on the instance instead: see `ei explain`, and docs/security.md.",
        )
    for name in _called(nodes):
        if name not in functions:
            raise ModelFormatError(f"The graph calls the function {name[:100]!r}, which it lacks.")
    if memory_bytes and sum(map(_constant_bytes, nodes)) > memory_bytes:
        raise AcceleratorOutOfMemoryError
    for node in nodes:
        node.device = ""
        for key in [key for key in node.attr if key.startswith(_COMPILE)]:
            del node.attr[key]
    del graph.library.gradient[:]
    return graph


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _called(nodes: Iterable[Any]) -> Iterator[str]:
    """The functions that attributes name."""
    for node in nodes:
        for value in node.attr.values():
            if value.HasField("func"):
                yield value.func.name
            elif value.HasField("list"):
                yield from (each.name for each in value.list.func)


def _constant_bytes(node: Any) -> int:
    """What the value of a constant takes, as it says itself."""
    if node.op != "Const":
        return 0
    tensor = node.attr["value"].tensor
    count = 1
    for dimension in tensor.tensor_shape.dim:
        count *= max(0, dimension.size)
    return int(count) * _SIZES.get(tensor.dtype, 8)


# By TensorFlow's number of the type; texts take what they hold and a pointer.
_SIZES = {
    number: CARRIER[datatype].itemsize
    for number, datatype in (
        (1, "FP32"), (2, "FP64"), (3, "INT32"), (4, "UINT8"), (5, "INT16"), (6, "INT8"),
        (8, "COMPLEX64"), (9, "INT64"), (10, "BOOL"), (14, "BF16"), (17, "UINT16"),
        (18, "COMPLEX128"), (19, "FP16"), (22, "UINT32"), (23, "UINT64"),
    )
}  # fmt: skip
