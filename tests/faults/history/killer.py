"""Kills the control plane again and again, in the middle of what it does."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.history.inspection import inspect
from tests.faults.history.scene import Scene

_GATE = 120.0


class Killer(threading.Thread):
    """Kills, restarts, and has everything inspected, as long as there is work.

    Args:
        between: how many operations begin between two kills, at the least and at the most.
    """

    def __init__(
        self, scene: Scene, seed: int, between: tuple[int, int], goes_on: Callable[[], bool]
    ) -> None:
        super().__init__(name="killer", daemon=True)
        self._scene = scene
        self._random = random.Random(f"{seed}/killer")  # noqa: S311 - repeatable
        self._between = between
        self._goes_on = goes_on
        self.inside = 0
        self.writing = 0
        self.starting = 0

    def run(self) -> None:
        try:
            while self._wait_for_work():
                self._kill_once()
        except Exception as error:  # noqa: BLE001 - whatever it is, the history is no proof
            self._scene.complain(f"the killer failed: {type(error).__name__}: {error}")
        finally:
            self._scene.gate.reopen()

    def _wait_for_work(self) -> bool:
        for _ in range(self._random.randint(*self._between)):
            while self._goes_on() and not self._scene.journal.await_call(1.0):
                pass
        return self._goes_on()

    def _kill_once(self) -> None:
        scene, way = self._scene, self._random.random()
        if way < 0.4 and self._await_writing():
            self.writing += 1
        else:
            time.sleep(self._random.uniform(0.0, 0.3))
            self.inside += 1
        scene.gate.shut()
        if way > 0.9:
            self._kill_an_accelerator()
        scene.plane.kill()
        if 0.8 < way < 0.9:
            self._kill_an_accelerator()
        if way > 0.8:
            # Nothing is billed while neither of them is there.
            time.sleep(self._random.uniform(1.0, 4.0))
        if self._random.random() < 0.2:
            # And in the middle of its recovery.
            scene.plane.spawn()
            time.sleep(self._random.uniform(0.2, 2.0))
            scene.plane.kill()
            self.starting += 1
        scene.plane.start()
        if not scene.gate.wait_empty(_GATE):
            scene.complain("operations do not end")
        inspect(scene)
        count = scene.journal.operations
        print(f"    kill {scene.plane.kills}, {count} operations", flush=True)
        scene.gate.reopen()

    def _await_writing(self) -> bool:
        """Stop it at the moment at which it writes to its database; False if it does not."""
        path = self._scene.plane.state / "pool.sqlite-wal"
        deadline = time.monotonic() + 3.0
        before = _state(path)
        while time.monotonic() < deadline:
            if _state(path) != before:
                os.kill(self._scene.plane.pid, signal.SIGSTOP)
                return True
            time.sleep(0.0005)
        return False

    def _kill_an_accelerator(self) -> None:
        alive = self._scene.sampler.alive()
        if alive:
            self._scene.killed += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._random.choice(alive).pid, signal.SIGKILL)


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
