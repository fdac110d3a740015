"""Clients and accelerators that die in the midst of something."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.settings import Limits
from tests.accelerator.http_client import Wire, infer, infer_body, load, scale_model
from tests.client.models import slow
from tests.faults.conftest import Bystander, Footprint, X, until
from tests.faults.test_models import answered, send_infer, wait_until_it_computes
from tests.processes import AcceleratorProcess

Start = Callable[..., AcceleratorProcess]

# Sends what it reads, says so, and waits to be killed.
CLIENT = """
import socket, sys
sock = socket.socket(socket.AF_UNIX) if sys.argv[1] == "unix" else socket.socket()
sock.connect(sys.argv[2] if sys.argv[1] == "unix" else ("127.0.0.1", int(sys.argv[2])))
sock.sendall(sys.stdin.buffer.read())
print("sent", flush=True)
sock.recv(1)
"""


def killed_client(process: AcceleratorProcess, transport: str, raw: bytes) -> None:
    """A client process that is killed when it has sent `raw`."""
    where = str(process.config.data_socket) if transport == "unix" else str(process.port)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, transport, where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    with client.stdin, client.stdout:
        client.stdin.write(raw)
        client.stdin.close()
        assert client.stdout.readline() == b"sent\n"
        client.kill()
    assert client.wait(30.0) == -signal.SIGKILL


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_client_killed_amid_its_tensors(
    served: AcceleratorProcess, bystander: Bystander, transport: str, share: float
) -> None:
    body, length = infer_body(np.ones((1_000_000, 4), np.float32))
    head = (
        f"POST /v2/models/victim/infer HTTP/1.1\r\nAuthorization: Bearer {served.token()}\r\n"
        f"EI-Client: {'ab' * 16}\r\nContent-Length: {len(body)}\r\n"
        f"Inference-Header-Content-Length: {length}\r\n\r\n"
    ).encode()
    killed_client(served, transport, head + body[: int(len(body) * share)])
    bystander.goes_on()


def test_a_client_killed_while_it_is_computed_for(
    served: AcceleratorProcess, bystander: Bystander
) -> None:
    body, length = infer_body(np.random.default_rng(0).random((100, 100), np.float32))
    head = (
        f"POST /v2/models/slow/infer HTTP/1.1\r\nAuthorization: Bearer {served.token()}\r\n"
        f"Content-Length: {len(body)}\r\nInference-Header-Content-Length: {length}\r\n\r\n"
    ).encode()
    killed_client(served, "unix", head + body)
    bystander.goes_on()


def test_an_upload_of_a_killed_client_goes_on(
    served: AcceleratorProcess, bystander: Bystander
) -> None:
    data = np.random.default_rng(6).bytes(3_000_000)
    digest = hashlib.sha256(data).hexdigest()
    path = f"/v2/elastic-inference/blobs/{digest}"
    head = (
        f"PUT {path} HTTP/1.1\r\nAuthorization: Bearer {served.token()}\r\n"
        f"Content-Length: {len(data)}\r\n"
        f"Content-Range: bytes 0-{len(data) - 1}/{len(data)}\r\n\r\n"
    ).encode()
    killed_client(served, "tcp", head + data[:2_000_000])

    def offset() -> int:
        return int(json.loads(served.request("GET", path)[2])["offset"])

    until("what was sent stored", lambda: offset() == 2_000_000)
    rest = data[2_000_000:]
    headers = {"Content-Range": f"bytes 2000000-{len(data) - 1}/{len(data)}"}
    assert served.request("PUT", path, rest, headers)[0] == 201
    bystander.goes_on()


def test_leases_and_memory_of_a_killed_client_are_given_back(start_accelerator: Start) -> None:
    process = start_accelerator(limits=Limits(lease_grace=0.2))
    load(process, "bystander", scale_model(2))
    footprint = Footprint(process)
    code = """
import os, sys, numpy as np
from elastic_inference.client import connect, Address
from elastic_inference.settings import ClientSettings
from tests.client.models import scaled
a = connect(address=Address(socket_path=sys.argv[1]), token=sys.argv[2],
            settings=ClientSettings(transport="shm"))
