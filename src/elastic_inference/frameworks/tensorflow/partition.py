"""Divide a graph into segments: where each unit runs, in how few pieces, with how little to move.

Segments run one after the other. The division with the lowest cost wins, in which a segment on
the accelerator costs a round trip, each tensor that crosses its bytes, and each place that needs
TensorFlow its start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from elastic_inference.frameworks.tensorflow.graph import Graph
from elastic_inference.frameworks.tensorflow.placement import Home, Placed, is_heavy
from elastic_inference.frameworks.tensorflow.units import Units
from elastic_inference.protocol.tensorflow import node_of

# All in the bytes that cross in the same time. What a segment costs each time that it runs:
_SEGMENT = {Home.ONNX: 128 * 1024, Home.TENSORFLOW: 192 * 1024, Home.INSTANCE: 1024}
# What TensorFlow's being needed there at all costs.
_TENSORFLOW = {Home.ONNX: 0, Home.TENSORFLOW: 16 << 20, Home.INSTANCE: 4 << 20}
# What a unit that computes much costs there.
_HEAVY = {Home.ONNX: 0, Home.TENSORFLOW: 1 << 20, Home.INSTANCE: 1 << 30}
_MAX_TRIALS = 200


@dataclass(frozen=True, slots=True)
class Part:
    """One segment of a division.

    Attributes:
        home: where it runs.
        nodes: all of its nodes, the constants that it needs among them.
        own: those of its nodes that are in no other segment.
        inputs: tensors that come from the caller or from earlier parts.
        outputs: tensors that later parts or the caller need.
    """

    home: Home
    nodes: frozenset[str]
    own: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Division:
    """A level for each unit, and each level's home."""

    levels: tuple[int, ...]
    homes: tuple[Home, ...]
    cost: int


def divide(graph: Graph, units: Units, placed: Mapping[str, Placed]) -> list[Part]:
    """The parts of a graph in the order in which they run; none where outputs are inputs.

    Args:
        placed: where each node runs at best; parts put it there or in a place that takes more.
    """
    problem = _Problem(graph, units, placed)
    if not problem.units:
        return []
    best = _improve(problem, problem.floors)
    return [
        _part(graph, units, best, level, home)
        for level, home in enumerate(best.homes)
        if any(best.levels[unit] == level for unit in problem.units)
    ]


class _Problem:
    """What costs are reckoned from."""

    def __init__(self, graph: Graph, units: Units, placed: Mapping[str, Placed]) -> None:
        count = len(units.members)
        self.all = units
        self.units = [unit for unit in range(count) if not units.constant[unit]]
        self.floors = tuple(max(placed[name].home for name in each) for each in units.members)
        self.allowed = [all(placed[name].allowed for name in each) for each in units.members]
        self.heavy = [
            sum(is_heavy(graph, name) for name in each) if not units.constant[unit] else 0
            for unit, each in enumerate(units.members)
        ]
        self.has_instance = any(self.floors[unit] is Home.INSTANCE for unit in self.units)
        self.results = set(graph.results)
        self.tensors = list(_crossable(graph, units))
        self.made: list[list[int]] = [[] for _ in range(count)]
        self.taken: list[list[int]] = [[] for _ in range(count)]
        for index, (_, _, maker, users) in enumerate(self.tensors):
            if maker is not None:
                self.made[maker].append(index)
            for user in users:
                self.taken[user].append(index)


def _crossable(graph: Graph, units: Units) -> Iterator[tuple[str, int, int | None, frozenset[int]]]:
    """Name, bytes, maker and users of each tensor that could cross."""
    names = dict.fromkeys((*graph.users, *graph.results))
    for name in names:
        node = node_of(name)
        fed = name in graph.fed
        if not fed and units.constant[units.unit_of[node]]:
            continue
        maker = None if fed else units.unit_of[node]
        users = {units.unit_of[user] for user in graph.users.get(name, ())} - {maker}
        users = {user for user in users if not units.constant[user]}
        if users or name in graph.results:
            yield name, graph.size(name), maker, frozenset(users)


def _improve(problem: _Problem, homes: tuple[Home, ...]) -> _Division:
    """Move units to places that take more while that lowers the cost."""
    best = _schedule(problem, homes)
    trials = 0
    improved = len(best.homes) > 1
    while improved and trials < _MAX_TRIALS:
        improved = False
        for group, home in _moves(problem, best, homes):
            trials += 1
            if trials > _MAX_TRIALS:
                break
            changed = list(homes)
            for unit in group:
                changed[unit] = max(home, changed[unit])
            found = _schedule(problem, tuple(changed))
            if found.cost < best.cost:
                best, homes, improved = found, tuple(changed), True
                break
    return best


