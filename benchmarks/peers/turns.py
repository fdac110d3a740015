"""Servers measured in turns, with patience for those that take seconds an answer."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Sample, Settings
from benchmarks.peers.figures import MANY, Figure
from benchmarks.peers.running import Contact

# An answer that takes longer than this, in seconds, is measured in one round alone.
_SLOW = 0.5
# How many answers each connection gets at least, however long they take.
_ANSWERS = 2.5
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """A server whose turn comes in each round.

    Attributes:
        figure: where its figures go.
        contact, request: what is driven.
        taken: how long one answer took, in seconds.
    """

    figure: Figure
    contact: Contact
    request: Path
    taken: float

    def sample(self, program: Path, connections: int, seconds: float) -> Sample:
        """One round; longer where nothing was answered within it, as on a busy machine.

        Raises:
            RuntimeError: an answer was an error, or none came.
        """
        drive = self.contact.drive(program, self.request, connections)
        seconds = max(seconds, _ANSWERS * self.taken * connections)
        for attempt in range(_ATTEMPTS - 1):
            with contextlib.suppress(RuntimeError):
                return drive.measure(seconds * 3**attempt)
        return drive.measure(seconds * 3 ** (_ATTEMPTS - 1))


def measure(turns: Sequence[Turn], program: Path, settings: Settings, patience: float) -> None:
    """Fill each figure with the medians of its rounds."""
    for connections in (1, MANY):
        samples: dict[str, list[Sample]] = {turn.figure.title: [] for turn in turns}
        for number in range(settings.rounds):
            for turn in turns:
                if turn.figure.reason or (number and turn.taken > _SLOW):
                    continue
                try:
                    sample = turn.sample(program, connections, settings.seconds * patience)
                    samples[turn.figure.title].append(sample)
                except (RuntimeError, subprocess.SubprocessError) as error:
                    turn.figure.reason = f"failed with {connections}: {error}"[:200]
        for turn in turns:
            if measured := samples[turn.figure.title]:
                if connections == 1:
                    turn.figure.one = _median(measured)
                else:
                    turn.figure.many = _median(measured)


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        statistics.median(sample.p50_us for sample in samples),
        statistics.median(sample.p99_us for sample in samples),
        statistics.median(sample.requests_per_second for sample in samples),
    )
