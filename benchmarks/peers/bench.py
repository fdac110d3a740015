"""Measure the project beside what one might use instead, in turns, and write docs/performance.md.

    python -m benchmarks.peers.bench [--only PEER,…] [--workloads NAME,…] [--quick]
                                     [--output FILE] [--json FILE]

Every server runs ONNX Runtime with the same options on the same models, listens on 127.0.0.1 and
is driven by the same C client. A run of some peers, or a quick one, leaves the page as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bench import DOCUMENT
from benchmarks.harness import Settings, build_floor
from benchmarks.peers import ours
from benchmarks.peers.catalog import PEERS, TRITON, Peer
from benchmarks.peers.environments import UnavailableError, size_mib
from benchmarks.peers.figures import Figure, Figures, bars, tables
from benchmarks.peers.plot import picture
from benchmarks.peers.running import Contact, Server
from benchmarks.peers.turns import Turn, measure
from benchmarks.peers.wire import Array
from benchmarks.report import Table, machine, write
from benchmarks.target import target
from benchmarks.workloads import WORKLOADS, Workload

SECTION = "peers"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run measures with."""

    settings: Settings
    program: Path
    workloads: Sequence[Workload]
    expected: dict[str, Array]


def reference_answers(workloads: Sequence[Workload], models: Path) -> dict[str, Array]:
    """What ONNX Runtime answers in this process."""
    from benchmarks.peers.servers.engine import open_model

    return {
        workload.name: open_model(models / f"{workload.name}.onnx")(workload.feed())
        for workload in workloads
    }


@contextlib.contextmanager
def contacts(run: Run, peers: Sequence[Peer], absent: dict[str, str]) -> Iterator[list[Contact]]:
    """Start the project and the peers; `absent` gets what could not be started, and why."""
    with contextlib.ExitStack() as stack:
        accelerator = stack.enter_context(target())
        names = ours.load(accelerator, run.workloads, run.settings.directory)
        found = ours.contacts(accelerator, names)
        for peer in peers:
            try:
                server = Server(peer, run.settings.directory, run.settings.directory)
                stack.callback(server.stop)
                print(f"Starting {peer.title} …", flush=True)
                entries = server.contacts()
                first = run.workloads[0]
                request = entries[0].write_request(first, run.settings.directory)
                server.wait(entries[0], run.program, request, run.expected[first.name])
                found += entries
            except UnavailableError as error:
                absent[peer.title] = str(error)
        yield found


def measure_workload(
    run: Run, workload: Workload, found: Sequence[Contact], absent: dict[str, str]
) -> list[Figure]:
    """Check every server's answer, then measure them in turns."""
    figures = []
    turns = []
    for contact in found:
        figure = Figure(contact.title)
        figures.append(figure)
        if reason := contact.access.without.get(workload.name):
            figure.reason = reason
            continue
        request = contact.write_request(workload, run.settings.directory)
        try:
            expected = run.expected[workload.name]
            contact.check(run.program, request, expected)
            # The first answer may have waited for what later ones find ready.
            taken = contact.check(run.program, request, expected)
            turns.append(Turn(figure, contact, request, taken))
        except UnavailableError as error:
            figure.reason = str(error)
    measure(turns, run.program, run.settings, workload.patience)
    figures += [Figure(title, reason=reason) for title, reason in absent.items()]
    return figures


def _measure_all(settings: Settings, program: Path, arguments: argparse.Namespace) -> Figures:
    workloads = [WORKLOADS[name] for name in arguments.workloads.split(",")]
    for workload in workloads:
        workload.save(settings.directory)
    run = Run(settings, program, workloads, reference_answers(workloads, settings.directory))
    peers = [PEERS[name] for name in arguments.only.split(",") if name]
    figures, absent = Figures(), dict[str, str]()
    with contacts(run, peers, absent) as found:
        for workload in workloads:
            print(f"== {workload.name}", flush=True)
            figures.by_workload[workload.name] = measure_workload(run, workload, found, absent)
    return figures


def report(figures: Figures) -> list[Table]:
    """The tables of a run: the bars, then a table a workload."""
    triton = [f"{peer.title}, HTTP" for peer in PEERS.values() if peer.script == TRITON]
    against = bars(figures, ours.HTTP, triton)
    return [*([against] if against else []), *tables(figures, ours.HTTP)]


def main() -> int:
    """Run it; the exit status is 0 unless the project itself could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--quick", action="store_true", help="short runs: the figures mean little")
    parser.add_argument("--output", type=Path, default=None, help="the Markdown to write into")
    parser.add_argument("--json", type=Path, default=None, help="a file for every figure")
    arguments = parser.parse_args()
    for chosen, known in ((arguments.only, PEERS), (arguments.workloads, WORKLOADS)):
        if unknown := {name for name in chosen.split(",") if name} - set(known):
            parser.error(f"unknown {min(unknown)!r}; there are {', '.join(known)}")
    # Servers are ended on the way out, whatever the way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    with tempfile.TemporaryDirectory(prefix="ei-peers-") as name:
        directory = Path(name)
        program = build_floor(directory)
        if program is None:
            return 1
        settings = Settings.of(directory, program, quick=arguments.quick)
        # Servers of several processes get more of a busy machine than those of one.
        load = f"{os.getloadavg()[0]:.1f}"
        figures = _measure_all(settings, program, arguments)
    results = report(figures)
    for table in results:
        print(table.markdown(), "\n", flush=True)
    sizes = {peer.environment: size_mib(peer.environment) for peer in PEERS.values()}
    print("MiB on disk:", ", ".join(f"{each} {size}" for each, size in sizes.items()))
    about = {**machine(), "load average before": load}
    if arguments.json is not None:
        text = json.dumps({"machine": about, "figures": asdict(figures)}, indent=1)
        arguments.json.write_text(text, encoding="utf-8")
    every = (arguments.only, arguments.workloads) == (",".join(PEERS), ",".join(WORKLOADS))
    output = arguments.output or (DOCUMENT if every and not arguments.quick else None)
    if output is not None:
        write(output, about, {SECTION: results})
        output.with_name("peers.svg").write_text(picture(figures), encoding="utf-8")
    own = [figures.find(workload, ours.HTTP) for workload in figures.by_workload]
    return int(any(figure is None or figure.many is None for figure in own))


if __name__ == "__main__":
    sys.exit(main())
