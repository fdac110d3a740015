"""Models that answer first and are prepared afterwards."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.errors import AcceleratorOutOfMemoryError
from tests.accelerator import graphs
from tests.accelerator.engines import bits, engine, local, place
from tests.accelerator.test_memory import Meter, Model
from tests.accelerator.test_models import Pool
from tests.processes import AcceleratorProcess

__all__ = ["engine"]

# Just large enough to be prepared afterwards.
SIZE = 1500
LARGE = graphs.linear(SIZE, SIZE)
X = {"x": np.random.default_rng(1).standard_normal((3, SIZE), np.float32)}
LONG = 100.0


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    made.start()
    yield made
    assert made.models.settled(LONG)
    made.journal.close()


class Gate:
    """Holds preparations back, where they would write the prepared model."""

    def __init__(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        write = engine._write

        def held(*arguments: Any) -> Any:
            self.reached.set()
            assert self.go.wait(LONG)
            return write(*arguments)

        monkeypatch.setattr(engine, "_write", held)


@pytest.fixture
def gate(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(pool.engine, monkeypatch)
    yield made
    made.go.set()


def caches(pool: Pool) -> list[str]:
    return [path.name for path in (pool.directory / "store" / "caches").iterdir()]


def infer(pool: Pool, handle: str) -> Any:
    return pool.models.get(handle).run("k", X)[0]


def test_a_first_load_answers_before_the_model_is_prepared(pool: Pool, gate: Gate) -> None:
    expected = bits(local(LARGE).run(None, X)[0])
    loaded = pool.load(LARGE)
    model = pool.models.get(loaded.handle).model
    assert gate.reached.wait(LONG)
    assert (loaded.source, model.mapped_bytes, pool.models.preparing) == ("direct", 0, 1)
    assert bits(infer(pool, loaded.handle)) == expected
    gate.go.set()
    assert pool.models.settled(LONG)
    assert pool.models.preparing == 0
    assert model.mapped_bytes > SIZE * SIZE * 4
    assert bits(infer(pool, loaded.handle)) == expected
    pool.models.unload(loaded.handle, "c1")
    again = pool.load(LARGE)
    assert again.source == "cache"
    assert bits(infer(pool, again.handle)) == expected


def test_calls_go_on_while_the_model_changes_its_form(pool: Pool, gate: Gate) -> None:
    expected = bits(local(LARGE).run(None, X)[0])
    handle = pool.load(LARGE).handle
    stop = threading.Event()
    wrong: list[Any] = []
    counts = [0, 0]

    def work(index: int) -> None:
        while not stop.is_set():
            if bits(infer(pool, handle)) != expected:
                wrong.append(index)
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    gate.go.set()
    assert pool.models.settled(LONG)
    seen = sum(counts)
    while sum(counts) < seen + 4:
        threads[0].join(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "data",
    [graphs.linear(SIZE, SIZE), graphs.linear(1501, 1501), graphs.network()],
    ids=["linear", "odd", "network"],
)
def test_the_final_form_gives_the_same_bits(
    engine: OnnxRuntimeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr("elastic_inference.accelerator.engines.onnxruntime.DEFER_LEAST", 1)
    model = engine.load(place(tmp_path, "m", data), LoadOptions(), defer=True)
    assert model.unfinished
    rng = np.random.default_rng(3)
    feeds = {
        spec.name: rng.standard_normal(
            [size if size > 0 else 2 for size in spec.shape or ()], np.float32
        )
        for spec in model.inputs
    }
    before = [bits(value) for value in model.run(feeds)]
    model.finish()
    assert not model.unfinished
    assert [bits(value) for value in model.run(feeds)] == before
    assert before == [bits(value) for value in local(data).run(None, feeds)]
    model.close()


def test_external_data_is_prepared_afterwards_too(
    engine: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        onnx.load_from_string(LARGE),
        str(folder / "main.onnx"),
        save_as_external_data=True,
        location="weights.bin",
    )
    files = ModelFiles("m", folder, "main.onnx", tmp_path / "caches" / "m", len(LARGE))
    model = engine.load(files, LoadOptions(), defer=True)
    expected = bits(local(LARGE).run(None, X)[0])
    assert bits(model.run(X)[0]) == expected
    model.finish()
    assert bits(model.run(X)[0]) == expected
    model.close()
    again = engine.load(files, LoadOptions())
    assert again.source == "cache"
    again.close()


def test_what_is_unloaded_meanwhile_is_prepared_for_later_loads(pool: Pool, gate: Gate) -> None:
    handle = pool.load(LARGE).handle
    assert gate.reached.wait(LONG)
    pool.models.unload(handle, "c1")
    assert len(pool.models) == 0
    gate.go.set()
    assert pool.models.settled(LONG)
    assert list((pool.directory / "store" / "models").iterdir()) == []
    assert pool.load(LARGE).source == "cache"


CYCLES = """
import sys
from pathlib import Path
import numpy as np
from elastic_inference.accelerator import heap
heap.configure()
from tests.accelerator import graphs
from tests.accelerator.test_models import Pool

