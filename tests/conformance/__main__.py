"""ONNX's backend tests on an accelerator. Run it under `ei run --accelerator TYPE --`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.report import write
from tests.conformance import report
from tests.conformance.cases import cases
from tests.conformance.run import run, sample


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--sample", type=int, help="so many cases of each kind only")
    parser.add_argument("--page", type=Path, help="the page whose tables to replace")
    arguments = parser.parse_args()
    every = cases()
    chosen = sample(every, arguments.sample) if arguments.sample else list(every)
    outcome = run(chosen, lambda text: print(f"{text} …", file=sys.stderr))  # noqa: T201 - so is this
    tables = report.tables(outcome)
    for table in tables:
        print(table.markdown(), end="\n\n", flush=True)  # noqa: T201 - a command prints
    if arguments.page is not None:
        write(arguments.page, report.about(outcome), {"conformance": tables})
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
