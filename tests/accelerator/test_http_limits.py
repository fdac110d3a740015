"""The limits of an accelerator process, and how it ends."""

from __future__ import annotations

import signal
import socket
import zlib

import numpy as np
import pytest

from elastic_inference.settings import Limits
from tests.accelerator.http_client import (
    Wire,
    X,
    error_of,
    infer_body,
    load,
    read_output,
    scale_model,
)
from tests.processes import AcceleratorProcess


class TestLimits:
    def test_body(self, start_accelerator: object) -> None:
        process = _limited(start_accelerator, max_body=1000)
        with Wire(process) as wire:
            status, error = error_of(wire.request("POST", "/v2/models/m/infer", bytes(1001)))
            assert (status, "EI_MAX_BODY" in error or "larger than 1000" in error) == (413, True)
        with Wire(process) as wire:
            packed = zlib.compress(bytes(100_000))
            answer = wire.request(
                "POST", "/v2/models/m/infer", packed, headers=("Content-Encoding: deflate",)
            )
            assert error_of(answer)[0] == 413, "a bomb is not unpacked"

    @pytest.mark.parametrize("kind", ["plain", "chunked"])
    def test_whoever_sends_all_before_reading_sees_why(
        self, start_accelerator: object, kind: str
    ) -> None:
        """More than the sockets hold, so that an accelerator that hung up would be noticed."""
        process = _limited(start_accelerator, max_body=8 << 20)
        body = bytes(24 << 20)
        with Wire(process) as wire:
            if kind == "plain":
                answer = wire.request("POST", "/v2/models/m/infer", body)
            else:
                wire.send(
                    b"POST /v2/models/m/infer HTTP/1.1\r\nAuthorization: Bearer %b\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
                    % (process.token().encode(), len(body), body)
                )
                answer = wire.answer()
            assert error_of(answer)[0] == 413
            assert wire.closed()

    def test_connections(self, start_accelerator: object) -> None:
        process = _limited(start_accelerator, max_connections=3)
        wires = [Wire(process) for _ in range(3)]
        for wire in wires:
            assert wire.request("GET", "/v2")[0] == 200
        with Wire(process) as extra:
            status, headers, _ = extra.answer()
            assert (status, headers["connection"]) == (429, "close")
        wires.pop().socket.close()
        for _ in range(100):
            with Wire(process) as again:
                try:
                    if again.request("GET", "/v2")[0] == 200:
                        break
                except ConnectionError:
                    continue
        else:
            pytest.fail("a closed connection did not make room for another")
        for wire in wires:
            wire.socket.close()

    def test_slow_requests_are_cut(self, start_accelerator: object) -> None:
        process = _limited(start_accelerator, receive_timeout=0.5, idle_timeout=1.0)
        with Wire(process) as slow, Wire(process) as stalled, Wire(process) as idle:
            slow.send(b"GET /v2 HT")
            stalled.send(
                f"POST /v2/models/m/infer HTTP/1.1\r\nAuthorization: Bearer {process.token()}\r\n"
                "Content-Length: 100\r\n\r\nabc".encode()
            )
            assert slow.closed()
            assert stalled.closed()
            assert idle.closed()

    def test_a_reader_that_does_not_read_is_cut(self, start_accelerator: object) -> None:
        process = _limited(start_accelerator, send_timeout=0.5)
        load(process, "double", scale_model(2))
        body, length = infer_body(np.zeros((1_000_000, 4), np.float32))
        with Wire(process) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.send(
                (
                    f"POST /v2/models/double/infer HTTP/1.1\r\n"
                    f"Authorization: Bearer {process.token()}\r\nContent-Length: {len(body)}\r\n"
                    f"Inference-Header-Content-Length: {length}\r\n\r\n"
                ).encode()
                + body
            )
            with pytest.raises(ConnectionError):
                _send_for_ever(wire)


def _send_for_ever(wire: Wire) -> None:
    while True:
        wire.send(b"\r\n")


def _limited(start: object, **limits: object) -> AcceleratorProcess:
    process = start(limits=Limits(**limits))  # type: ignore[operator,arg-type]  # the fixture
    assert isinstance(process, AcceleratorProcess)
    return process


class TestEnd:
    def test_a_running_request_ends_before_the_process(self, start_accelerator: object) -> None:
        process = _limited(start_accelerator)
        load(process, "double", scale_model(2))
        body, length = infer_body(X)
        with Wire(process) as wire, Wire(process) as idle:
            assert idle.request("GET", "/v2")[0] == 200
            head = (
                f"POST /v2/models/double/infer HTTP/1.1\r\n"
                f"Authorization: Bearer {process.token()}\r\nContent-Length: {len(body)}\r\n"
                f"Inference-Header-Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
            )
            wire.send(head.encode())
            assert wire.answer()[0] == 100, "the request is under way"
            process.process.send_signal(signal.SIGTERM)
            # The listener closes first, so from then on the process is draining.
            while True:
                try:
                    process.connect().close()
                except (ConnectionRefusedError, ConnectionResetError):
                    break
            assert wire.process.process.poll() is None
            wire.send(body)
            _, headers, answer = wire.answer()
            assert read_output(headers, answer).tolist() == (X * 2).tolist()
            assert idle.closed()
        assert process.process.wait(30) == 0
        assert not process.config.data_socket.exists()
