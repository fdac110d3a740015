"""HTTP requests that are cut off, too large, too slow, malformed or not allowed."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any

import numpy as np
import pytest

from elastic_inference.protocol.tokens import Claims, mint
from elastic_inference.settings import Limits
from tests.accelerator.http_client import Wire, error_of, infer, infer_body, load, scale_model
from tests.faults.conftest import Bystander, X, until
from tests.processes import TOKEN_KEY, AcceleratorProcess

PATH = "/v2/models/victim/infer"


def infer_head(process: AcceleratorProcess, length: int, json_length: int, *more: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        f"Authorization: Bearer {process.token()}",
        f"Content-Length: {length}",
        f"Inference-Header-Content-Length: {json_length}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("cut", [0, 1, 40, -300, -60, -20, -1])
def test_a_request_cut_off_anywhere(
    served: AcceleratorProcess, bystander: Bystander, cut: int
) -> None:
    body, length = infer_body(X)
    whole = infer_head(served, len(body), length) + body
    for unix in (False, True):
        with Wire(served, unix=unix) as wire:
            wire.send(whole[: cut if cut >= 0 else len(whole) + cut])
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.closed()
    bystander.goes_on()


def test_a_known_request_cut_off_in_its_tensors(
    served: AcceleratorProcess, bystander: Bystander
) -> None:
    for rows in (1, 40_000):
        x = np.ones((rows, 4), np.float32)
        with Wire(served) as wire:
            wire.request("GET", "/v2")
            for _ in range(3):
                infer(wire, "victim", x, token=None)
            body, length = infer_body(x)
            head = infer_head(served, len(body), length).replace(
                b"Authorization: Bearer " + served.token().encode() + b"\r\n", b""
            )
            wire.send(head + body[:-7])
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.closed()
    bystander.goes_on()


@pytest.mark.usefixtures("bystander")
class TestWrong:
    @pytest.mark.parametrize(
        ("entry", "data", "why"),
        [
            ({"shape": [1, 4], "data": [10**400, 1, 1, 1]}, b"", "too large"),
            ({"shape": [0, 2**61], "data": []}, b"", "too large"),
            (
                {"shape": [0, 2**61], "parameters": {"binary_data_size": 0}},
                b"",
                "too large",
            ),
            ({"shape": [2**31, 2**31], "data": []}, b"", "too large"),
            ({"shape": [-1, 4], "data": [1]}, b"", "shape"),
            ({"shape": [1, 4.0], "data": [1]}, b"", "shape"),
            ({"shape": [1, 2**63], "data": [1]}, b"", "shape"),
            ({"shape": [1] * 65, "data": [1]}, b"", "shape"),
            ({"shape": [1, 4], "parameters": {"binary_data_size": -1}}, b"", "binary_data_size"),
            ({"shape": [1, 4], "parameters": {"binary_data_size": 2**62}}, b"", "bytes"),
            ({"shape": [1, 4], "parameters": {"binary_data_size": 12}}, bytes(12), "16 bytes"),
            ({"shape": [1, 4], "parameters": {"binary_data_size": 16}}, bytes(12), "12 came"),
            ({"shape": [1, 4], "parameters": {"binary_data_size": 16}}, bytes(20), "20 came"),
            (
                {"shape": [1, 4], "datatype": "FP64", "parameters": {"binary_data_size": 32}},
                bytes(32),
                "FP64",
            ),
            ({"shape": [4], "parameters": {"binary_data_size": 16}}, bytes(16), "FP32[4]"),
            ({"shape": [1, 4], "datatype": "FP99", "data": [1]}, b"", "FP99"),
            ({"shape": [1, 4], "datatype": ["FP32"], "data": [1]}, b"", "datatype"),
            (
                {"shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 8}},
                b"\xff\xff\xff\xff" * 2,
                "cut off",
            ),
            (
                {"shape": [2**40], "datatype": "BYTES", "parameters": {"binary_data_size": 4}},
                bytes(4),
                "strings",
            ),
            (
                {"shape": [4], "datatype": "BOOL", "parameters": {"binary_data_size": 4}},
                b"\0\1\2\xff",
                "BOOL is 0 or 1",
            ),
            ({"name": "nobody", "shape": [1, 4], "data": [1, 2, 3, 4]}, b"", "'x'"),
        ],
    )
    def test_tensors(
        self, served: AcceleratorProcess, entry: dict[str, Any], data: bytes, why: str
    ) -> None:
        header = json.dumps({"inputs": [{"name": "x", "datatype": "FP32"} | entry]}).encode()
        with Wire(served) as wire:
            status, error = error_of(
                wire.request(
                    "POST",
                    PATH,
                    header + data,
                    headers=(f"Inference-Header-Content-Length: {len(header)}",),
                )
            )
            assert status == 400
            assert why in error
            assert infer(wire, "victim").tolist() == (X * 3).tolist(), "the connection goes on"

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"{",
            b"nonsense",
            b"[" * 100_000,
            b'{"inputs":' * 5_000,
            b'{"inputs":[{"name":"\\ud800","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}',
            b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["\\udfff"]}]}',
            b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[%s]}]}' % (b"9" * 5000),
            b'{"inputs":[],"id":"\xff"}',
            b'{"inputs":[' + b"null," * 10 + b"null]}",
        ],
    )
    def test_json(self, served: AcceleratorProcess, raw: bytes) -> None:
        with Wire(served) as wire:
            for path in (PATH, "/v2/elastic-inference/models", "/v2/repository/models/m/load"):
                status, error = error_of(wire.request("POST", path, raw))
                assert 400 <= status < 500, error
            assert infer(wire, "victim").tolist() == (X * 3).tolist()

    def test_two_authorisations(self, served: AcceleratorProcess) -> None:
        with Wire(served) as wire:
            answer = wire.request("GET", "/v2", headers=("authorization: Bearer x",))
            assert error_of(answer)[0] == 400

    @pytest.mark.parametrize(
        "token",
        [
            mint(bytes.fromhex(TOKEN_KEY), Claims("eia-" + "f" * 32, "i", "a", 9e9)),
            mint(bytes(32), Claims("eia-" + "0123456789abcdef" * 2, "i", "a", 9e9)),
            mint(bytes.fromhex(TOKEN_KEY), Claims("eia-" + "0123456789abcdef" * 2, "i", "a", 1e9)),
            "ei1..",
            "x" * 5000,
            "",
        ],
        ids=["foreign", "forged", "expired", "empty parts", "long", "none"],
    )
    def test_tokens(self, served: AcceleratorProcess, token: str) -> None:
        body, _ = infer_body(X)
        for method, path, content in (
            ("POST", PATH, body),
            ("GET", "/metrics", b""),
            ("GET", "/v2/elastic-inference/blobs/" + "0" * 64, b""),
            ("POST", "/v2/repository/models/victim/unload", b"{}"),
        ):
            with Wire(served) as wire:
                header = (f"Authorization: Bearer {token}",)
                answer = wire.request(method, path, content, token=None, headers=header)
                assert answer[0] == 401
                assert json.loads(answer[2])["ei_error_code"] == [3, 16, 8]

    def test_a_body_refused_in_its_midst_is_passed_over(self, served: AcceleratorProcess) -> None:
        data = bytes(300_000)
        digest = "ab" * 32
        with Wire(served) as wire:
            answer = wire.request(
                "PUT",
                f"/v2/elastic-inference/blobs/{digest}",
                data,
                headers=("Content-Range: bytes 0-9/10",),
            )
            assert error_of(answer)[0] == 413
            assert infer(wire, "victim").tolist() == (X * 3).tolist()

    def test_a_body_refused_amid_its_chunks_hides_no_request(
        self, served: AcceleratorProcess
    ) -> None:
        """What a refused body contains is never taken for the next request."""
        smuggled = b"POST /v2/repository/models/victim/unload HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
        inner = b"x" * 11 + b"\r\n0\r\n\r\n" + smuggled
        with Wire(served) as wire:
            wire.send(
                (
                    f"PUT /v2/elastic-inference/blobs/{'cd' * 32} HTTP/1.1\r\n"
                    f"Authorization: Bearer {served.token()}\r\nContent-Range: bytes 0-9/10\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n"
                ).encode()
                + b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
            )
            assert error_of(wire.answer())[0] == 413
            assert infer(wire, "victim").tolist() == (X * 3).tolist()

    def test_endless_trailers_end(self, served: AcceleratorProcess) -> None:
        with Wire(served) as wire:
            wire.send(
                (
                    f"POST /v2/repository/index HTTP/1.1\r\nAuthorization: Bearer {served.token()}"
                    "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
                ).encode()
                + b"A: b\r\n" * 101
            )
            assert error_of(wire.answer())[0] == 400
            assert wire.closed()

    def test_tiny_chunks_and_members_of_gzip(self, served: AcceleratorProcess) -> None:
        body, length = infer_body(X)
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        with Wire(served) as wire:
            head = infer_head(served, 0, length, "Transfer-Encoding: chunked")
            wire.send(head.replace(b"Content-Length: 0\r\n", b"", 1) + chunks)
            assert wire.answer()[0] == 200
            cut = gzip.compress(body)[:-9]
            answer = wire.request(
                "POST",
                PATH,
                cut,
                headers=(
                    f"Inference-Header-Content-Length: {length}",
                    "Content-Encoding: gzip",
                ),
            )
            assert error_of(answer)[0] == 400

    def test_names_of_models_that_are_not_there_do_not_pile_up(
        self, served: AcceleratorProcess
    ) -> None:
        with Wire(served) as wire:
            wire.request("GET", "/v2")
            for number in range(300):
                wire.request("POST", f"/v2/models/bogus{number}/infer", b"{", token=None)
            metrics = wire.request("GET", "/metrics", token=None)[2]
            assert b'model="victim"' in metrics
            assert b"bogus" not in metrics

    def test_unknown_models(self, served: AcceleratorProcess) -> None:
        body, length = infer_body(X)
        with Wire(served) as wire:
            for name in ("nobody", "0" * 64, "%2e%2e%2fvictim", "victim%00", "%ff" * 3):
                answer = wire.request(
                    "POST",
                    f"/v2/models/{name}/infer",
                    body,
                    headers=(f"Inference-Header-Content-Length: {length}",),
                )
                status, error = error_of(answer)
                assert status in (400, 404), error
                if status == 400:
                    break
            assert status == 400, "what is no text is no name"


class TestSlow:
    """Each wait has an end, whatever it is for."""

    @pytest.fixture
    def hasty(self, start_accelerator: Any) -> AcceleratorProcess:
        limits = Limits(receive_timeout=0.5, send_timeout=0.5)
        process: AcceleratorProcess = start_accelerator(limits=limits)
        load(process, "bystander", scale_model(2))
        load(process, "victim", scale_model(3))
        return process

    def test_the_descriptor_that_does_not_come(self, hasty: AcceleratorProcess) -> None:
        with Wire(hasty, unix=True) as wire:
            wire.send(
                (
                    "PUT /v2/elastic-inference/memory/never HTTP/1.1\r\n"
                    f"Authorization: Bearer {hasty.token()}\r\n"
                    "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"
                ).encode()
            )
            assert wire.answer()[0] == 100
            assert wire.closed()

    def test_tensors_of_a_known_request_that_do_not_come(self, hasty: AcceleratorProcess) -> None:
        body, length = infer_body(X)
        with Wire(hasty) as wire:
            wire.request("GET", "/v2")
            for _ in range(2):
                infer(wire, "victim", token=None)
            wire.send(
                (
                    f"POST {PATH} HTTP/1.1\r\nHost: test\r\n"
                    f"Inference-Header-Content-Length: {length}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n"
                ).encode()
                + body[:-1]
            )
            assert wire.closed()

    def test_one_that_shows_no_token_does_not_stay(self, hasty: AcceleratorProcess) -> None:
        with Wire(hasty) as silent, Wire(hasty) as nosy, Wire(hasty) as known:
            assert known.request("GET", "/v2")[0] == 200
            assert nosy.request("GET", "/v2/health/live", token=None)[0] == 200
            assert silent.closed()
            assert nosy.closed()
            assert known.request("GET", "/v2", token=None)[0] == 200


def test_bodies_together_stay_within_their_limit(start_accelerator: Any) -> None:
    limits = Limits(max_body=8 << 20, max_bodies=20 << 20)
    process: AcceleratorProcess = start_accelerator(limits=limits)
    load(process, "victim", scale_model(3))
    x = np.ones((450_000, 4), np.float32)
    body, length = infer_body(x)
    wires = [Wire(process) for _ in range(3)]
    try:
        for wire in wires[:2]:
            wire.send(infer_head(process, len(body), length) + body[:-4])
        until("two bodies under way", lambda: _status(process, body, length) == 429)
        # Refused by its length, before any of it came.
        wires[2].send(infer_head(process, len(body), length))
        status, error = error_of(wires[2].answer())
        assert (status, "bodies under way" in error) == (429, True)
        with Wire(process) as wire:
            assert infer(wire, "victim").tolist() == (X * 3).tolist(), "small ones pass"
        for wire in wires[:2]:
            wire.send(body[-4:])
            assert wire.answer()[0] == 200
            wire.socket.close()
        until("their memory given back", lambda: _status(process, body, length) == 200)
    finally:
        for wire in wires:
            wire.socket.close()


def _status(process: AcceleratorProcess, body: bytes, length: int) -> int:
    """Of an inference in one chunk, which is read whole before it is refused."""
    head = infer_head(process, 0, length, "Transfer-Encoding: chunked")
    with Wire(process) as wire:
        wire.send(head.replace(b"Content-Length: 0\r\n", b"", 1))
        wire.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        return wire.answer()[0]


@pytest.mark.parametrize("unix", [False, True])
def test_who_takes_all_connections_keeps_only_its_own(start_accelerator: Any, unix: bool) -> None:
    process: AcceleratorProcess = start_accelerator(limits=Limits(max_connections=8))
    load(process, "victim", scale_model(3))
    with Wire(process) as earlier:
        assert infer(earlier, "victim").tolist() == (X * 3).tolist()
        crowd = [Wire(process, unix=unix) for _ in range(40)]
        assert infer(earlier, "victim").tolist() == (X * 3).tolist()
        for wire in crowd:
            wire.socket.close()
        until("room again", lambda: _room(process))


def _room(process: AcceleratorProcess) -> bool:
    with Wire(process) as wire:
        try:
            return wire.request("GET", "/v2")[0] == 200
        except (ConnectionError, OSError):
            return False
