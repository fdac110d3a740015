"""Answers in the coding that was asked for, as the wire has them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest

from tests.accelerator.http_client import Wire, X, infer_body, load, read_output, scale_model
from tests.processes import AcceleratorProcess

UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
PATH = "/v2/models/double/infer"
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "double", scale_model(2))
    return accelerator


@pytest.fixture
def http(served: AcceleratorProcess) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", served.port, timeout=60.0)
    connection.connect()
    connection.request("GET", "/v2", headers={"Authorization": f"Bearer {served.token()}"})
    assert connection.getresponse().read()
    yield connection
    connection.close()


def ask(
    http: HTTPConnection, accept: str | None, array: np.ndarray[Any, Any] = X, **members: Any
) -> Answer:
    """An inference's answer, its chunks joined, on a connection that shall stay open."""
    sock = http.sock
    body, length = infer_body(array, **members)
    http.putrequest("POST", PATH, skip_accept_encoding=True)
    if accept is not None:
        http.putheader("Accept-Encoding", accept)
    http.putheader("Inference-Header-Content-Length", str(length))
    http.putheader("Content-Length", str(len(body)))
    http.endheaders(body)
    response = http.getresponse()
    answer = response.read()
    assert http.sock is sock
    return response.status, {key.lower(): value for key, value in response.getheaders()}, answer


def bytes_out(http: HTTPConnection) -> int:
    """Asked on the connection that the answers came by: it counts them after they went."""
    http.request("GET", "/v2/elastic-inference/usage")
    return int(json.loads(http.getresponse().read())["bytes_out"])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_small_answer_has_its_length(http: HTTPConnection, coding: str) -> None:
    status, headers, body = ask(http, coding)
    assert (status, headers["content-encoding"]) == (200, coding)
    assert int(headers["content-length"]) == len(body)
    assert "transfer-encoding" not in headers
    assert read_output(headers, UNPACK[coding](body)).tolist() == (X * 2).tolist()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_large_answer_comes_in_chunks(http: HTTPConnection, coding: str) -> None:
    noise = np.random.default_rng(0).random((400_000, 4), np.float32)
    for array in (noise, X, noise[:100_000]):
        _, headers, body = ask(http, coding, array)
        assert ("transfer-encoding" in headers) is (array is not X)
        assert ("content-length" in headers) is (array is X)
        found = read_output(headers, UNPACK[coding](body))
        assert found.tobytes() == (array * np.float32(2)).tobytes()


def test_json_is_compressed_too(http: HTTPConnection) -> None:
    _, headers, body = ask(http, "gzip", outputs=[{"name": "y", "parameters": {"binary_data": 0}}])
    assert headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in headers
    assert json.loads(gzip.decompress(body))["outputs"][0]["data"] == [0, 2, 4, 6]


@pytest.mark.parametrize(
    "accept", [None, "", "identity", "br", "*", "gzip, deflate, br", "gzip;q=0"]
)
def test_who_names_no_one_coding_gets_none(http: HTTPConnection, accept: str | None) -> None:
    _, headers, body = ask(http, accept)
    assert "content-encoding" not in headers
    assert read_output(headers, body).tolist() == (X * 2).tolist()


def test_known_requests_keep_apart(http: HTTPConnection) -> None:
    for number, accept in enumerate((None, None, "gzip", "gzip", None, "deflate", None, None)):
        array = X + number
        _, headers, body = ask(http, accept, array)
        assert headers.get("content-encoding") == accept
        plain = UNPACK[accept](body) if accept else body
        assert read_output(headers, plain).tolist() == (array * 2).tolist()


def test_what_went_out_is_counted(http: HTTPConnection) -> None:
    zeros = np.zeros((100_000, 4), np.float32)
    before = bytes_out(http)
    size = len(ask(http, "gzip", zeros)[2])
    assert size < zeros.nbytes // 50
    assert bytes_out(http) - before == size


def test_errors_are_not_compressed(http: HTTPConnection) -> None:
    status, headers, body = ask(http, "gzip", outputs=[{"name": "nothing"}])
    assert status == 400
    assert "content-encoding" not in headers
    assert "nothing" in json.loads(body)["error"]


def test_an_older_client_gets_no_chunks(served: AcceleratorProcess) -> None:
    body, length = infer_body(X)
    with Wire(served) as wire:
        wire.send(
            (
                f"POST {PATH} HTTP/1.0\r\nAccept-Encoding: gzip\r\nContent-Length: {len(body)}\r\n"
                f"Authorization: Bearer {served.token()}\r\n"
                f"Inference-Header-Content-Length: {length}\r\n\r\n"
            ).encode()
            + body
        )
        _, headers, answer = wire.answer()
        assert "content-encoding" not in headers
        assert read_output(headers, answer).tolist() == (X * 2).tolist()
        assert wire.closed()


def test_timing_and_the_end_of_the_connection_are_told_as_ever(
    served: AcceleratorProcess,
) -> None:
    body, length = infer_body(X)
    asked = {
        "Accept-Encoding": "gzip",
        "EI-Timing": "1",
        "Connection": "close",
        "Inference-Header-Content-Length": str(length),
    }
    _, headers, answer = served.request("POST", PATH, body, asked)
    assert int(headers["ei-timing"].partition(";")[0]) > 0
    assert headers["connection"] == "close"
    assert read_output(headers, gzip.decompress(answer)).tolist() == (X * 2).tolist()
