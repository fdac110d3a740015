"""Finishes loaded models in the background, one after the other."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from elastic_inference.accelerator.memory import GuardedModel, MemoryAccount

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Preparation:
    guarded: GuardedModel
    afterwards: list[Callable[[], None]]


class Preparations:
    """The models that are still to be finished (see `LoadedModel.finish`).

    The thread that does it lives while there is something to do; the process does not end
    amid its work.
    """

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account
        self._changed = threading.Condition()
        # The first is under way.
        self._queue: deque[_Preparation] = deque()
        self._pending = 0

    def __len__(self) -> int:
        return self._pending

    def add(self, guarded: GuardedModel, done: Callable[[], None]) -> None:
        """Finish the model soon, even if it is closed before, and call `done`."""
        with self._changed:
            self._queue.append(_Preparation(guarded, [done]))
            self._pending += 1
            if len(self._queue) == 1:
                threading.Thread(target=self._work, name="prepare", daemon=False).start()

    def after(self, guarded: GuardedModel, work: Callable[[], None]) -> None:
        """Do `work` when the model is finished: now, if nothing is left to do for it."""
        with self._changed:
            for each in self._queue:
                if each.guarded is guarded:
                    each.afterwards.append(work)
                    return
        work()

    def settled(self, timeout: float) -> bool:
        """Wait until nothing is left to do; False if that takes longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, timeout)

    def stop(self) -> None:
        """Leave out what was not begun; the process ends."""
        with self._changed:
            left = [self._queue.pop() for _ in range(len(self._queue) - 1)]
        for each in left:
            each.guarded.model.skip()
            self._end(each)

    def _work(self) -> None:
        following: _Preparation | None = self._queue[0]
        while following is not None:
            current = following
            try:
                self._account.finish(current.guarded)
            except Exception:
                log.exception("A model could not be prepared; it works on as it is")
            with self._changed:
                self._queue.popleft()
                following = self._queue[0] if self._queue else None
            self._end(current)
            del current

    def _end(self, preparation: _Preparation) -> None:
        for work in preparation.afterwards:
            work()
        with self._changed:
            self._pending -= 1
            self._changed.notify_all()
