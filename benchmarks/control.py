"""The control plane with many accelerators in its store: Connect, and pages of what there is."""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.control_server import accelerator_id
from benchmarks.harness import Settings
from benchmarks.report import Table, verdict
from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer

_COUNT = 10_000
_CONNECT_BAR, _PAGE_BAR = 10.0, 100.0  # ms
_PAGE = 100
_COLUMNS = ("what", "calls", "p50, ms", "p99, ms", "bar of p99, ms")


def measure(settings: Settings) -> list[Table]:
    """One table: whole calls from another process, each with a TLS connection of its own."""
    count = 500 if settings.quick else _COUNT
    calls = 20 if settings.quick else 2000
    chosen = random.Random(1)  # noqa: S311 - repeatable
    with _server(count) as pool:

        def connect() -> None:
            pool.call("Connect", {"acceleratorId": accelerator_id(chosen.randrange(count))})

        rows = [
            _row("Connect", _times(connect, calls), _CONNECT_BAR),
            _row(
                "an instance's own document",
                _times(lambda: _document(pool, chosen.randrange(count // 5)), calls),
                _CONNECT_BAR,
            ),
        ]
        for operation, key in (
            ("DescribeAccelerators", "accelerators"),
            ("DescribeInstances", "instances"),
        ):
            pages = list(_pages(pool, operation, key))
            rows.append(_row(f"{operation}, a page of {_PAGE}", pages, _PAGE_BAR))
    title = f"The control plane with {count:,} accelerators in its store"
    note = (
        "Whole calls from another process, each with a TLS handshake of its own. The accelerators"
        " are rows of the store without processes; the fleet says that they are well."
    )
    return [Table(title, _COLUMNS, rows, note)]


@contextlib.contextmanager
def _server(count: int) -> Iterator[ControlClient]:
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as home:
        words = [sys.executable, "-m", "benchmarks.control_server", home, str(count)]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                pointer = Pointer(**json.loads(process.stdout.readline()))
                yield ControlClient(pointer, 60.0)
            finally:
                process.stdin.close()
                process.wait(60.0)


def _times(call: Callable[[], Any], calls: int) -> list[float]:
    """Milliseconds of each call, after a few that are not counted."""
    for _ in range(5):
        call()
    times = []
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1e3)
    return times


def _document(pool: ControlClient, number: int) -> None:
    pool.call("GetInstanceDocument", {"instanceId": f"i-{number:017x}"})


def _pages(pool: ControlClient, operation: str, key: str) -> Iterator[float]:
    """Milliseconds of each page of all there is."""
    asked: dict[str, Any] = {"maxResults": _PAGE}
    while True:
        begun = time.perf_counter()
        answer = pool.call(operation, asked)
        yield (time.perf_counter() - begun) * 1e3
        assert answer[key]
        if "nextToken" not in answer:
            return
        asked["nextToken"] = answer["nextToken"]


def _row(what: str, times: list[float], bar: float) -> tuple[Any, ...]:
    p99 = sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]
    return what, len(times), statistics.median(times), p99, verdict(p99, bar)
