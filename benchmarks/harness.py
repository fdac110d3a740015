"""Contenders, measured in turns: in each round every one of them once, so that a change of the
machine's mood meets all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_SOURCE = Path(__file__).parent / "floor.c"
# How long before its start a worker is told to drive, so that all of them are ready by then.
_LEAD = 0.05
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender in one round, or the median of its rounds."""

    p50_us: float
    p99_us: float
    requests_per_second: float


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run of the benchmark measures.

    Attributes:
        directory: a temporary folder for models and sockets.
        floor: the compiled floor, or None where it could not be built.
        rounds: how often each contender is measured.
        seconds: how long each time.
        quick: a run that shows only that everything works.
    """

    directory: Path
    floor: Path | None
    rounds: int
    seconds: float
    quick: bool

    @classmethod
    def of(cls, directory: Path, floor: Path | None, *, quick: bool) -> Settings:
        return cls(directory, floor, 1 if quick else 5, 0.1 if quick else 0.7, quick)

    def choose(self, workloads: Iterable[str]) -> list[str]:
        """The workloads to measure: all, or the small ones in a quick run."""
        return [name for name in workloads if not self.quick or name in {"tiny", "image"}]


class Contender(Protocol):
    """What can be measured for some seconds."""

    def measure(self, seconds: float) -> Sample:
        """Drive it for so long, after a short warm-up."""


def interleave(
    contenders: Mapping[str, Contender], *, rounds: int, seconds: float
) -> dict[str, Sample]:
    """The median of `rounds` rounds for each contender."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            samples[name].append(contender.measure(seconds))
    return {name: _median(each) for name, each in samples.items()}


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        statistics.median(sample.p50_us for sample in samples),
        statistics.median(sample.p99_us for sample in samples),
        statistics.median(sample.requests_per_second for sample in samples),
    )


def warm_up(seconds: float) -> float:
    """How long a contender runs unmeasured before it is measured for `seconds`."""
    return min(0.1, seconds / 4)


def build_floor(directory: Path) -> Path | None:
    """The compiled floor, or None where no compiler or no OpenSSL headers are installed."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        print("No floor: gcc is not installed (Debian: apt-get install gcc libssl-dev).")
        return None
    program = directory / "floor"
    done = subprocess.run(
        [compiler, "-O2", "-o", program, _SOURCE, "-lssl", "-lcrypto", "-lpthread"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), "")
        print(f"No floor: {reason or done.stderr} (Debian: apt-get install libssl-dev).")
        return None
    return program


class FloorServer:
    """`floor serve`, for one size of request and response.

    Attributes:
        address: the options by which `floor drive` reaches it.
    """

    def __init__(
        self,
        program: Path,
        sizes: tuple[int, int],
        *,
        unix: Path | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._program = program
        self._sizes = ["-n", str(sizes[0]), "-r", str(sizes[1])]
        where = ["-u", str(unix)] if unix else ["-p", "0"]
        secure = ["-C", str(tls[0]), "-K", str(tls[1])] if tls else []
        self._process = subprocess.Popen(
            [str(program), "serve", *where, *secure, *self._sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        self.address = ["-u", str(unix)] if unix else ["-p", port]
        if tls:
            self.address.append("-t")

    def contender(self, connections: int) -> FloorDrive:
        return FloorDrive(self._program, [*self.address, *self._sizes], connections)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=10.0)


@dataclass(frozen=True, slots=True)
class FloorDrive:
    """`floor drive`: the C client, against the floor's server or replaying HTTP requests."""

    program: Path
    options: Sequence[str]
    connections: int

    def measure(self, seconds: float) -> Sample:
        done = subprocess.run(
            [
                *(str(self.program), "drive", *self.options, "-c", str(self.connections)),
                *("-d", str(seconds), "-w", str(warm_up(seconds))),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 60.0,
        )
        if done.returncode:
            raise RuntimeError(f"the floor's client failed: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        if result["failures"] or not result["requests"]:
            raise RuntimeError(f"the floor's client failed: {done.stdout}{done.stderr}")
        return Sample(result["p50_us"], result["p99_us"], result["requests_per_second"])


class WorkerProcess:
    """One `benchmarks.worker`."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message, default=str) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a worker of the benchmark ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def call(self, **message: Any) -> dict[str, Any]:
        self.send(**message)
        return self.receive()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=30.0)


@dataclass(frozen=True, slots=True)
class Drive:
    """Workers that run one workload at the same time, with `threads` threads in each."""

    workers: Sequence[WorkerProcess]
    workload: str
    threads: int = 1

    def measure(self, seconds: float) -> Sample:
        # On a machine that is busy with other things no request may end in time.
        for attempt in range(_ATTEMPTS):
            longer = seconds * 2**attempt
            times = self._drive(longer)
            if times:
                break
        else:
            raise RuntimeError(f"no request of {self.workload} ended within {longer} s")
        return Sample(times[len(times) // 2], times[len(times) * 99 // 100], len(times) / longer)

    def _drive(self, seconds: float) -> list[float]:
        """How long each request took that began in these seconds, in µs, ascending."""
        begin = time.monotonic() + _LEAD + warm_up(seconds)
        for worker in self.workers:
            worker.send(
                do="drive",
                workload=self.workload,
                threads=self.threads,
                until=begin + seconds,
                **{"from": begin},
            )
        times: list[float] = []
        for worker in self.workers:
            times += worker.receive()["microseconds"]
        return sorted(times)
