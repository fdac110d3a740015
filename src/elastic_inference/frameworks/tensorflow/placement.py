"""Where each node of a graph can run, and why not in a better place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from elastic_inference.frameworks.tensorflow.graph import Graph, Node, takes_type
from elastic_inference.protocol.tensorflow_operators import ALLOWED


class Home(IntEnum):
    """Where a node runs; the higher ones take more nodes, at a higher price."""

    ONNX = 0
    TENSORFLOW = 1
    INSTANCE = 2


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a node can run at best.

    Attributes:
        home: the best place.
        allowed: whether TensorFlow on the accelerator runs it as well.
        reason: why its home is no better one, or "".
    """

    home: Home
    allowed: bool
    reason: str = ""


# fmt: off
# What TensorFlow's graphs are held together with; tf2onnx takes it apart.
_CONTROL_FLOW = frozenset(
    [
        "Enter", "Exit", "If", "LoopCond", "Merge", "NextIteration", "NoOp", "PartitionedCall",
        "Placeholder", "StatefulPartitionedCall", "StatelessIf", "StatelessWhile", "Switch",
        "While",
    ]
)
# Operators that only move strings: ONNX has those. Each is proved like everything else.
_STRING_MOVERS = frozenset(
    [
        "Const", "ConcatV2", "ExpandDims", "Gather", "GatherV2", "Identity", "Pack", "Reshape",
        "Slice", "Squeeze", "StridedSlice", "Transpose",
    ]
)
HEAVY = frozenset(
    [
        "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "BlockLSTM", "BlockLSTMV2", "Conv2D",
        "Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "CudnnRNN", "CudnnRNNV2",
        "CudnnRNNV3", "DepthwiseConv2dNative", "Einsum", "FFT", "FFT2D", "GRUBlockCell",
        "LSTMBlockCell", "MatMul", "RFFT", "SparseTensorDenseMatMul",
    ]
)
_PYTHON = frozenset(["EagerPyFunc", "PyFunc", "PyFuncStateless"])
# What tf2onnx gets wrong most often: taken out first where a whole does not come out equal.
_SUSPECTS = frozenset(
    [
        "CombinedNonMaxSuppression", "NonMaxSuppression", "NonMaxSuppressionV2",
        "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5",
        "ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor",
    ]
)
# fmt: on
_PASSES_ON = frozenset(["Enter", "Exit", "Identity", "Merge", "NextIteration", "Switch"])
_LOOPS = frozenset(["Enter", "If", "StatelessIf", "StatelessWhile", "Switch", "While"])


def convertible() -> frozenset[str]:
    """The operators for which tf2onnx has a handler."""
    from tf2onnx import tfonnx  # noqa: PLC0415 - loads TensorFlow; registers the handlers
    from tf2onnx.handler import tf_op  # noqa: PLC0415 - the same

    del tfonnx
    found: set[str] = set()
    for versions in tf_op.get_opsets().values():
        for handlers in versions:
            found.update(handlers)
    return frozenset(found)


def place(graph: Graph, known: frozenset[str]) -> dict[str, Placed]:
    """Where each node of `graph` can run.

    Args:
        known: operators that convert to ONNX.
    """
    return {name: _place(graph, name, node, known) for name, node in graph.nodes.items()}


def _place(graph: Graph, name: str, node: Node, known: frozenset[str]) -> Placed:
    inner = [node, *graph.bodies(node)]
    operators = dict.fromkeys(each.op for each in inner)
    within = "" if len(inner) == 1 else f", in {node.op} {name}"
    kept = [each for each in operators if each not in ALLOWED]
    handle = _has_handle(graph, name, node)
    python = next((each for each in operators if each in _PYTHON), "")
    if python:
        why = f"{python} calls Python code, which only the process that registered it has"
        return Placed(Home.INSTANCE, False, why + within)
    unknown = [
        each
        for each in operators
        if each not in known | _CONTROL_FLOW and not each.startswith(("TensorArray", "TensorList"))
    ]
    strings = [
        each.op for each in inner if each.op not in _STRING_MOVERS and takes_type(each, "string")
    ]
    if not unknown and not strings and not handle:
        return Placed(Home.ONNX, not kept)
    if handle:
        passes = node.op in _PASSES_ON
        return Placed(Home.INSTANCE, False, "" if passes else f"{node.op} uses {handle}" + within)
    if not kept:
        op = (unknown or strings)[0]
        return Placed(Home.TENSORFLOW, True, f"{op} has no form in ONNX" + within)
    op = next((each for each in kept if each in unknown or each in strings), kept[0])
    why = f"{op} is not among the operators that accelerators run"
    return Placed(Home.INSTANCE, False, why + within)


def _has_handle(graph: Graph, name: str, node: Node) -> str:
    """What keeps a node with its neighbours in one session: a table, a variable, or nothing."""
    if node.op.startswith("TensorArray"):
        return ""
    for tensor in (*graph.inputs[name], *graph.tensors_of(name)):
        if graph.dtype(tensor) == "resource" and not is_array(graph, tensor):
            return "a table" if "Table" in node.op else "a resource of its session"
    return "a variable" if any(map(graph.is_reference, graph.tensors_of(name))) else ""


def is_array(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is the handle of a TensorArray, or passes one on."""
    seen = set()
    pending = [tensor]
    while pending:
        name = pending.pop().partition(":")[0]
        if name in seen or name not in graph.nodes:
            continue
        seen.add(name)
        op = graph.nodes[name].op
        if op.startswith("TensorArray"):
            return True
        if op in _PASSES_ON:
            pending.extend(graph.inputs[name])
    return False


def is_suspect(graph: Graph, nodes: Mapping[str, Any] | list[str]) -> bool:
    """Whether a unit is of the kind that fails more often than others."""
    for name in nodes:
        node = graph.nodes[name]
        if node.op in _SUSPECTS or node.op in _LOOPS:
            return True
        if takes_type(node, "string"):
            return True
    return False


def is_heavy(graph: Graph, name: str) -> bool:
    """Whether a node computes much more than it moves."""
    return not HEAVY.isdisjoint(graph.operators([name]))
