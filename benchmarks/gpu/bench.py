"""Prove and measure accelerators on a real GPU, and write docs/performance.md.

    python -m benchmarks.gpu.bench [--device cuda:0|cpu] [--quick] [--minutes N] [--output FILE]

Ends inside ten minutes: what has not begun by then is left out, and the table says so. Where no
GPU is, it says so and does nothing. `--device cpu` shows that every stage runs; it writes only to
a file that is named.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import DOCUMENT
from benchmarks.gpu import card, limits, results, sharing, speed
from benchmarks.gpu.plan import Plan
from benchmarks.report import Table, machine, write
from benchmarks.target import target

_SECTION = "gpu"
_MEMORY = 16 << 30
# A card's other users come and go; what an accelerator leaves would be more than this.
_SLACK = 64 * card.MIB


def main() -> int:
    """Run every stage; the exit status is 0 unless something that must hold does not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--device", default="cuda:0", choices=("cuda:0", "cpu"))
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--minutes", type=float, default=9.0, help="how long (default: 9)")
    parser.add_argument("--output", type=Path, default=None, help="the Markdown to write into")
    arguments = parser.parse_args()
    found = card.find()
    if arguments.device != "cpu" and found is None:
        print("Skipped: no NVIDIA GPU and driver here, or elastic-inference[gpu] is missing.")
        return 0
    if arguments.device == "cpu" and arguments.output is None:
        parser.error("--device cpu needs --output: its figures are not a GPU's")
    with tempfile.TemporaryDirectory(prefix="ei-gpu-") as name:
        deadline = time.monotonic() + arguments.minutes * 60
        plan = Plan(Path(name), arguments.device, deadline, arguments.quick)
        tables, failures = _run(plan, found if plan.on_gpu else None)
    about = machine()
    if found is not None and plan.on_gpu:
        about |= {"card": found.name, "driver": found.driver}
    else:
        about |= {"device": "CPU: no GPU was used"}
    write(arguments.output or DOCUMENT, about, {_SECTION: tables})
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _run(plan: Plan, found: card.Card | None) -> tuple[list[Table], list[str]]:
    tables: list[Table] = []
    failures: list[str] = []
    before = found.used() if found else 0
    others = found.processes() if found else set()

    def stage(name: str, work: Callable[[], list[Table]]) -> None:
        """One stage; its failure is told and the others go on."""
        print(f"== {name}", flush=True)
        if not plan.has(20.0):
            tables.append(Table(name, ("stage",), [("left out for want of time",)]))
            return
        try:
            made = work()
        except Exception as error:  # noqa: BLE001 - of any kind; it is reported
            failures.append(f"{name}: {error!r}")
            made = [Table(name, ("stage",), [(f"failed: {error!r:.300}",)])]
        tables.extend(made)
        for table in made:
            print(table.markdown(), "\n", flush=True)

    memory = (1 << 30) if plan.quick else _MEMORY
    with target(device=plan.device, memory_bytes=memory) as running:
        stage("results", lambda: results.measure(plan, running))
        stage("speed", lambda: speed.measure(plan, running))
    stage("memory limit", lambda: limits.measure(plan))
    stage("sharing", lambda: sharing.measure(plan))
    if found:
        left = found.processes() - others
        growth = found.used() - before
        tables.append(
            Table(
                "What is left on the card",
                ("processes", "memory, MiB"),
                [(len(left), growth / card.MIB)],
            )
        )
        if left or growth > _SLACK:
            failures.append(f"{len(left)} processes and {growth} bytes are left on the card")
    return tables, failures


if __name__ == "__main__":
    sys.exit(main())
