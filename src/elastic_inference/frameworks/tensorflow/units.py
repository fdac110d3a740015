"""Units: what of a graph cannot be cut apart.

A loop or a branch is one, and whatever hangs together by a tensor that cannot leave its session.
Units that would wait for each other are one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.placement import Home, Placed
from elastic_inference.protocol.tensorflow import node_of

_ENTERS = frozenset(["Enter", "RefEnter"])
_EXITS = frozenset(["Exit", "RefExit"])
_SWITCHES = frozenset(["RefSwitch", "Switch", "_SwitchN"])
_MERGES = frozenset(["Merge", "RefMerge"])
# Tables that are filled once, by the initializer: each session may have its own.
_FIXED_TABLES = frozenset(["HashTable", "HashTableV2"])

# Branches within branches; a graph that has more is a broken one.
_DEEPEST = 64


class Units:
    """The units of a graph, by number.

    Attributes:
        members: the nodes of each.
        unit_of: the unit of each node.
        before, after: the units that each waits for, and that wait for it; constants are in none.
        constant: whether it may be in each segment anew.
    """

    def __init__(self, graph: Graph, placed: Mapping[str, Placed]) -> None:
        groups = _Groups(graph.nodes)
        _join_loops(graph, groups)
        _join_branches(graph, groups)
        _join_handles(graph, groups)
        _join_effects(graph, groups)
        _join_cycles(graph, groups)
        self.unit_of: dict[str, int] = {}
        self.members: list[list[str]] = []
        numbers: dict[str, int] = {}
        for name in graph.nodes:
            root = groups.find(name)
            if root not in numbers:
                numbers[root] = len(self.members)
                self.members.append([])
            self.unit_of[name] = numbers[root]
            self.members[numbers[root]].append(name)
        before = [self._before(graph, nodes) for nodes in self.members]
        self.constant = self._constants(graph, placed, before)
        self.before: list[frozenset[int]] = [
            frozenset() if mine else frozenset(each for each in given if not self.constant[each])
            for mine, given in zip(self.constant, before, strict=True)
        ]
        self.after: list[set[int]] = [set() for _ in self.members]
        for unit, given in enumerate(self.before):
            for each in given:
                self.after[each].add(unit)

    def _before(self, graph: Graph, nodes: list[str]) -> set[int]:
        own = self.unit_of[nodes[0]]
        return {self.unit_of[name] for node in nodes for name in graph.before(node)} - {own}

    def _constants(
        self, graph: Graph, placed: Mapping[str, Placed], before: list[set[int]]
    ) -> list[bool]:
        results = {self.unit_of[node_of(name)] for name in graph.results if name not in graph.fed}
        constant = [False] * len(self.members)
        for unit in _in_order(before):
            nodes = self.members[unit]
            free = unit not in results and all(constant[each] for each in before[unit])
            constant[unit] = (
                free
                and not any(tensor in graph.fed for node in nodes for tensor in graph.inputs[node])
                and all(_may_repeat(graph, node, placed[node]) for node in nodes)
            )
        return constant


def _may_repeat(graph: Graph, name: str, placed: Placed) -> bool:
    op = graph.nodes[name].op
    if op in _FIXED_TABLES:
        return True
    return (placed.home is Home.ONNX or op == "Const") and not graph.is_stateful(name)


class _Groups:
    """Disjoint sets of nodes."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._parent = {name: name for name in names}

    def find(self, name: str) -> str:
        parent = self._parent
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        self._parent[self.find(one)] = self.find(other)


def _successors(graph: Graph) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in graph.nodes:
        for each in graph.before(name):
            found[each].append(name)
    return found


def _join_loops(graph: Graph, groups: _Groups) -> None:
    after = _successors(graph)
    for name, node in graph.nodes.items():
        if node.op in _ENTERS:
            frame = f"\0{node.attr['frame_name'].s.decode(errors='replace')}"
            groups.join(name, frame)
            _join_until(graph, after, name, _EXITS, groups)


