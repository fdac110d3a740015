"""Damps the health that is shown of an accelerator which is well and ill in turns."""

from __future__ import annotations

from collections import deque

from elastic_inference.fleet.base import Health

MOST_CHANGES = 3
WINDOW = 60.0
STEADY_AFTER = 10.0


class Steadiness:
    """What is shown of one accelerator.

    After `MOST_CHANGES` within `WINDOW` seconds it is shown as OK again only once it has been so
    for `STEADY_AFTER` seconds. That it is not OK is always shown at once.
    """

    def __init__(self) -> None:
        self.shown = Health.UNKNOWN
        self._changes: deque[float] = deque(maxlen=MOST_CHANGES)
        self._well_since: float | None = None

    def show(self, health: Health, now: float) -> Health:
        """The health to show.

        Args:
            health: as it was found.
            now: seconds of a clock that never jumps.
        """
        if health is not Health.OK:
            self._well_since = None
        elif self._well_since is None:
            self._well_since = now
        if health is self.shown or self._is_held(now):
            return self.shown
        # That nothing was known is no fault of the accelerator's.
        if Health.UNKNOWN not in (health, self.shown):
            self._changes.append(now)
        self.shown = health
        return health

    def _is_held(self, now: float) -> bool:
        if self._well_since is None or len(self._changes) < MOST_CHANGES:
            return False
        return now - self._changes[0] < WINDOW and now - self._well_since < STEADY_AFTER
