"""Writes down each minute how accelerators are.

The fleet knows it already, from asking them how they are: nobody is asked anything for this.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, insert, select

from elastic_inference.control import metric_chunks, records, schema
from elastic_inference.control.accelerator_metrics import INSTANCE, NAMESPACE
from elastic_inference.control.clock import Clock
from elastic_inference.control.metric_values import KEPT
from elastic_inference.control.network import Network, Seat
from elastic_inference.control.samples import LENGTH, MINUTE, Chunk, Sample
from elastic_inference.control.store import Store
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.fleet.base import Fleet, Health, Status

_log = logging.getLogger(__name__)
_accelerators, _instances = schema.accelerators.c, schema.instances.c
_series = schema.metric_series.c
_RUNNING = select(
    _instances.id, _instances.subnet_id, _instances.group_ids, _instances.private_ip
).where(_instances.state == records.RUNNING)
_ASSOCIATED = select(
    _accelerators.id, _accelerators.account, _accelerators.instance_id
).where(_accelerators.state == records.ASSOCIATED)  # fmt: skip
# Between two transactions, for others to have theirs.
_PAUSE = 0.002


class Recorder:
    """Records the accelerators of running instances."""

    def __init__(self, store: Store, fleet: Fleet, network: Network, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._network = network
        self._clock = clock
        self._minute = -1
        self._began_at = -1
        # By accelerator: what this stretch of time has, of those that are in the store.
        self._chunks: dict[str, Chunk] = {}
        self._stored: set[str] = set()
        # Those that were ill, or could not be reached, since the last minute was written.
        self._failed: set[str] = set()
        self._unreachable: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Record from now on."""
        self._fleet.watch(self.heard)
        self._thread.start()

    def close(self) -> None:
        """Once or more, started or not."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def heard(self, accelerator_id: str, status: Status) -> None:
        """An accelerator's health has changed: what ends within a minute is recorded too."""
        with self._lock:
            if status.health is Health.IMPAIRED:
                self._failed.add(accelerator_id)
            if not status.reachable:
                self._unreachable.add(accelerator_id)

    def record(self) -> int:
        """Write down the minute that has just ended, unless it was; the number of accelerators.

        Raises:
            UnavailableError: the store cannot be written; the next call does it.
        """
        minute = round(self._clock.time() / MINUTE) - 1
        if minute == self._minute:
            return 0
        self._minute = minute
        began_at = minute * MINUTE // LENGTH * LENGTH
        if began_at != self._began_at:
            self._open(began_at)
        cut_off = {row.id: self._is_cut_off(row) for row in self._store.rows(_RUNNING)}
        rows = [row for row in self._store.rows(_ASSOCIATED) if row.instance_id in cut_off]
        with self._lock:
            failed, self._failed = self._failed, set()
            unreachable, self._unreachable = self._unreachable, set()
        unreachable.update(row.id for row in rows if cut_off[row.instance_id])
        written = 0
        for batch in metric_chunks.batches(rows):
            if written:
                self._closed.wait(_PAUSE)
            samples = {}
            for row in batch:
                status = self._fleet.status(row.id)
                # Of what nobody knows anything of, nothing is said.
                if status.health is not Health.UNKNOWN:
                    samples[row.id] = Sample(
                        minute,
                        status.health is not Health.OK or row.id in failed,
                        not status.reachable or row.id in unreachable,
                        status.memory_used,
                    )
            self._write(samples, {row.id: row for row in batch})
            written += len(samples)
        return written

    def _is_cut_off(self, row: Row[Any]) -> bool:
        return self._network.is_cut_off(Seat(row.subnet_id, tuple(row.group_ids), row.private_ip))

    def _open(self, began_at: int) -> None:
        """Go on with the chunks that begin at a time, which may be there since an earlier life."""
        metric_chunks.forget(self._store, self._clock.time() - KEPT - LENGTH)
        stored = metric_chunks.begun_at(self._store, began_at)
        self._chunks = {id_: Chunk(began_at, points) for id_, points in stored.items()}
        self._stored = set(stored)
        self._began_at = began_at

    def _write(self, samples: Mapping[str, Sample], rows: Mapping[str, Row[Any]]) -> None:
        for id_, sample in samples.items():
            if id_ not in self._chunks:
                self._chunks[id_] = Chunk(self._began_at)
            self._chunks[id_].add(sample)
        points = {id_: bytes(self._chunks[id_].points) for id_ in samples}
        more = {id_: points[id_] for id_ in points if id_ in self._stored}
        new = {id_: points[id_] for id_ in points if id_ not in self._stored}
        # Only a failure of the machine's power may take the latest of them.
        with self._store.transaction(durable=False):
            self._note([rows[id_] for id_ in new])
            metric_chunks.add(self._store, self._began_at, new)
            metric_chunks.replace(self._store, self._began_at, more)
        self._stored.update(new)

    def _note(self, rows: Sequence[Row[Any]]) -> None:
        """Note that there are values of these from this stretch of time on."""
        ids = [row.id for row in rows]
        self._store.metric_series.change(_series.id.in_(ids), seen_at=self._began_at)
        known = {row.id for row in self._store.rows(select(_series.id).where(_series.id.in_(ids)))}
        now = self._clock.time()
        new = [
            {
                "id": row.id, "account": row.account, "namespace": NAMESPACE, "name": "",
                "dimensions": {INSTANCE: row.instance_id}, "unit": "", "created_at": now,
                "seen_at": self._began_at,
            }
            for row in rows
            if row.id not in known
        ]  # fmt: skip
        if new:
            self._store.change(insert(schema.metric_series), new)

    def _run(self) -> None:
        while not self._closed.wait(MINUTE - self._clock.time() % MINUTE):
            try:
                self.record()
            except ElasticInferenceError as error:
                _log.warning("A minute of the accelerators' metrics is lost: %s", error)
            except Exception:  # noqa: BLE001 - without this thread nothing would be recorded again
                _log.exception("The recorder of metrics failed and goes on")
