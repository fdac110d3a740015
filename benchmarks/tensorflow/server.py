"""The model server beside TensorFlow behind grpcio, and TensorFlow Serving where it is there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Settings
from benchmarks.report import Table
from benchmarks.tensorflow.models import TITLES, feeds, write
from benchmarks.tensorflow.running import Worker, settings, under_ei_run

_MODELS = ("small", "mobilenet_v2", "resnet50")
_AT_ONCE = (1, 8)
_OURS, _PEER, _SERVING = "ours", "TensorFlow behind grpcio", "tensorflow_model_server"
_COLUMNS = (
    "model", "server", "at once", "requests/s", "p50, ms", "p99, ms",
    "requests/s: ours", "p99: ours",
)  # fmt: skip
_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class _Figure:
    rate: float
    p50: float
    p99: float


def measure(asked: Settings) -> list[Table]:
    """One table; each round drives every server once with so many requests at a time."""
    names = _MODELS[:1] if asked.quick else _MODELS
    rows: list[tuple[object, ...]] = []
    for name in names:
        rows += _measure_model(name, asked)
    note = (
        "The bar: more requests a second and a lower p99 than TensorFlow behind grpcio. "
        f"{_SERVING} takes part where it is on PATH."
    )
    return [Table("The model server, Predict over gRPC", _COLUMNS, rows, note)]


def _measure_model(name: str, asked: Settings) -> Iterator[tuple[object, ...]]:
    folder = Path(asked.directory) / "served" / name
    model = write(name, Path(asked.directory) / "tensorflow")
    shutil.copytree(model, folder / "1")
    request = Path(asked.directory) / f"{name}.request"
    request.write_bytes(_request(name))
    figures: dict[tuple[str, int], list[_Figure]] = {}
    with contextlib.ExitStack() as stack:
        addresses = {
            _OURS: stack.enter_context(_ours(folder, Path(asked.directory) / "cache")),
            _PEER: stack.enter_context(_peer(folder / "1")),
        }
        if shutil.which(_SERVING):
            addresses[_SERVING] = stack.enter_context(_serving(folder))
        load = Worker([sys.executable, "-m", "benchmarks.tensorflow.server_load"], folder, folder)
        stack.callback(load.close)
        for _ in range(asked.rounds):
            for at_once in _AT_ONCE:
                for server, address in addresses.items():
                    figure = _drive(load, address, request, at_once, 0.3 if asked.quick else 3.0)
                    figures.setdefault((server, at_once), []).append(figure)
    for at_once in _AT_ONCE:
        ours = _median(figures[_OURS, at_once])
        for server in addresses:
            it = _median(figures[server, at_once])
            ratios: tuple[str, str] = ("-", "-")
            if server != _OURS:
                ratios = (_times(it.rate / ours.rate), _times(ours.p99 / it.p99))
            yield (TITLES[name], server, at_once, it.rate, it.p50, it.p99, *ratios)


def _times(cost: float) -> str:
    """How many times better than the other the project is, where it costs that share of it."""
    return f"{1 / cost:.3g} times better (1: {'reached' if cost <= 1 else 'missed'})"


def _median(figures: Sequence[_Figure]) -> _Figure:
    return _Figure(
        statistics.median(each.rate for each in figures),
        statistics.median(each.p50 for each in figures),
        statistics.median(each.p99 for each in figures),
    )


def _drive(load: Worker, address: str, request: Path, at_once: int, seconds: float) -> _Figure:
    answer = load.ask(
        do="drive", address=address, file=str(request), at_once=at_once, seconds=seconds
    )
    times = sorted(answer["ms"])
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    return _Figure(len(times) / answer["seconds"], statistics.median(times), p99)


def _request(name: str) -> bytes:
    """A PredictRequest as TensorFlow's own client makes it."""
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    for key, value in feeds(name).items():
        array = np.asarray(value)
        proto = request.inputs[key]
        proto.dtype = {"float32": 1, "uint8": 4, "int32": 3, "int64": 9}[array.dtype.name]
        for size in array.shape:
            proto.tensor_shape.dim.add().size = size
        proto.tensor_content = array.tobytes()
    made: bytes = request.SerializeToString()
    return made


@contextlib.contextmanager
def _ours(folder: Path, cache: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as home:
        port = _free_port()
        words = [
            str(Path(sys.executable).parent / "amazonei_tensorflow_model_server"),
            *(f"--port={port}", "--model_name=model", f"--model_base_path={folder}"),
        ]
        with _running(under_ei_run(*words), settings(Path(home), cache)):
            yield _wait(f"127.0.0.1:{port}")


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    port = _free_port()
    words = [_SERVING, f"--port={port}", "--model_name=model", f"--model_base_path={folder}"]
    with _running(words, dict(os.environ)):
        yield _wait(f"127.0.0.1:{port}")


@contextlib.contextmanager
def _peer(folder: Path) -> Iterator[str]:
    words = [sys.executable, "-m", "benchmarks.tensorflow.grpcio_peer", str(folder)]
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = re.sub(r"\D", "", process.stdout.readline())
            yield _wait(f"127.0.0.1:{port}")
        finally:
            process.stdin.close()
            process.wait(60.0)


@contextlib.contextmanager
def _running(words: Sequence[str], env: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(
        words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(60.0)


def _wait(address: str) -> str:
    """`address`, when it answers; models are converted before it does."""
    host, _, port = address.partition(":")
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return address


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