pool = Pool(Path(sys.argv[1]))
models = pool.start()
for seed in range(8):
    handle = pool.load(graphs.linear(2000, 2000, seed=seed)).handle
    models.get(handle).run("k", {"x": np.ones((1, 2000), np.float32)})
    if seed % 2:
        assert models.settled(100.0)
    models.unload(handle, "c1")
    assert models.settled(100.0)
    print(pool.account.used() >> 20)
"""


def test_memory_comes_back_however_a_preparation_met_the_end_of_its_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CYCLES, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])},
        capture_output=True,
        text=True,
        check=True,
    )
    levels = [int(line) for line in done.stdout.split()]
    assert len(levels) == 8
    assert max(levels[2:]) <= max(levels[:2]) + 3
    assert max(levels) < 16


def test_a_load_that_comes_meanwhile_finds_what_was_prepared(pool: Pool, gate: Gate) -> None:
    handle = pool.load(LARGE).handle
    assert gate.reached.wait(LONG)
    pool.models.unload(handle, "c1")
    sources: list[str] = []
    thread = threading.Thread(target=lambda: sources.append(pool.load(LARGE).source))
    thread.start()
    gate.go.set()
    thread.join()
    assert sources == ["cache"]
    assert len(caches(pool)) == 1


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), MemoryError()])
def test_a_preparation_that_fails_costs_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: Any) -> Any:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr("elastic_inference.accelerator.engines._prepared.keep", fail)
        handle = pool.load(LARGE).handle
        assert pool.models.settled(LONG)
    assert bits(infer(pool, handle)) == bits(local(LARGE).run(None, X)[0])
    assert caches(pool) == []
    pool.models.unload(handle, "c1")
    assert pool.load(LARGE).source == "direct"


def test_where_there_is_little_room_the_model_is_prepared_first(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool.account, "room", lambda: 3 * len(LARGE))
    assert pool.load(LARGE).source == "prepared"
    assert pool.models.preparing == 0


def test_nothing_is_begun_once_the_process_ends(pool: Pool, gate: Gate) -> None:
    first = pool.load(LARGE)
    assert gate.reached.wait(LONG)
    loads = threading.Thread(target=lambda: pool.load(graphs.linear(SIZE, SIZE, seed=5)))
    gate.go.set()
    loads.start()
    loads.join()
    pool.models.stop_preparing()
    assert pool.models.settled(LONG)
    assert all(model.attempts == 0 for model in pool.journal.models())
    assert bits(infer(pool, first.handle)) == bits(local(LARGE).run(None, X)[0])


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from tests.accelerator.test_models import Pool
from tests.accelerator.test_preparation import LARGE, LONG
from elastic_inference.accelerator.engines import _prepared

pool = Pool(Path(sys.argv[1]))
models = pool.start()
loaded = threading.Event()

def die(*_):
    loaded.wait()
    os.kill(os.getpid(), signal.SIGKILL)

_prepared.keep = die
if sys.argv[2] == "restore":
    models.restore()
else:
    pool.load(LARGE)
loaded.set()
models.settled(LONG)
print(models.index()[0]["state"])
"""


def test_a_model_whose_preparation_ends_the_process_is_loaded_without_it(tmp_path: Path) -> None:
    def run(how: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), how],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("load").returncode == -signal.SIGKILL
    (left,) = (tmp_path / "store" / "caches").iterdir()
    assert left.name.startswith(".new-")
    restored = run("restore")
    assert (restored.returncode, restored.stdout.strip()) == (0, "READY")
    assert list((tmp_path / "store" / "caches").iterdir()) == []
    pool = Pool(tmp_path)
    pool.start().restore()
    assert pool.models.settled(LONG)
    assert pool.models.index()[0]["state"] == "READY"
    assert len(caches(pool)) == 1
    pool.journal.close()


