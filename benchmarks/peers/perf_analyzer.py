"""Measure with perf_analyzer, Triton's own load generator, at several concurrencies.

    python -m benchmarks.peers.perf_analyzer [--workloads NAME,…] [--quick] [--output FILE]

Its real binary is in the tritonclient wheel of version 2.41. It needs libb64, taken from Debian's
archive where it is not installed, and NVIDIA's CUDA run-time library, although no GPU.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
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
    tool: Tool, measured: Run, found: Sequence[Contact], workload: Workload
) -> list[Curve]:
    """A curve for each contact. Each round has every concurrency and every contact once."""
    curves = {contact.title: Curve(workload.name, contact.title) for contact in found}
    points: dict[tuple[str, int], list[Point]] = {}
    milliseconds, rounds = (200, 1) if measured.settings.quick else (500, 3)
    for contact in found:
        try:
            request = contact.write_request(workload, measured.settings.directory)
            contact.check(measured.program, request, measured.expected[workload.name])
        except UnavailableError as error:
            curves[contact.title].reason = str(error)
    able = [contact for contact in found if not curves[contact.title].reason]
    for _, concurrency, contact in product(range(rounds), CONCURRENCIES, able):
        try:
            point = tool.measure(contact, workload, concurrency, milliseconds)
            points.setdefault((contact.title, concurrency), []).append(point)
        except UnavailableError as error:
            curves[contact.title].reason = str(error)[:200]
    for (title, concurrency), each in sorted(points.items()):
        curves[title].points[concurrency] = _median(each)
    for curve in curves.values():
        # One failure of several is made up for by the other rounds.
        if len(curve.points) == len(CONCURRENCIES):
            curve.reason = ""
    return list(curves.values())


def _measure(tool: Tool, workloads: Sequence[Workload], *, quick: bool) -> list[Curve]:
    absent: dict[str, str] = {}
    curves: list[Curve] = []
    with tempfile.TemporaryDirectory(prefix="ei-perf-") as name:
        directory = Path(name)
        program = build_floor(directory)
        if program is None:
            return []
        for workload in workloads:
            workload.save(directory)
        settings = Settings.of(directory, program, quick=quick)
        measured = Run(settings, program, workloads, reference_answers(workloads, directory))
        with contacts(measured, [PEERS["triton"], PEERS["triton-wide"]], absent) as found:
            plain = [contact for contact in found if not contact.options]
            for workload in workloads:
                print(f"== {workload.name}", flush=True)
                curves += measure_workload(tool, measured, plain, workload)
    return curves + [Curve("all", title, reason=why) for title, why in absent.items()]


def main() -> int:
    """Run it; the exit status is 0 unless perf_analyzer or the project could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--workloads", default=",".join(_WORKLOADS))
    parser.add_argument("--quick", action="store_true", help="short runs: the figures mean little")
    parser.add_argument("--output", type=Path, default=None, help="the Markdown to write into")
    arguments = parser.parse_args()
    chosen = arguments.workloads.split(",")
    if unknown := set(chosen) - set(WORKLOADS):
        parser.error(f"unknown {min(unknown)!r}; there are {', '.join(WORKLOADS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        tool = unpack()
    except UnavailableError as error:
        print(f"No perf_analyzer: {error}")
        return 1
    load = f"{os.getloadavg()[0]:.1f}"
    curves = _measure(tool, [WORKLOADS[name] for name in chosen], quick=arguments.quick)
    if not any(curve.title == ours.HTTP and curve.points for curve in curves):
        return 1
    results = tables(curves, ours.HTTP, ours.GRPC)
    for table in results:
        print(table.markdown(), "\n", flush=True)
    whole = arguments.workloads == ",".join(_WORKLOADS) and not arguments.quick
    output = arguments.output or (DOCUMENT if whole else None)
    if output is not None:
        write(output, {**machine(), "load average before": load}, {SECTION: results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
