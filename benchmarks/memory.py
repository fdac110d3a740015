"""Whether memory stays: many requests, many loads and unloads, one process."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.client import open_accelerator
from benchmarks.harness import Settings
from benchmarks.report import Table, verdict
from benchmarks.target import target
from benchmarks.workloads import WORKLOADS

_MIB = 1 << 20
_ALLOWED = 1.05


def _anonymous(pid: int) -> float:
    """MiB of anonymous memory of a process: what it holds that no file backs."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024 / _MIB
    raise RuntimeError("the kernel does not tell a process's anonymous memory")


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def measure(settings: Settings) -> list[Table]:
    """200 cycles of load, 500 requests, unload; memory after the first and the last."""
    cycles, requests = (3, 20) if settings.quick else (200, 500)
    names = ("tiny", "image") if settings.quick else ("tiny", "resnet50")
    paths = {name: WORKLOADS[name].save(settings.directory) for name in names}
    feeds = {name: {"x": WORKLOADS[name].feed()} for name in names}
    with target() as running:
        pid = running.process.pid
        accelerator = open_accelerator(running.grant("unix"))
        figures: list[tuple[float, float]] = []
        for _ in range(cycles):
            models = {name: accelerator.load(paths[name]) for name in names}
            for name in names[1:]:
                models[name].run(feeds[name])
            for _ in range(requests - len(names) + 1):
                models["tiny"].run(feeds["tiny"])
            for model in models.values():
                model.close()
            running.settle()
            figures.append((_anonymous(pid), _resident(pid)))
        accelerator.close()
    (first_anonymous, first_resident), (last_anonymous, last_resident) = figures[0], figures[-1]
    ratio = last_anonymous / first_anonymous
    peak = max(anonymous for anonymous, _ in figures)
    rows = [
        (
            f"anonymous (at most {peak:.0f} MiB after any cycle)",
            *(first_anonymous, last_anonymous, ratio, verdict(ratio, _ALLOWED)),
        ),
        ("resident", first_resident, last_resident, last_resident / first_resident, "-"),
    ]
    title = (
        f"Memory of an accelerator, {cycles} loads and unloads of {' and '.join(names)}, "
        f"{cycles * requests:,} requests"
    )
    columns = ("MiB", "after the first cycle", "at the end", "times the first", "bar")
    return [Table(title, columns, rows)]
