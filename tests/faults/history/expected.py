"""The model: in which states each instance may be after all that was asked of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations

from tests.faults.history.journal import ERROR, OK, Call

ABSENT = "absent"
RUNNING = "running"
STOPPED = "stopped"
TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class State:
    """A state of an instance, and the types of accelerators that it has or starts with."""

    name: str
    types: tuple[str, ...] = ()


GONE = State(TERMINATED)
NOTHING = State(ABSENT)


@dataclass(slots=True)
class Expected:
    """An instance as its client knows it.

    Attributes:
        id: None while no answer told it.
        may: the states that are possible; one, where every answer came.
        ids: its accelerators, where they are known for sure.
        ended_ids: accelerators that must never be seen again.
        lease: seconds; it may end by itself once nobody keeps it alive.
        tags: possible values of its tag "mark".
    """

    name: str
    provider: str
    lease: float | None = None
    id: str | None = None
    may: frozenset[State] = frozenset({NOTHING})
    ids: frozenset[str] | None = frozenset()
    ended_ids: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=lambda: {""})

    @property
    def sure(self) -> State | None:
        """The state, if only one is possible."""
        return next(iter(self.may)) if len(self.may) == 1 else None

    @property
    def most(self) -> int:
        """How many accelerators it may have at most."""
        return (
            max(len(each.types) for each in self.may if each.name != STOPPED)
            if any(each.name != STOPPED for each in self.may)
            else 0
        )

    def note(self, call: Call) -> None:
        """Take a call's outcome into account."""
        after = frozenset(after_call(each, call.operation, call.document) for each in self.may)
        if call.outcome == OK:
            self.may = after
        elif call.outcome == ERROR:
            self.may = frozenset(state for each in self.may for state in after_error(each, call))
        else:
            self.may |= after
            if call.operation == "RunInstance" and self.provider == "command":
                # Nobody waits for it any more when the control plane is back.
                self.may |= {GONE}
        self._note_ids(call)

    def note_race(self, calls: list[Call]) -> None:
        """Several calls at one time, which came in any order."""
        self.may = frozenset(
            state
            for order in permutations(calls)
            for begin in self.may
            for state in _in_order(begin, order)
        )
        self._forget_ids()

    def see(self, state: State, ids: frozenset[str], tag: str) -> list[str]:
        """What is wrong with the state that it is found in; from here on that is its state."""
        wrong = []
        if state not in self.may:
            wrong.append(f"{self} is {state}, expected {sorted(map(str, self.may))}")
        if self.ids is not None and state.name == RUNNING and ids != self.ids:
            wrong.append(f"{self} has {sorted(ids)}, expected {sorted(self.ids)}")
        if back := ids & self.ended_ids:
            wrong.append(f"{self} has {sorted(back)} again, which had ended")
        if state != NOTHING and tag not in self.tags:
            wrong.append(f"{self} has the tag {tag!r}, expected {sorted(self.tags)}")
        # A stopped one keeps its types; of one that has ended nothing is left.
        self.may = frozenset({state})
        if self.lease is not None and state.name == RUNNING:
            self.may |= {GONE}
        self.ids, self.tags = ids, {tag}
        return wrong

    def _forget_ids(self) -> None:
        self.ids = None

    def _note_ids(self, call: Call) -> None:
        if call.operation not in _CHANGING:
            return
        if self.ids is None or call.outcome != OK:
            if call.outcome != ERROR or call.operation in _RETRIED:
                self._forget_ids()
            return
        if call.operation == "RunInstance":
            self.ids = frozenset(each["acceleratorId"] for each in call.answer["accelerators"])
        elif call.operation == "AttachAccelerator":
            self.ids |= {call.answer["acceleratorId"]}
        elif call.operation == "DetachAccelerator":
            self.ended_ids.add(call.document["acceleratorId"])
            self.ids -= {call.document["acceleratorId"]}
        elif call.operation == "StartInstance":
            self._forget_ids()
        else:
            self.ended_ids |= self.ids
            self.ids = frozenset()

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


_CHANGING = {
    "RunInstance", "StopInstance", "StartInstance", "TerminateInstance", "AttachAccelerator",
    "DetachAccelerator",
}  # fmt: skip
_WHILE_RUNNING = {"AttachAccelerator", "DetachAccelerator"}
_LEADS_TO = {"StopInstance": STOPPED, "StartInstance": RUNNING}
# What was begun and failed is tried again by the control plane.
_RETRIED = {"StopInstance", "TerminateInstance", "DetachAccelerator"}


def after_call(state: State, operation: str, document: dict[str, object]) -> State:
    """The state after an operation that was done."""
    if operation == "RunInstance":
        types = document["acceleratorTypes"]
        assert isinstance(types, list)
        return State(RUNNING, _sorted(types))
    if state.name in {ABSENT, TERMINATED}:
        return state
    types = Counter(state.types)
    if operation == "AttachAccelerator" and state.name == RUNNING:
        types += Counter([str(document["acceleratorType"])])
    if operation == "DetachAccelerator" and state.name == RUNNING:
        types -= Counter([str(document["type"])])
    if operation == "TerminateInstance":
        return GONE
    name = _LEADS_TO.get(operation, state.name)
    return State(name, _sorted(types.elements()))


def _in_order(state: State, calls: Sequence[Call]) -> set[State]:
    """Where calls lead that were done one after the other; nowhere if that cannot have been."""
    states = {state}
    for call in calls:
        done = {after_call(each, call.operation, call.document) for each in states}
        if call.ok and call.operation in _WHILE_RUNNING:
            states = {
                after_call(each, call.operation, call.document)
                for each in states
                if each.name == RUNNING
            }
        elif call.ok:
            states = done
        elif call.outcome != ERROR or call.operation in _RETRIED:
            states |= done
    return states


def after_error(state: State, call: Call) -> set[State]:
    """The states after an operation that was answered with an error."""
    if call.operation == "RunInstance":
        return {state, GONE}
    if call.operation in _RETRIED:
        return {state, after_call(state, call.operation, call.document)}
    return {state}


def _sorted(types: object) -> tuple[str, ...]:
    return tuple(sorted(types))  # type: ignore[call-overload]  # iterables of str


class Budget:
    """How many accelerators there may be at one time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held = 0

    def take(self, count: int) -> bool:
        """Have room for `count` more; False where there is none."""
        with self._lock:
            if self._held + count > self._most:
                return False
            self._held += count
            return True

    def give(self, count: int) -> None:
        with self._lock:
            self._held -= count
