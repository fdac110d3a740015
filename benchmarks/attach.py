"""How long it takes until a model of 100 MB is ready on the accelerator."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import FloorServer, Settings
from benchmarks.report import Table, verdict
from benchmarks.target import Target, target, workers
from benchmarks.workloads import WORKLOADS, Workload

_COLUMNS = ("what", "median, ms", "worst, ms", "times the bound", "bar")
_NOTE = (
    "Each step is a new process that loads the model once: `first` into an empty store (hash, "
    "upload, verify, create), `second` after the first one's process ended and its lease was given "
    "up (hash remembered, prepared form on disk: it is written in the background after the first), "
    "`shared` while another process has it loaded. "
    "The bound of the first is ONNX Runtime's own creation from the file plus the transfer of "
    "as many bytes by the floor."
)
_FIRST_BAR = 1.5
_SECOND_BAR = 100.0


def measure(settings: Settings) -> list[Table]:
    """One table for TLS and one for the Unix socket."""
    if settings.floor is None:
        return []
    workload = WORKLOADS["image" if settings.quick else "resnet50"]
    tables = []
    for transport in ("tls", "unix"):
        samples: dict[str, list[float]] = {}
        for _ in range(1 if settings.quick else 5):
            for name, seconds in _round(settings, workload, transport).items():
                samples.setdefault(name, []).append(seconds * 1e3)
        tables.append(_table(workload, transport, samples))
    return tables


def _round(settings: Settings, workload: Workload, transport: str) -> Mapping[str, float]:
    path = workload.save(settings.directory)
    with target() as accelerator, tempfile.TemporaryDirectory() as cache:

        def load() -> float:
            seconds = _load(path, workload, cache, grant=accelerator.grant(transport))
            accelerator.settle()
            return seconds

        return {
            "ONNX Runtime's own": _load(path, workload, cache, engine="local"),
            "transfer": _transfer(settings, accelerator, path.stat().st_size, transport),
            "first": load(),
            "second": load(),
            "shared": _load_shared(path, workload, cache, accelerator.grant(transport)),
        }


def _load(
    path: Path, workload: Workload, cache: str, *, engine: str = "client", grant: object = None
) -> float:
    """Seconds of a load by a new process that remembers hashes in the folder `cache`."""
    with workers(1, XDG_CACHE_HOME=cache) as (worker,):
        answer = worker.call(
            do="open",
            engine=engine,
            workload=workload.name,
            model=str(path),
            threads=1,
            grant=grant,
        )
        worker.call(do="close", workload=workload.name)
    return float(answer["load_seconds"])


def _load_shared(path: Path, workload: Workload, cache: str, grant: object) -> float:
    with workers(1) as (holder,):
        holder.call(
            do="open",
            engine="client",
            workload=workload.name,
            model=str(path),
            threads=1,
            grant=grant,
        )
        return _load(path, workload, cache, grant=grant)


def _transfer(settings: Settings, accelerator: Target, size: int, transport: str) -> float:
    assert settings.floor is not None
    tls = (accelerator.certificate, accelerator.private_key) if transport == "tls" else None
    unix = settings.directory / "transfer.sock" if transport == "unix" else None
    if unix is not None:
        unix.unlink(missing_ok=True)
    server = FloorServer(settings.floor, (size, 64), unix=unix, tls=tls)
    try:
        return server.contender(1).measure(settings.seconds).p50_us / 1e6
    finally:
        server.close()


def _table(workload: Workload, transport: str, samples: Mapping[str, list[float]]) -> Table:
    medians = {name: statistics.median(values) for name, values in samples.items()}
    bound = medians["ONNX Runtime's own"] + medians["transfer"]
    rows: list[tuple[object, ...]] = []
    for name, values in samples.items():
        ratio, standing = None, "-"
        if name == "first":
            ratio = medians[name] / bound
            standing = verdict(ratio, _FIRST_BAR)
        elif name == "second":
            standing = verdict(medians[name], _SECOND_BAR) + " (ms)"
        rows.append((name, medians[name], max(values), ratio, standing))
    title = f"Loading {workload.name} over {'TLS' if transport == 'tls' else 'a Unix socket'}"
    return Table(title, _COLUMNS, list(rows), _NOTE)
