"""The HTTP interface of a real accelerator process: what works, and every way to do it wrong."""

from __future__ import annotations

import base64
import json
import socket
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.accelerator.http_client import (
    Wire,
    X,
    error_of,
    infer,
    infer_body,
    load,
    read_output,
    scale_model,
)
from tests.processes import AcceleratorProcess


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "double", scale_model(2))
    load(accelerator, "triple", scale_model(3))
    return accelerator


@pytest.fixture
def wire(served: AcceleratorProcess) -> Iterator[Wire]:
    with Wire(served) as connection:
        yield connection
        # Whatever a test did on its own connection, the accelerator goes on for the next one.
        with Wire(served) as other:
            assert infer(other, "double").tolist() == (X * 2).tolist()


def nonzero_model() -> bytes:
    """`y = indices of the elements of x that are not zero`: its shape depends on values."""
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "nonzero",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [2, "m"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def infer_int64(wire: Wire, model: str, array: np.ndarray) -> np.ndarray:
    body, length = infer_body(array)
    headers = (f"Inference-Header-Content-Length: {length}",)
    status, fields, answer = wire.request(
        "POST", f"/v2/models/{model}/infer", body, headers=headers, token=None
    )
    assert status == 200, answer
    size = int(fields["inference-header-content-length"])
    shape = json.loads(answer[:size])["outputs"][0]["shape"]
    return np.frombuffer(answer[size:], np.int64).reshape(shape)


class TestMetadata:
    def test_server(self, wire: Wire) -> None:
        status, _, body = wire.request("GET", "/v2")
        document = json.loads(body)
        assert status == 200
        assert document["name"] == "elastic-inference"
        assert {"binary_tensor_data", "model_repository", "statistics"} <= set(
            document["extensions"]
        )

    def test_health(self, wire: Wire) -> None:
        assert wire.request("GET", "/v2/health/live", token=None)[0] == 200
        assert wire.request("GET", "/v2/health/ready")[0] == 200

    def test_model(self, wire: Wire) -> None:
        for path in ("/v2/models/double", "/v2/models/double/versions/1"):
            status, _, body = wire.request("GET", path)
            document = json.loads(body)
            assert status == 200
            assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
            assert document["versions"] == ["1"]
        assert wire.request("GET", "/v2/models/double/ready")[0] == 200
        assert wire.request("GET", "/v2/models/none/ready")[0] == 404
        assert wire.request("GET", "/v2/models/double/versions/2")[0] == 404

    def test_config(self, wire: Wire) -> None:
        document = json.loads(wire.request("GET", "/v2/models/double/config")[2])
        assert document["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}]

    def test_index(self, wire: Wire) -> None:
        status, _, body = wire.request("POST", "/v2/repository/index")
        assert status == 200
        ready = {entry["name"] for entry in json.loads(body) if entry["state"] == "READY"}
        assert {"double", "triple"} <= ready

    def test_accelerator(self, wire: Wire, served: AcceleratorProcess) -> None:
        document = json.loads(wire.request("GET", "/v2/elastic-inference/accelerator")[2])
        assert document["accelerator_id"] == served.config.accelerator_id
        assert document["memory"]["limit"] == served.config.memory_bytes
        assert 0 <= document["memory"]["used"] < document["memory"]["limit"]
        assert document["engine"]["domains"][""] >= 17

    def test_statistics_and_metrics_count(self, wire: Wire) -> None:
        def count() -> int:
            body = wire.request("GET", "/v2/models/triple/stats")[2]
            return int(json.loads(body)["model_stats"][0]["inference_count"])

        before = count()
        infer(wire, "triple")
        assert count() == before + 1
        metrics = wire.request("GET", "/metrics")[2].decode()
        assert f'model="triple"}} {before + 1}\n' in metrics
        assert "\nei_memory_used_bytes{" in metrics

    def test_usage_adds_up(self, wire: Wire) -> None:
        path = "/v2/elastic-inference/usage"
        before = json.loads(wire.request("GET", path)[2])
        wire.request("POST", path, b'{"calls": 3, "wall_ns": 1000}')
        after = json.loads(wire.request("GET", path)[2])
        assert after["client_calls"] == before["client_calls"] + 3
        assert after["client_wall_ns"] == before["client_wall_ns"] + 1000
        assert wire.request("POST", path, b'{"calls": -3, "wall_ns": 1000}')[0] == 400


class TestInference:
    def test_two_models_of_one_architecture_answer_with_their_own_weights(self, wire: Wire) -> None:
        for _ in range(3):
            assert infer(wire, "double").tolist() == (X * 2).tolist()
            assert infer(wire, "triple").tolist() == (X * 3).tolist()

    def test_json_both_ways(self, wire: Wire) -> None:
        request = {
            "id": "seven",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}],
        }
        status, _, body = wire.request(
            "POST", "/v2/models/double/versions/1/infer", json.dumps(request).encode()
        )
        document = json.loads(body)
        assert status == 200
        assert document["id"] == "seven"
        assert document["outputs"] == [
            {"name": "y", "datatype": "FP32", "shape": [1, 4], "data": [2.0, 4.0, 6.0, 8.0]}
        ]

    def test_a_changing_id_is_answered(self, wire: Wire) -> None:
        for number in ("1", "2", "3"):
            body, length = infer_body(X)
            body = b'{"id":"' + number.encode() + b'",' + body[1:]
            length += len(f'"id":"{number}",')
            status, headers, answer = wire.request(
                "POST",
                "/v2/models/double/infer",
                body,
                headers=(f"Inference-Header-Content-Length: {length}",),
            )
            assert status == 200
            size = int(headers["inference-header-content-length"])
            assert json.loads(answer[:size])["id"] == number

    def test_known_requests_are_still_checked(self, wire: Wire) -> None:
        """What is remembered of a request is its form alone."""
        load(wire.process, "changing", scale_model(5))
        assert wire.request("GET", "/v2")[0] == 200
        answers = [infer(wire, "changing", array, token=None) for array in (X, X + 1, X * 0)]
        assert [answer.tolist() for answer in answers] == [
            (array * 5).tolist() for array in (X, X + 1, X * 0)
        ]
        load(wire.process, "changing", scale_model(7))
        assert infer(wire, "changing", token=None).tolist() == (X * 7).tolist()
        wire.request("POST", "/v2/repository/models/changing/unload", b"{}", token=None)
        body, length = infer_body(X)
        headers = (f"Inference-Header-Content-Length: {length}",)
        path = "/v2/models/changing/infer"
        assert wire.request("POST", path, body, headers=headers, token=None)[0] == 404
        load(wire.process, "changing", scale_model(9))
        token = wire.process.token(lifetime=2.0)
        assert wire.request("GET", "/v2", token=token)[0] == 200
        status = 200
        while status == 200:
            status = wire.request("POST", path, body, headers=headers, token=None)[0]
        assert status == 401, "the grant ends for known requests too"

    def test_known_requests_may_have_outputs_of_other_shapes(self, wire: Wire) -> None:
        load(wire.process, "nonzero", nonzero_model())
        assert wire.request("GET", "/v2")[0] == 200
        for array in (X, X, X * 0, X, X * 0 + 1):
            found = infer_int64(wire, "nonzero", array)
            assert found.tolist() == np.stack(np.nonzero(array)).tolist()

    def test_a_name_may_come_to_stand_for_a_model_with_other_outputs(
        self, wire: Wire, served: AcceleratorProcess
    ) -> None:
        body, length = infer_body(X)
        headers = (f"Inference-Header-Content-Length: {length}",)
        for output in ("y", "z"):
            load(served, "renamed", scale_model(5, output))
            for _ in range(2):
                _, fields, answer = wire.request(
                    "POST", "/v2/models/renamed/infer", body, headers=headers
                )
                header = json.loads(answer[: int(fields["inference-header-content-length"])])
                assert [each["name"] for each in header["outputs"]] == [output]

    def test_chunked_and_compressed_bodies(self, wire: Wire) -> None:
        body, length = infer_body(X)
        head = (
            "POST /v2/models/double/infer HTTP/1.1\r\nHost: t\r\n"
            f"Authorization: Bearer {wire.process.token()}\r\n"
            f"Inference-Header-Content-Length: {length}\r\n"
        )
        chunks = b"".join(
            f"{len(part):x};ext=1\r\n".encode() + part + b"\r\n"
            for part in (body[:7], body[7:100], body[100:])
        )
        wire.send(
            f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\nA: b\r\n\r\n"
        )
        _, headers, answer = wire.answer()
        assert read_output(headers, answer).tolist() == (X * 2).tolist()
        for encoding, wbits in (("gzip", 31), ("deflate", 15)):
            packer = zlib.compressobj(wbits=wbits)
            packed = packer.compress(body) + packer.flush()
            status, headers, answer = wire.request(
                "POST",
                "/v2/models/double/infer",
                packed,
                headers=(
                    f"Inference-Header-Content-Length: {length}",
                    f"Content-Encoding: {encoding}",
                ),
            )
            assert status == 200
            assert read_output(headers, answer).tolist() == (X * 2).tolist()

    def test_continue_is_sent_before_the_body(self, wire: Wire) -> None:
        body, length = infer_body(X)
        wire.send(
            (
                "POST /v2/models/double/infer HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
                f"Authorization: Bearer {wire.process.token()}\r\nContent-Length: {len(body)}\r\n"
                f"Inference-Header-Content-Length: {length}\r\n\r\n"
            ).encode()
        )
        assert wire.answer()[0] == 100
        wire.send(body)
        _, headers, answer = wire.answer()
        assert read_output(headers, answer).tolist() == (X * 2).tolist()

    def test_pipelined_requests_are_answered_in_order(self, wire: Wire) -> None:
        body, length = infer_body(X)
        for model in ("double", "triple") * 3:
            wire.send(
                (
                    f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: t\r\n"
                    f"Authorization: Bearer {wire.process.token()}\r\n"
                    f"Content-Length: {len(body)}\r\n"
                    f"Inference-Header-Content-Length: {length}\r\n\r\n"
                ).encode()
                + body
            )
        for factor in (2, 3) * 3:
            _, headers, answer = wire.answer()
            assert read_output(headers, answer).tolist() == (X * factor).tolist()

    def test_large_bodies_arrive_whole(self, wire: Wire) -> None:
        array = np.random.default_rng(0).random((500_000, 4), np.float32)
        assert np.array_equal(infer(wire, "double", array), array * 2)

    def test_over_the_unix_socket(self, served: AcceleratorProcess) -> None:
        with Wire(served, unix=True) as wire:
            assert infer(wire, "triple").tolist() == (X * 3).tolist()

    def test_timing_is_told_on_demand(self, wire: Wire) -> None:
        body, length = infer_body(X)
        _, headers, _ = wire.request(
            "POST",
            "/v2/models/double/infer",
            body,
            headers=(f"Inference-Header-Content-Length: {length}", "EI-Timing: 1"),
        )
        receive, compute = headers["ei-timing"].split(";")
        assert int(receive) > 0
        assert int(compute) > 0


