"""A large tensor through shared memory, against the same call in process."""

from __future__ import annotations

from benchmarks.harness import Contender, Drive, Settings, interleave
from benchmarks.report import Table, verdict
from benchmarks.target import target, workers
from benchmarks.workloads import WORKLOADS

# Contender -> (the worker's engine, transport, bar as times of ONNX Runtime in process).
_CONTENDERS: dict[str, tuple[str, str, float | None]] = {
    "in process, plain run": ("local", "", None),
    "in process, registered input": ("local-bound", "", None),
    "shared memory, registered input": ("client-bound", "shm", 1.5),
    "shared memory, plain run (with its copy)": ("client", "shm", 2.5),
    "Unix socket, tensors in the stream": ("client", "unix", None),
}
_COLUMNS = ("workload", "contender", "p50, µs", "p99, µs", "requests/s", "times in process", "bar")
_NOTE = (
    "In process, `registered` is an input bound once (IOBinding). The first bar compares with "
    "that, the second with a plain run."
)


def measure(settings: Settings) -> list[Table]:
    """One table."""
    rows = []
    for name in ["image"] if settings.quick else ["image", "frame", "resnet50"]:
        workload = WORKLOADS[name]
        with target() as accelerator, workers(len(_CONTENDERS)) as started:
            contenders: dict[str, Contender] = {}
            pairs = zip(started, _CONTENDERS.items(), strict=True)
            for worker, (title, (engine, transport, _)) in pairs:
                worker.call(
                    do="open",
                    engine=engine,
                    workload=name,
                    model=str(workload.save(settings.directory)),
                    threads=1,
                    grant=accelerator.grant(transport) if transport else None,
                )
                contenders[title] = Drive([worker], name)
            samples = interleave(
                contenders, rounds=settings.rounds, seconds=settings.seconds * workload.patience
            )
        for title, sample in samples.items():
            bar = _CONTENDERS[title][2]
            base = (
                "in process, registered input" if "registered" in title else "in process, plain run"
            )
            ratio = sample.p50_us / samples[base].p50_us
            rows.append(
                (
                    *(name, title, sample.p50_us, sample.p99_us, sample.requests_per_second),
                    *(ratio, verdict(ratio, bar if name == "frame" else None)),
                )
            )
    return [Table("Shared memory against the same call in process", _COLUMNS, rows, _NOTE)]
