"""A fault: what is done, and whose requests may fail of it with a clear error."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.crew import Crew

# Everybody on the accelerator that is hurt.
VICTIM = ("a-tls", "a-shm", "a-wire", "a-grpc", "a-churn")
# Who repeats nothing: what cuts the connection fails one request.
WIRE = ("a-wire", "a-grpc")
# Who needs the control plane for each new token, and does not wait for it.
WIRES = ("a-wire", "a-grpc", "b-wire", "b-grpc")


class UnfitError(Exception):
    """This machine cannot do it (no root, no such system call); the fault is left out."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault happens.

    Attributes:
        quick: only so long as it takes to show something.
    """

    crew: Crew
    random: random.Random
    quick: bool

    def moment(self, least: float, most: float) -> float:
        """Seconds to wait, other ones at each call."""
        return self.random.uniform(least, most)


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        kind: kill, stop, cut, slow or fill.
        act: does it, and takes back what does not pass by itself.
        hits: workers whose requests may end with a clear error; nobody else's may.
        quick: it is part of the short form.
    """

    kind: str
    name: str
    act: Callable[[Scene], None]
    hits: tuple[str, ...] = ()
    quick: bool = False
