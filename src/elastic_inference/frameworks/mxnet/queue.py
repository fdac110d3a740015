"""Threads that computations run on while the application goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

# Frames of one executor that are under way at a time: while the accelerator computes one, others
# travel. More would only wait there.
IN_FLIGHT = 4
_THREADS = 8
_under_way: set[Future[Any]] = set()


class Lane:
    """The computations of one executor: a few at a time, no more than that are remembered."""

    def __init__(self, width: int = IN_FLIGHT) -> None:
        self._free = threading.BoundedSemaphore(width)

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Begin `work`; waits while too many are under way."""
        self._free.acquire()
        try:
            future = _threads(os.getpid()).submit(work)
        except BaseException:
            self._free.release()
            raise
        _under_way.add(future)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[Any]) -> None:
        self._free.release()
        # A failure stays until somebody has waited for it.
        if future.cancelled() or future.exception() is None:
            _under_way.discard(future)


def wait() -> None:
    """Wait for all that was begun; raises the first failure that nobody has seen."""
    failed: BaseException | None = None
    for future in list(_under_way):
        failed = failed or future.exception()
        _under_way.discard(future)
    if failed is not None:
        raise failed


def seen(future: Future[Any]) -> None:
    """Somebody has waited for the outcome."""
    _under_way.discard(future)


@lru_cache(maxsize=1)
def _threads(_pid: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child makes its own."""
    _under_way.clear()
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="ei-mxnet")
