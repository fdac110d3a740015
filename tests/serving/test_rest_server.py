"""The REST front end's connections: bodies, bounds, clients that are slow or hostile."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from elastic_inference.errors import ConfigurationError
from elastic_inference.serving import rest_body, rest_connection
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.options import Options
from elastic_inference.serving.rest_server import RestServer
from tests.serving.rest_client import ONE, PATIENCE, PREDICT, Front, read_all
from tests.serving.standin import FakeVersions, Gate, service


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front()
    yield made
    made.close()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_packed_bodies(front: Front, coding: str) -> None:
    body = gzip.compress(ONE) if coding == "gzip" else zlib.compress(ONE)
    headers = {"Content-Encoding": coding}
    assert front.ask("POST", PREDICT, body, headers)[0] == 200
    assert "cut off" in front.ask("POST", PREDICT, body[:-1], headers)[1]
    assert "damaged" in front.ask("POST", PREDICT, b"x" * 40, headers)[1]
    assert front.ask("POST", PREDICT, body, {"Content-Encoding": "br"})[0] == 400


def test_bombs_are_refused(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front.server._api, "_largest", 1000)
    body = gzip.compress(b" " * 100_000)
    status, text = front.ask("POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert status == 400
    assert "larger than 1000 bytes" in text


def test_chunks(front: Front) -> None:
    assert front.ask("POST", PREDICT, iter([ONE[:5], ONE[5:6], ONE[6:]]))[0] == 200
    head = f"POST {PREDICT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for chunks in (
        b"zz\r\n",
        b"-1\r\n",
        b"5\r\nabcdefgh\r\n",
        b"\r\n",
        b"0\r\n" + b"a: b\r\n" * 200,
    ):
        with front.connect() as connection:
            connection.sendall(head + chunks)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 400 "), chunks
        assert b"chunks are malformed" in answer
    with front.connect() as connection:
        connection.sendall(head + b"3;x=y\r\n{  \r\n1\r\n}\r\n0\r\na: b\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert b"Missing 'inputs' or 'instances' key" in read_all(connection)


def test_requests_one_after_the_other(front: Front) -> None:
    request = b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (
        PREDICT.encode(),
        len(ONE),
        ONE,
    )
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    with front.connect() as connection:
        connection.sendall(request * 3 + last)
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 4
    assert answers.count(b"Connection: close") == 1


def test_clients_of_http_1_0_are_told_that_the_connection_stays(front: Front) -> None:
    head = b"GET /v1/models/default HTTP/1.0\r\n"
    with front.connect() as connection:
        connection.sendall(head + b"Connection: keep-alive\r\n\r\n" + head + b"\r\n")
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.count(b"Connection: keep-alive") == 1
    assert answers.count(b"Connection: close") == 1


def test_a_body_is_asked_for_where_a_client_waits(front: Front) -> None:
    with front.connect() as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {len(ONE)}\r\n"
            "Expect: 100-continue\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(ONE)
        assert b"HTTP/1.1 200 OK" in read_all(connection)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx" * 2000, 431),
        (b"GET /v1/models/default HTTP/1.1\r\n bad: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", 413),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
def test_hostile_heads(front: Front, raw: bytes, status: int) -> None:
    with front.connect() as connection:
        connection.sendall(raw)
        assert read_all(connection).startswith(b"HTTP/1.1 %d " % status)
    assert front.predict({"instances": [2]})[0] == 200


def test_bodies_are_bounded(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rest_body, rest_connection):
        monkeypatch.setattr(module, "MAX_BODY", 1000)
    status, _ = front.ask("POST", PREDICT, b" " * 1001)
    assert status == 413
    front.client.close()
    assert front.ask("POST", PREDICT, iter([b" " * 600, b" " * 600]))[0] == 413
    front.client.close()
    assert front.ask("POST", PREDICT, ONE)[0] == 200


def test_slow_clients_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_connection, "PATIENCE", 0.05)
    front = Front()
    for piece in (b"GET /v1/", f"POST {PREDICT} HTTP/1.1\r\nContent-Length: 9\r\n\r\n".encode()):
        with front.connect() as connection:
            connection.sendall(piece)
            assert connection.recv(100) == b""
    monkeypatch.setattr(rest_connection, "IDLE", 0.05)
    with front.connect() as connection:
        assert connection.recv(100) == b""
    front.close()


def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_connection, "PATIENCE", 0.05)
    front = Front()
    front.versions.servable.function = lambda _: {"y": np.zeros((3, 1_000_000), np.float32)}
    for ending in (b"", b"Connection: close\r\n"):
        with front.connect() as connection:
            head = b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (
                PREDICT.encode(),
                ending,
                len(ONE),
            )
            connection.sendall(head + ONE)
            # Its first bytes have come, and nobody reads on until it is cut off.
            assert connection.recv(10) == b"HTTP/1.1 2"
            gone = threading.Event()
            front.server._site.loop.call_soon_threadsafe(  # type: ignore[union-attr]
                watch_for_end, front, gone
            )
            assert gone.wait(PATIENCE)
    front.close()


def watch_for_end(front: Front, gone: threading.Event) -> None:
    site = front.server._site
    assert site is not None
    if site.connections:
        site.loop.call_later(0.01, watch_for_end, front, gone)
    else:
        gone.set()


def test_connections_are_bounded(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_connection, "MAX_CONNECTIONS", 1)
    assert front.ask("POST", PREDICT, ONE)[0] == 200
    with front.connect() as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 503 ")
    assert front.ask("POST", PREDICT, ONE)[0] == 200


def test_stopping_lets_requests_end(front: Front) -> None:
    gate = Gate()
    front.versions.servable.function = gate
    with front.connect() as connection, front.connect() as idle:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (PREDICT.encode(), len(ONE), ONE)
        )
        assert gate.entered.wait(PATIENCE)
        stopper = threading.Thread(target=front.server.stop, args=(PATIENCE,))
        stopper.start()
        assert idle.recv(10) == b""
        gate.opened.set()
        answer = read_all(connection)
    assert b"Connection: close" in answer
    assert answer.endswith(b'"predictions": [3.0\n    ]\n}')
    stopper.join(PATIENCE)
    assert not stopper.is_alive()


def test_a_client_that_leaves_fails_nobody(front: Front) -> None:
    gate = Gate()
    front.versions.servable.function = gate
    with front.connect() as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (PREDICT.encode(), len(ONE), ONE)
        )
        assert gate.entered.wait(PATIENCE)
    gate.opened.set()
    assert front.predict({"instances": [2]})[0] == 200


def test_a_port_that_is_taken_is_refused(front: Front) -> None:
    other = RestServer(service(FakeVersions()), Metrics(), Options())
    with pytest.raises(ConfigurationError, match=f"listen on 127.0.0.1:{front.port}"):
        other.start(f"127.0.0.1:{front.port}")
    with pytest.raises(ConfigurationError, match="listen on"):
        other.start("nowhere")
    other.stop(None)
