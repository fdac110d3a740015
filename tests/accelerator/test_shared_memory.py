"""Shared memory with a real accelerator: sealed memfds, POSIX segments, and hostile ones."""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.accelerator.http_client import Wire, error_of, infer, load, scale_model
from tests.processes import AcceleratorProcess

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
X = np.arange(4, dtype=np.float32).reshape(1, 4)
CLIENT = f"EI-Client: {uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "double", scale_model(2))
    return accelerator


@pytest.fixture
def wire(served: AcceleratorProcess) -> Iterator[Wire]:
    with Wire(served, unix=True) as connection:
        yield connection
        with Wire(served) as other:
            assert infer(other, "double").tolist() == (X * 2).tolist()


@contextlib.contextmanager
def memfd(size: int, seals: int = SEALS) -> Iterator[tuple[int, mmap.mmap]]:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        if seals:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        with mmap.mmap(descriptor, size) as memory:
            yield descriptor, memory
    finally:
        os.close(descriptor)


def offer(wire: Wire, name: str, descriptors: list[int]) -> tuple[int, dict[str, str], bytes]:
    wire.send(
        (
            f"PUT /v2/elastic-inference/memory/{name} HTTP/1.1\r\nHost: t\r\n{CLIENT}\r\n"
            f"Authorization: Bearer {wire.process.token()}\r\n"
            "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"
        ).encode()
    )
    answer = wire.answer()
    if answer[0] != 100:
        return answer
    if descriptors:
        socket.send_fds(wire.socket, [b"\0"], descriptors)
    else:
        wire.send(b"\0")
    return wire.answer()


def infer_shared(wire: Wire, region: str, *, out: str | None = None, offset: int = 0) -> bytes:
    status, _, body = ask_shared(wire, region, out=out, offset=offset)
    assert status == 200, body
    return body


def ask_shared(
    wire: Wire,
    region: str,
    *,
    out: str | None = None,
    offset: int = 0,
    headers: tuple[str, ...] = (CLIENT,),
    token: str | None = "",
) -> tuple[int, dict[str, str], bytes]:
    where = {
        "shared_memory_region": region,
        "shared_memory_offset": offset,
        "shared_memory_byte_size": X.nbytes,
    }
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": where}
    request: dict[str, object] = {"inputs": [entry]}
    if out is not None:
        request["parameters"] = {
            "elastic_inference_output_region": out,
            "elastic_inference_output_offset": 64,
            "elastic_inference_output_byte_size": 64,
        }
    return wire.request(
        "POST",
        "/v2/models/double/infer",
        json.dumps(request).encode(),
        headers=headers,
        token=token,
    )


def test_input_and_output_in_a_memfd(wire: Wire) -> None:
    with memfd(4096) as (descriptor, memory):
        status, _, body = offer(wire, "mine", [descriptor])
        assert (status, json.loads(body)) == (200, {"byte_size": 4096})
        for factor in (1, 10):
            memory[0:16] = (X * factor).tobytes()
            output = json.loads(infer_shared(wire, "mine", out="mine"))["outputs"][0]
            assert output["parameters"]["shared_memory_offset"] == 64
            assert memory[64:80] == (X * 2 * factor).tobytes()
        assert wire.request("DELETE", "/v2/elastic-inference/memory/mine")[0] == 200
        assert ask_shared(wire, "mine")[0] == 400


def test_known_requests_see_what_the_memory_holds_now(wire: Wire) -> None:
    with memfd(4096) as (descriptor, memory):
        assert offer(wire, "known", [descriptor])[0] == 200
        for out in ("known", None):
            for factor in (1, 10, 100):
                memory[0:16] = (X * factor).tobytes()
                status, _, body = ask_shared(wire, "known", out=out, headers=(), token=None)
                assert status == 200
                expected = X * 2 * factor
                if out is None:
                    assert json.loads(body)["outputs"][0]["data"] == expected.ravel().tolist()
                else:
                    assert memory[64:80] == expected.tobytes()
        assert wire.request("DELETE", "/v2/elastic-inference/memory/known", token=None)[0] == 200
        assert ask_shared(wire, "known", headers=(), token=None)[0] == 400


def test_regions_belong_to_their_client(wire: Wire, served: AcceleratorProcess) -> None:
    with memfd(4096) as (descriptor, _):
        assert offer(wire, "private", [descriptor])[0] == 200
        with Wire(served, unix=True) as same:
            assert same.request("GET", "/v2", headers=(CLIENT,))[0] == 200
            assert ask_shared(same, "private")[0] == 200
        with Wire(served) as other:
            body = {
                "inputs": [
                    {
                        "name": "x",
                        "datatype": "FP32",
                        "shape": [1, 4],
                        "parameters": {
                            "shared_memory_region": "private",
                            "shared_memory_byte_size": 16,
                        },
                    }
                ]
            }
            answer = other.request("POST", "/v2/models/double/infer", json.dumps(body).encode())
            assert error_of(answer)[0] == 400


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW])
def test_what_could_be_cut_is_refused(wire: Wire, seals: int) -> None:
    with memfd(4096, seals) as (descriptor, _):
        status, error = error_of(offer(wire, "unsealed", [descriptor]))
        assert (status, "sealed" in error) == (400, True)


