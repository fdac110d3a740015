"""Measure with perf_analyzer, Triton's own load generator, at several concurrencies.

    python -m benchmarks.peers.perf_analyzer [--workloads NAME,…] [--quick] [--output FILE]

Its real binary is in the tritonclient wheel of version 2.41. It needs libb64, taken from Debian's
archive where it is not installed, and NVIDIA's CUDA run-time library, although no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import ctypes
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import DOCUMENT
from benchmarks.harness import Settings, build_floor
from benchmarks.peers import ours
from benchmarks.peers.bench import Run, contacts, reference_answers
from benchmarks.peers.catalog import PEERS
from benchmarks.peers.curves import CONCURRENCIES, Curve, Point, tables
from benchmarks.peers.environments import DIRECTORY, UnavailableError, pip, run
from benchmarks.peers.running import Contact
from benchmarks.report import machine, write
from benchmarks.workloads import WORKLOADS, Workload

SECTION = "perf_analyzer"
_WORKLOADS = ("tiny", "image", "frame")
_WHEELS = ("tritonclient==2.41.0", "nvidia-cuda-runtime-cu12==12.9.79")
_DEBIAN_PACKAGE = "libb64-0d"
_TIMEOUT = 180.0


@dataclass(frozen=True, slots=True)
class Tool:
    """The unpacked perf_analyzer.

    Attributes:
        program: its binary.
        libraries: folders for LD_LIBRARY_PATH.
    """

    program: Path
    libraries: Sequence[Path]

    def measure(
        self, contact: Contact, workload: Workload, concurrency: int, milliseconds: int
    ) -> Point:
        """One measurement of a contact.

        Raises:
            UnavailableError: perf_analyzer failed.
        """
        with tempfile.TemporaryDirectory(prefix="ei-perf-") as name:
            results = Path(name) / "results.csv"
            command = [
                *(str(self.program), "-m", contact.models.get(workload.name, workload.name)),
                *("-u", f"127.0.0.1:{contact.port}", "-i", contact.access.kind),
                *("--shape", f"x:{','.join(str(size) for size in workload.shape)}"),
                *("--concurrency-range", str(concurrency), "-f", str(results)),
                # Three windows make a measurement, whatever their spread: the rounds even it out.
                *("-p", str(milliseconds), "-s", "999", "-r", "10", "--percentile", "50"),
            ]
            for field, value in contact.headers.items():
                command += ["-H", f"{field}:{value}"]
            environment = {
                **os.environ,
                "LD_LIBRARY_PATH": ":".join(str(each) for each in self.libraries),
            }
            try:
                done = subprocess.run(
                    command,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=_TIMEOUT,
                )
            except subprocess.TimeoutExpired as error:
                raise UnavailableError("perf_analyzer did not end") from error
            if done.returncode or not results.exists():
                lines = (done.stderr or done.stdout).strip().splitlines()
                raise UnavailableError(f"perf_analyzer: {lines[0] if lines else 'no result'}")
            return read_point(results.read_text(encoding="utf-8"))


def read_point(text: str) -> Point:
    """The one row of a CSV of perf_analyzer's, whose times are in microseconds.

    Raises:
        UnavailableError: it holds no measurement.
    """
    rows = list(csv.DictReader(text.splitlines()))
    try:
        row = rows[0]
        return Point(
            float(row["Inferences/Second"]), float(row["p50 latency"]), float(row["p99 latency"])
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UnavailableError("perf_analyzer wrote no figures") from error


def unpack() -> Tool:
    """Fetch what is missing and unpack it below `.peers`, installing nothing.

    Raises:
        UnavailableError: something cannot be had.
    """
    directory = DIRECTORY / "perf_analyzer"
    made = directory / ".made"
    if not made.exists():
        print("Fetching perf_analyzer …", flush=True)
        directory.mkdir(parents=True, exist_ok=True)
        pip("download", "--no-deps", "--only-binary", ":all:", "-d", str(directory), *_WHEELS)
        for wheel in directory.glob("*.whl"):
            run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(directory / "wheels")])
        if not _has_libb64():
            run(["apt-get", "-qq", "download", _DEBIAN_PACKAGE], directory)
            (package,) = directory.glob(f"{_DEBIAN_PACKAGE}_*.deb")
            run(["dpkg-deb", "-x", str(package), str(directory / "debian")])
        made.touch()
    program = next(directory.glob("wheels/tritonclient-*.data/data/bin/perf_analyzer"))
    program.chmod(0o755)
    found = {path.parent for path in directory.rglob("*.so.*")}
    return Tool(program, sorted(found))


def _has_libb64() -> bool:
    try:
        ctypes.CDLL("libb64.so.0d")
    except OSError:
        return False
    return True


def _median(points: Sequence[Point]) -> Point:
    return Point(
        statistics.median(point.requests_per_second for point in points),
        statistics.median(point.p50_us for point in points),
        statistics.median(point.p99_us for point in points),
    )


def measure_workload(
    tool: Tool, found: Sequence[Contact], workload: Workload, settings: Settings
) -> list[Curve]:
    """A curve for each contact; within a concurrency they take turns."""
    curves = {contact.title: Curve(workload.name, contact.title) for contact in found}
    milliseconds = 200 if settings.quick else 500
    for concurrency in CONCURRENCIES:
        points: Mapping[str, list[Point]] = {title: [] for title in curves}
        for _ in range(1 if settings.quick else 3):
            for contact in found:
                curve = curves[contact.title]
                if curve.reason:
                    continue
                try:
                    point = tool.measure(contact, workload, concurrency, milliseconds)
                    points[contact.title].append(point)
                except UnavailableError as error:
                    curve.reason = str(error)[:200]
        for title, measured in points.items():
            if measured:
                curves[title].points[concurrency] = _median(measured)
    return list(curves.values())


def main() -> int:
    """Run it; the exit status is 0 unless perf_analyzer itself cannot be had."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--workloads", default=",".join(_WORKLOADS))
    parser.add_argument("--quick", action="store_true", help="short runs: the figures mean little")
    parser.add_argument("--output", type=Path, default=None, help="the Markdown to write into")
    arguments = parser.parse_args()
    workloads = [WORKLOADS[name] for name in arguments.workloads.split(",")]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    curves: list[Curve] = []
    absent: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ei-perf-")))
        try:
            tool = unpack()
        except UnavailableError as error:
            print(f"No perf_analyzer: {error}")
            return 1
        program = build_floor(directory)
        if program is None:
            return 1
        for workload in workloads:
            workload.save(directory)
        settings = Settings.of(directory, program, quick=arguments.quick)
        measured = Run(settings, program, workloads, reference_answers(workloads, directory))
        peers = [PEERS["triton"], PEERS["triton-wide"]]
        found = stack.enter_context(contacts(measured, peers, absent))
        plain = [contact for contact in found if not contact.options]
        for workload in workloads:
            print(f"== {workload.name}", flush=True)
            curves += measure_workload(tool, plain, workload, settings)
    curves += [Curve(workloads[0].name, title, reason=why) for title, why in absent.items()]
    results = tables(curves, ours.HTTP, ours.GRPC)
    for table in results:
        print(table.markdown(), "\n", flush=True)
    whole = arguments.workloads == ",".join(_WORKLOADS) and not arguments.quick
    output = arguments.output or (DOCUMENT if whole else None)
    if output is not None:
        write(output, machine(), {SECTION: results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
