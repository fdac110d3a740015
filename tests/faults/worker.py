"""A client in a process of its own: asks, checks each answer, and counts.

    python -m tests.faults.worker '{"kind": "client", "name": "a", "number": 1, …}'

Every request carries values that no other request of any worker has, and every model of every
worker has a factor of its own, so that an answer of another shows. What happens is counted on
a `Scoreboard`; what is remarkable is written to stderr.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elastic_inference.errors import ElasticInferenceError, InternalError
from tests.faults.askers import ASKERS, Asker
from tests.faults.errors import ClearError
from tests.faults.scoreboard import Field, Scoreboard

# Floats of FP32 are exact up to here: a factor times a value stays below.
_EXACT = 1 << 24
_SIZES = (4, 64, 1000, 40_000, 300_000)
_TOLD = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker does.

    Attributes:
        kind: of `ASKERS`.
        number: unlike that of any other worker, below 32.
        board: the file of its scoreboard.
        models: how many it has.
        pause: seconds between two requests.
        settings: further words for its asker.
    """

    kind: str
    name: str
    number: int
    board: str
    models: int = 2
    pause: float = 0.01
    seed: int = 0
    settings: dict[str, Any]

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def factors(number: int, models: int) -> list[int]:
    """The factors of a worker's models, which no other worker's has."""
    return [3 + number * 8 + index for index in range(models)]


class Worker:
    """Asks one question after the other until it is told to end."""

    def __init__(self, task: Task, asker: Asker) -> None:
        self._task = task
        self._asker = asker
        self._board = Scoreboard(Path(task.board))
        self._random = random.Random(task.seed * 64 + task.number)  # noqa: S311 - repeatable
        self._over = threading.Event()
        self._told = 0
        self._factors = factors(task.number, task.models)

    def end(self, *_: object) -> None:
        self._over.set()

    def run(self) -> None:
        try:
            sequence = 0
            while not self._over.wait(self._pause):
                sequence += 1
                self._once(sequence)
        finally:
            self._asker.close()

    @property
    def _pause(self) -> float:
        return self._task.pause * self._random.uniform(0.5, 1.5)

    def _question(self, sequence: int) -> tuple[int, np.ndarray[Any, Any]]:
        factor = self._factors[sequence % len(self._factors)]
        size = self._random.choice(_SIZES)
        # Worker, request and position are all in it.
        begin = (self._task.number << 8) + sequence % 256
        most = _EXACT // max(self._factors) - begin - 1
        x = (np.arange(size, dtype=np.int64) % most + begin).astype(np.float32)
        return factor, x

    def _once(self, sequence: int) -> None:
        factor, x = self._question(sequence)
        board = self._board
        began = time.monotonic_ns()
        board.put(Field.SINCE, began)
        board.add(Field.BEGUN)
        outcome, text = self._outcome(factor, x)
        took = time.monotonic_ns() - began
        board.add(outcome)
        if outcome is Field.RIGHT:
            board.put(Field.SLOWEST, max(board.get(Field.SLOWEST), took))
            mean = board.get(Field.LATENCY)
            board.put(Field.LATENCY, mean + (took - mean) // 32 if mean else took)
        elif self._told < _TOLD:
            self._told += 1
            print(f"{outcome.name} after {took / 1e9:.2f} s: {text}", file=sys.stderr, flush=True)

    def _outcome(self, factor: int, x: np.ndarray[Any, Any]) -> tuple[Field, str]:
        try:
            y = self._asker.ask(factor, x)
        except (InternalError, MemoryError) as error:
            return Field.UNCLEAR, repr(error)
        except (ElasticInferenceError, ClearError) as error:
            lines = traceback.extract_tb(error.__traceback__)[-6:]
            where = ", ".join(f"{Path(each.filename).stem}:{each.lineno}" for each in lines)
            return Field.CLEAR, f"{type(error).__name__}: {error} ({where})"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and counted
            return Field.UNCLEAR, repr(error)
        wanted = x * np.float32(factor)
        if y.shape == wanted.shape and np.array_equal(y, wanted):
            return Field.RIGHT, ""
        return Field.WRONG, f"asked {x[:4]} by {factor}, got {y.shape} {y.reshape(-1)[:4]}"


def _begin(make: Callable[[], Asker], board: Scoreboard) -> Asker:
    """The asker, which may have to begin amid a fault: as often as it takes."""
    while True:
        try:
            return make()
        except (ElasticInferenceError, ClearError, OSError) as error:
            print(f"not begun: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            board.put(Field.SINCE, time.monotonic_ns())
            time.sleep(0.2)


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    task = Task(**json.loads(words[0]))
    board = Scoreboard(Path(task.board))
    asker = _begin(lambda: ASKERS[task.kind](factors(task.number, task.models), task), board)
    worker = Worker(task, asker)
    if task.kind != "session":
        # An application ends as most do, amid whatever it waits for.
        signal.signal(signal.SIGTERM, worker.end)
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
