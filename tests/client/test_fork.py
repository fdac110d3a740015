"""Parent and child after a fork each use the accelerator, and neither disturbs the other."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.client import Accelerator
from tests.client.conftest import Reachable
from tests.client.models import scaled

LARGE = np.arange(100_000, dtype=np.float32)
SMALL = np.arange(10, dtype=np.float32)


def _in_child(work: Callable[[], None]) -> int:
    """The exit status of a forked child that does `work`."""
    with warnings.catch_warnings():
        # Python warns of forking with threads, which is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the parent sees the status
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _check(model: object, times: int = 5) -> None:
    for _ in range(times):
        for x in (SMALL, LARGE):
            np.testing.assert_array_equal(model.run({"x": x})[0], x * 2)  # type: ignore[attr-defined]  # a Model


def test_a_child_and_its_parent(attach: Callable[..., Accelerator]) -> None:
    accelerator = attach()
    model = accelerator.load(scaled(2))
    _check(model)
    parents_name = accelerator._link.client_id

    def work() -> None:
        assert accelerator._link.client_id != parents_name
        _check(model)
        another = accelerator.load(scaled(3))
        np.testing.assert_array_equal(another.run({"x": SMALL})[0], SMALL * 3)
        another.close()
        accelerator.close()

    assert _in_child(work) == 0
    _check(model)
    assert _in_child(lambda: _check(model)) == 0
    _check(model)


def test_registered_memory_in_a_child(reachable: Reachable) -> None:
    with reachable.connect("shm") as accelerator:
        model = accelerator.load(scaled(2))
        x = model.empty("x", (100_000,))
        x[:] = LARGE
        np.testing.assert_array_equal(model.run({"x": x})[0], LARGE * 2)

        def work() -> None:
            np.testing.assert_array_equal(model.run({"x": x})[0], LARGE * 2)
            gc.collect()

        assert _in_child(work) == 0
        np.testing.assert_array_equal(model.run({"x": x})[0], LARGE * 2)


def test_forks_while_other_threads_infer(attach: Callable[..., Accelerator]) -> None:
    model = attach().load(scaled(2))
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                _check(model, 1)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert _in_child(lambda: _check(model, 2)) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30.0)
    assert failures == []


_PROGRAM = """
import sys, numpy as np
from elastic_inference.client import Address, connect
from elastic_inference.settings import ClientSettings
accelerator = connect(
    settings=ClientSettings(), address=Address(socket_path=sys.argv[1]), token=sys.argv[2]
)
model = accelerator.load(sys.argv[3])
for _ in range(int(sys.argv[4])):
    model.run({"x": np.ones(3, np.float32)})
"""
_ENDS = ("", "del model, accelerator", "accelerator.close()", "sys.exit(0)")


@pytest.mark.parametrize("end", _ENDS)
def test_usage_is_reported_at_the_end(reachable: Reachable, tmp_path: Path, end: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(scaled(2))
    with reachable.connect("unix") as accelerator:
        before = accelerator.usage()
        subprocess.run(
            [
                *(sys.executable, "-c", _PROGRAM + end, str(reachable.process.config.data_socket)),
                *(reachable.process.token(), str(path), "17"),
            ],
            check=True,
            timeout=60.0,
        )
        after = accelerator.usage()
    assert after["client_calls"] - before["client_calls"] == 17
    assert after["client_wall_ns"] > before["client_wall_ns"]


def test_the_end_leaves_a_connection_that_is_in_use_to_its_user(reachable: Reachable) -> None:
    """Another thread may hold it without having begun: two must not read one answer."""
    accelerator = reachable.connect("unix")
    link = accelerator._link
    before = accelerator.usage()
    taken = link.take()
    taken.calls += 1
    link.farewell()
    assert taken._socket.fileno() >= 0, "its user closes it"
    taken.close()
    with reachable.connect("unix") as another:
        assert another.usage()["client_calls"] == before["client_calls"]


def test_models_that_are_garbage_are_unloaded(
    attach: Callable[..., Accelerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator = attach()
    model = accelerator.load(scaled(11))
    handle = model.handle
    released = threading.Event()
    release = accelerator._link.release

    def watched(name: str) -> None:
        release(name)
        released.set()

    monkeypatch.setattr(accelerator._link, "release", watched)
    del model
    gc.collect()
    assert released.wait(30.0)
    index = accelerator._link.request("POST", "/v2/repository/index", {"ready": True})
    assert handle not in {entry["name"] for entry in index}
