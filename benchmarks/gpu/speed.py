"""How fast: over TLS and shared memory, beside the engine in process and beside the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping

from benchmarks.gpu.models import NAMES, PRECISIONS, SIZES, save
from benchmarks.gpu.plan import Plan
from benchmarks.harness import Contender, Drive, Sample, WorkerProcess, interleave
from benchmarks.report import Table
from benchmarks.target import Target, workers

_COLUMNS = (
    "model", "precision", "batch", "CPU, ms", "engine, ms", "shm, ms", "TLS, ms",
    "shm / engine", "TLS / engine", "CPU / TLS",
)  # fmt: skip
_WAYS = ("engine", "shm", "tls")
# A larger batch on a CPU takes seconds and tells nothing more.
_LARGEST_ON_CPU = 8


def measure(plan: Plan, target: Target) -> list[Table]:
    """Medians of calls in turns, per model, precision and batch."""
    rows = []
    left_out = ""
    with workers(len(_WAYS) + 1) as running:
        by_way = dict(zip((*_WAYS, "cpu"), running, strict=True))
        for name in NAMES:
            for precision in PRECISIONS:
                for batch in plan.batches:
                    if not plan.has(15.0):
                        left_out = "Some rows were left out for want of time."
                        continue
                    samples = _measure(plan, target, by_way, (name, precision, batch))
                    rows.append(_row(name, precision, batch, samples))
    note = (
        "Engine: ONNX Runtime with the same provider in the calling process, inputs and outputs "
        "in the CPU's memory. CPU: ONNX Runtime on all cores of the machine, in fp32. " + left_out
    )
    return [Table("Calls from the CPU's side, medians", _COLUMNS, rows, note)]


def _measure(
    plan: Plan,
    target: Target,
    by_way: Mapping[str, WorkerProcess],
    what: tuple[str, str, int],
) -> dict[str, Sample]:
    name, precision, batch = what
    key = f"{name}-{precision}-{batch}"
    feed = {"shape": [batch, *SIZES[name]], "dtype": PRECISIONS[precision]}
    chosen = {way: by_way[way] for way in _WAYS}
    for way, worker in chosen.items():
        worker.call(
            do="open",
            engine="local" if way == "engine" else "client",
            workload=key,
            model=str(save(plan.directory, name, precision)),
            threads=1,
            feed=feed,
            providers=[plan.provider] if way == "engine" else None,
            grant=None if way == "engine" else target.grant(way),
        )
    if batch <= _LARGEST_ON_CPU and precision == "fp32":
        chosen["cpu"] = by_way["cpu"]
        chosen["cpu"].call(
            do="open",
            engine="local",
            workload=key,
            model=str(save(plan.directory, name, precision)),
            threads=len(os.sched_getaffinity(0)),
            feed=feed,
        )
    contenders: dict[str, Contender] = {way: Drive([worker], key) for way, worker in chosen.items()}
    samples = interleave(
        contenders, rounds=1 if plan.quick else 3, seconds=0.1 if plan.quick else 0.4
    )
    for worker in chosen.values():
        worker.call(do="close", workload=key)
    return samples


def _row(
    name: str, precision: str, batch: int, samples: Mapping[str, Sample]
) -> tuple[object, ...]:
    ms = {way: sample.p50_us / 1e3 for way, sample in samples.items()}
    cpu = ms.get("cpu")
    return (
        *(name, precision, batch, cpu, ms["engine"], ms["shm"], ms["tls"]),
        *(ms["shm"] / ms["engine"], ms["tls"] / ms["engine"]),
        None if cpu is None else cpu / ms["tls"],
    )