def test_other_descriptors_are_refused(wire: Wire) -> None:
    with Path(os.devnull).open("rb") as file:
        assert error_of(offer(wire, "device", [file.fileno()]))[0] == 400


def test_exactly_one_descriptor_comes(wire: Wire) -> None:
    assert error_of(offer(wire, "none", []))[0] == 400
    with memfd(4096) as (one, _), memfd(4096) as (two, _):
        assert error_of(offer(wire, "two", [one, two]))[0] == 400


def test_a_name_is_used_once(wire: Wire) -> None:
    with memfd(4096) as (descriptor, _):
        assert offer(wire, "once", [descriptor])[0] == 200
        assert error_of(offer(wire, "once", [descriptor]))[0] == 409


def test_not_over_tcp(served: AcceleratorProcess) -> None:
    with Wire(served) as wire:
        assert offer(wire, "remote", [])[0] == 400


@pytest.mark.parametrize(("offset", "region"), [(4090, "edge"), (1 << 40, "edge"), (0, "other")])
def test_outside_the_region(wire: Wire, offset: int, region: str) -> None:
    with memfd(4096) as (descriptor, _):
        assert offer(wire, "edge", [descriptor])[0] in (200, 409)
        assert error_of(ask_shared(wire, region, offset=offset))[0] == 400


@contextlib.contextmanager
def posix_segment(size: int) -> Iterator[tuple[str, int]]:
    name = f"ei-test-{uuid.uuid4().hex}"
    path = Path("/dev/shm", name)  # noqa: S108 - where the kernel keeps POSIX segments
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, size)
        yield name, descriptor
    finally:
        os.close(descriptor)
        path.unlink()


def register(wire: Wire, name: str, key: str, size: int = 4096, offset: int = 0) -> int:
    body = json.dumps({"key": key, "offset": offset, "byte_size": size}).encode()
    path = f"/v2/systemsharedmemory/region/{name}/register"
    return wire.request("POST", path, body)[0]


def test_posix_segments(wire: Wire) -> None:
    with posix_segment(4096) as (key, descriptor):
        assert register(wire, "posix", f"/{key}") == 200
        assert register(wire, "posix", f"/{key}") == 409
        status = json.loads(wire.request("GET", "/v2/systemsharedmemory/status")[2])
        assert {"name": "posix", "key": f"/{key}", "offset": 0, "byte_size": 4096} in status
        os.pwrite(descriptor, X.tobytes(), 0)
        infer_shared(wire, "posix", out="posix")
        assert os.pread(descriptor, 16, 64) == (X * 2).tobytes()
        path = "/v2/systemsharedmemory/region/posix/unregister"
        assert wire.request("POST", path)[0] == 200
        assert ask_shared(wire, "posix")[0] == 400


def test_posix_segments_over_tcp_of_the_same_user(served: AcceleratorProcess) -> None:
    with posix_segment(4096) as (key, descriptor), Wire(served) as wire:
        assert register(wire, "over-tcp", key) == 200
        os.pwrite(descriptor, X.tobytes(), 0)
        with Wire(served) as another:
            infer_shared(another, "over-tcp", out="over-tcp")
        assert os.pread(descriptor, 16, 64) == (X * 2).tobytes()
        path = "/v2/systemsharedmemory/region/over-tcp/unregister"
        assert wire.request("POST", path)[0] == 200


def test_a_segment_cut_short_harms_nobody(wire: Wire) -> None:
    with posix_segment(4096) as (key, descriptor):
        assert register(wire, "cut", key) == 200
        os.ftruncate(descriptor, 0)
        status, error = error_of(ask_shared(wire, "cut"))
        assert (status, "truncated" in error) == (400, True)
        assert wire.request("POST", "/v2/systemsharedmemory/unregister")[0] == 200


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/b", "", "nothing-here", "."])
def test_keys_that_name_no_segment(wire: Wire, key: str) -> None:
    assert register(wire, "wrong", key) == 400


def test_a_registration_larger_than_the_segment(wire: Wire) -> None:
    with posix_segment(4096) as (key, _):
        assert register(wire, "large", key, size=4097) == 400
        assert register(wire, "large", key, size=1, offset=4096) == 400
