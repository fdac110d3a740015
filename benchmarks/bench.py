"""Measure the project against the floor, in turns, and write docs/performance.md.

    python -m benchmarks.bench [--only SECTION,…] [--quick] [--output FILE] [--json FILE]

A ratio is between medians over rounds in which every contender was measured once, so the
machine's mood cancels. A bar that is missed is shown as missed; it does not fail the command.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import attach, control, latency, memory, metrics, shared, startup
from benchmarks.harness import Settings, build_floor
from benchmarks.mxnet import speed
from benchmarks.report import Table, machine, write
from benchmarks.tensorflow import predictor, server

Section = Callable[[Settings], list[Table]]

SECTIONS: Mapping[str, Section] = {
    "latency": latency.measure,
    "shared": shared.measure,
    "attach": attach.measure,
    "memory": memory.measure,
    "startup": startup.measure,
    "control": control.measure,
    "metrics": metrics.measure,
    "predictor": predictor.measure,
    "server": server.measure,
    "mxnet": speed.measure,
}
DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"


def main() -> int:
    """Run the chosen sections; the exit status is 0 unless one could not be measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--only", default=",".join(SECTIONS), help=f"sections, of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--quick", action="store_true", help="short runs: the figures mean little")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the Markdown to write into")
    parser.add_argument("--json", type=Path, default=None, help="a file for every figure")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(SECTIONS):
        parser.error(f"unknown section {min(unknown)!r}; there are {', '.join(SECTIONS)}")

    results: dict[str, list[Table]] = {}
    with tempfile.TemporaryDirectory(prefix="ei-bench-") as directory:
        settings = Settings.of(Path(directory), build_floor(Path(directory)), quick=arguments.quick)
        for name in names:
            print(f"== {name}", flush=True)
            results[name] = SECTIONS[name](settings)
            for table in results[name]:
                print(table.markdown(), "\n", flush=True)
    about = machine()
    if arguments.json is not None:
        document = {
            "machine": about,
            "sections": {
                name: [table.to_dict() for table in tables] for name, tables in results.items()
            },
        }
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    if not arguments.quick or arguments.output != DOCUMENT:
        write(arguments.output, about, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
