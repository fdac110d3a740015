"""tritonclient's HTTP clients infer: all of a request's forms, each answer bit for bit."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.accelerator import graphs
from tests.accelerator.engines import encoded, local
from tests.accelerator.graphs import Graph, value_info
from tests.accelerator.http_client import Wire, scale_model
from tests.accelerator.triton import Bearer, connect, load, same, wire_input, wire_inputs
from tests.processes import AcceleratorProcess

GRAPHS = graphs.dozen()
X = np.arange(4, dtype=np.float32).reshape(1, 4)
PAIR: dict[str, Any] = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "b": np.full((3, 4), 0.1, np.float32),
}
# Datatype, the ONNX type of its identity, values.
VALUES: dict[str, tuple[int, Any]] = {
    "BOOL": (TensorProto.BOOL, np.array([True, False, True])),
    "UINT8": (TensorProto.UINT8, np.array([0, 255], np.uint8)),
    "UINT16": (TensorProto.UINT16, np.array([0, 65535], np.uint16)),
    "UINT32": (TensorProto.UINT32, np.array([0, 2**32 - 1], np.uint32)),
    "UINT64": (TensorProto.UINT64, np.array([0, 2**64 - 1], np.uint64)),
    "INT8": (TensorProto.INT8, np.array([-128, 127], np.int8)),
    "INT16": (TensorProto.INT16, np.array([-(2**15), 2**15 - 1], np.int16)),
    "INT32": (TensorProto.INT32, np.array([-(2**31), 2**31 - 1], np.int32)),
    "INT64": (TensorProto.INT64, np.array([-(2**63), 2**63 - 1], np.int64)),
    "FP16": (TensorProto.FLOAT16, np.array([0.1, -65504, 6e-8, np.inf], np.float16)),
    "FP32": (TensorProto.FLOAT, np.array([0.1, -3e38, 1e-45, -0.0, -np.inf], np.float32)),
    "FP64": (TensorProto.DOUBLE, np.array([0.1, 1.7e308, 5e-324], np.float64)),
    "BF16": (TensorProto.BFLOAT16, np.array([0.1, -3e38, 1.5], ml_dtypes.bfloat16)),
    "BYTES": (TensorProto.STRING, np.array([b"", b"text", "ü€🙂".encode()], np.object_)),
}


def sum_and_difference() -> bytes:
    """`sum = a + b`, `difference = a - b`, FP32[n, 4]."""
    shape: list[Any] = ["n", 4]
    return graphs.model(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Sub", ["a", "b"], ["difference"]),
        ],
        [value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b")],
        [value_info(name, TensorProto.FLOAT, shape) for name in ("sum", "difference")],
    )


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    with connect(accelerator) as client:
        load(client, "double", scale_model(2))
        load(client, "pair", sum_and_difference())
        for datatype, (onnx_type, _) in VALUES.items():
            load(client, f"same-{datatype}", graphs.identity(onnx_type))
    return accelerator


@pytest.fixture
def client(served: AcceleratorProcess) -> Iterator[Any]:
    with connect(served) as connected:
        yield connected


def ask(*names: str, binary: bool = True) -> list[Any]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


class TestTensors:
    @pytest.mark.parametrize("graph", GRAPHS, ids=[graph.name for graph in GRAPHS])
    def test_models_answer_as_they_do_locally(self, client: Any, graph: Graph) -> None:
        expected = local(graph.model).run(None, graph.feeds)
        name = graph.name.replace(" ", "-")
        load(client, name, graph.model)
        outputs = [entry["name"] for entry in client.get_model_metadata(name)["outputs"]]
        result = client.infer(name, wire_inputs(graph.feeds))
        same([result.as_numpy(each) for each in outputs], [encoded(each) for each in expected])

    @pytest.mark.parametrize("binary_output", [True, False])
    @pytest.mark.parametrize(
        ("datatype", "binary_input"),
        # The client itself refuses to send BF16 as JSON.
        [pair for pair in itertools.product(VALUES, (True, False)) if pair != ("BF16", False)],
    )
    def test_every_datatype_in_both_forms(
        self, client: Any, datatype: str, binary_input: bool, binary_output: bool
    ) -> None:
        values = VALUES[datatype][1]
        result = client.infer(
            f"same-{datatype}",
            [wire_input("x", values, binary=binary_input)],
            outputs=ask("y", binary=binary_output),
        )
        expected = values
        if datatype == "BYTES" and not binary_output:
            expected = np.array([text.decode() for text in values], np.object_)
        same([result.as_numpy("y")], [expected])
        assert ("data" in result.get_output("y")) is not binary_output

    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL", "BYTES"])
    def test_tensors_of_no_elements(self, client: Any, datatype: str, binary: bool) -> None:
        values = VALUES[datatype][1][:0]
        result = client.infer(
            f"same-{datatype}",
            [wire_input("x", values, binary=binary)],
            outputs=ask("y", binary=binary),
        )
        same([result.as_numpy("y")], [values])

    def test_nan_passes_through_json(self, client: Any) -> None:
        values = np.array([np.nan, np.inf], np.float32)
        wired = [wire_input("x", values, binary=False)]
        result = client.infer("same-FP32", wired, outputs=ask("y", binary=False))
        same([result.as_numpy("y")], [values])

    def test_large_tensors(self, client: Any) -> None:
        values = np.random.default_rng(0).random((300_000, 4), np.float32)
        result = client.infer("double", [wire_input("x", values)])
        same([result.as_numpy("y")], [values * np.float32(2)])


class TestRequests:
    def expected(self) -> list[Any]:
        answer: list[Any] = local(sum_and_difference()).run(None, PAIR)
        return answer

    def test_inputs_in_different_forms_and_any_order(self, client: Any) -> None:
        wired = [wire_input("b", PAIR["b"], binary=False), wire_input("a", PAIR["a"])]
        result = client.infer("pair", wired)
        same([result.as_numpy(name) for name in ("sum", "difference")], self.expected())

    def test_outputs_in_different_forms(self, client: Any) -> None:
        wanted = ask("difference", binary=False) + ask("sum")
        result = client.infer("pair", wire_inputs(PAIR), outputs=wanted)
        assert [each["name"] for each in result.get_response()["outputs"]] == ["difference", "sum"]
        same([result.as_numpy(name) for name in ("sum", "difference")], self.expected())

    def test_one_output_of_two(self, client: Any) -> None:
        result = client.infer("pair", wire_inputs(PAIR), outputs=ask("difference"))
        same([result.as_numpy("difference")], self.expected()[1:])
        assert result.as_numpy("sum") is None

    @pytest.mark.parametrize("request_id", ["", "7", 'a "quoted" \\ id', "ü€", "x" * 3000])
    def test_the_id_comes_back(self, client: Any, request_id: str) -> None:
        response = client.infer("pair", wire_inputs(PAIR), request_id=request_id).get_response()
        assert response.get("id", "") == request_id
        assert (response["model_name"], response["model_version"]) == ("pair", "1")

    def test_parameters_of_schedulers_change_nothing(self, client: Any) -> None:
        result = client.infer(
            "pair",
            wire_inputs(PAIR),
            model_version="1",
            sequence_id=3,
            sequence_start=True,
            sequence_end=True,
            priority=1,
            timeout=1_000_000,
            parameters={"mine": 3, "text": "x", "flag": True, "number": 0.5},
            headers={"X-Mine": "1"},
            query_params={"a": "b c", "list": [1, 2]},
        )
        same([result.as_numpy(name) for name in ("sum", "difference")], self.expected())

    @pytest.mark.parametrize("answer", [None, "gzip", "deflate"])
    @pytest.mark.parametrize("request_", [None, "gzip", "deflate"])
    def test_compression(self, client: Any, request_: str | None, answer: str | None) -> None:
        for outputs in (None, ask("sum", binary=False) + ask("difference")):
            result = client.infer(
                "pair",
                wire_inputs(PAIR),
                outputs=outputs,
                request_compression_algorithm=request_,
                response_compression_algorithm=answer,
            )
            same([result.as_numpy(name) for name in ("sum", "difference")], self.expected())

    def test_a_body_made_and_read_apart(self, client: Any, served: AcceleratorProcess) -> None:
        body, length = triton.InferenceServerClient.generate_request_body(wire_inputs(PAIR))
        with Wire(served) as wire:
            headers = (f"Inference-Header-Content-Length: {length}",)
            status, fields, answer = wire.request(
                "POST", "/v2/models/pair/infer", body, headers=headers
            )
        assert status == 200
        result = client.parse_response_body(
            answer, header_length=int(fields["inference-header-content-length"])
        )
        same([result.as_numpy(name) for name in ("sum", "difference")], self.expected())


class TestErrors:
    def refused(self, client: Any, model: str, *args: Any, **options: Any) -> tuple[str, str]:
        with pytest.raises(InferenceServerException) as caught:
            client.infer(model, *args, **options)
        return caught.value.status(), caught.value.message()

    def test_unknown_models_and_versions(self, client: Any) -> None:
        status, message = self.refused(client, "nothing", wire_inputs(PAIR))
        assert status == "404"
        assert "'nothing'" in message
        status, message = self.refused(client, "pair", wire_inputs(PAIR), model_version="9")
        assert status == "404"
        assert "version '9'" in message

    @pytest.mark.parametrize(
        ("feeds", "why"),
        [
            ({"a": PAIR["a"]}, "'b'"),
            ({**PAIR, "c": PAIR["a"]}, "'c'"),
            ({**PAIR, "b": PAIR["b"].astype(np.float64)}, "FP64"),
            ({**PAIR, "b": PAIR["b"].reshape(4, 3)}, "b"),
        ],
    )
    def test_inputs_that_do_not_fit(self, client: Any, feeds: dict[str, Any], why: str) -> None:
        status, message = self.refused(client, "pair", wire_inputs(feeds))
        assert status == "400"
        assert why in message

    def test_unknown_outputs(self, client: Any) -> None:
        status, message = self.refused(client, "pair", wire_inputs(PAIR), outputs=ask("product"))
        assert status == "400"
        assert "'product'" in message

    def test_classification_is_refused_clearly(self, client: Any) -> None:
        outputs = [triton.InferRequestedOutput("sum", class_count=2)]
        status, message = self.refused(client, "pair", wire_inputs(PAIR), outputs=outputs)
        assert status == "400"
        assert "classification extension is not supported" in message

    def test_without_a_token(self, served: AcceleratorProcess) -> None:
        with triton.InferenceServerClient(f"127.0.0.1:{served.port}") as stranger:
            assert stranger.is_server_live()
            assert not stranger.is_server_ready()
            status, message = self.refused(stranger, "pair", wire_inputs(PAIR))
        assert status == "401"
        assert "no token" in message

    def test_an_error_leaves_the_connection_usable(self, client: Any) -> None:
        for _ in range(3):
            assert self.refused(client, "nothing", wire_inputs(PAIR))[0] == "404"
            assert self.refused(client, "pair", wire_inputs({"a": X}))[0] == "400"
            result = client.infer("double", [wire_input("x", X)])
            same([result.as_numpy("y")], [X * 2])


class TestConcurrency:
    def test_many_async_requests_are_not_mixed_up(self, served: AcceleratorProcess) -> None:
        arrays = [np.full((1 + number % 3, 4), number, np.float32) for number in range(200)]
        with connect(served, concurrency=8) as client:
            pending = [
                client.async_infer("double", [wire_input("x", array)], request_id=str(number))
                for number, array in enumerate(arrays)
            ]
            results = [each.get_result() for each in pending]
        assert [each.get_response()["id"] for each in results] == [
            str(number) for number in range(len(arrays))
        ]
        same([each.as_numpy("y") for each in results], [array * 2 for array in arrays])

    def test_async_errors_come_with_the_result(self, client: Any) -> None:
        bad = client.async_infer("nothing", wire_inputs(PAIR))
        good = client.async_infer("double", [wire_input("x", X)])
        with pytest.raises(InferenceServerException, match="nothing"):
            bad.get_result()
        same([good.get_result().as_numpy("y")], [X * 2])

    @pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
    def test_async_compression(self, client: Any, compression: str | None) -> None:
        pending = client.async_infer(
            "double",
            [wire_input("x", X)],
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        same([pending.get_result().as_numpy("y")], [X * 2])

    def test_the_asyncio_client(self, served: AcceleratorProcess) -> None:
        arrays = [np.full((1 + number % 3, 4), number, np.float32) for number in range(60)]

        async def run() -> list[Any]:
            url = f"127.0.0.1:{served.port}"
            async with triton_aio.InferenceServerClient(url) as client:
                client.register_plugin(Bearer(served))
                assert await client.is_server_live()
                assert await client.is_server_ready()
                assert await client.is_model_ready("double", "1")
                metadata = await client.get_model_metadata("double")
                assert metadata["inputs"][0]["shape"] == [-1, 4]
                with pytest.raises(InferenceServerException, match="nothing") as caught:
                    await client.get_model_metadata("nothing")
                assert caught.value.status() == "404"
                codings = (None, "gzip", "deflate")
                asked = [
                    client.infer(
                        "double",
                        [wire_input("x", array, binary=number % 2 == 0)],
                        request_id=str(number),
                        request_compression_algorithm=codings[number % 3],
                        response_compression_algorithm=codings[number // 3 % 3],
                    )
                    for number, array in enumerate(arrays)
                ]
                return list(await asyncio.gather(*asked))

        results = asyncio.run(run())
        assert [int(each.get_response()["id"]) for each in results] == list(range(len(arrays)))
        same([each.as_numpy("y") for each in results], [array * 2 for array in arrays])

    def test_an_answer_of_json_alone_parses(self, client: Any) -> None:
        result = client.infer("double", [wire_input("x", X)], outputs=ask("y", binary=False))
        assert json.loads(json.dumps(result.get_response()))["outputs"][0]["data"] == [0, 2, 4, 6]
