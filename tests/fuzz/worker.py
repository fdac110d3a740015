"""Fuzzes one target in a process of its own, guided by what its cases reach.

python -m tests.fuzz.worker TARGET --cases N --seed N --folder PATH

libFuzzer (by atheris) chooses the cases, keeps those that reach something new, and reports on
standard error; a summary goes to `summary.json` in the folder. A find ends the process with the
case in a file there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import atheris

# Of one case, in seconds.
_TIMEOUT = 60


@dataclass(slots=True)
class Summary:
    """What a run was.

    Attributes:
        cases: how many were tried.
        seconds: for all of them.
        slowest: seconds of the slowest case.
        slowest_case: that case, as hex.
    """

    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    slowest_case: str = ""


class Run:
    """The loop's body, counted and timed."""

    def __init__(self, target: Any, accelerator: Any, cases: int, folder: Path) -> None:
        self._target = target
        self._accelerator = accelerator
        self._cases = cases
        self._folder = folder
        self._summary = Summary()
        self._began = time.monotonic()
        self._peak = 0

    def try_case(self, case: bytes) -> None:
        """Called by libFuzzer, which takes whatever this raises for a find."""
        summary = self._summary
        began = time.perf_counter()
        self._target.run(case)
        took = time.perf_counter() - began
        summary.cases += 1
        if took > summary.slowest:
            summary.slowest, summary.slowest_case = took, case.hex()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if self._peak and peak - self._peak > self._target.most_memory:
            raise MemoryError(f"one case took {peak - self._peak} bytes")
        self._peak = peak
        if summary.cases % self._target.settle_every == 0:
            self._target.settle()
        if summary.cases >= self._cases:
            self._end()

    def _end(self) -> None:
        summary = self._summary
        summary.seconds = time.monotonic() - self._began
        self._target.settle()
        self._target.close()
        if self._accelerator is not None:
            self._accelerator.close()
        (self._folder / "summary.json").write_text(json.dumps(asdict(summary)), "utf-8")
        sys.stderr.flush()
        # libFuzzer itself ends when its own count is reached, without a word to Python.
        os._exit(0)


def _mutator(target: Any) -> Callable[[bytes, int, int], bytes]:
    """Half of the changes are libFuzzer's own, half know the format."""

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        if seed & 1:
            return bytes(atheris.Mutate(data, most))
        chance = random.Random(seed)  # noqa: S311 - to be repeated
        return bytes(target.mutate(chance, data)[:most])

    return mutate


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.worker")
    parser.add_argument("target")
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    with atheris.instrument_imports(include=["elastic_inference"], enable_loader_override=False):
        from tests.fuzz.registry import PARSERS, make

        accelerator = None
        if options.target not in PARSERS:
            from tests.fuzz.local import LocalAccelerator

            accelerator = LocalAccelerator()
        target = make(options.target, accelerator)
    target.settle()
    warnings.simplefilter("error")
    corpus = options.folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    run = Run(target, accelerator, options.cases, options.folder)
    arguments = [
        sys.argv[0],
        f"-seed={options.seed}",
        f"-max_len={target.max_length}",
        "-len_control=0",
        f"-timeout={_TIMEOUT}",
        "-rss_limit_mb=4096",
        "-detect_leaks=0",
        "-use_value_profile=1",
        f"-artifact_prefix={options.folder}/find-",
        str(corpus),
    ]
    atheris.Setup(arguments, run.try_case, custom_mutator=_mutator(target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
