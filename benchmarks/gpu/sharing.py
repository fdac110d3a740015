"""Accelerators that share one card: what each gets, and what it does to the others' tail."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.gpu.models import PRECISIONS, SIZES, save
from benchmarks.gpu.plan import Plan
from benchmarks.harness import Drive, Sample, WorkerProcess
from benchmarks.report import Table
from benchmarks.target import Target, workers

_CONTROL = "nvidia-cuda-mps-control"
_MEMORY = 8 << 30
_KEY = "shared"


def measure(plan: Plan) -> list[Table]:
    """Two, three and four accelerators with equal shares, each alone and then all together."""
    rows = []
    with _mps(plan) as mps:
        for count in (2,) if plan.quick else (2, 3, 4):
            if plan.has(60.0):
                rows += _share(plan, count, mps)
    how = "MPS with a percentage and a pinned memory limit for each" if mps else "without MPS"
    return [
        Table(
            f"ResNet-50 fp16, batch 8, accelerators that share the device ({how})",
            (
                "accelerators", "which", "alone, requests/s", "together, requests/s", "kept",
                "p99 alone, ms", "p99 together, ms",
            ),
            rows,
        )
    ]  # fmt: skip


def _share(plan: Plan, count: int, mps: Mapping[str, str]) -> list[tuple[object, ...]]:
    share = {
        **mps,
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(100 // count),
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={_MEMORY >> 20}M",
    }
    with contextlib.ExitStack() as stack:
        clients = stack.enter_context(workers(count))
        for client in clients:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ei-")))
            target = Target(
                directory,
                device=plan.device,
                memory_bytes=_MEMORY,
                environment=share if mps else {},
            )
            stack.callback(target.close)
            _open(plan, client, target)
        seconds = 0.2 if plan.quick else 3.0
        alone = [Drive([client], _KEY).measure(seconds) for client in clients]
        with ThreadPoolExecutor(count) as threads:
            together = list(
                threads.map(lambda client: Drive([client], _KEY).measure(seconds), clients)
            )
    return [
        _row(count, number, *pair)
        for number, pair in enumerate(zip(alone, together, strict=True), 1)
    ]


def _open(plan: Plan, client: WorkerProcess, target: Target) -> None:
    batch = 1 if plan.quick else 8
    client.call(
        do="open",
        engine="client",
        workload=_KEY,
        model=str(save(plan.directory, "resnet50", "fp16")),
        threads=1,
        feed={"shape": [batch, *SIZES["resnet50"]], "dtype": PRECISIONS["fp16"]},
        grant=target.grant("shm"),
    )


def _row(count: int, number: int, alone: Sample, together: Sample) -> tuple[object, ...]:
    return (
        *(count, number, alone.requests_per_second, together.requests_per_second),
        together.requests_per_second / alone.requests_per_second,
        *(alone.p99_us / 1e3, together.p99_us / 1e3),
    )


@contextlib.contextmanager
def _mps(plan: Plan) -> Iterator[Mapping[str, str]]:
    """An MPS daemon of this run's own; nothing where it does not start."""
    if not plan.on_gpu or shutil.which(_CONTROL) is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as name:
        own = {"CUDA_MPS_PIPE_DIRECTORY": f"{name}/pipe", "CUDA_MPS_LOG_DIRECTORY": f"{name}/log"}
        for folder in own.values():
            Path(folder).mkdir()
        environment = {**os.environ, **own}
        started = subprocess.run(
            [_CONTROL, "-d"], env=environment, capture_output=True, check=False, timeout=30
        )
        if started.returncode:
            print(f"No MPS: {started.stderr.decode(errors='replace').strip()}")
            yield {}
            return
        try:
            yield own
        finally:
            subprocess.run(
                [_CONTROL], env=environment, input=b"quit\n", capture_output=True, check=False,
                timeout=60,
            )  # fmt: skip
