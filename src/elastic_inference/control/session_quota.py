"""How many credentials for a time somebody may have at one time."""

from __future__ import annotations

import heapq
import threading

from elastic_inference.control.records import AccessKey
from elastic_inference.errors import LimitExceededError

MOST = 5000


class SessionQuota:
    """Counts them by whose keys asked for them, so that nobody uses up what others need."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[tuple[str, str, str], list[float]] = {}

    def count(self, key: AccessKey, now: float, lifetime: float) -> None:
        """Note one more of who has `key`.

        Raises:
            LimitExceededError: there are as many as there may be.
        """
        whose = (key.account, key.kind, key.name)
        with self._lock:
            self._forget(now)
            ends = self._ends.setdefault(whose, [])
            if len(ends) >= MOST:
                raise LimitExceededError(
                    f"Rate exceeded: {MOST} credentials for a time are valid that were asked for"
                    " with these keys.",
                    next_step="Use those that there are until they expire.",
                )
            heapq.heappush(ends, now + lifetime)

    def _forget(self, now: float) -> None:
        for whose, ends in list(self._ends.items()):
            while ends and ends[0] <= now:
                heapq.heappop(ends)
            if not ends:
                del self._ends[whose]