class TestAuthorisation:
    def test_no_token(self, wire: Wire) -> None:
        status, error = error_of(wire.request("GET", "/v2", token=None))
        assert (status, "no token" in error) == (401, True)

    @pytest.mark.parametrize(
        ("claims", "why"),
        [
            ({"lifetime": -1.0}, "expired"),
            ({"accelerator_id": "eia-" + "f" * 32}, "another accelerator"),
        ],
    )
    def test_expired_and_foreign_tokens(
        self, wire: Wire, claims: dict[str, object], why: str
    ) -> None:
        token = wire.process.token(**claims)  # type: ignore[arg-type]  # fields of Claims
        status, _, body = wire.request("GET", "/v2", token=token)
        document = json.loads(body)
        assert status == 401
        assert why in document["error"]
        assert document["ei_error_code"] == [3, 16, 8]

    def test_a_token_of_another_key(self, wire: Wire) -> None:
        from elastic_inference.protocol.tokens import Claims, mint

        forged = mint(bytes(32), Claims(wire.process.config.accelerator_id, "i", "a", 9e9))
        assert wire.request("GET", "/v2", token=forged)[0] == 401

    def test_the_grant_stays_with_the_connection(self, wire: Wire) -> None:
        assert wire.request("GET", "/v2")[0] == 200
        assert wire.request("GET", "/v2", token=None)[0] == 200
        with Wire(wire.process) as other:
            assert other.request("GET", "/v2", token=None)[0] == 401

    def test_a_wrong_token_does_not_fall_back_on_the_grant(self, wire: Wire) -> None:
        assert wire.request("GET", "/v2")[0] == 200
        assert wire.request("GET", "/v2", token="nonsense")[0] == 401
        assert (
            wire.request("GET", "/v2", headers=("AUTHORIZATION: Bearer x",), token=None)[0] == 401
        )

    def test_a_grant_ends_with_its_token(self, wire: Wire) -> None:
        assert wire.request("GET", "/v2", token=wire.process.token(lifetime=0.3))[0] == 200
        status = 200
        while status == 200:
            status = wire.request("GET", "/v2", token=None)[0]
        assert status == 401
        assert wire.request("GET", "/v2")[0] == 200, "the connection stays open for a new token"

    def test_a_grant_that_ends_before_a_large_body_is_renewed_on_the_connection(
        self, wire: Wire
    ) -> None:
        assert wire.request("GET", "/v2", token=wire.process.token(lifetime=0.3))[0] == 200
        status = 200
        while status == 200:
            status = wire.request("GET", "/v2", token=None)[0]
        x = np.ones((1_000_000, 4), np.float32)
        body, length = infer_body(x)
        fields = (f"Inference-Header-Content-Length: {length}",)
        path = "/v2/models/double/infer"
        assert wire.request("POST", path, body, token=None, headers=fields)[0] == 401
        assert infer(wire, "double", x)[-1].tolist() == [2.0] * 4

    def test_a_refused_body_is_skipped(self, wire: Wire) -> None:
        body, _ = infer_body(X)
        assert wire.request("POST", "/v2/models/double/infer", body, token=None)[0] == 401
        assert infer(wire, "double").tolist() == (X * 2).tolist()


