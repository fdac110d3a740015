"""What each accelerator may and must have been billed, by what was seen from outside.

The lower bound counts only time that was billable for sure: between two moments at which it was
seen attached, well and its instance running, with one process all the while. The upper bound
counts whatever may have been: the time from a process's first heartbeat to its end, or to the
answer that said that it was stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from elastic_inference.control.client import ControlClient
from elastic_inference.errors import ElasticInferenceError
from tests.faults.history.journal import ERROR, Call
from tests.faults.history.planes import Plane
from tests.faults.history.sampler import Life

# For each begin and each end of a process or of a time that is sure.
PER_TRANSITION = 0.25
# The heartbeat of one that died while the control plane was dead may be as old as this.
PER_HEARTBEAT = 1.2
_INTERVAL = 0.3
_ENDING = {"StopInstance", "TerminateInstance"}


@dataclass(slots=True)
class Seen:
    """When an accelerator was seen well: each time the begin and the end of the look."""

    looks: list[tuple[float, float, bool]] = field(default_factory=list)
    instance_id: str = ""


class Lookout(threading.Thread):
    """Asks again and again which accelerators are well, as any user may."""

    def __init__(self, plane: Plane) -> None:
        super().__init__(name="lookout", daemon=True)
        self._plane = plane
        self._closed = threading.Event()
        self.seen: dict[str, Seen] = {}
        self.leases: dict[str, float] = {}

    def run(self) -> None:
        while not self._closed.wait(_INTERVAL):
            if self._plane.up.is_set():
                # It may die meanwhile.
                try:
                    self._look()
                except (ElasticInferenceError, KeyError):
                    continue

    def close(self) -> None:
        self._closed.set()
        self.join()

    def _look(self) -> None:
        client = ControlClient(self._plane.pointer(), 30.0)
        begin = time.monotonic()
        accelerators = client.call("DescribeAccelerators", {"maxResults": 1000})["accelerators"]
        found = client.call("DescribeInstances", {"states": ["running"], "maxResults": 1000})
        end = time.monotonic()
        running = {each["instanceId"] for each in found["instances"]}
        for each in accelerators:
            well = (
                each["health"] == "ok"
                and each["associationState"] == "associated"
                and each["instanceId"] in running
            )
            seen = self.seen.setdefault(each["acceleratorId"], Seen())
            seen.instance_id = each["instanceId"]
            seen.looks.append((begin, end, well))

    def told(self, calls: Iterable[Call]) -> None:
        """Answers are looks too: what was made is well when that is answered."""
        for call in calls:
            if not call.ok:
                continue
            made, of = [], call.answer.get("instanceId", call.document.get("instanceId", ""))
            if call.operation == "RunInstance":
                made = call.answer["accelerators"]
            elif call.operation == "AttachAccelerator":
                made = [call.answer]
            for each in made:
                seen = self.seen.setdefault(each["acceleratorId"], Seen())
                seen.instance_id = of
                seen.looks.append((call.ended, call.ended, True))
        for seen in self.seen.values():
            seen.looks.sort()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an accelerator may be billed, in seconds."""

    accelerator_id: str
    lower: float
    upper: float
    slack_below: float
    slack_above: float

    def excess(self, seconds: float) -> float:
        """How far a bill is beyond its bounds and their tolerance; 0 if it is within."""
        return max(
            0.0,
            self.lower - self.slack_below - seconds,
            seconds - self.upper - self.slack_above,
        )


def bounds(
    accelerator_id: str, seen: Seen, lives: Sequence[Life], calls: Sequence[Call], plane: Plane
) -> Bounds:
    """The bounds of one accelerator, once all has ended.

    Args:
        lives: its processes, in their order.
        calls: all calls.
    """
    first = min((each.born for each in lives), default=0.0)
    # What was answered before was of earlier accelerators of the instance.
    ends = [each for each in _ends(accelerator_id, seen.instance_id, calls) if each.ended > first]
    answered = [each.ended for each in ends if each.ok and _was_last(each, seen)]
    until = min(answered, default=float("inf"))
    upper = lower = 0.0
    transitions, heartbeats = 0, 0
    for life in lives:
        ready, ended = life.ready or life.ended or life.born, life.ended or time.monotonic()
        upper += max(0.0, min(ended, until) - ready)
        sure = _sure(seen, life, ends)
        lower += sure
        transitions += 1
        if not plane.was_up(ended - PER_HEARTBEAT, ended + PER_TRANSITION):
            heartbeats += 1
    # When it served is known by its own word, which the bill cannot be before.
    above = PER_TRANSITION * max(1, transitions)
    return Bounds(accelerator_id, lower, upper, 2 * above + heartbeats * PER_HEARTBEAT, above)


def _ends(accelerator_id: str, instance_id: str, calls: Sequence[Call]) -> list[Call]:
    """The calls that may have ended it."""
    return [
        each
        for each in calls
        if (each.operation in _ENDING and each.document.get("instanceId") == instance_id)
        or (
            each.operation == "DetachAccelerator"
            and each.document.get("acceleratorId") == accelerator_id
        )
    ]


def _was_last(call: Call, seen: Seen) -> bool:
    """Whether it was not seen well any more after a call's end."""
    return not any(begin > call.ended for begin, _, well in seen.looks if well)


def _sure(seen: Seen, life: Life, ends: Sequence[Call]) -> float:
    """Seconds of a process's life in which it was billable for sure."""
    born, ended = life.ready or life.born, life.ended or time.monotonic()
    inside = [look for look in seen.looks if look[0] >= born and look[1] <= ended]
    total, since, last = 0.0, None, 0.0
    for begin, end, well in inside:
        if well:
            since, last = (end if since is None else since), max(begin, since or end)
        elif since is not None:
            total, since = total + last - since, None
    if since is None:
        return total
    # Until something may have ended it, or its process did.
    later = [each.began for each in ends if each.ended > last and each.outcome != ERROR]
    return total + max(last, min([ended, *later])) - since