m = a.load(scaled(4, size=4_000_000))
x = m.empty("x", (1_000_000,))
x[:] = 1
assert m.run({"x": x}, ["y"])[0][0] == 4
print("ready", flush=True)
sys.stdin.read()
"""
    client = subprocess.Popen(
        [sys.executable, "-c", code, str(process.config.data_socket), process.token()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert client.stdin is not None
    assert client.stdout is not None
    with client.stdin, client.stdout:
        assert client.stdout.readline() == b"ready\n"
        assert footprint.describe()["models"] == 2
        client.kill()
    client.wait(30.0)
    footprint.back()
    assert process.process.poll() is None


def test_an_accelerator_killed_in_mid_run_ends_its_connections(start_accelerator: Start) -> None:
    process = start_accelerator()
    load(process, "slow", slow(15_000))
    with Wire(process) as wire, Wire(process, unix=True) as idle:
        assert wire.request("GET", "/v2")[0] == 200
        assert idle.request("GET", "/v2")[0] == 200
        send_infer(wire, "slow", np.random.default_rng(1).random((120, 120), np.float32))
        wait_until_it_computes(process)
        assert not answered(wire)
        process.process.kill()
        assert wire.closed()
        assert idle.closed()
    assert process.process.wait(30.0) == -signal.SIGKILL


def test_what_was_loaded_is_there_after_a_kill_in_mid_run(
    start_accelerator: Start, short_path: Path
) -> None:
    process = start_accelerator(short_path)
    for factor in (2, 3):
        load(process, f"scale{factor}", scale_model(factor))
    load(process, "slow", slow(15_000))
    with Wire(process) as wire:
        assert wire.request("GET", "/v2")[0] == 200
        send_infer(wire, "slow", np.random.default_rng(1).random((120, 120), np.float32))
        wait_until_it_computes(process)
        process.process.kill()
        process.process.wait(30.0)
    again = start_accelerator(short_path)
    with Wire(again) as wire:
        for factor in (2, 3):
            assert infer(wire, f"scale{factor}").tolist() == (X * factor).tolist()


def test_a_second_process_in_one_directory_leaves_the_first_alone(
    start_accelerator: Start, short_path: Path
) -> None:
    first = start_accelerator(short_path)
    load(first, "double", scale_model(2))
    with pytest.raises(RuntimeError, match="runs in this directory"):
        start_accelerator(short_path)
    with Wire(first, unix=True) as wire:
        assert infer(wire, "double").tolist() == (X * 2).tolist()


def test_one_that_nobody_waits_for_any_more_does_not_stay(
    start_accelerator: Start, short_path: Path
) -> None:
    """A control plane that gave up waiting must not be surprised by what it started later."""
    process = start_accelerator(short_path)
    path = process.config.directory / "config.json"
    assert process.terminate() == 0
    dataclasses.replace(process.config, lifeline_fd=None).to_file(path)
    reader, writer = os.pipe()
    os.close(reader)
    late = subprocess.Popen(
        [
            *(sys.executable, "-m", "elastic_inference.accelerator", str(path)),
            *("--ready-fd", str(writer)),
        ],
        pass_fds=(writer,),
        stdin=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        assert late.wait(60.0) == 1
    finally:
        late.kill()
        late.wait()


@pytest.mark.parametrize("while_it_runs", ["inference", "upload"])
def test_work_that_takes_longer_than_the_drain_does_not_keep_the_process(
    start_accelerator: Start, while_it_runs: str
) -> None:
    process = start_accelerator(limits=Limits(drain_timeout=0.2))
    load(process, "slow", slow(200_000))
    with Wire(process) as wire:
        assert wire.request("GET", "/v2")[0] == 200
        if while_it_runs == "inference":
            send_infer(wire, "slow", np.random.default_rng(1).random((120, 120), np.float32))
            wait_until_it_computes(process)
        else:
            wire.send(
                f"PUT /v2/elastic-inference/blobs/{'ef' * 32} HTTP/1.1\r\nContent-Length: 9999\r\n"
                "Content-Range: bytes 0-9998/9999\r\n\r\nabc".encode()
            )
        process.process.send_signal(signal.SIGTERM)
        assert wire.closed()
    assert process.process.wait(60.0) == 0
