"""The client over TLS and plain TCP against the floor plus ONNX Runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import (
    Contender,
    Drive,
    FloorDrive,
    FloorServer,
    Sample,
    Settings,
    WorkerProcess,
    interleave,
)
from benchmarks.replay import infer_request
from benchmarks.report import Table, verdict
from benchmarks.target import Target, target, workers
from benchmarks.workloads import WORKLOADS, Workload

CONNECTIONS = 8
_COLUMNS = (
    *("workload", "connections", "contender", "p50, µs", "p99, µs", "requests/s"),
    *("times the bound", "bar"),
)
_NOTE = (
    "The bound is the floor plus ONNX Runtime in process. With one connection it is the sum of "
    "their median times, and the bars are for it; with eight, where both share the same cores, it "
    "is the throughput 1 / (1/floor + 1/ONNX Runtime). The client is one process per connection. "
    "The replay is the floor's C client sending the same HTTP request: the accelerator without "
    "the Python client."
)


@dataclass(frozen=True, slots=True)
class _Setup:
    """What every measurement of one transport uses."""

    settings: Settings
    floor: Path
    accelerator: Target
    transport: str
    local: WorkerProcess
    clients: Sequence[WorkerProcess]


def measure(settings: Settings) -> list[Table]:
    """One table per transport."""
    if settings.floor is None:
        return []
    chosen = [WORKLOADS[name] for name in settings.choose(WORKLOADS)]
    tables = []
    with target() as accelerator, workers(1) as (local,):
        for workload in chosen:
            _open(local, workload, settings, engine="local")
        for transport in ("tls", "tcp"):
            with workers(CONNECTIONS) as clients:
                setup = _Setup(settings, settings.floor, accelerator, transport, local, clients)
                rows = [row for workload in chosen for row in _measure_one(setup, workload)]
            title = f"{transport.upper()}: the client against the floor plus ONNX Runtime"
            tables.append(Table(title, _COLUMNS, rows, _NOTE))
    return tables


def _open(
    worker: WorkerProcess,
    workload: Workload,
    settings: Settings,
    *,
    engine: str,
    grant: object = None,
) -> None:
    worker.call(
        do="open",
        engine=engine,
        workload=workload.name,
        model=str(workload.save(settings.directory)),
        threads=1,
        grant=grant,
    )


def _measure_one(setup: _Setup, workload: Workload) -> list[Sequence[object]]:
    grant = setup.accelerator.grant(setup.transport)
    for client in setup.clients:
        _open(client, workload, setup.settings, engine="client", grant=grant)
    tls = (setup.accelerator.certificate, setup.accelerator.private_key)
    request = setup.settings.directory / f"{workload.name}.request"
    request.write_bytes(infer_request(setup.accelerator.process, workload))
    rows: list[Sequence[object]] = []
    with contextlib.ExitStack() as stack:
        server = FloorServer(
            setup.floor,
            (workload.request_bytes, workload.response_bytes),
            tls=tls if setup.transport == "tls" else None,
        )
        stack.callback(server.close)
        for connections in (1, CONNECTIONS):
            contenders: dict[str, Contender] = {
                "floor": server.contender(connections),
                "ONNX Runtime": Drive([setup.local], workload.name, connections),
                "client": Drive(setup.clients[:connections], workload.name),
                "replay": _replay(setup, request, connections),
            }
            samples = interleave(
                contenders,
                rounds=setup.settings.rounds,
                seconds=setup.settings.seconds * workload.patience,
            )
            rows += _rows(workload, connections, samples)
    for client in setup.clients:
        client.call(do="close", workload=workload.name)
    return rows


def _replay(setup: _Setup, request: Path, connections: int) -> FloorDrive:
    accelerator = setup.accelerator
    if setup.transport == "tls":
        where = ["-p", str(accelerator.endpoint.port), "-t"]
        where += ["-s", accelerator.process.config.server_name]
    else:
        where = ["-p", str(accelerator.process.port)]
    return FloorDrive(setup.floor, [*where, "-f", str(request)], connections)


def _rows(
    workload: Workload, connections: int, samples: dict[str, Sample]
) -> list[Sequence[object]]:
    floor, engine = samples["floor"], samples["ONNX Runtime"]
    rows: list[Sequence[object]] = []
    for name, sample in samples.items():
        ratio = None
        if name in {"client", "replay"}:
            if connections == 1:
                ratio = sample.p50_us / (floor.p50_us + engine.p50_us)
            else:
                seconds = 1 / floor.requests_per_second + 1 / engine.requests_per_second
                ratio = 1 / (sample.requests_per_second * seconds)
        bar = workload.bar if name == "client" and connections == 1 else None
        standing = "-" if ratio is None else verdict(ratio, bar)
        rows.append(
            (
                *(workload.name, connections, name),
                *(sample.p50_us, sample.p99_us, sample.requests_per_second, ratio, standing),
            )
        )
    return rows
