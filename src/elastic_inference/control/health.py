"""Writes down how accelerators are, and bills by it."""

from __future__ import annotations

import logging

from sqlalchemy import select

from elastic_inference.control import records, schema
from elastic_inference.control.clock import Clock
from elastic_inference.control.metering import Meter
from elastic_inference.control.records import Accelerator
from elastic_inference.control.store import Store
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.fleet.base import Fleet, Health, Placement, Status

_log = logging.getLogger(__name__)


class HealthRecorder:
    """Hears of each change of health from the fleet."""

    def __init__(self, store: Store, fleet: Fleet, meter: Meter, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._meter = meter
        self._clock = clock

    def start(self) -> None:
        """Hear from now on, and write down how all are now."""
        self._fleet.watch(self._heard)
        self._fleet.watch_moves(self._moved)
        self.agree()

    def agree(self) -> None:
        """Write down what was missed: when the store could not be written, say."""
        billed = self._meter.billed()
        instances, accelerators = schema.instances.c, schema.accelerators.c
        running = {
            row.id
            for row in self._store.rows(
                select(instances.id).where(instances.state == records.RUNNING)
            )
        }
        known = select(
            accelerators.id, accelerators.health, accelerators.state, accelerators.instance_id
        )
        for row in self._store.rows(known):
            status = self._fleet.status(row.id)
            counts = (
                status.health is Health.OK
                and row.state == records.ASSOCIATED
                and row.instance_id in running
            )
            if row.health != status.health.value or counts is not (row.id in billed):
                self._note(row.id, status)

    def _heard(self, accelerator_id: str, status: Status) -> None:
        why = f": {status.reason}" if status.reason else ""
        _log.info("%s is %s%s", accelerator_id, status.health.value, why)
        try:
            self._note(accelerator_id, status)
        except ElasticInferenceError as error:
            # `agree` does it later.
            _log.warning("The health of %s is not written down: %s", accelerator_id, error)

    def _note(self, accelerator_id: str, status: Status) -> None:
        with self._store.transaction():
            accelerator = self._store.accelerators.get(accelerator_id)
            if accelerator is None:
                return
            self._store.set_accelerator(
                accelerator_id,
                health=status.health.value,
                health_reason=status.reason,
                health_at=self._clock.time(),
            )
            if self._is_billed(accelerator, status):
                self._meter.begin(accelerator)
            else:
                self._meter.end([accelerator_id])

    def _is_billed(self, accelerator: Accelerator, status: Status) -> bool:
        if status.health is not Health.OK or accelerator.state != records.ASSOCIATED:
            return False
        instance = self._store.instances.get(accelerator.instance_id)
        return instance is not None and instance.state == records.RUNNING

    def _moved(self, accelerator_id: str, placement: Placement) -> None:
        _log.warning("%s was moved to %s", accelerator_id, placement.device)
        self._store.set_accelerator(accelerator_id, placement=placement.to_dict())
