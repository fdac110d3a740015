"""Deadlines of blocking calls, at no cost to a call.

A socket timeout makes Python poll before every system call, and TLS sockets hide the
kernel's own. So each connection notes when its call must have ended, and one thread per
accelerator cuts those that have not; it sleeps until the earliest deadline there can be.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

NEVER = 1 << 62


class Watched(Protocol):
    """Something with a deadline."""

    deadline: int
    """In nanoseconds of `time.perf_counter_ns`; `NEVER` while nothing is due."""

    def cut(self) -> None:
        """End the call in whatever it waits for."""


class Watchdog:
    """Cuts what passes its deadline.

    Args:
        horizon: no call gets a deadline nearer than this many nanoseconds, unless `poke`
            is called after setting it.
    """

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._watched: set[Watched] = set()
        # Its put() may be called by finalizers: it takes no lock that they could hold.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, connection: Watched) -> None:
        """Cut `connection` at its deadlines from now on."""
        self._watched.add(connection)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="elastic-inference-watchdog", daemon=True
                    )
                    self._thread.start()

    def forget(self, connection: Watched) -> None:
        """No longer watch `connection`."""
        self._watched.discard(connection)

    def poke(self) -> None:
        """Look at the deadlines again: one is nearer than the horizon."""
        self._inbox.put(None)

    def later(self, task: Callable[[], None]) -> None:
        """Run `task` in a thread of its own, soon. Safe in finalizers."""
        self._inbox.put(task)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self.poke()

    def _run(self) -> None:
        while not self._closed:
            now = time.perf_counter_ns()
            due = now + self._horizon
            for connection in tuple(self._watched):
                deadline = connection.deadline
                if deadline <= now:
                    connection.cut()
                elif deadline < due:
                    due = deadline
            try:
                task = self._inbox.get(timeout=min((due - now) / 1e9, threading.TIMEOUT_MAX))
            except queue.Empty:
                continue
            if task is not None:
                # Without a thread for it what it would tell is told by the connection's end; this
                # thread must not end of that, since no call would be cut any more.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=task, daemon=True).start()
