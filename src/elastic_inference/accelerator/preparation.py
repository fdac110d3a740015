"""Finishes loaded models in the background, one after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from elastic_inference.accelerator.memory import GuardedModel, MemoryAccount


class Preparations:
    """The models that are still to be finished (see `LoadedModel.finish`).

    The thread that does it lives while there is something to do.
    """

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self._queue: deque[tuple[GuardedModel, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        # Those in the queue and the one under way.
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, guarded: GuardedModel, done: Callable[[], None]) -> None:
        """Finish the model soon, unless it is closed before, and call `done`."""
        with self._changed:
            self._queue.append((guarded, done))
            self._count += 1
            if self._count == 1:
                threading.Thread(target=self._work, name="prepare").start()

    def settled(self, timeout: float) -> bool:
        """Wait until nothing is left to do; False if that takes longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, timeout)

    def stop(self) -> None:
        """Leave out what was not begun; the process ends."""
        with self._changed:
            for guarded, done in self._queue:
                guarded.model.skip()
                done()
            self._count -= len(self._queue)
            self._queue.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._queue:
                    return
                guarded, done = self._queue.popleft()
            try:
                self._account.finish(guarded)
                done()
            finally:
                del guarded
                with self._changed:
                    self._count -= 1
                    self._changed.notify_all()
