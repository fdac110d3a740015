"""The endpoint hands each connection to whom it belongs, and lets nobody wait for another."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elastic_inference.control.client import ControlClient
from elastic_inference.control.endpoint import Endpoint
from elastic_inference.control.listener import listen
from elastic_inference.control.pool import Pool
from elastic_inference.errors import ConfigurationError, InvalidRequestError, UnavailableError

StartPool = Callable[..., Pool]
PATIENCE = 60.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def pool(start_pool: StartPool) -> Pool:
    return start_pool()


def address(pool: Pool) -> tuple[str, int]:
    host, _, port = pool.pointer.endpoint.removeprefix("https://").rpartition(":")
    return host, int(port)


def dial(pool: Pool) -> socket.socket:
    return socket.create_connection(address(pool), PATIENCE)


def ask_live(pool: Pool, server_name: str) -> bytes:
    """The status line that the accelerator of that name gives to a liveness request."""
    context = ssl.create_default_context(cafile=pool.pointer.ca)
    with context.wrap_socket(dial(pool), server_hostname=server_name) as tls:
        tls.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return tls.recv(4096).partition(b"\r\n")[0]


def closed(connection: socket.socket) -> bool:
    """Whether the other end closes without a word."""
    with connection, contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def test_each_accelerator_is_reached_by_its_server_name(pool: Pool) -> None:
    _, accelerators, _ = pool.plane.run_instance(["eia1.medium", "eia1.medium"])
    for accelerator in accelerators:
        name = f"{accelerator.id}.elastic-inference.internal"
        assert ask_live(pool, name) == b"HTTP/1.1 200 OK"
        assert ask_live(pool, name.upper()) == b"HTTP/1.1 200 OK"


def test_no_byte_of_an_accelerators_connection_stays_with_the_endpoint(pool: Pool) -> None:
    _, (accelerator,), _ = pool.plane.run_instance(["eia1.medium"])
    before = len(list(DESCRIPTORS.iterdir()))
    context = ssl.create_default_context(cafile=pool.pointer.ca)
    name = f"{accelerator.id}.elastic-inference.internal"
    with dial(pool) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        assert tls.version() == "TLSv1.3"
        # This process has the client's end alone: the other one is the accelerator's.
        assert len(list(DESCRIPTORS.iterdir())) == before + 1


@pytest.mark.parametrize(
    "first_bytes",
    [b"HELO x\r\n", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", b"\x00"],
)
def test_what_is_not_tls_is_closed(pool: Pool, first_bytes: bytes) -> None:
    connection = dial(pool)
    connection.sendall(first_bytes)
    assert closed(connection)


@pytest.mark.parametrize("first_bytes", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE])
def test_http_without_tls_is_told_so(pool: Pool, first_bytes: bytes) -> None:
    with dial(pool) as connection:
        connection.sendall(first_bytes)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"This port speaks TLS" in answer


@pytest.mark.parametrize(
    "name",
    ["www.example.com", "eia-ffff.elastic-inference.internal", ".elastic-inference.internal"],
)
def test_an_unknown_name_is_closed(pool: Pool, name: str) -> None:
    hello = ssl.MemoryBIO()
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="x" + name).do_handshake()
    connection = dial(pool)
    connection.sendall(hello.read())
    assert closed(connection)


def test_one_that_says_nothing_is_closed_in_time(start_pool: StartPool) -> None:
    pool = start_pool(hello_timeout=0.2)
    silent, half = dial(pool), dial(pool)
    half.sendall(b"\x16\x03\x01")
    assert closed(silent)
    assert closed(half)


def test_one_that_stops_halfway_is_closed_at_once(pool: Pool) -> None:
    connection = dial(pool)
    connection.sendall(b"\x16\x03\x01\x02\x00\x01")
    connection.shutdown(socket.SHUT_WR)
    assert closed(connection)


def test_slow_clients_delay_nobody(pool: Pool) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            slow = stack.enter_context(dial(pool))
            slow.sendall(b"\x16\x03\x01\x02")
        assert ControlClient(pool.pointer, PATIENCE).call("DescribeInstances", {})


def test_the_oldest_of_too_many_makes_room(start_pool: StartPool) -> None:
    pool = start_pool(max_pending=4)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(dial(pool)) for _ in range(4)]
        newest = stack.enter_context(dial(pool))
        assert closed(waiting[0])
        assert ControlClient(pool.pointer, PATIENCE).call("DescribeInstances", {})
        newest.setblocking(False)
        with pytest.raises(BlockingIOError):
            newest.recv(1)


def test_connections_to_the_api_are_bounded(start_pool: StartPool) -> None:
    pool = start_pool(max_control_connections=1)
    context = ssl.create_default_context(cafile=pool.pointer.ca)
    second = ControlClient(pool.pointer, PATIENCE)
    with (
        context.wrap_socket(dial(pool), server_hostname="localhost"),
        pytest.raises(UnavailableError),
    ):
        second.call("DescribeInstances", {})


class Recorder:
    """Receives what an endpoint routes to the API."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)

    def take(self, connection: socket.socket, peer: tuple[object, ...]) -> None:
        del peer
        connection.close()
        self.arrived.release()


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder, Endpoint]]:
    record = Recorder()
    endpoint = Endpoint(
        listen("127.0.0.1:0"),
        pool_names=frozenset({"pool.example"}),
        domain="example",
        to_api=record.take,
        to_accelerator=lambda *_: None,
        hello_timeout=PATIENCE,
        max_pending=8,
    )
    yield record, endpoint
    endpoint.close()


def test_a_hello_that_comes_byte_by_byte_arrives(recorder: tuple[Recorder, Endpoint]) -> None:
    record, endpoint = recorder
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), hello, server_hostname="pool.example"
        ).do_handshake()
    with socket.create_connection((endpoint.host, endpoint.port), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in hello.read():
            connection.sendall(bytes([byte]))
        assert record.arrived.acquire(timeout=PATIENCE)


def test_more_listeners_come_and_go(recorder: tuple[Recorder, Endpoint]) -> None:
    record, endpoint = recorder
    listener = listen("127.0.0.1:0")
    address = listener.getsockname()
    close = endpoint.add(listener)
    context = ssl.create_default_context()
    with (
        socket.create_connection(address, PATIENCE) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection, server_hostname="pool.example")
    assert record.arrived.acquire(timeout=PATIENCE)
    close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, PATIENCE)
    close()


@pytest.mark.parametrize("bad", ["", "8443", "localhost:1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_addresses_that_are_none_are_refused(bad: str) -> None:
    with pytest.raises(InvalidRequestError, match="Cannot listen"):
        listen(bad)


def test_a_taken_address_is_refused() -> None:
    with listen("127.0.0.1:0") as first, pytest.raises(ConfigurationError, match="in use"):
        listen(f"127.0.0.1:{first.getsockname()[1]}")


def test_the_default_is_loopback_and_the_same_port_again(
    start_pool: StartPool, short_path: Path
) -> None:
    del short_path
    first = start_pool()
    assert address(first)[0] == "127.0.0.1"
    first.close()
    assert start_pool().pointer.endpoint == first.pointer.endpoint
