"""Divide a graph: which nodes run on the accelerator, which here, in how few pieces.

A model is cut into alternating segments, local and remote. Each is a graph of its own. The cut
with the lowest cost wins, where a remote segment costs a round trip and each tensor that
crosses costs its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_inference.frameworks.onnxruntime.graph import Graph

# A round trip, expressed in the bytes that cross in the same time.
_ROUND_TRIP = 128 * 1024
_LOCAL_SEGMENT = 1024
_SMALL = 16 * 1024
_MAX_TRIALS = 400

# fmt: off
# Operators of the default domain that move or describe data and compute next to nothing.
_MOVING = frozenset(
    [
        "Cast", "CastLike", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather",
        "GatherElements", "GatherND", "Identity", "Pad", "Range", "Reshape", "SequenceAt",
        "SequenceConstruct", "SequenceEmpty", "SequenceLength", "Shape", "Size", "Slice", "Split",
        "SplitToSequence", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    ]
)
# Operators that are cheap where their results are known to be small.
_ELEMENTWISE = frozenset(
    [
        "Abs", "Add", "And", "Ceil", "Clip", "Div", "Equal", "Floor", "Greater", "GreaterOrEqual",
        "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "ReduceMax",
        "ReduceMin", "ReduceProd", "ReduceSum", "Relu", "Sign", "Sqrt", "Sub", "Where", "Xor",
    ]
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a graph.

    Attributes:
        remote: whether it runs on the accelerator.
        nodes: positions in the graph's list of nodes, in order.
        inputs: names of the values that it needs from outside: graph inputs and results of
            earlier segments.
        outputs: names of its results that later segments or the caller need.
    """

    remote: bool
    nodes: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def divide(graph: Graph, supported: Callable[[Any], bool]) -> list[Segment]:
    """The segments of `graph` in the order in which they run.

    Args:
        graph: the graph to divide.
        supported: whether the accelerator can run a node (its subgraphs included).

    Returns:
        Alternating local and remote segments. One segment means that nothing is cut.
    """
    remote = [supported(node) for node in graph.nodes]
    if not remote or all(remote):
        return _segments(graph, remote, [0] * len(remote))
    return _segments(graph, *_improve(graph, remote))


def _improve(graph: Graph, remote: list[bool]) -> tuple[list[bool], list[int]]:
    """Take cheap nodes off the accelerator while that lowers the cost of the cut."""
    best = remote
    levels, cost = _place(graph, best)
    trials = 0
    improved = True
    while improved and trials < _MAX_TRIALS:
        improved = False
        for group in _movable(graph, best, levels):
            trials += 1
            if trials > _MAX_TRIALS:
                break
            changed = list(best)
            for node in group:
                changed[node] = False
            new_levels, new_cost = _place(graph, changed)
            if new_cost < cost:
                best, levels, cost = changed, new_levels, new_cost
                improved = True
                break
    return best, levels


def _movable(graph: Graph, remote: Sequence[bool], levels: Sequence[int]) -> Iterator[list[int]]:
    """Groups of cheap remote nodes worth trying here: whole segments, then border nodes."""
    by_level: dict[int, list[int]] = {}
    for node, level in enumerate(levels):
        if remote[node]:
            by_level.setdefault(level, []).append(node)
    for nodes in by_level.values():
        if all(_is_cheap(graph, node) for node in nodes):
            yield nodes
    for nodes in by_level.values():
        for node in nodes:
            neighbours = [*graph.predecessors[node], *graph.successors[node]]
            on_border = any(levels[other] != levels[node] for other in neighbours)
            if on_border and _is_cheap(graph, node):
                yield [node]


def _is_cheap(graph: Graph, index: int) -> bool:
    node = graph.nodes[index]
    if node.domain not in {"", "ai.onnx"}:
        return False
    if node.op_type in _MOVING:
        return True
    if node.op_type not in _ELEMENTWISE:
        return False
    sizes = [graph.byte_size(name) for name in node.output if name]
    return all(size is not None and size <= _SMALL for size in sizes)


def _place(graph: Graph, remote: Sequence[bool]) -> tuple[list[int], int]:
    """The cheaper of the two placements, starting here or there, and its cost."""
    placed = [_levels(graph, remote, first_remote=first) for first in (False, True)]
    costs = [_cost(graph, remote, levels) for levels in placed]
    chosen = 0 if costs[0] <= costs[1] else 1
    return placed[chosen], costs[chosen]


def _levels(graph: Graph, remote: Sequence[bool], *, first_remote: bool) -> list[int]:
    """The segment of each node: as early as its inputs allow, later where that cuts less.

    Segments alternate, so a node's segment has the parity of its side.
    """
    levels: list[int] = []
    for node, is_remote in enumerate(remote):
        parity = 0 if is_remote == first_remote else 1
        earliest = max((levels[before] for before in graph.predecessors[node]), default=0)
        levels.append(earliest + (earliest % 2 != parity))
    for node in range(len(levels) - 1, -1, -1):
        _delay(graph, levels, node)
    return levels


def _delay(graph: Graph, levels: list[int], node: int) -> None:
    after = [levels[later] for later in graph.successors[node]]
    if not after or graph.is_result(node):
        return
    latest = min(after)
    latest -= (latest - levels[node]) % 2
    if latest <= levels[node]:
        return
    freed = sum(graph.weight(name) for name in graph.nodes[node].output if name)
    newly_cut = sum(
        graph.weight(name)
        for name in graph.node_inputs[node]
        if name in graph.producer and levels[graph.producer[name]] == levels[node]
    )
    if newly_cut <= freed:
        levels[node] = latest


def _cost(graph: Graph, remote: Sequence[bool], levels: Sequence[int]) -> int:
    sides = dict(zip(levels, remote, strict=True))
    cost = sum(_ROUND_TRIP if is_remote else _LOCAL_SEGMENT for is_remote in sides.values())
    for name, users in graph.users.items():
        made_at = levels[graph.producer[name]] if name in graph.producer else None
        used_at = {levels[user] for user in users}
        sent = sum(1 for level in used_at if sides[level] and level != made_at)
        leaves = name in graph.results or any(level != made_at for level in used_at)
        received = int(made_at is not None and sides[made_at] and leaves)
        cost += graph.weight(name) * (sent + received)
    return cost


def _segments(graph: Graph, remote: Sequence[bool], levels: Sequence[int]) -> list[Segment]:
    members: dict[int, list[int]] = {}
    for node, level in enumerate(levels):
        members.setdefault(level, []).append(node)
    return [_segment(graph, remote, levels, members[level]) for level in sorted(members)]


def _segment(
    graph: Graph, remote: Sequence[bool], levels: Sequence[int], nodes: list[int]
) -> Segment:
    level = levels[nodes[0]]
    inputs: dict[str, None] = {}
    outputs: dict[str, None] = {}
    for node in nodes:
        for name in graph.node_inputs[node]:
            made_by = graph.producer.get(name)
            inside = made_by is not None and levels[made_by] == level
            if not inside and (made_by is not None or name in graph.inputs):
                inputs[name] = None
        for name in graph.nodes[node].output:
            users = graph.users.get(name, ())
            if name in graph.results or any(levels[user] != level for user in users):
                outputs[name] = None
    return Segment(remote[nodes[0]], tuple(nodes), tuple(inputs), tuple(outputs))
