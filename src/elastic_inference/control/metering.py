"""Who used what for how long: by the second, while the instance runs and health is ok.

Durations are counted by the monotonic clock of the machine's boot, which a restart of the control
plane sees too, so that neither a restart nor a clock that is set changes a bill.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import case, select, update

from elastic_inference.control import schema
from elastic_inference.control.clock import Clock
from elastic_inference.control.records import Accelerator, Usage
from elastic_inference.control.store import Store

_columns = schema.usage.c


class Meter:
    """Keeps the table of usage."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def begin(self, accelerator: Accelerator) -> None:
        """Bill for an accelerator from now on; nothing changes where that is done already."""
        with self._store.transaction():
            if self._store.usage.count(_columns.open, _columns.accelerator_id == accelerator.id):
                return
            self._store.usage.add(
                Usage(
                    account=accelerator.account,
                    accelerator_id=accelerator.id,
                    accelerator_type=accelerator.type,
                    instance_id=accelerator.instance_id,
                    tags=accelerator.tags,
                    began_at=self._clock.time(),
                    seconds=0.0,
                    open=True,
                    boot_id=self._clock.boot,
                    mark=self._clock.monotonic(),
                )
            )

    def end(self, accelerator_ids: Sequence[str], *, at: float | None = None) -> None:
        """Bill for accelerators no longer; for those that are not billed nothing changes.

        Args:
            at: monotonic time at which they had ended; now if None.
        """
        now = self._clock.monotonic() if at is None else at
        # What was counted beyond the end is taken back.
        passed = _columns.seconds + now - _columns.mark
        self._store.change(
            update(schema.usage)
            .where(_columns.open, _columns.accelerator_id.in_(accelerator_ids))
            .values(
                open=False,
                seconds=case(
                    # Of another boot only what was noted is known.
                    (_columns.boot_id != self._clock.boot, _columns.seconds),
                    (passed > 0, passed),
                    else_=0.0,
                ),
            )
        )

    def freeze(self, accelerator_ids: Sequence[str]) -> None:
        """Bill no longer, and nothing beyond what was noted: nobody knows when they ended."""
        self._store.change(
            update(schema.usage)
            .where(_columns.open, _columns.accelerator_id.in_(accelerator_ids))
            .values(open=False)
        )

    def note(self) -> None:
        """Write down what has passed, so that the machine's end loses little of it."""
        now = self._clock.monotonic()
        with self._store.transaction(durable=False):
            self._store.change(
                update(schema.usage)
                .where(_columns.open, _columns.boot_id == self._clock.boot, _columns.mark < now)
                .values(seconds=_columns.seconds + now - _columns.mark, mark=now)
            )

    def billed(self) -> set[str]:
        """The accelerators that are billed now."""
        found = self._store.rows(select(_columns.accelerator_id).where(_columns.open))
        return {row.accelerator_id for row in found}
