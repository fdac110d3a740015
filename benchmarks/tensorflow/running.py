"""Processes under `ei run` with an accelerator that has all of the machine's threads."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.link import environment

# As many TFLOPS as the machine is said to have: the accelerator gets all threads.
TYPE, TFLOPS = "eia1.xlarge", "4"
_ROOT = Path(__file__).parent.parent.parent
_PATIENCE = 600.0


class Worker:
    """A process that answers each JSON line by one."""

    def __init__(self, words: Sequence[str], home: Path, cache: Path) -> None:
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=_ROOT,
            env=settings(home, cache),
        )

    def ask(self, **message: Any) -> dict[str, Any]:
        """What it answers to `message`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self._process.args))} ended")  # type: ignore[arg-type]  # a list of words
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()


def settings(home: Path, cache: Path) -> dict[str, str]:
    """The environment of a process whose pool lies in `home`."""
    return environment(
        {
            "EI_HOME": str(home),
            "EI_BANNER": "off",
            "EI_VIRTUAL_TFLOPS": TFLOPS,
            "XDG_CACHE_HOME": str(cache),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
    )


def under_ei_run(*words: str) -> list[str]:
    """`words` with an accelerator attached."""
    return [
        *(sys.executable, "-m", "elastic_inference.cli", "run", "--quiet"),
        *("--accelerator", TYPE, "--", *words),
    ]


@contextlib.contextmanager
def worker(cache: Path, module: str, *, attached: bool) -> Iterator[Worker]:
    """`python -m module`, with an accelerator of its own pool if it is `attached`."""
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as home:
        words = [sys.executable, "-m", module]
        made = Worker(under_ei_run(*words) if attached else words, Path(home), cache)
        try:
            yield made
        finally:
            made.close()


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
