"""What the client does with answers that no accelerator gives."""

from __future__ import annotations

import json
import socket
import threading

import numpy as np
import pytest

from elastic_inference.errors import (
    AcceleratorLostError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
)
from tests.client.peer import LOADED, Peer, answer, tensor_answer

X = np.arange(4, dtype=np.float32)
GOOD = {
    "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": 16}}
    ]
}


def _good(sock: socket.socket) -> None:
    sock.sendall(tensor_answer(GOOD, X.tobytes()))


def _with(**changes: object) -> dict[str, object]:
    return {"outputs": [{**GOOD["outputs"][0], **changes}]}


def _size(size: object) -> dict[str, object]:
    return _with(parameters={"binary_data_size": size})


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe garbage \r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{}  ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 9\r\nContent-Length: 2\r\n\r\n{}",
        b"X" * 100_000,
        answer(b"not json"),
        answer(b"[]"),
        answer(b"{}"),
        answer(b"[" * 30_000),
        answer(json.dumps({"outputs": 5}).encode()),
        tensor_answer(GOOD, b"short"),
        tensor_answer(GOOD, X.tobytes() + b"more"),
        tensor_answer(GOOD, X.tobytes()) + b"after the end",
        tensor_answer(_with(name="z"), X.tobytes()),
        tensor_answer(_with(datatype="FP99"), X.tobytes()),
        tensor_answer(_with(datatype=None), X.tobytes()),
        tensor_answer(_with(shape=[5]), X.tobytes()),
        tensor_answer(_with(shape=[-4]), X.tobytes()),
        tensor_answer(_with(shape="4"), X.tobytes()),
        tensor_answer(_with(shape=[1 << 61, 0]), b""),
        tensor_answer(_with(parameters={}), X.tobytes()),
        tensor_answer(_with(parameters=None), X.tobytes()),
        tensor_answer(_size(-16), X.tobytes()),
        tensor_answer(_size(True), X.tobytes()),
        tensor_answer(_size(1 << 60), X.tobytes()),
        tensor_answer(_with(datatype="BYTES"), b"\xff" * 16),
        tensor_answer(_with(datatype="SEQUENCE", elements="no"), X.tobytes()),
        tensor_answer(
            _with(
                parameters={
                    "shared_memory_region": "mine",
                    "shared_memory_offset": 0,
                    "shared_memory_byte_size": 16,
                }
            ),
            b"",
        ),
    ],
)
def test_garbage_is_an_error_and_nothing_is_believed(garbage: bytes) -> None:
    with Peer(lambda sock, _line, _body: sock.sendall(garbage)) as peer, peer.connect() as it:
        model = it.load(b"model")
        with pytest.raises(AcceleratorLostError) as caught:
            model.run({"x": X})
        assert caught.value.accelerator_id == it.id
        assert caught.value.request_id.startswith("EI-")


def test_an_answer_cut_in_the_middle_is_asked_for_again() -> None:
    whole = tensor_answer(GOOD, X.tobytes())
    cuts = iter([0, 10, len(whole) - 1])

    def infer(sock: socket.socket, _line: bytes, _body: bytes) -> None:
        cut = next(cuts, None)
        sock.sendall(whole[:cut])
        if cut is not None:
            sock.shutdown(socket.SHUT_RDWR)

    with Peer(infer) as peer, peer.connect() as it:
        model = it.load(b"model")
        with pytest.raises(AcceleratorLostError):
            model.run({"x": X})
        np.testing.assert_array_equal(model.run({"x": X})[0], X)


def test_an_answer_in_single_bytes_is_read() -> None:
    def infer(sock: socket.socket, _line: bytes, _body: bytes) -> None:
        for byte in tensor_answer(GOOD, X.tobytes()):
            sock.sendall(bytes([byte]))

    with Peer(infer) as peer, peer.connect() as it:
        model = it.load(b"model")
        for _ in range(3):
            np.testing.assert_array_equal(model.run({"x": X})[0], X)


@pytest.mark.parametrize("part", [0, 10, 60, -1])
def test_a_silent_peer_ends_in_a_deadline(part: int) -> None:
    released = threading.Event()

    def infer(sock: socket.socket, _line: bytes, _body: bytes) -> None:
        sock.sendall(tensor_answer(GOOD, X.tobytes())[:part])
        released.wait(30.0)

    with Peer(infer) as peer, peer.connect(timeout=0.2) as it:
        model = it.load(b"model")
        try:
            with pytest.raises(DeadlineExceededError, match="in time") as caught:
                model.run({"x": X})
            assert caught.value.accelerator_id == it.id
        finally:
            released.set()


