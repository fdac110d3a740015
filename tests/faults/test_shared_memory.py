"""Shared memory that changes or goes while an inference over it runs."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.accelerator.graphs import value_info
from tests.accelerator.http_client import Wire, error_of, infer, load
from tests.accelerator.test_shared_memory import memfd, offer, posix_segment, register
from tests.faults.conftest import Bystander, X
from tests.faults.test_models import answered, wait_until_it_computes
from tests.processes import AcceleratorProcess

N = 120
ROUNDS = 15_000
REGION = 1 << 20


def slow_gather() -> bytes:
    """`y = gather(f(a), i)` with an `f` that takes long, so that `i` is used long after it came."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["v", "v"], ["m"]),
            helper.make_node("Tanh", ["m"], ["w"]),
            helper.make_node("Identity", ["c"], ["d"]),
        ],
        "body",
        [
            value_info("n", TensorProto.INT64, []),
            value_info("c", TensorProto.BOOL, []),
            value_info("v", TensorProto.FLOAT, [N, N]),
        ],
        [value_info("d", TensorProto.BOOL, []), value_info("w", TensorProto.FLOAT, [N, N])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["count", "go", "a"], ["f"], body=body),
            helper.make_node("Gather", ["f", "i"], ["y"]),
        ],
        "g",
        [value_info("a", TensorProto.FLOAT, [N, N]), value_info("i", TensorProto.INT64, ["k"])],
        [value_info("y", TensorProto.FLOAT, ["k", N])],
        [
            numpy_helper.from_array(np.array(ROUNDS, np.int64), "count"),
            numpy_helper.from_array(np.array(True), "go"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(made.SerializeToString())


A = np.random.default_rng(5).random((N, N), np.float32)
INDICES = np.arange(16, dtype=np.int64)


@pytest.fixture(scope="module")
def gather(served: AcceleratorProcess) -> AcceleratorProcess:
    load(served, "gather", slow_gather())
    return served


def ask(wire: Wire, region: str) -> None:
    """Send an inference whose inputs lie in `region`: `a` at 0, `i` behind it."""

    def place(offset: int, size: int) -> dict[str, object]:
        return {
            "shared_memory_region": region,
            "shared_memory_offset": offset,
            "shared_memory_byte_size": size,
        }

    request = {
        "inputs": [
            {
                "name": "a",
                "datatype": "FP32",
                "shape": [N, N],
                "parameters": place(0, A.nbytes),
            },
            {
                "name": "i",
                "datatype": "INT64",
                "shape": [len(INDICES)],
                "parameters": place(A.nbytes, INDICES.nbytes),
            },
        ],
        "parameters": {"binary_data_output": True},
    }
    raw = json.dumps(request).encode()
    wire.send(
        b"POST /v2/models/gather/infer HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw)
    )


def values(answer: tuple[int, dict[str, str], bytes]) -> np.ndarray[Any, Any]:
    status, headers, body = answer
    assert status == 200, body
    return np.frombuffer(body[int(headers["inference-header-content-length"]) :], np.float32)


def fill(memory: mmap.mmap) -> None:
    memory[: A.nbytes] = A.tobytes()
    memory[A.nbytes : A.nbytes + INDICES.nbytes] = INDICES.tobytes()


@contextlib.contextmanager
def attached(process: AcceleratorProcess, name: str) -> Iterator[tuple[Wire, int, mmap.mmap]]:
    with Wire(process, unix=True) as wire, memfd(REGION) as (descriptor, memory):
        fill(memory)
        assert offer(wire, name, [descriptor])[0] == 200
        yield wire, descriptor, memory


def test_indices_that_change_after_they_were_checked(
    gather: AcceleratorProcess, bystander: Bystander
) -> None:
    with attached(gather, "indices") as (wire, _, memory):
        ask(wire, "indices")
        want = values(wire.answer())
        ask(wire, "indices")
        wait_until_it_computes(gather)
        hostile = np.full_like(INDICES, 1 << 40)
        memory[A.nbytes : A.nbytes + INDICES.nbytes] = hostile.tobytes()
        assert not answered(wire), "it changed in mid-run"
        assert np.array_equal(values(wire.answer()), want), "what came is what is computed with"
        ask(wire, "indices")
        assert error_of(wire.answer())[0] in (400, 500), "and the next call sees the new ones"
        bystander.goes_on()


@pytest.mark.parametrize("attack", ["overwrite", "punch", "cut", "forget", "leave"])
def test_numbers_that_change_or_go_in_mid_run(
    gather: AcceleratorProcess, bystander: Bystander, attack: str
) -> None:
    with attached(gather, "numbers") as (wire, descriptor, memory):
        ask(wire, "numbers")
        want = values(wire.answer())
        ask(wire, "numbers")
        wait_until_it_computes(gather)
        if attack == "overwrite":
            memory[: A.nbytes] = np.full_like(A, np.nan).tobytes()
        elif attack == "punch":
            memory.madvise(mmap.MADV_REMOVE)
        elif attack == "cut":
            for size in (0, REGION * 2):
                with pytest.raises(PermissionError):
                    os.ftruncate(descriptor, size)
        elif attack == "forget":
            with Wire(gather, unix=True) as other:
                forget = "/v2/elastic-inference/memory/numbers"
                client = "EI-Client: " + _client()
                assert other.request("DELETE", forget, headers=(client,))[0] == 200
        assert not answered(wire)
        if attack == "leave":
            wire.socket.close()
            bystander.goes_on()
            return
        found = values(wire.answer())
        if attack in ("cut", "forget"):
            assert np.array_equal(found, want)
        bystander.goes_on()


def _client() -> str:
    from tests.accelerator.test_shared_memory import CLIENT

    return CLIENT.partition(" ")[2]


@pytest.mark.parametrize("attack", ["truncate", "unlink", "unregister"])
def test_a_posix_segment_that_goes_in_mid_run(
    gather: AcceleratorProcess, bystander: Bystander, attack: str
) -> None:
    name = f"segment-{attack}"
    with posix_segment(REGION) as (key, descriptor), Wire(gather, unix=True) as wire:
        os.pwrite(descriptor, A.tobytes() + INDICES.tobytes(), 0)
        assert register(wire, name, key, REGION) == 200
        ask(wire, name)
        want = values(wire.answer())
        ask(wire, name)
        wait_until_it_computes(gather)
        unregister = f"/v2/systemsharedmemory/region/{name}/unregister"
        with Wire(gather, unix=True) as other:
            if attack == "truncate":
                os.ftruncate(descriptor, 0)
            elif attack == "unlink":
                path = Path("/dev/shm", key)  # noqa: S108 - where the kernel keeps POSIX segments
                path.rename(path.with_suffix(".moved"))
                path.with_suffix(".moved").rename(path)
            else:
                assert other.request("POST", unregister)[0] == 200
            assert not answered(wire)
            assert np.array_equal(values(wire.answer()), want)
            ask(wire, name)
            expected = {"truncate": (400,), "unlink": (200,), "unregister": (400,)}[attack]
            assert wire.answer()[0] in expected
            other.request("POST", unregister)
        bystander.goes_on()


def another_user(process: AcceleratorProcess) -> Wire:
    """A connection whose other end the kernel counts as that of the user nobody."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.setfsuid(65534)
    try:
        return Wire(process)
    finally:
        libc.setfsuid(0)


@pytest.mark.usefixtures("bystander")
class TestRefused:
    @pytest.mark.parametrize("size", [1 << 46, 1 << 62])
    def test_memory_larger_than_the_host(self, served: AcceleratorProcess, size: int) -> None:
        import fcntl

        descriptor = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            with Wire(served, unix=True) as wire:
                assert error_of(offer(wire, "huge", [descriptor]))[0] == 400
                assert infer(wire, "victim").tolist() == (X * 3).tolist()
        finally:
            os.close(descriptor)

    def test_memory_that_must_not_be_written(self, served: AcceleratorProcess) -> None:
        import fcntl

        descriptor = os.memfd_create("fixed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, 4096)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            with Wire(served, unix=True) as wire:
                assert error_of(offer(wire, "fixed", [descriptor]))[0] == 400
                assert infer(wire, "victim").tolist() == (X * 3).tolist()
        finally:
            os.close(descriptor)

    @pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be seen as another user")
    def test_segments_of_this_user_for_callers_that_are_not(
        self, served: AcceleratorProcess
    ) -> None:
        with (
            posix_segment(4096) as (key, _),
            another_user(served) as far,
            Wire(served, unix=True) as near,
        ):
            assert register(far, "far", key) == 400
            assert register(near, "near", key) == 200
            assert json.loads(far.request("GET", "/v2/systemsharedmemory/status")[2]) == []
            entry = {
                "name": "x",
                "datatype": "FP32",
                "shape": [1, 4],
                "parameters": {"shared_memory_region": "near", "shared_memory_byte_size": 16},
            }
            raw = json.dumps({"inputs": [entry]}).encode()
            answer = far.request("POST", "/v2/models/victim/infer", raw)
            assert error_of(answer) == (400, "There is no shared memory region 'near'.")
            assert near.request("POST", "/v2/models/victim/infer", raw)[0] == 200
            path = "/v2/systemsharedmemory/unregister"
            assert far.request("POST", path)[0] == 200
            assert near.request("POST", "/v2/models/victim/infer", raw)[0] == 200, "not for far"
            assert near.request("POST", path)[0] == 200

    def test_segments_registered_and_forgotten_while_they_are_read(
        self, served: AcceleratorProcess
    ) -> None:
        """A descriptor's number is never used for another file than the segment's."""
        import threading

        stop = threading.Event()

        def churn() -> None:
            with posix_segment(1 << 22) as (key, _), Wire(served, unix=True) as wire:
                while not stop.is_set():
                    register(wire, "churn", key, 1 << 22)
                    wire.request("POST", "/v2/systemsharedmemory/region/churn/unregister")

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            shape = [1 << 18, 4]
            entry = {
                "name": "x",
                "datatype": "FP32",
                "shape": shape,
                "parameters": {
                    "shared_memory_region": "churn",
                    "shared_memory_byte_size": 1 << 22,
                },
            }
            raw = json.dumps(
                {"inputs": [entry], "parameters": {"binary_data_output": True}}
            ).encode()
            with Wire(served, unix=True) as wire:
                for _ in range(200):
                    status, _, body = wire.request("POST", "/v2/models/victim/infer", raw)
                    # A segment of zeros, or none: never an error of the descriptor.
                    assert status == 200 or b"no shared memory region" in body, body[:300]
        finally:
            stop.set()
            thread.join()
