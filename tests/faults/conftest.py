"""Attacks run beside a client that goes on working, against a process that must stay as it was."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.accelerator.http_client import Wire, infer, load, scale_model
from tests.client.models import slow
from tests.processes import AcceleratorProcess

PATIENCE = 60.0
X = np.arange(4, dtype=np.float32).reshape(1, 4)
# Allocators keep a little; a leaked body, model or region of these tests is larger.
_SLACK = 24 << 20


def until(what: str, condition: Callable[[], bool]) -> None:
    """Ask again and again until `condition` holds, which costs time itself."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"


class Bystander:
    """Another client, whose inferences must go on and be right whatever happens beside it."""

    def __init__(self, process: AcceleratorProcess) -> None:
        self._process = process
        self._stop = threading.Event()
        self._count = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with Wire(self._process) as wire:
                assert wire.request("GET", "/v2")[0] == 200
                for number in range(1 << 40):
                    if self._stop.is_set():
                        return
                    x = X + number % 1000
                    assert np.array_equal(infer(wire, "bystander", x, token=None), x * 2)
                    self._count += 1
        except BaseException as error:  # noqa: BLE001 - told by `check`
            self.error = error

    def goes_on(self) -> None:
        """Wait for answers to questions that are asked from now on."""
        before = self._count
        until("the bystander's answers", lambda: self.error is not None or self._count > before + 2)
        assert self.error is None, repr(self.error)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)


class Footprint:
    """What a process holds: threads, file descriptors, mappings, models, regions and memory."""

    def __init__(self, process: AcceleratorProcess) -> None:
        self._process = process
        _crowd(process)
        until("nothing being prepared", lambda: self.describe()["preparing"] == 0)
        self._before = self._read()

    def describe(self) -> dict[str, Any]:
        with Wire(self._process) as wire:
            raw = wire.request("GET", "/v2/elastic-inference/accelerator")[2]
        found: dict[str, Any] = json.loads(raw)
        return found

    def _read(self) -> dict[str, int]:
        about = self.describe()
        proc = Path("/proc", str(self._process.pid))
        status = (proc / "status").read_text()
        shared = next(line for line in status.splitlines() if line.startswith("RssShmem"))
        maps = (proc / "maps").read_text()
        return {
            "descriptors": len(list((proc / "fd").iterdir())),
            "threads": len(list((proc / "task").iterdir())),
            "regions": maps.count("memfd:"),
            "models": about["models"],
            "memory": about["memory"]["used"] + int(shared.split()[1]) * 1024,
        }

    def back(self) -> None:
        """Wait until nothing more is held than at first."""
        excess: dict[str, int] = {}

        def settled() -> bool:
            now = self._read()
            excess.clear()
            excess.update({key: now[key] - self._before[key] for key in now})
            slack = {"memory": _SLACK, "threads": 1, "descriptors": 1}
            return all(more <= slack.get(key, 0) for key, more in excess.items())

        try:
            until("what was held given back", settled)
        except AssertionError:
            pytest.fail(f"more is held than before: {excess}")


def _crowd(process: AcceleratorProcess) -> None:
    """Have the threads started that many connections share; they stay."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(process)) for _ in range(8)]
        for wire in wires:
            wire.request("GET", "/v2")


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "bystander", scale_model(2))
    load(accelerator, "victim", scale_model(3))
    load(accelerator, "slow", slow(3000))
    return accelerator


@pytest.fixture
def bystander(served: AcceleratorProcess) -> Iterator[Bystander]:
    """Every test that uses this also shows that the process is the same and as it was."""
    footprint = Footprint(served)
    other = Bystander(served)
    try:
        other.goes_on()
        yield other
        assert served.process.poll() is None
        other.goes_on()
    finally:
        other.stop()
    footprint.back()


def cpu_ticks(pid: int) -> int:
    """CPU time of a process, in clock ticks (usually 10 ms)."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
