"""Where random numbers come from: one sequence of the process, and one for each run of a model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

# Seeds are 32 bits, of either sign.
_SEEDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to a sequence of its own: which seed it follows from, and which one it is."""

    seed: int
    number: int

    def generator(self) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.number))


class _Sequence:
    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self._given = 0
        self.generator = np.random.default_rng(seed)

    def ticket(self) -> Ticket:
        with self._lock:
            self._given += 1
            return Ticket(self._seed, self._given)


class _Run(threading.local):
    """What the model that this thread runs draws from."""

    ticket: Ticket | None = None
    generator: np.random.Generator | None = None


_shared = [_Sequence(int(np.random.SeedSequence().generate_state(1)[0]))]
_run = _Run()


def seed(number: int) -> None:
    """Begin the same sequences again."""
    _shared[0] = _Sequence(int(number) % _SEEDS)


def ticket() -> Ticket:
    """A sequence for a run that begins now, whenever and wherever it draws from it."""
    return _shared[0].ticket()


@contextmanager
def drawing(given: Ticket) -> Iterator[None]:
    """What this thread draws comes from that sequence."""
    _run.ticket, _run.generator = given, None
    try:
        yield
    finally:
        _run.ticket = _run.generator = None


def generator() -> np.random.Generator:
    """What to draw from here: the run's own sequence, or else the process's."""
    if _run.ticket is None:
        return _shared[0].generator
    if _run.generator is None:
        # Most models draw nothing.
        _run.generator = _run.ticket.generator()
    return _run.generator
