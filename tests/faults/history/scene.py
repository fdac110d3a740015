"""What all parts of a history share: the plane, the journal, who exists, and the gate."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.crew import until
from tests.faults.history.expected import Budget, Expected
from tests.faults.history.journal import Journal
from tests.faults.history.planes import Plane
from tests.faults.history.sampler import Sampler

ROLE = "history-{}"
ALLOW = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "elastic-inference:*", "Resource": "*"}],
    }
)
DENY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "elastic-inference:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "elastic-inference:Connect", "Resource": "*"},
        ],
    }
)


class Gate:
    """Operations pass while it is open; who closes it waits until none is under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = True
        self._inside = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._open)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self) -> None:
        """From now on nobody passes."""
        with self._changed:
            self._open = False

    def wait_empty(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, timeout)

    def reopen(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()


@dataclass(slots=True)
class Scene:
    """One run.

    Attributes:
        everybody: each instance that was ever asked for.
        prices: of each type, what it may be set to, the latest last.
        killed: accelerators whose process was killed here.
        wrong: what was found wrong, told at once.
    """

    plane: Plane
    journal: Journal
    sampler: Sampler
    budget: Budget
    gate: Gate = field(default_factory=Gate)
    everybody: list[Expected] = field(default_factory=list)
    prices: list[tuple[str, float, str]] = field(default_factory=list)
    killed: int = 0
    refusals: int = 0
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, most: int) -> Scene:
        plane = Plane(folder)
        return cls(plane, Journal(plane.pointer), Sampler(plane.state / "run"), Budget(most))

    def complain(self, *what: str) -> None:
        for each in what:
            self.wrong.append(each)
            print(f"    WRONG {each[:3000]}", flush=True)

    def insist(self, who: str, operation: str, document: dict[str, Any]) -> None:
        """Repeat what may be repeated until it is answered."""

        def done() -> bool:
            call = self.journal.call(who, operation, document)
            if call.outcome == "error" and "already" not in call.error:
                raise AssertionError(str(call))
            return call.outcome != "unknown" or (self.plane.up.wait(60.0) and False)

        until(f"{operation} to be answered", done)
