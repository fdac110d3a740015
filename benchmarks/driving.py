"""Calls something again and again, in a worker process of any environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_WARM_UP = 2
_FEWEST = 5


def drive(run: Callable[[], Any], seconds: float) -> list[float]:
    """The milliseconds of each call within `seconds`, after a few that are not counted."""
    for _ in range(_WARM_UP):
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end or len(times) < _FEWEST:
        run()
        times.append((time.perf_counter() - begun) * 1e3)
    return times
