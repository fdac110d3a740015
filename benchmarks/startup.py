"""How long a start takes: the import, the command, an accelerator."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Settings
from benchmarks.link import environment
from benchmarks.report import Table, verdict
from tests.processes import AcceleratorProcess

_COLUMNS = ("what", "median, ms", "worst, ms", "bar, ms")


def measure(settings: Settings) -> list[Table]:
    """One table of whole processes' times, each with its interpreter's start."""
    times = 2 if settings.quick else 11
    steps: dict[str, tuple[Callable[[], float], float | None]] = {
        "python -c pass": (lambda: _run("-c", "pass"), None),
        "import elastic_inference": (lambda: _run("-c", "import elastic_inference"), 150.0),
        "ei --help": (lambda: _run("-m", "elastic_inference.cli", "--help"), 150.0),
        "accelerator process, to ready": (_start_accelerator, 1000.0),
        "ei run … -- true: pool, placing, start, end": (_run_nothing, 1000.0),
    }
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(times):
        for name, (step, _bar) in steps.items():
            samples[name].append(step() * 1e3)
    rows = [
        (
            name,
            statistics.median(samples[name]),
            max(samples[name]),
            verdict(statistics.median(samples[name]), bar),
        )
        for name, (_step, bar) in steps.items()
    ]
    return [Table("Starts, the interpreter's own start included", _COLUMNS, rows)]


def _run(*arguments: str) -> float:
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, timeout=60.0
    )
    return time.monotonic() - begun


def _run_nothing() -> float:
    """A command that needs nothing, in a new pool: the accelerator is ready before it begins."""
    with tempfile.TemporaryDirectory(prefix="ei-") as home:
        begun = time.monotonic()
        subprocess.run(
            [
                *(sys.executable, "-m", "elastic_inference.cli", "run", "--quiet"),
                *("--accelerator", "eia1.medium", "--", "true"),
            ],
            env=environment({"EI_HOME": home}),
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=60.0,
        )
        return time.monotonic() - begun


def _start_accelerator() -> float:
    with tempfile.TemporaryDirectory(prefix="ei-") as name:
        begun = time.monotonic()
        process = AcceleratorProcess(Path(name))
        elapsed = time.monotonic() - begun
        process.stop()
    return elapsed
