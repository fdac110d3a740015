"""The table of packed values: by series, and by when the stretch of time begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from elastic_inference.control import schema
from elastic_inference.control.store import Store

_columns = schema.metric_chunks.c
# Names in one query, and rows in one transaction: nobody waits long for its end.
BATCH = 100
_REPLACE = (
    update(schema.metric_chunks)
    .where(_columns.series_id == bindparam("of"), _columns.began_at == bindparam("since"))
    .values(points=bindparam("packed"))
)


def read(
    store: Store, series: Sequence[str], after: float, before: float
) -> Iterator[tuple[int, bytes]]:
    """The chunks of some series that began after one Unix time and before another."""
    for names in batches(series):
        query = (
            select(_columns.began_at, _columns.points)
            .where(_columns.series_id.in_(names))
            .where(_columns.began_at > after, _columns.began_at < before)
        )
        for row in store.rows(query):
            yield row.began_at, row.points


def begun_at(store: Store, began_at: int) -> dict[str, bytes]:
    """All chunks that began at a time, by their series."""
    query = select(_columns.series_id, _columns.points).where(_columns.began_at == began_at)
    return {row.series_id: row.points for row in store.rows(query)}


def get(store: Store, series: Sequence[str], began_at: int) -> dict[str, bytes]:
    """The chunks of some series that began at a time, by their series."""
    found: dict[str, bytes] = {}
    for names in batches(series):
        query = select(_columns.series_id, _columns.points).where(
            _columns.series_id.in_(names), _columns.began_at == began_at
        )
        found |= {row.series_id: row.points for row in store.rows(query)}
    return found


def add(store: Store, began_at: int, chunks: Mapping[str, bytes]) -> None:
    """Add chunks, by their series."""
    rows = [
        {"series_id": series, "began_at": began_at, "points": points}
        for series, points in chunks.items()
    ]
    if rows:
        store.change(insert(schema.metric_chunks), rows)


def replace(store: Store, began_at: int, chunks: Mapping[str, bytes]) -> None:
    """Give chunks that are there other points, by their series."""
    rows = [
        {"of": series, "since": began_at, "packed": points} for series, points in chunks.items()
    ]
    if rows:
        store.change(_REPLACE, rows)


def recent(
    store: Store,
    seen: Mapping[str, float],
    since: float,
    length: int,
    last: Callable[[int, bytes], float],
) -> set[str]:
    """Of some series those with values since a Unix time.

    Args:
        seen: the series, each with when its latest chunk begins.
        length: of chunks in seconds.
        last: when the latest value of a chunk was.
    """
    found = {series for series, began_at in seen.items() if began_at >= since}
    unsure = [series for series, at in seen.items() if since - length < at < since]
    for names in batches(unsure):
        query = (
            select(_columns.series_id, _columns.began_at, _columns.points)
            .where(_columns.series_id.in_(names))
            .where(_columns.began_at > since - length)
        )
        for row in store.rows(query):
            if last(row.began_at, row.points) >= since:
                found.add(row.series_id)
    return found


def forget(store: Store, before: float) -> None:
    """Remove the chunks that began before a Unix time, and the series that have none since."""
    old = select(_columns.series_id).where(_columns.began_at < before).limit(BATCH)
    while names := {row.series_id for row in store.rows(old)}:
        with store.transaction(durable=False):
            store.change(
                delete(schema.metric_chunks).where(
                    _columns.began_at < before, _columns.series_id.in_(names)
                )
            )
    series = schema.metric_series
    with store.transaction(durable=False):
        store.change(delete(series).where(series.c.seen_at < before))


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(items), BATCH):
        yield items[begin : begin + BATCH]