def _join_branches(graph: Graph, groups: _Groups) -> None:
    """One unit of each branch: what follows a switch up to the merge that ends its branch.

    Switches and merges of loops are none of branches; branches within are.
    """
    after = _successors(graph)
    merges = {name for name, node in graph.nodes.items() if node.op in _MERGES}
    merges -= {name for name in merges if any(map(_is_loop, _makers(graph, name)))}
    switches = {name for name, node in graph.nodes.items() if node.op in _SWITCHES}
    switches -= {name for name in switches if any(map(_is_condition, _makers(graph, name)))}
    for start in switches:
        seen = {(start, 1)}
        pending = [(start, 1)]
        while pending:
            name, depth = pending.pop()
            for each in after.get(name, ()):
                groups.join(each, start)
                state = (each, depth + (each in switches) - (each in merges))
                if 0 < state[1] < _DEEPEST and state not in seen:
                    seen.add(state)
                    pending.append(state)


def _makers(graph: Graph, name: str) -> list[str]:
    return [graph.nodes[node_of(t)].op for t in graph.inputs[name] if t not in graph.fed]


def _is_loop(op: str) -> bool:
    return op in {"NextIteration", "RefNextIteration"}


def _is_condition(op: str) -> bool:
    return op == "LoopCond"


def _join_until(
    graph: Graph,
    after: Mapping[str, list[str]],
    start: str,
    ends: frozenset[str],
    groups: _Groups,
) -> None:
    """One unit of all that follows `start`, up to and with `ends`."""
    seen = {start}
    pending = [start]
    while pending:
        name = pending.pop()
        if graph.nodes[name].op in ends:
            continue
        for each in after.get(name, ()):
            groups.join(each, start)
            if each not in seen:
                seen.add(each)
                pending.append(each)


def _join_handles(graph: Graph, groups: _Groups) -> None:
    """Tensors that cannot leave their session hold their ends together."""
    for tensor, users in graph.users.items():
        if tensor in graph.fed:
            continue
        maker = node_of(tensor)
        dtype = graph.dtype(tensor)
        if graph.nodes[maker].op in _FIXED_TABLES:
            continue
        if dtype in {"resource", "variant", ""} or graph.is_reference(tensor):
            for user in users:
                groups.join(user, maker)


def _join_effects(graph: Graph, groups: _Groups) -> None:
    """What waits for an effect runs where that is."""
    for name in graph.nodes:
        for each in graph.controls[name]:
            if each in graph.effects:
                groups.join(name, each)


def _join_cycles(graph: Graph, groups: _Groups) -> None:
    """One unit of units that wait for each other."""
    before: dict[str, set[str]] = defaultdict(set)
    for name in graph.nodes:
        own = groups.find(name)
        before[own].update(groups.find(each) for each in graph.before(name))
        before[own].discard(own)
    for circle in _circles(before):
        for each in circle[1:]:
            groups.join(each, circle[0])


def _circles(before: Mapping[str, set[str]]) -> list[list[str]]:  # noqa: C901 - one algorithm
    """Strongly connected components (Tarjan), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found = []
    for root in list(before):
        if root in index:
            continue
        work = [(root, iter(before[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            for each in rest:
                if each not in index:
                    index[each] = low[each] = len(index)
                    stack.append(each)
                    on_stack.add(each)
                    work.append((each, iter(before.get(each, ()))))
                    break
                if each in on_stack:
                    low[node] = min(low[node], index[each])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    circle = []
                    while True:
                        each = stack.pop()
                        on_stack.discard(each)
                        circle.append(each)
                        if each == node:
                            break
                    found.append(circle)
    return found


def _in_order(before: list[set[int]]) -> list[int]:
    """Units, each after those that it waits for."""
    waiting = [len(each) for each in before]
    after: list[list[int]] = [[] for _ in before]
    for unit, given in enumerate(before):
        for each in given:
            after[each].append(unit)
    ready = [unit for unit, count in enumerate(waiting) if not count]
    for unit in ready:
        for each in after[unit]:
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)
    return ready
