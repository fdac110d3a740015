"""What recording the metrics of many accelerators costs, and what reading them does."""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.control_server import accelerator_id, fill
from benchmarks.harness import Settings
from benchmarks.report import Table, verdict
from elastic_inference.control.accelerator_metrics import ACCELERATOR, INSTANCE, MEMORY, NAMESPACE
from elastic_inference.control.access import Access
from elastic_inference.control.clock import Clock
from elastic_inference.control.defaults import furnish
from elastic_inference.control.metering import Meter
from elastic_inference.control.metric_values import KEPT, Metric
from elastic_inference.control.metrics import Metrics
from elastic_inference.control.network import Network
from elastic_inference.control.records import ACCOUNT
from elastic_inference.control.samples import LENGTH, MINUTE
from elastic_inference.control.store import Store
from elastic_inference.fleet.base import Health, Status
from elastic_inference.settings import PoolSettings

_COUNT = 10_000
_CORE_BAR = 1.0  # percent of one core, all the time
_WAIT_BAR = 10.0  # ms, as Connect has it
_BEGIN = float(LENGTH * 118_000)
_COLUMNS = ("what", "p50", "p99", "bar of p99")


@dataclass(frozen=True, slots=True)
class _HandClock(Clock):
    now: list[float] = field(default_factory=lambda: [_BEGIN])

    def time(self) -> float:
        return self.now[0]


class _Fleet:
    """Says what a fleet would know; the memory in use changes as `change` has it."""

    def __init__(self, change: Callable[[], int]) -> None:
        self._change = change

    def status(self, _: str) -> Status:
        return Status(Health.OK, 0, memory_used=(300 << 20) + self._change())


def measure(settings: Settings) -> list[Table]:
    """One table: a minute of all accelerators, others' waits meanwhile, disk and reading."""
    count = 500 if settings.quick else _COUNT
    minutes = 5 if settings.quick else 60
    chosen = random.Random(1)  # noqa: S311 - repeatable
    rows: list[tuple[Any, ...]] = []
    for what, change in (
        ("memory as it was", lambda: 0),
        ("memory changed", lambda: chosen.randrange(1 << 28) & -4096),
    ):
        with _metrics(count, change) as (metrics, clock, store):
            rows += _recording(metrics, clock, store, minutes, what)
            rows += _reading(metrics, clock, count) if what == "memory as it was" else []
    title = f"The metrics of {count:,} accelerators, each minute"
    note = (
        f"{minutes} minutes, one after the other. The accelerators are rows of the store; the"
        " fleet's knowledge of them is given, since it asks them how they are anyway. A write of"
        " another's is a transaction of one row, again and again while a minute is written."
    )
    return [Table(title, _COLUMNS, rows, note)]


@contextmanager
def _metrics(count: int, change: Callable[[], int]) -> Iterator[tuple[Metrics, _HandClock, Store]]:
    with tempfile.TemporaryDirectory(prefix="ei-bench-") as directory:
        store, clock, settings = Store(Path(directory)), _HandClock(), PoolSettings()
        try:
            network = Network(store, settings, clock)
            furnish(store, Access(store, clock, settings.region, 3600.0), network, clock)
            fill(store, Meter(store, clock), count)
            fleet: Any = _Fleet(change)
            yield Metrics(store, fleet, network, clock, settings.max_metrics), clock, store
        finally:
            store.close()


def _recording(
    metrics: Metrics, clock: _HandClock, store: Store, minutes: int, what: str
) -> Iterator[tuple[Any, ...]]:
    busy: list[float] = []
    alone: list[float] = []
    waits: list[float] = []
    for _ in range(minutes):
        clock.now[0] += MINUTE
        begun = time.perf_counter()
        with _others(store, waits):
            used = time.thread_time()
            metrics.recorder.record()
            busy.append((time.thread_time() - used) * 100 / MINUTE)
        with _others(store, alone):
            time.sleep(time.perf_counter() - begun)
    yield _row(f"recording, {what}: percent of one core", busy, _CORE_BAR)
    yield _row("a write of another's meanwhile, ms", waits, _WAIT_BAR)
    yield _row("the same while nothing is recorded, ms", alone, None)
    yield f"two weeks of it on the disk, MB ({what})", _two_weeks(store, minutes) / 1e6, None, "-"


@contextmanager
def _others(store: Store, waits: list[float]) -> Iterator[None]:
    """Write as Connect does all the while, and note how long each write takes in ms."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.002):
            begun = time.perf_counter()
            with store.transaction(durable=False):
                store.set_accelerator(accelerator_id(0), health_reason="")
            waits.append((time.perf_counter() - begun) * 1e3)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _reading(metrics: Metrics, clock: _HandClock, count: int) -> Iterator[tuple[Any, ...]]:
    numbers = range(0, count, max(1, count // 100))
    for what, name in (("an accelerator's", ACCELERATOR), ("an instance's", INSTANCE)):
        times = []
        for number in numbers:
            value = accelerator_id(number) if name == ACCELERATOR else f"i-{number // 5:017x}"
            metric = Metric.of(NAMESPACE, MEMORY, {name: value})
            begun = time.perf_counter()
            found = metrics.statistics(ACCOUNT, metric, _BEGIN, clock.time())
            times.append((time.perf_counter() - begun) * 1e3)
            assert found
        yield _row(f"reading {what} memory, ms", times, None)
    begun = time.perf_counter()
    assert metrics.metrics(ACCOUNT, namespace=NAMESPACE)
    yield _row("listing all of them, ms", [(time.perf_counter() - begun) * 1e3], None)


def _two_weeks(store: Store, minutes: int) -> float:
    """Bytes of the chunks; each has a row and its share of an index beside its points."""
    per_row = 96
    chunks = store.metric_chunks.where()
    points = sum(len(each.points) for each in chunks) / minutes * KEPT / MINUTE
    return points + len(chunks) * per_row * KEPT / LENGTH


def _row(what: str, values: list[float], bar: float | None) -> tuple[Any, ...]:
    p99 = sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]
    return what, statistics.median(values), p99, verdict(p99, bar)