class TestMalformed:
    @pytest.mark.parametrize(
        "raw",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET /v2 HTTP/1.1\r\nbad header\r\n\r\n",
            b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /v2 HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ],
    )
    def test_bad_heads_end_the_connection(self, wire: Wire, raw: bytes) -> None:
        wire.send(raw)
        status, _ = error_of(wire.answer())
        assert status == 400
        assert wire.closed()

    def test_a_head_without_an_end(self, wire: Wire) -> None:
        wire.send(b"GET /v2 HTTP/1.1\r\n" + b"A: " + b"a" * 70_000)
        status, error = error_of(wire.answer())
        assert (status, "head is larger" in error) == (413, True)

    def test_bad_chunks(self, wire: Wire) -> None:
        wire.send(
            f"POST /v2/repository/index HTTP/1.1\r\nAuthorization: Bearer {wire.process.token()}"
            "\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n".encode()
        )
        assert error_of(wire.answer())[0] == 400
        assert wire.closed()

    @pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"\xff", b"x" * 5000])
    def test_unknown_codings(self, wire: Wire, coding: bytes) -> None:
        body, _ = infer_body(X)
        wire.send(
            f"POST /v2/models/double/infer HTTP/1.1\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {wire.process.token()}\r\nContent-Encoding: ".encode()
            + coding
            + b"\r\n\r\n"
            + body
        )
        status, error = error_of(wire.answer())
        assert (status, "is not known" in error) == (400, True)
        assert len(error) < 200

    def test_a_body_cut_off(self, wire: Wire) -> None:
        body, length = infer_body(X)
        head = (
            f"POST /v2/models/double/infer HTTP/1.1\r\nAuthorization: Bearer "
            f"{wire.process.token()}\r\nContent-Length: {len(body)}\r\n"
            f"Inference-Header-Content-Length: {length}\r\n\r\n"
        )
        wire.send(head.encode() + body[:-5])
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.closed()

    @pytest.mark.parametrize(
        ("body", "json_length", "why"),
        [
            (b"{", None, "not JSON"),
            (b"[]", None, "must be a JSON object"),
            (b"{}", None, "no list"),
            (b"{}", 3, "longer than the body"),
            (b'{"inputs":[]}xx', 13, "announces 0 bytes"),
            (b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1]}]}', None, "'x'"),
            (b'{"inputs":[{"name":"z","datatype":"FP32","shape":[1],"data":[1]}]}', None, "'x'"),
            (
                b'{"inputs":[{"name":"x","datatype":"INT64","shape":[1,4],"data":[1,2,3,4]}]}',
                None,
                "INT64",
            ),
            (
                b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,5],"data":[1,2,3,4,5]}]}',
                None,
                "4",
            ),
            (
                b'{"inputs":[{"name":"x","datatype":"FP32","shape":[4],"data":[1,2,3,4]}]}',
                None,
                "x",
            ),
            (
                (
                    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}],'
                    b'"outputs":[{"name":"nothing"}]}'
                ),
                None,
                "nothing",
            ),
            (
                (
                    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"parameters":'
                    b'{"shared_memory_region":"r","shared_memory_byte_size":16}}]}'
                ),
                None,
                "no shared memory region",
            ),
        ],
    )
    def test_bad_requests_are_told_apart(
        self, wire: Wire, body: bytes, json_length: int | None, why: str
    ) -> None:
        headers = (
            () if json_length is None else (f"Inference-Header-Content-Length: {json_length}",)
        )
        status, error = error_of(
            wire.request("POST", "/v2/models/double/infer", body, headers=headers)
        )
        assert status == 400
        assert why in error

    def test_unknown_paths_and_models(self, wire: Wire) -> None:
        body = b'{"inputs":[]}'
        assert error_of(wire.request("GET", "/nothing"))[0] == 404
        assert error_of(wire.request("DELETE", "/v2"))[0] == 404
        status, error = error_of(wire.request("POST", "/v2/models/nothing/infer", body))
        assert (status, "nothing" in error) == (404, True)
        path = "/v2/models/double/versions/9/infer"
        assert error_of(wire.request("POST", path, body))[0] == 404

    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"file:model.onnx": "!"},
            {"file:model.onnx": 3},
            {"file:../model.onnx": ""},
            {"file:/etc/model.onnx": ""},
            {"file:model.onnx": base64.b64encode(b"not a model").decode()},
            {"config": 3},
            {"config": "{"},
        ],
    )
    def test_bad_loads(self, wire: Wire, parameters: dict[str, object]) -> None:
        body = json.dumps({"parameters": parameters}).encode()
        status, _ = error_of(wire.request("POST", "/v2/repository/models/bad/load", body))
        assert 400 <= status < 500
        assert wire.request("GET", "/v2/models/bad/ready")[0] == 404

    def test_many_ids_and_heads_do_not_pile_up(self, wire: Wire) -> None:
        for number in range(5000):
            wire.send(f"GET /v2/health/live?{number} HTTP/1.1\r\n\r\n".encode())
            assert wire.answer()[0] == 200


def test_head_is_answered_without_a_body(served: AcceleratorProcess) -> None:
    connection = HTTPConnection("127.0.0.1", served.port, timeout=30.0)
    shown = {"Authorization": f"Bearer {served.token()}"}
    for path, status in (("/v2", 200), ("/v2/nothing", 404), ("/v2/models/none", 404)):
        connection.request("HEAD", path, headers=shown)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, b"")
        assert int(answer.headers["Content-Length"]) > 0
        connection.request("GET", path, headers=shown)
        whole = connection.getresponse()
        assert whole.status == status
        assert json.loads(whole.read())
    connection.close()