def _moves(
    problem: _Problem, division: _Division, homes: Sequence[Home]
) -> Iterator[tuple[list[int], Home]]:
    """Units worth trying elsewhere: whole light segments first, then those at a border."""
    for level, home in enumerate(division.homes):
        here = [unit for unit in problem.units if division.levels[unit] == level]
        for other in Home:
            if other > home and other in division.homes and _may_move(problem, here, other):
                yield here, other
    for unit in problem.units:
        around = (*problem.all.before[unit], *problem.all.after[unit])
        places = {division.homes[division.levels[each]] for each in around}
        for other in places:
            if other > homes[unit] and _may_move(problem, [unit], other):
                yield [unit], other


def _may_move(problem: _Problem, group: Sequence[int], home: Home) -> bool:
    if home is Home.TENSORFLOW:
        return all(problem.allowed[unit] for unit in group)
    return problem.has_instance and not any(problem.heavy[unit] for unit in group)


def _schedule(problem: _Problem, homes: tuple[Home, ...]) -> _Division:
    """The cheapest order of segments."""
    used = sorted({homes[unit] for unit in problem.units})
    found = []
    for preference in permutations(used):
        levels, sequence = _levels(problem, homes, preference)
        _delay(problem, levels, sequence)
        cost = _cost(problem, levels, sequence)
        found.append(_Division(tuple(levels), tuple(sequence), cost))
    return min(found, key=lambda each: each.cost)


def _levels(
    problem: _Problem, homes: Sequence[Home], preference: Sequence[Home]
) -> tuple[list[int], list[Home]]:
    """Run all that is ready in one place, then go on in the next."""
    units = problem.all
    waiting = [len(each) for each in units.before]
    ready: dict[Home, list[int]] = {home: [] for home in preference}
    for unit in problem.units:
        if not waiting[unit]:
            ready[homes[unit]].append(unit)
    levels = [-1] * len(waiting)
    sequence: list[Home] = []
    while any(ready.values()):
        home = next(each for each in preference if ready[each])
        level = len(sequence)
        sequence.append(home)
        while ready[home]:
            unit = ready[home].pop()
            levels[unit] = level
            for each in units.after[unit]:
                waiting[each] -= 1
                if not waiting[each]:
                    ready[homes[each]].append(each)
    return levels, sequence


def _delay(problem: _Problem, levels: list[int], sequence: Sequence[Home]) -> None:
    """Run units later, in a segment of the same place, where less crosses then."""
    order = sorted(problem.units, key=lambda unit: -levels[unit])
    for unit in order:
        after = problem.all.after[unit]
        if not after or any(problem.tensors[i][0] in problem.results for i in problem.made[unit]):
            continue
        limit = min(levels[each] for each in after)
        home = sequence[levels[unit]]
        later = [k for k in range(levels[unit] + 1, limit + 1) if sequence[k] is home]
        if not later:
            continue
        freed = sum(problem.tensors[i][1] for i in problem.made[unit])
        moved = sum(problem.tensors[i][1] for i in problem.taken[unit])
        if moved <= freed:
            levels[unit] = later[-1]


def _cost(problem: _Problem, levels: Sequence[int], sequence: Sequence[Home]) -> int:
    used = {levels[unit] for unit in problem.units}
    homes = {sequence[level] for level in used}
    cost = sum(_TENSORFLOW[home] for home in homes)
    cost += sum(_SEGMENT[sequence[level]] for level in used)
    for unit in problem.units:
        cost += problem.heavy[unit] * _HEAVY[sequence[levels[unit]]]
    for name, size, maker, users in problem.tensors:
        made = None if maker is None else levels[maker]
        places = {levels[user] for user in users} - {made}
        sent = sum(sequence[level] is not Home.INSTANCE for level in places)
        leaves = name in problem.results or bool(places)
        received = made is not None and sequence[made] is not Home.INSTANCE and leaves
        cost += size * (sent + received)
    return cost


def _part(graph: Graph, units: Units, division: _Division, level: int, home: Home) -> Part:
    own = [
        name
        for unit, nodes in enumerate(units.members)
        if division.levels[unit] == level and not units.constant[unit]
        for name in nodes
    ]
    inside = set(own)
    inputs: dict[str, None] = {}
    pending = list(own)
    while pending:
        name = pending.pop()
        for tensor in graph.inputs[name]:
            maker = node_of(tensor)
            if tensor in graph.fed or not (maker in inside or units.constant[units.unit_of[maker]]):
                inputs[tensor] = None
            elif maker not in inside:
                inside.add(maker)
                pending.append(maker)
        for maker in graph.controls[name]:
            if maker not in inside and units.constant[units.unit_of[maker]]:
                inside.add(maker)
                pending.append(maker)
    outputs = [
        tensor
        for name in own
        for tensor in graph.tensors_of(name)
        if tensor in graph.results
        or any(_is_elsewhere(units, division, level, user) for user in graph.users.get(tensor, ()))
    ]
    outputs = [tensor for tensor in outputs if tensor not in graph.fed]
    return Part(home, frozenset(inside), tuple(own), tuple(sorted(inputs)), tuple(outputs))


def _is_elsewhere(units: Units, division: _Division, level: int, user: str) -> bool:
    unit = units.unit_of[user]
    return not units.constant[unit] and division.levels[unit] != level
