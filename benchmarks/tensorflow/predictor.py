"""EIPredictor on an accelerator beside TensorFlow alone, on the same cores, in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Settings
from benchmarks.report import Table, verdict
from benchmarks.tensorflow.models import TITLES, write
from benchmarks.tensorflow.running import Worker, settings, under_ei_run, worker

_MODELS = ("mobilenet_v2", "resnet50", "inception_v3", "ssd")
_WORKER = "benchmarks.tensorflow.predictor_worker"
_COLUMNS = ("model, batch 1", "TensorFlow, ms", "EIPredictor, ms", "ratio", "bar of the ratio")
_START_BAR = 1.0
_CACHED = """
import sys, time
begun = time.perf_counter()
from elastic_inference.tensorflow import EIPredictor
EIPredictor(sys.argv[1])
print("", time.perf_counter() - begun, int("tensorflow" in sys.modules), sep=",")
"""


def measure(asked: Settings) -> list[Table]:
    """One table of latencies and one of starts."""
    models = Path(asked.directory) / "tensorflow"
    cache = Path(asked.directory) / "cache"
    names = _MODELS[:1] if asked.quick else _MODELS
    rows = []
    starts = []
    for name in names:
        path = write(name, models)
        with (
            worker(cache, _WORKER, attached=False) as alone,
            worker(cache, _WORKER, attached=True) as attached,
        ):
            local = alone.ask(do="open", model=name, path=str(path), use_ei=False)
            first = attached.ask(do="open", model=name, path=str(path), use_ei=True)
            theirs, ours = _in_turns(alone, attached, asked)
        rows.append((TITLES[name], theirs, ours, ours / theirs, verdict(ours / theirs, 1.0)))
        starts.append(_starts(name, path, cache, local["seconds"], first["seconds"], asked))
    columns = (
        "model",
        "TensorFlow, s",
        "first start, s",
        "second start, s",
        "bar, s",
        "TensorFlow",
    )
    return [
        Table("EIPredictor beside TensorFlow alone, on the same cores", _COLUMNS, rows),
        Table(
            "Starts of a predictor; the first one converts the model",
            columns,
            starts,
            "The last column says whether a second start loads TensorFlow.",
        ),
    ]


def _in_turns(alone: Worker, attached: Worker, asked: Settings) -> tuple[float, float]:
    """The medians over rounds of each one's median, in milliseconds."""
    seconds = 0.3 if asked.quick else 2.0
    theirs, ours = [], []
    for _ in range(asked.rounds):
        theirs.append(statistics.median(alone.ask(do="drive", seconds=seconds)["ms"]))
        ours.append(statistics.median(attached.ask(do="drive", seconds=seconds)["ms"]))
    return statistics.median(theirs), statistics.median(ours)


def _starts(
    name: str, path: Path, cache: Path, local: float, first: float, asked: Settings
) -> tuple[object, ...]:
    """A row: how long a predictor takes to be there, with and without its plan in the cache."""
    code = (
        f"for _ in range({2 if asked.quick else 5}): __import__('subprocess').run("
        + json.dumps([sys.executable, "-c", _CACHED, str(path)])
        + ", check=True)"
    )
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as home:
        done = subprocess.run(
            under_ei_run(sys.executable, "-c", code),
            env=settings(Path(home), cache),
            capture_output=True,
            text=True,
            check=True,
        )
    told = [line.split(",") for line in done.stdout.splitlines() if line.startswith(",")]
    # The first of them brings the model to the new pool's accelerator, as any first use does.
    again = statistics.median(float(seconds) for _, seconds, _ in told[1:])
    loads = "loaded" if any(flag != "0" for *_, flag in told) else "not loaded"
    return TITLES[name], local, first, again, verdict(again, _START_BAR), loads
