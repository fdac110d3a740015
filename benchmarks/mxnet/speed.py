"""ResNets by Symbol and Module beside real MXNet on the same cores, in turns; and translation."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Settings
from benchmarks.mxnet.networks import OF_GLUON, SHAPE, TITLES, prefix
from benchmarks.report import Table, verdict
from benchmarks.tensorflow.running import Worker, settings, under_ei_run

_ROOT = Path(__file__).parents[2]
_MXNET = _ROOT / ".oracle" / "bin" / "python"
_WORKER = "benchmarks.mxnet.model_worker"
_WAYS = {"symbol": "Symbol", "module": "Module"}
_NETWORKS = ("resnet-50", "resnet-152")
_TOLERANCE = 1e-4
_COLUMNS = (
    "network, batch 1", "by", "MXNet, ms", "ours, ms", "ratio", "bar of the ratio",
    "relative error",
)  # fmt: skip
# The network, and the bar of its translation in seconds.
_TRANSLATED = (("resnet-50", 1.0), ("vgg-16", 5.0))
_PEAK_BAR = 1.2
_TRANSLATION = (
    "network", "weights, MB", "translation, s", "bar, s", "peak, GB", "bar, GB",
    "then the first result, s", "peak with it, GB",
)  # fmt: skip


def measure(asked: Settings) -> list[Table]:
    """One table of latencies and one of translations."""
    return [_latencies(asked), _translations(asked)]


def _mxnet() -> str | None:
    """The Python that has MXNet, or None after saying how to get one."""
    if _MXNET.exists():
        done = subprocess.run(
            [str(_MXNET), "-c", "import benchmarks.mxnet.real"],
            cwd=_ROOT, capture_output=True, check=False,
        )  # fmt: skip
        if not done.returncode:
            return str(_MXNET)
    print("Without MXNet beside: `make oracle` makes its environment.", flush=True)
    return None


def _latencies(asked: Settings) -> Table:
    mxnet = _mxnet()
    folder = Path(asked.directory) / "mxnet"
    names = _NETWORKS[:1] if asked.quick else (*_NETWORKS, *(OF_GLUON if mxnet else ()))
    rows: list[tuple[object, ...]] = []
    version = ""
    for name in names:
        path = prefix(name, folder, mxnet)
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(_ours(Path(asked.directory) / "cache"))]
            if mxnet:
                sides.append(stack.enter_context(_theirs(mxnet, folder)))
            versions = [
                side.ask(do="open", prefix=str(path), shape=SHAPE)["version"] for side in sides
            ]
            version = versions[-1]
            errors = {way: _error(way, sides, folder) for way in _WAYS}
            medians = _in_turns(sides, asked)
        for way, title in _WAYS.items():
            ours, theirs = medians[way][0], medians[way][1] if mxnet else None
            ratio = ours / theirs if theirs else None
            bar = verdict(ratio, 1.0) if ratio else "-"
            rows.append((TITLES[name], title, theirs, ours, ratio, bar, errors[way]))
    beside = f"MXNet {version}" if mxnet else "MXNet (not measured: `make oracle` was not run)"
    return Table(
        f"On an accelerator, beside {beside} on the same cores",
        _COLUMNS,
        rows,
        "From a picture in an array to the scores in one. The outputs were compared first, and "
        f"may differ by {_TOLERANCE:g} of the largest.",
    )


@contextlib.contextmanager
def _ours(cache: Path) -> Iterator[Worker]:
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as home:
        words = under_ei_run(sys.executable, "-m", _WORKER, "eia")
        with contextlib.closing(Worker(words, Path(home), cache)) as made:
            yield made


@contextlib.contextmanager
def _theirs(mxnet: str, folder: Path) -> Iterator[Worker]:
    with contextlib.closing(Worker([mxnet, "-m", _WORKER, "real"], folder, folder)) as made:
        yield made


def _error(way: str, sides: list[Worker], folder: Path) -> float | None:
    """The largest difference of the outputs, relative to the largest; None with one side.

    Raises:
        RuntimeError: it is too large for a comparison of times to mean anything.
    """
    outputs = []
    for number, side in enumerate(sides):
        path = folder / f"{number}.npy"
        side.ask(do="save", way=way, path=str(path))
        outputs.append(np.load(path).astype(np.float64))
    if len(outputs) == 1:
        return None
    ours, theirs = outputs
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not error <= _TOLERANCE:
        raise RuntimeError(f"outputs by {way} differ from MXNet's: relative error {error:.1e}")
    return error


def _in_turns(sides: list[Worker], asked: Settings) -> dict[str, list[float]]:
    """For each way the medians of each side, over rounds of medians, in milliseconds."""
    seconds = 0.3 if asked.quick else 2.0
    found: dict[str, list[list[float]]] = {way: [[] for _ in sides] for way in _WAYS}
    for _ in range(asked.rounds):
        for way, medians in found.items():
            for side, times in zip(sides, medians, strict=True):
                told = side.ask(do="drive", way=way, seconds=seconds)["ms"]
                times.append(statistics.median(told))
    return {way: [statistics.median(each) for each in medians] for way, medians in found.items()}


def _translations(asked: Settings) -> Table:
    folder = Path(asked.directory) / "mxnet"
    rows = []
    for name, bar in _TRANSLATED[:1] if asked.quick else _TRANSLATED:
        path = prefix(name, folder, None)
        size = path.with_name(f"{name}-0000.params").stat().st_size / 1e6
        alone = [_translate(path, "cpu", asked) for _ in range(asked.rounds)]
        run = [_translate(path, "eia", asked) for _ in range(asked.rounds)]
        seconds = statistics.median(each["translated"] for each in alone)
        peak = max(each["peak"] for each in alone) / 1e9
        first = statistics.median(each["first"] for each in run)
        whole = max(each["peak"] for each in run) / 1e9
        rows.append(
            (TITLES[name], size, seconds, verdict(seconds, bar), peak, verdict(peak, _PEAK_BAR),
             first, whole)
        )  # fmt: skip
    return Table(
        "Translation: from the files to a bound symbol",
        _TRANSLATION,
        rows,
        "Each in a fresh process, whose memory is counted from its start. The first result brings "
        "the network to a new accelerator.",
    )


def _translate(path: Path, kind: str, asked: Settings) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.mxnet.translation", str(path), kind]
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as home:
        done = subprocess.run(
            under_ei_run(*words) if kind == "eia" else words,
            cwd=_ROOT,
            env=settings(Path(home), Path(asked.directory) / "cache"),
            capture_output=True,
            text=True,
            check=True,
        )
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told
