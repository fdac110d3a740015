"""What was recorded of accelerators, as metrics.

It is kept once for each accelerator, under its id. The metrics of an instance are made of those of
its accelerators when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select

from elastic_inference.control import metric_chunks, schema
from elastic_inference.control.metric_values import Metric, Point
from elastic_inference.control.samples import LENGTH, MINUTE, Sample, unpack
from elastic_inference.control.store import Store

NAMESPACE = "AWS/ElasticInference"
HEALTH, CONNECTIVITY = "AcceleratorHealthCheckFailed", "ConnectivityCheckFailed"
MEMORY = "AcceleratorMemoryUsage"
UNITS: Mapping[str, str] = {HEALTH: "Count", CONNECTIVITY: "Count", MEMORY: "Bytes"}
ACCELERATOR, INSTANCE = "ElasticInferenceAcceleratorId", "InstanceId"
_series = schema.metric_series.c


class AcceleratorMetrics:
    """Reads them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def points(
        self, account: str, metric: Metric, since: float, until: float, unit: str | None
    ) -> Iterator[tuple[str, Iterator[Point]]]:
        """The points of a metric by their units, and some of before and after that time."""
        own = UNITS.get(metric.name)
        dimensions = dict(metric.dimensions)
        if own is not None and dimensions and unit in (None, own):
            yield own, self._points(account, metric.name, dimensions, since, until)

    def metrics(
        self,
        account: str,
        name: str | None,
        dimensions: Sequence[tuple[str, str | None]],
        since: float,
    ) -> Iterator[Metric]:
        """The metrics with values since a Unix time, and maybe some with other dimensions."""
        wanted = {each: value for each, value in dimensions if value is not None}
        series = self._series(account, wanted, since)
        seen = {id_: row.seen_at for id_, row in series.items()}
        recent = metric_chunks.recent(self._store, seen, since, LENGTH, _last)
        combined: list[tuple[tuple[str, str], ...]] = []
        for id_ in sorted(recent):
            accelerator, instance = (ACCELERATOR, id_), (INSTANCE, series[id_].instance)
            combined += [(accelerator,), (accelerator, instance)]
        combined += [
            ((INSTANCE, each),) for each in sorted({series[id_].instance for id_ in recent})
        ]
        for each in sorted(UNITS if name is None else {name} & UNITS.keys()):
            for these in combined:
                yield Metric(NAMESPACE, each, these)

    def _points(
        self, account: str, name: str, dimensions: Mapping[str, str], since: float, until: float
    ) -> Iterator[Point]:
        ids = list(self._series(account, dimensions, since))
        for began_at, packed in metric_chunks.read(self._store, ids, since - LENGTH, until):
            for sample in unpack(began_at, packed):
                value = _value(name, sample)
                if value is not None:
                    yield Point(sample.minute * MINUTE, 1.0, value, value, value)

    def _series(
        self, account: str, dimensions: Mapping[str, str], since: float
    ) -> dict[str, Row[Any]]:
        """The accelerators with such dimensions that may have values since a Unix time."""
        if set(dimensions) - {ACCELERATOR, INSTANCE}:
            return {}
        conditions = [
            _series.account == account,
            _series.namespace == NAMESPACE,
            _series.seen_at > since - LENGTH,
        ]
        if ACCELERATOR in dimensions:
            conditions.append(_series.id == dimensions[ACCELERATOR])
        instance = _series.dimensions[INSTANCE].as_string()
        if INSTANCE in dimensions:
            conditions.append(instance == dimensions[INSTANCE])
        query = select(_series.id, _series.seen_at, instance.label("instance")).where(*conditions)
        return {row.id: row for row in self._store.rows(query)}


def _value(name: str, sample: Sample) -> float | None:
    if name == MEMORY:
        return None if sample.memory is None else float(sample.memory)
    return float(sample.failed if name == HEALTH else sample.unreachable)


def _last(began_at: int, packed: bytes) -> float:
    return max((each.minute * MINUTE for each in unpack(began_at, packed)), default=0)