def test_a_process_that_is_told_to_end_meanwhile_ends_cleanly(
    start_accelerator: Callable[..., AcceleratorProcess], tmp_path: Path
) -> None:
    process = start_accelerator(tmp_path)
    parameters = {"file:1/model.onnx": _base64(graphs.linear(3000, 3000))}
    status, _, body = process.request(
        "POST", "/v2/repository/models/net/load", {"parameters": parameters}
    )
    assert status == 200, body
    assert process.terminate() == 0
    names = [path.name for path in (tmp_path / "store" / "caches").iterdir()]
    assert [name for name in names if name.startswith(".")] == []


def test_an_accelerator_tells_how_much_it_prepares(
    start_accelerator: Callable[..., AcceleratorProcess],
) -> None:
    _, _, body = start_accelerator().request("GET", "/v2/elastic-inference/accelerator")
    assert json.loads(body)["preparing"] == 0


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Unfinished(Model):
    """A model that takes `final` instead of `loaded` once it is finished."""

    def __init__(self, meter: Meter, loaded: int, final: int) -> None:
        super().__init__(meter)
        self.unfinished = True
        self.meter.value = self.loaded = loaded
        self.final = final

    def finish(self) -> None:
        self.meter.value -= self.loaded - self.final
        self.unfinished = False

    def run(self, feeds: Any, outputs: Any = None) -> Any:
        held = self.final if not self.unfinished else self.loaded
        self.meter.value = held + self.needs
        return [feeds, outputs]


def test_a_call_that_would_be_refused_waits_for_the_smaller_form() -> None:
    meter = Meter()
    account = MemoryAccount(100, lambda: None, reader=meter)
    model = Unfinished(meter, loaded=80, final=20)
    guarded = account.load(1, lambda: model)
    model.needs = 50
    assert guarded.run("a", {}) == [{}, None]
    assert not model.unfinished
    model.needs = 90
    with pytest.raises(AcceleratorOutOfMemoryError):
        guarded.run("b", {})


def test_a_load_that_would_be_refused_waits_for_the_smaller_form() -> None:
    meter = Meter()
    account = MemoryAccount(100, lambda: None, reader=meter)
    model = Unfinished(meter, loaded=80, final=20)
    account.load(1, lambda: model)
    account.load(70, lambda: Model(meter))
    assert not model.unfinished
    with pytest.raises(AcceleratorOutOfMemoryError):
        account.load(90, lambda: Model(meter))


def test_a_call_under_way_is_awaited_by_nobody_and_its_memory_comes_back() -> None:
    meter = Meter()
    trims: list[int] = []
    account = MemoryAccount(100, lambda: trims.append(1), reader=meter)
    model = Unfinished(meter, loaded=80, final=20)
    guarded = account.load(1, lambda: model)
    account.finish(guarded)
    del trims[:]
    account.settle()
    assert len(trims) == 1
    account.settle()
    assert len(trims) == 1


BACKSTOP = """
import json, resource, sys
from elastic_inference.accelerator.memory import MemoryAccount
from tests.accelerator.test_memory import Meter, Model

def room():
    with open("/proc/self/statm") as file:
        data = int(file.read().split()[5]) * resource.getpagesize()
    return (resource.getrlimit(resource.RLIMIT_DATA)[0] - data) >> 20

account = MemoryAccount(512 << 20, lambda: None, reader=Meter(), backstop=True)
out = {"idle": room()}

def loader():
    out["loading"] = room()
    return Model(Meter())

model = account.load(1, loader)
out["loaded"] = room()
account.unload(model)
out["unloaded"] = room()
print(json.dumps(out))
"""


def test_address_space_for_passing_peaks_is_there_only_while_a_model_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BACKSTOP],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])},
        capture_output=True,
        text=True,
        check=True,
    )
    out = json.loads(done.stdout)
    assert 760 <= out["idle"] <= 768
    assert 1272 <= out["loading"] <= 1280
    assert 760 <= out["loaded"] <= 768
    assert 760 <= out["unloaded"] <= 768