def test_a_dripping_peer_ends_in_a_deadline() -> None:
    stopped = threading.Event()

    def infer(sock: socket.socket, _line: bytes, _body: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while not stopped.wait(0.01):
            sock.sendall(b" ")

    with Peer(infer) as peer, peer.connect(timeout=0.3) as it:
        model = it.load(b"model")
        try:
            with pytest.raises(DeadlineExceededError):
                model.run({"x": X})
        finally:
            stopped.set()


def test_a_peer_that_does_not_read_ends_in_a_deadline() -> None:
    released = threading.Event()
    large = np.zeros(16 << 20, np.float32)
    listener = socket.create_server(("127.0.0.1", 0))

    def infer(_sock: socket.socket, _line: bytes, _body: bytes) -> None:
        released.wait(30.0)

    with listener, Peer(infer) as peer, peer.connect(timeout=0.3) as it:
        model = it.load(b"model")
        # The peer reads one request and then waits, so the second is stuck in sending.
        connection = it._link.take()
        connection.deadline = 1 << 62
        connection._send(b"POST /v2/models/a/infer HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        it._link.give_back(connection)
        try:
            with pytest.raises(DeadlineExceededError):
                model.run({"x": large})
        finally:
            released.set()


def test_a_call_after_a_deadline_gets_its_own_answer() -> None:
    released = threading.Event()
    first = threading.Event()

    def infer(sock: socket.socket, _line: bytes, body: bytes) -> None:
        if not first.is_set():
            first.set()
            released.wait(30.0)
            sock.sendall(tensor_answer(GOOD, X.tobytes()))
            return
        sock.sendall(tensor_answer(GOOD, body[-16:]))

    with Peer(infer) as peer, peer.connect(timeout=0.5) as it:
        model = it.load(b"model")
        with pytest.raises(DeadlineExceededError):
            model.run({"x": X})
        released.set()
        np.testing.assert_array_equal(model.run({"x": X + 1})[0], X + 1)


def test_an_answer_over_the_limit_is_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    with (
        Peer(lambda sock, _line, _body: sock.sendall(head)) as peer,
        peer.connect(max_answer=1 << 20) as it,
    ):
        model = it.load(b"model")
        with pytest.raises(InvalidRequestError, match="EI_MAX_ANSWER"):
            model.run({"x": X})


def test_errors_of_unknown_form_are_internal_errors() -> None:
    answers = iter([b"<html>", b"[1]", b'{"error": "it broke"}', b'{"error": 5, "kind": "odd"}'])

    def infer(sock: socket.socket, _line: bytes, _body: bytes) -> None:
        body = next(answers, None)
        if body is None:
            _good(sock)
        else:
            sock.sendall(answer(body, status=b"500 Oh"))

    with Peer(infer) as peer, peer.connect() as it:
        model = it.load(b"model")
        for _ in range(4):
            with pytest.raises(InternalError) as caught:
                model.run({"x": X})
            assert caught.value.request_id.startswith("EI-")
        # The connection was not lost by it.
        before = sum(b"/accelerator " in line for line in peer.requests)
        np.testing.assert_array_equal(model.run({"x": X})[0], X)
        assert sum(b"/accelerator " in line for line in peer.requests) == before


@pytest.mark.parametrize(
    "loaded",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b"not json",
        b"[" * 30_000,
        b'{"name":' * 30_000,
        json.dumps({**LOADED, "inputs": 5}).encode(),
        json.dumps({**LOADED, "inputs": ["x"]}).encode(),
        json.dumps({**LOADED, "outputs": [{"name": "y", "shape": 5}]}).encode(),
        json.dumps({**LOADED, "outputs": [{"name": "y", "shape": ["a"]}]}).encode(),
        json.dumps({**LOADED, "outputs": [{"name": "y", "shape": [1], "symbols": 1}]}).encode(),
        json.dumps({**LOADED, "metadata": 5}).encode(),
        json.dumps({**LOADED, "providers": 5}).encode(),
        b'{"name":"m","inputs":[],"outputs":[' + b'{"element":' * 200 + b"1" + b"}" * 200 + b"]}",
    ],
)
def test_a_load_answered_with_nonsense(loaded: bytes) -> None:
    with (
        Peer(lambda sock, _line, _body: _good(sock), loaded) as peer,
        peer.connect() as it,
        pytest.raises((AcceleratorLostError, InternalError)),
    ):
        it.load(b"model")


def test_another_accelerator_in_its_place_is_not_used() -> None:
    with Peer(lambda sock, _line, _body: _good(sock)) as peer:
        from elastic_inference.client import Address, connect
        from elastic_inference.settings import ClientSettings

        with pytest.raises(AcceleratorLostError, match="Another accelerator"):
            connect(
                "eia-" + "cd" * 16,
                ClientSettings(connect_timeout=0.2),
                address=Address(host="127.0.0.1", port=peer.port, tls=False),
                token="t",
            )
