"""Metrics that users put."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import bindparam, insert, select, update

from elastic_inference.control import metric_chunks, schema
from elastic_inference.control.accelerator_metrics import NAMESPACE
from elastic_inference.control.clock import Clock
from elastic_inference.control.metric_values import (
    KEPT,
    LENGTH,
    UNITS,
    Datum,
    Metric,
    Point,
    pack,
    unpack,
)
from elastic_inference.control.store import Store
from elastic_inference.errors import LimitExceededError

_series = schema.metric_series.c
_SEEN = (
    update(schema.metric_series)
    .where(_series.id == bindparam("of"))
    .values(seen_at=bindparam("since"))
)


class UserMetrics:
    """Keeps and reads them. A metric has a series for each unit that its values have.

    Args:
        most: series that an account may have.
    """

    def __init__(self, store: Store, clock: Clock, most: int) -> None:
        self._store = store
        self._clock = clock
        self._most = most

    def points(
        self, account: str, metric: Metric, since: float, until: float, unit: str | None
    ) -> Iterator[tuple[str, Iterator[Point]]]:
        """The points of a metric by their units, and some of before and after that time."""
        units = UNITS if unit is None else (unit,)
        ids = {_id(account, metric, each): each for each in units}
        for row in self._store.rows(select(_series.id).where(_series.id.in_(ids))):
            yield ids[row.id], self._points(row.id, since, until)

    def metrics(
        self, account: str, namespace: str | None, name: str | None, since: float
    ) -> Iterator[Metric]:
        """The metrics with values since a Unix time."""
        conditions = [
            _series.account == account,
            _series.namespace != NAMESPACE,
            _series.seen_at > since - LENGTH,
        ]
        if namespace is not None:
            conditions.append(_series.namespace == namespace)
        if name is not None:
            conditions.append(_series.name == name)
        found = {each.id: each for each in self._store.metric_series.where(*conditions)}
        seen = {id_: each.seen_at for id_, each in found.items()}
        for id_ in metric_chunks.recent(self._store, seen, since, LENGTH, _last):
            each = found[id_]
            yield Metric.of(each.namespace, each.name, each.dimensions)

    def put(self, account: str, data: Sequence[Datum]) -> None:
        """See `Metrics.put`."""
        chunks: dict[int, dict[str, list[Point]]] = {}
        series: dict[str, Datum] = {}
        for each in data:
            id_ = _id(account, each.metric, each.unit)
            series[id_] = each
            for point in each.points:
                chunk = chunks.setdefault(point.at // LENGTH * LENGTH, {})
                chunk.setdefault(id_, []).append(point)
        # Only a failure of the machine's power may take the latest of them.
        with self._store.transaction(durable=False):
            latest = {id_: began_at for began_at in sorted(chunks) for id_ in chunks[began_at]}
            self._note(account, series, latest)
            for began_at, points in chunks.items():
                self._append(began_at, points)

    def _note(self, account: str, series: Mapping[str, Datum], latest: Mapping[str, int]) -> None:
        """Note which series have values, and since when."""
        known: dict[str, float] = {}
        for names in metric_chunks.batches(list(latest)):
            query = select(_series.id, _series.seen_at).where(_series.id.in_(names))
            known |= {row.id: row.seen_at for row in self._store.rows(query)}
        self._check_room(account, len(latest) - len(known))
        now = self._clock.time()
        new = [
            {
                "id": id_, "account": account, "namespace": series[id_].metric.namespace,
                "name": series[id_].metric.name, "unit": series[id_].unit, "created_at": now,
                "dimensions": dict(series[id_].metric.dimensions), "seen_at": seen_at,
            }
            for id_, seen_at in latest.items()
            if id_ not in known
        ]  # fmt: skip
        later = [
            {"of": id_, "since": seen_at}
            for id_, seen_at in latest.items()
            if id_ in known and known[id_] < seen_at
        ]
        if new:
            self._store.change(insert(schema.metric_series), new)
        if later:
            self._store.change(_SEEN, later)

    def _check_room(self, account: str, more: int) -> None:
        if more <= 0:
            return
        own = self._store.metric_series.count(
            _series.account == account,
            _series.namespace != NAMESPACE,
            _series.seen_at > self._clock.time() - KEPT - LENGTH,
        )
        if own + more > self._most:
            raise LimitExceededError(
                f"The account has {own} metrics of its own; with these it would have more than"
                f" {self._most}.",
                next_step="Put values with fewer different dimensions, or raise EI_MAX_METRICS.",
            )

    def _append(self, began_at: int, points: Mapping[str, Sequence[Point]]) -> None:
        new: dict[str, bytes] = {}
        more: dict[str, bytes] = {}
        known = metric_chunks.get(self._store, list(points), began_at)
        for id_, own in points.items():
            if id_ in known:
                more[id_] = pack(began_at, [*unpack(began_at, known[id_]), *own])
            else:
                new[id_] = pack(began_at, own)
        metric_chunks.add(self._store, began_at, new)
        metric_chunks.replace(self._store, began_at, more)

    def _points(self, id_: str, since: float, until: float) -> Iterator[Point]:
        for began_at, packed in metric_chunks.read(self._store, [id_], since - LENGTH, until):
            yield from unpack(began_at, packed)


def _id(account: str, metric: Metric, unit: str) -> str:
    words = json.dumps([account, metric.namespace, metric.name, metric.dimensions, unit])
    return hashlib.sha256(words.encode()).hexdigest()[:40]


def _last(began_at: int, packed: bytes) -> float:
    return max((each.at for each in unpack(began_at, packed)), default=0)
