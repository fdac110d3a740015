"""The control plane among hostile neighbours: tenants, callers, and accelerators gone bad."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.control.names import POOL_NAME
from elastic_inference.control.pool import Pool
from elastic_inference.errors import ConflictError, UnavailableError
from elastic_inference.fleet.base import Health
from elastic_inference.fleet.control_connection import ControlConnection
from elastic_inference.settings import Limits, PoolSettings
from tests.faults.conftest import until
from tests.pools import accelerator_pids, gone, held


@contextlib.contextmanager
def running(directory: Path, limits: Limits | None = None, **settings: float) -> Iterator[Pool]:
    pool = Pool(
        directory / "state",
        settings=PoolSettings(home=directory, health_interval=0.1, **settings),  # type: ignore[arg-type]  # by name
        limits=limits or Limits(),
        outlive=False,
    )
    try:
        yield pool
    finally:
        for instance in pool.plane.store.instances.where():
            pool.plane.terminate(instance.id)
        pool.close()


@pytest.mark.slow
def test_one_whose_connections_are_all_taken_is_not_taken_for_dead(short_path: Path) -> None:
    limits = Limits(max_connections=4)
    with running(short_path, limits, hang_timeout=5.0) as pool:
        _, [accelerator], _ = pool.plane.run_instance(["eia1.medium"])
        pid = accelerator_pids(short_path / "state")[accelerator.id]
        path = pool.plane.fleet.local_address(accelerator.id)
        assert path is not None
        with contextlib.ExitStack() as crowd:
            for _ in range(8):
                sock = crowd.enter_context(socket.socket(socket.AF_UNIX))
                sock.connect(path["socket"])
            # Several probes, each answered with 429, and more time than a dead one gets.
            probes = 0
            probed = threading.Event()

            def count() -> None:
                nonlocal probes
                probes += 1
                if probes >= 60:
                    probed.set()

            supervisor = pool.plane.fleet._supervisor  # type: ignore[attr-defined]
            hear = supervisor._hear

            def hear_and_count(case: Any, probe: socket.socket) -> None:
                hear(case, probe)
                count()

            supervisor._hear = hear_and_count
            assert probed.wait(60.0)
            status = pool.plane.fleet.status
            until("its health", lambda: status(accelerator.id).health is Health.OK)
            assert status(accelerator.id).restarts == 0
        assert accelerator_pids(short_path / "state")[accelerator.id] == pid


def test_an_instance_terminated_while_it_starts_leaves_nothing(short_path: Path) -> None:
    with running(short_path) as pool:
        plane = pool.plane
        outcome: list[BaseException] = []

        def run() -> None:
            try:
                plane.run_instance(["eia1.medium", "eia1.medium"])
            except ConflictError as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until("its accelerators noted", lambda: len(plane.store.accelerators.where()) == 2)
        [instance] = plane.store.instances.where()
        assert instance.state == "pending"
        plane.terminate(instance.id)
        thread.join(60.0)
        assert len(outcome) == 1
        assert plane.store.accelerators.where() == []
        assert accelerator_pids(short_path / "state") == {}
        assert list((short_path / "state" / "run").iterdir()) == []
        # What was reserved for it is free again: all of the node's memory can be had.
        assert not plane.fleet._node._taken  # type: ignore[attr-defined]


def test_an_accelerator_that_lies_about_its_process(short_path: Path) -> None:
    """Whoever answers is the one that a signal would go to."""
    path = short_path / "handover.sock"
    victim = os.getppid()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()

        def lie() -> None:
            connection, _ = listener.accept()
            with connection:
                hello = {"kind": "hello", "pid": victim, "accelerator_id": "eia-1"}
                connection.send(json.dumps(hello).encode())
                connection.recv(1)

        thread = threading.Thread(target=lie)
        thread.start()
        with pytest.raises(UnavailableError, match="not the process"):
            ControlConnection.open(path, "eia-1", 10.0)
        thread.join(10.0)


def test_an_accelerator_that_talks_for_ever_delays_nobody(short_path: Path) -> None:
    path = short_path / "handover.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()

        def talk() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                hello = {"kind": "hello", "pid": os.getpid(), "accelerator_id": "eia-1"}
                connection.send(json.dumps(hello).encode())
                while True:
                    connection.send(b"blah")

        thread = threading.Thread(target=talk)
        thread.start()
        control = ControlConnection.open(path, "eia-1", 10.0)
        for _ in range(50):
            assert not control.ended()
        control.close()
        thread.join(10.0)


def test_a_request_to_the_api_that_drips_is_cut(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.control.api._TIMEOUT", 0.5)
    with running(short_path) as pool:
        context = ssl.create_default_context(cafile=pool.pointer.ca)
        port = int(pool.pointer.endpoint.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), 30.0) as raw,
            context.wrap_socket(raw, server_hostname=POOL_NAME) as wire,
        ):
            wire.sendall(b"POST / HTTP/1.1\r\nA: ")
            with pytest.raises(OSError):  # noqa: PT011 - cut, in whatever way
                _drip(wire)


def _drip(wire: ssl.SSLSocket) -> None:
    """Send bytes, each soon after the one before, but no end of them."""
    for _ in range(10_000):
        wire.sendall(b"a")
        if select.select([wire], [], [], 0.02)[0] and not wire.recv(1):
            raise ConnectionResetError
    pytest.fail("it was never cut")


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
    ],
)
def test_a_request_to_the_api_that_could_be_read_in_two_ways(
    short_path: Path, fields: bytes
) -> None:
    with running(short_path) as pool:
        context = ssl.create_default_context(cafile=pool.pointer.ca)
        port = int(pool.pointer.endpoint.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), 30.0) as raw,
            context.wrap_socket(raw, server_hostname=POOL_NAME) as wire,
        ):
            wire.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n{}POST / HTTP/1.1\r\n")
            heard = b""
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while part := wire.recv(65536):
                    heard += part
            assert heard.startswith(b"HTTP/1.1 400 ")
            assert heard.count(b"HTTP/1.1 ") == 1, "what follows is no request of its own"


def test_the_endpoint_goes_on_when_a_connection_cannot_be_handed_on(
    short_path: Path,
) -> None:
    with running(short_path) as pool:
        _, [accelerator], _ = pool.plane.run_instance(["eia1.medium"])
        endpoint = pool._endpoint
        to_accelerator, failed = endpoint._to_accelerator, threading.Event()

        def fail(_id: str, _connection: socket.socket, _peer: str) -> None:
            endpoint._to_accelerator = to_accelerator
            failed.set()
            raise RuntimeError("can't start new thread")

        endpoint._to_accelerator = fail
        context = ssl.create_default_context(cafile=pool.pointer.ca)
        name = f"{accelerator.id}.{endpoint._suffix.lstrip('.')}"
        with (
            socket.create_connection(("127.0.0.1", endpoint.port), 30.0) as raw,
            pytest.raises(OSError),  # noqa: PT011 - closed, in whatever way
        ):
            context.wrap_socket(raw, server_hostname=name)
        assert failed.is_set()
        with (
            socket.create_connection(("127.0.0.1", endpoint.port), 30.0) as raw,
            context.wrap_socket(raw, server_hostname=name) as wire,
        ):
            assert wire.version() == "TLSv1.3"


def test_an_accelerator_that_was_stopped_is_gone(short_path: Path) -> None:
    with running(short_path) as pool:
        instance, [accelerator], _ = pool.plane.run_instance(["eia1.medium"])
        pid = accelerator_pids(short_path / "state")[accelerator.id]
        with held(pid) as pidfd:
            pool.plane.terminate(instance.id)
            assert gone(pidfd)
