"""Fuzzes everything that reads bytes from outside, and prints what was done.

make fuzz
FUZZ_TARGET=connections,loads FUZZ_CASES=50000 FUZZ_SEED=7 make fuzz
python -m tests.fuzz --repeat TARGET FILE      tries one case again

Each target has a process of its own, in which its cases are guided by what they reach. What they
found to be of interest is tried thousands of times more to see whether memory grows, and said to
an accelerator process at the end. Cases that fail are
kept in the folder for temporary files, and nothing else is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.real import RealAccelerator
from tests.fuzz.registry import ON_ACCELERATOR, PARSERS, TARGETS, make

_MILLION = 1_000_000
_COVERAGE = re.compile(r"cov: (\d+) .*?corp: (\d+)/")
_WIDTHS = (13, 10, 9, 15, 8, 15, 12)
_TITLES = ("target", "cases", "cases/s", "edges", "corpus", "memory MiB", "slowest ms")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one target.

    Attributes:
        find: the case that failed, or None.
    """

    cases: int
    find: Path | None


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--repeat", nargs=2, metavar=("TARGET", "FILE"))
    options = parser.parse_args()
    if options.repeat:
        _repeat(*options.repeat)
        return 0
    wanted = [name for name in os.environ.get("FUZZ_TARGET", "").split(",") if name]
    if unknown := set(wanted) - set(TARGETS):
        print(f"Unknown FUZZ_TARGET {min(unknown)!r}; there are: {', '.join(TARGETS)}.")
        return 2
    seed = int(os.environ.get("FUZZ_SEED") or time.time()) & 0x7FFFFFFF
    counts = _counts(wanted or list(TARGETS), int(os.environ.get("FUZZ_CASES") or _MILLION))
    print(f"FUZZ_SEED={seed} FUZZ_CASES={sum(counts.values())}", flush=True)
    with tempfile.TemporaryDirectory("-ei-fuzz") as folder:
        return _run_all(counts, seed, Path(folder))


def _counts(names: list[str], cases: int) -> dict[str, int]:
    """How many cases each target has."""
    shares = {name: TARGETS[name].cases for name in names}
    together = sum(shares.values())
    return {name: -(-cases * share // together) for name, share in shares.items()}


def _run_all(counts: dict[str, int], seed: int, folder: Path) -> int:
    began = time.monotonic()
    _row(_TITLES)
    outcomes = {name: _run(name, cases, seed, folder / name) for name, cases in counts.items()}
    total = sum(outcome.cases for outcome in outcomes.values())
    print(f"{total} cases in {time.monotonic() - began:.0f} s", flush=True)
    finds = [outcome.find for outcome in outcomes.values() if outcome.find is not None]
    said = {name: folder / name / "corpus" for name in counts if name in ON_ACCELERATOR}
    if said and not finds:
        _replay(said)
    for find in finds:
        print(f"FOUND {find}")
    print("no crash, no hang, no leak, no foreign answer" if not finds else "FAILED")
    return bool(finds)


def _row(cells: tuple[Any, ...]) -> None:
    first, *rest = (str(cell) for cell in cells)
    widths = _WIDTHS[1:]
    print(first.ljust(_WIDTHS[0]), *map(str.rjust, rest, widths), flush=True)


def _run(name: str, cases: int, seed: int, folder: Path) -> Outcome:
    folder.mkdir()
    log = folder / "log"
    # What a process that dies leaves behind goes with the folder.
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with log.open("wb") as output:
        status = subprocess.call(
            [
                *(sys.executable, "-m", "tests.fuzz.worker", name, "--cases", str(cases)),
                *("--seed", str(seed), "--folder", str(folder)),
            ],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    text = log.read_text("utf-8", "replace")
    summary = folder / "summary.json"
    if status or not summary.exists():
        return _failed(name, folder, text)
    leaks = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.leaks", name, str(folder / "corpus")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if leaks.returncode:
        return _failed(name, folder, leaks.stdout + leaks.stderr)
    said = json.loads(summary.read_text("utf-8"))
    coverage = _COVERAGE.findall(text)
    first, last = coverage[0], coverage[-1]
    _row(
        (
            name, said["cases"], f"{said['cases'] / said['seconds']:.0f}",
            f"{first[0]} > {last[0]}", last[1],
            leaks.stdout.strip(),
            f"{said['slowest'] * 1000:.0f}",
        )
    )  # fmt: skip
    return Outcome(said["cases"], None)


def _failed(name: str, folder: Path, text: str) -> Outcome:
    """Keep the case that failed, and say what is known of it."""
    lines = [line for line in text.splitlines() if "cov: " not in line and "INFO: " not in line]
    print(f"{name}: FAILED", *(line[:2000] for line in lines[-60:]), sep="\n")
    kept = Path(tempfile.gettempdir(), f"ei-fuzz-find-{name}-{os.getpid()}")
    found = sorted(folder.glob("find-*"))
    if found:
        shutil.copy(found[0], kept)
        print(f"Again: {sys.executable} -m tests.fuzz --repeat {name} {kept}", flush=True)
    else:
        kept.write_text(text, "utf-8")
    return Outcome(0, kept)


def _replay(corpora: dict[str, Path]) -> None:
    """Say to a real accelerator process what was of interest to the one that was watched."""
    accelerator = RealAccelerator()
    cases = 0
    try:
        for name, corpus in corpora.items():
            target = make(name, accelerator)
            target.settle()
            for path in sorted(corpus.iterdir()):
                target.run(path.read_bytes())
                cases += 1
            target.settle()
            target.close()
    finally:
        accelerator.close()
    print(f"{cases} of them again on an accelerator process", flush=True)


def _repeat(name: str, file: str) -> None:
    accelerator = None
    if name not in PARSERS:
        from tests.fuzz.local import LocalAccelerator

        accelerator = LocalAccelerator()
    target = make(name, accelerator)
    target.settle()
    target.run(Path(file).read_bytes())
    target.settle()
    target.close()
    if accelerator is not None:
        accelerator.close()
    print("nothing wrong")


if __name__ == "__main__":
    sys.exit(main())
