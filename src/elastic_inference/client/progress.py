"""A progress line for long uploads, on a terminal only."""

from __future__ import annotations

import sys
import time

_LARGE = 48 * 1024 * 1024
_WIDTH = 30
_INTERVAL = 0.1
_MIB = 1024 * 1024


class Progress:
    """Shows how much of `total` bytes is done, where somebody can see it."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self._what = what
        self._total = total
        self._first = done
        self._began = time.monotonic()
        self._shown = 0.0
        self._visible = total - done >= _LARGE and sys.stderr is not None and sys.stderr.isatty()

    def show(self, done: int) -> None:
        """`done` bytes are done."""
        now = time.monotonic()
        if not self._visible or (done < self._total and now - self._shown < _INTERVAL):
            return
        self._shown = now
        rate = (done - self._first) / max(now - self._began, 1e-6) / _MIB
        bar = "#" * (_WIDTH * done // self._total)
        sys.stderr.write(
            f"\r{self._what} [{bar:<{_WIDTH}}] {done / _MIB:.0f}/{self._total / _MIB:.0f} MiB"
            f" {rate:.0f} MiB/s"
        )
        if done >= self._total:
            sys.stderr.write("\n")
        sys.stderr.flush()
