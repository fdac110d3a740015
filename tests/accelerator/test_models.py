"""Which models are loaded, for whom, and what is left after a crash."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.accelerator.engines.base import LoadOptions
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.accelerator.journal import Journal, JournalModel
from elastic_inference.accelerator.memory import MemoryAccount
from elastic_inference.accelerator.models import ModelRegistry, handle_of
from elastic_inference.accelerator.store import BlobStore
from elastic_inference.errors import (
    InvalidRequestError,
    LimitExceededError,
    ModelFormatError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.settings import Limits
from tests.accelerator import graphs

X = {"x": np.ones((1, 16), np.float32)}
LINEAR = graphs.linear()


def infer(entry: Any) -> Any:
    """The first output for `X`."""
    return entry.run("k", X)[0]


@dataclass
class Pool:
    """A registry with all that it stands on; `start` again for a restart."""

    directory: Path
    limits: Limits = field(default_factory=Limits)
    now: float = 0.0
    engine: Any = None  # tests replace its `load`

    def start(self) -> ModelRegistry:
        self.engine = OnnxRuntimeEngine("cpu", 1 << 30, 1)
        self.store = BlobStore(self.directory / "store", self.limits)
        self.journal = Journal(self.directory / "journal.sqlite")
        self.account = MemoryAccount(1 << 30, self.engine.trim)
        self.models = ModelRegistry(
            self.engine, self.account, self.store, self.journal, self.limits, lambda: self.now
        )
        return self.models

    def load(self, data: bytes = LINEAR, client: str = "c1", **options: Any) -> Any:
        files = {"model.onnx": self.store.put(data)}
        checked = LoadOptions(**options)
        return self.models.load(files, "model.onnx", checked, client, raw_options=options)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path)
    made.start()
    yield made
    made.journal.close()


def test_a_handle_is_the_hash_of_what_was_asked_for() -> None:
    files = {"b": "1" * 64, "a": "2" * 64}
    text = (
        '{"files":{"a":"'
        + "2" * 64
        + '","b":"'
        + "1" * 64
        + '"},"main":"b","options":{"threads":1}}'
    )
    assert handle_of(files, "b", {"threads": 1}) == hashlib.sha256(text.encode()).hexdigest()
    assert handle_of(files, "b", {}) != handle_of(files, "b", {"threads": 1})


def test_who_loads_the_same_shares_it(pool: Pool) -> None:
    first, second = pool.load(), pool.load(client="c2")
    assert first.handle == second.handle
    assert (first.source, second.source) == ("direct", "shared")
    assert len(pool.models) == 1
    pool.models.unload(first.handle, "c1")
    assert infer(pool.models.get(first.handle)).shape == (1, 16)
    with pytest.raises(NotFoundError, match="loaded, but not by this client"):
        pool.models.unload(first.handle, "c1")
    pool.models.unload(first.handle, "c2")
    with pytest.raises(NotFoundError, match="Load it"):
        pool.models.get(first.handle)
    assert list((pool.directory / "store" / "models").iterdir()) == []


def test_models_of_one_architecture_do_not_mix(pool: Pool) -> None:
    one, two = (pool.load(graphs.linear(seed=seed)) for seed in (1, 2))
    a, b = (infer(pool.models.get(each.handle)) for each in (one, two))
    assert one.handle != two.handle
    assert a.tolist() != b.tolist()


def test_options_make_another_model(pool: Pool) -> None:
    assert pool.load().handle != pool.load(graph_optimization_level="basic").handle
    assert len(pool.models) == 2


def test_loads_of_one_model_at_one_time_happen_once(pool: Pool) -> None:
    data = graphs.network()
    pool.store.put(data)
    sources: list[str] = []
    started = threading.Barrier(6)

    def work(index: int) -> None:
        started.wait()
        sources.append(pool.load(data, client=f"c{index}").source)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sources) == ["prepared", *["shared"] * 5]


def test_a_failed_load_fails_for_all_who_wait_and_can_be_repeated(pool: Pool) -> None:
    began, go = threading.Event(), threading.Event()
    real = pool.engine.load

    def failing(*_: Any, **__: Any) -> Any:
        began.set()
        go.wait()
        raise ModelFormatError("It is broken.")

    pool.engine.load = failing
    errors: list[Exception] = []

    def work() -> None:
        try:
            pool.load()
        except ModelFormatError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    threads[0].start()
    began.wait()
    (entry,) = [item for item in pool.models.index() if item["state"] == "LOADING"]
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert [error.args for error in errors] == [("It is broken.",)] * 3
    pool.engine.load = real
    assert pool.load().handle == entry["name"]


def test_who_waits_too_long_for_anothers_load_is_told(tmp_path: Path) -> None:
    pool = Pool(tmp_path, Limits(load_wait=0.05))
    pool.start()
    began, go = threading.Event(), threading.Event()
    real = pool.engine.load

    def slow(*arguments: Any, **options: Any) -> Any:
        began.set()
        go.wait()
        return real(*arguments, **options)

    pool.engine.load = slow
    thread = threading.Thread(target=pool.load)
    thread.start()
    began.wait()
    with pytest.raises(UnavailableError, match="under way"):
        pool.load()
    go.set()
    thread.join()
    assert pool.load().source == "shared"
    pool.journal.close()


def test_models_are_counted(tmp_path: Path) -> None:
    pool = Pool(tmp_path, Limits(max_models=2))
    pool.start()
    kept = pool.load(graphs.linear(seed=1))
    pool.load(graphs.linear(seed=2))
    with pytest.raises(LimitExceededError, match="2 models"):
        pool.load(graphs.linear(seed=3))
    pool.models.unload(kept.handle, "c1")
    pool.load(graphs.linear(seed=3))
    pool.journal.close()


def test_what_is_not_uploaded_is_not_loaded(pool: Pool) -> None:
    with pytest.raises(NotFoundError, match="Upload"):
        pool.models.load({"m.onnx": "0" * 64}, "m.onnx", LoadOptions(), "c1")
    assert len(pool.models) == 0
    assert pool.journal.models() == []


def test_unloading_lets_running_calls_finish(pool: Pool) -> None:
    loaded = pool.load()
    entry: Any = pool.models.get(loaded.handle)
    inside, go = threading.Event(), threading.Event()
    results: list[Any] = []
    closed: list[str] = []
    real, real_close = entry._run, entry._close

    def slow(*arguments: Any) -> Any:
        inside.set()
        go.wait()
        return real(*arguments)

    def close() -> None:
        closed.append("closed")
        real_close()

    entry._run, entry._close = slow, close
    thread = threading.Thread(target=lambda: results.append(entry.run("k", X)))
    thread.start()
    inside.wait()
    pool.models.unload(loaded.handle, "c1")
    assert closed == []
    with pytest.raises(NotFoundError):
        entry.run("k", X)
    again = pool.load()
    assert again.source == "direct"
    go.set()
    thread.join()
    assert closed == ["closed"]
    assert results[0][0].shape == (1, 16)
    assert infer(pool.models.get(again.handle)).tolist() == results[0][0].tolist()


@pytest.mark.slow
def test_loading_and_unloading_during_inference_disturbs_nobody(pool: Pool) -> None:
    other = pool.load(graphs.linear(seed=9))
    expected = infer(pool.models.get(other.handle)).tolist()
    handle = pool.load().handle
    stop = threading.Event()
    wrong: list[Any] = []

    def work(name: str) -> None:
        while not stop.is_set():
            try:
                result = infer(pool.models.get(name)).tolist()
            except NotFoundError:
                if name == other.handle:
                    wrong.append("lost")
            else:
                if name == other.handle and result != expected:
                    wrong.append(result)

    threads = [threading.Thread(target=work, args=(name,)) for name in (handle, other.handle) * 2]
    for thread in threads:
        thread.start()
    for _ in range(20):
        pool.models.unload(handle, "c1")
        pool.load()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pool.account.running == []


# Clients


def test_leases_of_a_client_that_is_gone_end_after_the_grace(pool: Pool) -> None:
    mine, shared = pool.load(graphs.linear(seed=1)), pool.load(graphs.linear(seed=2))
    pool.load(graphs.linear(seed=2), client="c2")
    pool.models.client_gone("c1")
    pool.now = pool.limits.lease_grace - 1
    pool.models.expire()
    assert len(pool.models) == 2
    pool.now += 2
    pool.models.expire()
    assert pool.models.names() == [shared.handle]
    assert mine.handle != shared.handle


def test_a_client_that_comes_back_keeps_its_leases(pool: Pool) -> None:
    pool.load()
    pool.models.client_gone("c1")
    pool.models.client_back("c1")
    pool.now = 1e9
    pool.models.expire()
    assert len(pool.models) == 1


# Names


def test_a_name_stands_for_a_model_and_is_replaced(pool: Pool) -> None:
    pool.models.load_named("net", {"1/model.onnx": graphs.linear(seed=1)})
    first = pool.models.get("net")
    before = infer(first).tolist()
    assert {item["name"] for item in pool.models.index()} == {"net", first.handle}
    pool.models.load_named("net", {"1/model.onnx": b"bad", "2/model.onnx": graphs.linear(seed=2)})
    assert infer(pool.models.get("net")).tolist() != before
    assert len(pool.models) == 1
    with pytest.raises(NotFoundError):
        pool.models.get(first.handle)
    pool.models.load_named("net", {})
    pool.models.unload("net", "")
    assert len(pool.models) == 0
    with pytest.raises(NotFoundError):
        pool.models.load_named("net", {})


def test_a_name_that_fails_to_load_keeps_its_model_and_tells_why(pool: Pool) -> None:
    pool.models.load_named("net", {"model.onnx": LINEAR})
    with pytest.raises(ModelFormatError):
        pool.models.load_named("net", {"model.onnx": b"broken"})
    assert infer(pool.models.get("net")).shape == (1, 16)
    with pytest.raises(ModelFormatError):
        pool.models.load_named("other", {"model.onnx": b"broken"})
    (bad,) = [item for item in pool.models.index() if item["state"] == "UNAVAILABLE"]
    assert bad["name"] == "other"
    assert "ONNX" in bad["reason"]
    ready = {item["name"] for item in pool.models.index(ready_only=True)}
    assert ready == {"net", pool.models.get("net").handle}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("not json", "JSON"),
        ("[]", "JSON"),
        ('{"backend": "tensorflow"}', "backend"),
        ('{"platform": "tensorrt_plan"}', "platform"),
        ('{"name": "other"}', "name"),
        ('{"input": [{"name": "z", "data_type": "TYPE_FP32"}]}', "input 'z'"),
        ('{"output": [{"name": "z"}]}', "output 'z'"),
        ('{"default_model_filename": "else.onnx"}', "No model file"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    pool: Pool, config: str, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        pool.models.load_named("net", {"1/model.onnx": LINEAR}, config)
    assert len(pool.models) == 0


def test_a_configuration_of_triton_is_taken(pool: Pool) -> None:
    config = {
        "name": "net",
        "backend": "onnxruntime",
        "max_batch_size": 8,
        "default_model_filename": "net.onnx",
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [16]}],
        "output": [{"name": "y"}],
        "instance_group": [{"count": 2}],
    }
    pool.models.load_named("net", {"3/net.onnx": LINEAR}, json.dumps(config))
    assert pool.models.get("net").specs()[0].name == "y"
    assert [spec.name for spec in pool.models.get("net").specs(["y"])] == ["y"]


def test_a_name_like_a_handle_is_refused(pool: Pool) -> None:
    handle = pool.load().handle
    for name in ("0" * 64, handle):
        with pytest.raises(InvalidRequestError, match="handle"):
            pool.models.load_named(name, {"model.onnx": graphs.linear(seed=5)})
    pool.models.load_named(handle, {})


# Restart


def test_models_names_and_leases_come_back(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    pool.start()
    handle = pool.load(graphs.network()).handle
    anonymous = pool.load(graphs.linear(seed=3), client="").handle
    pool.models.load_named("net", {"model.onnx": LINEAR})
    again = Pool(tmp_path)
    models = again.start()
    assert len(models) == 0
    models.restore()
    assert set(models.names()) == {handle, anonymous, "net", models.get("net").handle}
    assert models.get(handle).model.source == "cache"
    assert again.load(graphs.network()).source == "shared"
    again.now = again.limits.lease_grace + 1
    models.expire()
    assert set(models.names()) == {anonymous, "net", models.get("net").handle}
    for each in (pool, again):
        each.journal.close()


def test_a_client_that_returns_after_a_restart_keeps_its_model(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    pool.start()
    pool.load()
    again = Pool(tmp_path)
    again.start().restore()
    again.models.client_back("c1")
    again.now = 1e9
    again.models.expire()
    assert len(again.models) == 1
    for each in (pool, again):
        each.journal.close()


def test_what_was_unloaded_does_not_come_back(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    pool.start()
    pool.models.unload(pool.load().handle, "c1")
    pool.models.load_named("net", {"model.onnx": LINEAR})
    pool.models.unload("net", "")
    again = Pool(tmp_path)
    again.start().restore()
    assert again.models.index() == []
    for each in (pool, again):
        each.journal.close()


def test_a_model_whose_files_are_gone_is_left_out(tmp_path: Path) -> None:
    pool = Pool(tmp_path)
    pool.start()
    lost, kept = pool.load(graphs.linear(seed=1)), pool.load(graphs.linear(seed=2))
    (tmp_path / "store" / "blobs" / hashlib.sha256(graphs.linear(seed=1)).hexdigest()).unlink()
    again = Pool(tmp_path)
    again.start().restore()
    assert again.models.names() == [kept.handle]
    states = {item["name"]: item["state"] for item in again.models.index()}
    assert states[lost.handle] == "UNAVAILABLE"
    for each in (pool, again):
        each.journal.close()


CRASH = """
import os, signal, sys
from pathlib import Path
from tests.accelerator.test_models import Pool
pool = Pool(Path(sys.argv[1]))
models = pool.start()
pool.engine.load = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
models.restore() if sys.argv[2] == "restore" else pool.load()
"""


def test_a_model_that_ends_the_process_is_not_brought_back_for_ever(tmp_path: Path) -> None:
    def crash(how: str) -> int:
        return subprocess.run(
            [sys.executable, "-c", CRASH, str(tmp_path), how],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path.cwd())])},
            check=False,
        ).returncode

    assert crash("load") == -signal.SIGKILL
    pool = Pool(tmp_path)
    pool.start()
    # Nobody was told that the load was done: without a lease it is forgotten at once.
    pool.models.restore()
    assert pool.journal.models() == []
    pool.load()
    assert crash("restore") == -signal.SIGKILL
    assert crash("restore") == -signal.SIGKILL
    assert crash("restore") == 0
    pool.journal.close()


def test_a_journal_that_is_not_one_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database" * 100)
    pool = Pool(tmp_path)
    pool.start().restore()
    assert pool.load().source == "direct"
    pool.journal.close()


def test_a_journal_that_cannot_be_written_does_not_stop_the_service(pool: Pool) -> None:
    pool.journal._database.execute("PRAGMA query_only = ON")
    loaded = pool.load()
    assert infer(pool.models.get(loaded.handle)).shape == (1, 16)
    pool.journal.begin(JournalModel("h", {}, "m", LoadOptions(), 0))
    pool.journal._database.execute("PRAGMA query_only = OFF")
    assert pool.journal.models() == []


def test_a_small_model_makes_no_room_for_a_prepared_form(tmp_path: Path) -> None:
    pool = Pool(tmp_path, Limits(max_store=len(LINEAR) + 1000))
    pool.start()
    kept = pool.store.put(bytes(900))
    pool.load()
    assert pool.store.status(kept) == (900, True)
    pool.journal.close()
