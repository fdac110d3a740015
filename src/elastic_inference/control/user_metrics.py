"""Metrics that users put."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import select

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
from elastic_inference.control.records import MetricSeries
from elastic_inference.control.store import Store
from elastic_inference.errors import LimitExceededError

_series = schema.metric_series.c


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
        chunks: dict[tuple[str, int], list[Point]] = {}
        series: dict[str, Datum] = {}
        for each in data:
            id_ = _id(account, each.metric, each.unit)
            series[id_] = each
            for point in each.points:
                chunks.setdefault((id_, point.at // LENGTH * LENGTH), []).append(point)
        # Only a failure of the machine's power may take the latest of them.
        with self._store.transaction(durable=False):
            self._note(account, series, _latest(chunks))
            for (id_, began_at), points in chunks.items():
                self._append(id_, began_at, points)

    def _note(self, account: str, series: Mapping[str, Datum], latest: Mapping[str, int]) -> None:
        """Note which series have values, and since when."""
        known: dict[str, MetricSeries] = {}
        for names in metric_chunks.batches(list(latest)):
            known |= {
                each.id: each for each in self._store.metric_series.where(_series.id.in_(names))
            }
        self._check_room(account, len(latest) - len(known))
        for id_, seen_at in latest.items():
            if id_ not in known:
                self._store.metric_series.add(self._new(account, id_, series[id_], seen_at))
            elif known[id_].seen_at < seen_at:
                self._store.metric_series.change(_series.id == id_, seen_at=seen_at)

    def _new(self, account: str, id_: str, datum: Datum, seen_at: int) -> MetricSeries:
        return MetricSeries(
            id=id_,
            account=account,
            namespace=datum.metric.namespace,
            name=datum.metric.name,
            dimensions=dict(datum.metric.dimensions),
            unit=datum.unit,
            created_at=self._clock.time(),
            seen_at=seen_at,
        )

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

    def _append(self, id_: str, began_at: int, points: Sequence[Point]) -> None:
        known = metric_chunks.get(self._store, id_, began_at)
        if known is None:
            metric_chunks.add(self._store, began_at, {id_: pack(began_at, points)})
            return
        whole = [*unpack(began_at, known), *points]
        metric_chunks.replace(self._store, began_at, {id_: pack(began_at, whole)})

    def _points(self, id_: str, since: float, until: float) -> Iterator[Point]:
        for began_at, packed in metric_chunks.read(self._store, [id_], since - LENGTH, until):
            yield from unpack(began_at, packed)


def _id(account: str, metric: Metric, unit: str) -> str:
    words = json.dumps([account, metric.namespace, metric.name, metric.dimensions, unit])
    return hashlib.sha256(words.encode()).hexdigest()[:40]


def _latest(chunks: Mapping[tuple[str, int], object]) -> dict[str, int]:
    latest: dict[str, int] = {}
    for id_, began_at in chunks:
        latest[id_] = max(latest.get(id_, 0), began_at)
    return latest


def _last(began_at: int, packed: bytes) -> float:
    return max((each.at for each in unpack(began_at, packed)), default=0)
