"""tritonclient's gRPC clients infer: one by one, async and in streams, each answer bit for bit."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from elastic_inference.protocol.grpc_inference import ELEMENTS
from tests.accelerator import graphs
from tests.accelerator.engines import encoded, local
from tests.accelerator.graphs import Graph
from tests.accelerator.grpc_client import bearer
from tests.accelerator.http_client import scale_model
from tests.accelerator.test_tritonclient_http import PAIR, VALUES, sum_and_difference
from tests.accelerator.triton import same
from tests.accelerator.triton_grpc import (
    Bearer,
    X,
    ask,
    connect,
    load,
    refused,
    wire_input,
    wire_inputs,
)
from tests.client.models import slow
from tests.endpoint import SERVER_NAME, Endpoint, make_certificate
from tests.processes import AcceleratorProcess

GRAPHS = graphs.dozen()
PATIENCE = 120.0
ARRAYS = [np.full((1 + number % 3, 4), number, np.float32) for number in range(200)]


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


def expected() -> list[Any]:
    answer: list[Any] = local(sum_and_difference()).run(None, PAIR)
    return answer


class TestTensors:
    @pytest.mark.parametrize("graph", GRAPHS, ids=[graph.name for graph in GRAPHS])
    def test_models_answer_as_they_do_locally(self, client: Any, graph: Graph) -> None:
        wanted = local(graph.model).run(None, graph.feeds)
        name = graph.name.replace(" ", "-")
        load(client, name, graph.model)
        outputs = [entry.name for entry in client.get_model_metadata(name).outputs]
        for _ in range(2):
            result = client.infer(name, wire_inputs(graph.feeds))
            same([result.as_numpy(each) for each in outputs], [encoded(each) for each in wanted])

    @pytest.mark.parametrize("datatype", VALUES)
    def test_every_datatype(self, client: Any, datatype: str) -> None:
        for values in (VALUES[datatype][1], VALUES[datatype][1][:0], VALUES[datatype][1][::-1]):
            result = client.infer(f"same-{datatype}", [wire_input("x", values)])
            same([result.as_numpy("y")], [values])

    @pytest.mark.parametrize("datatype", [each for each in VALUES if each not in ("FP16", "BF16")])
    def test_typed_contents(self, client: Any, served: AcceleratorProcess, datatype: str) -> None:
        values = VALUES[datatype][1]
        field = {
            "BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents",
            "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
        }.get(datatype, "uint_contents" if datatype[0] == "U" else "int_contents")  # fmt: skip
        request = pb.ModelInferRequest(model_name=f"same-{datatype}")
        tensor = request.inputs.add(name="x", datatype=datatype, shape=values.shape)
        getattr(tensor.contents, field).extend(values.tolist())
        response = client._client_stub.ModelInfer(request, metadata=bearer(served))
        same([triton.InferResult(response).as_numpy("y")], [values])

    def test_sequences_go_by_a_parameter(self, client: Any) -> None:
        tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
        sequence = helper.make_sequence_type_proto(tensor)
        ends = [helper.make_value_info(name, sequence) for name in "xy"]
        nodes = [helper.make_node("Identity", ["x"], ["y"])]
        load(client, "sequence", graphs.model(nodes, ends[:1], ends[1:]))
        parts = [np.arange(3, dtype=np.float32), np.ones(2, np.float32)]
        elements = [
            {
                "datatype": "FP32",
                "shape": [part.size],
                "parameters": {"binary_data_size": part.nbytes},
            }
            for part in parts
        ]
        request = triton.InferInput("x", [2], "SEQUENCE")
        request._get_tensor().parameters[ELEMENTS].string_param = json.dumps(elements)
        request._raw_content = b"".join(part.tobytes() for part in parts)
        for _ in range(2):
            response = client.infer("sequence", [request]).get_response()
            (output,) = response.outputs
            assert (output.datatype, list(output.shape)) == ("SEQUENCE", [2])
            assert json.loads(output.parameters[ELEMENTS].string_param) == elements
            assert list(response.raw_output_contents) == [request._raw_content]

    def test_large_tensors(self, client: Any) -> None:
        values = np.random.default_rng(0).random((300_000, 4), np.float32)
        for _ in range(3):
            result = client.infer("double", [wire_input("x", values)])
            same([result.as_numpy("y")], [values * np.float32(2)])


class TestRequests:
    def test_inputs_in_any_order(self, client: Any) -> None:
        wired = wire_inputs({"b": PAIR["b"], "a": PAIR["a"]})
        result = client.infer("pair", wired)
        same([result.as_numpy(name) for name in ("sum", "difference")], expected())

    def test_outputs_that_are_asked_for(self, client: Any) -> None:
        result = client.infer("pair", wire_inputs(PAIR), outputs=ask("difference", "sum"))
        assert [each.name for each in result.get_response().outputs] == ["difference", "sum"]
        same([result.as_numpy(name) for name in ("sum", "difference")], expected())
        result = client.infer("pair", wire_inputs(PAIR), outputs=ask("difference"))
        same([result.as_numpy("difference")], expected()[1:])
        assert result.as_numpy("sum") is None

    @pytest.mark.parametrize("request_id", ["", "7", 'a "quoted" \\ id', "ü€", "x" * 3000])
    def test_the_id_comes_back(self, client: Any, request_id: str) -> None:
        for _ in range(2):
            result = client.infer("pair", wire_inputs(PAIR), request_id=request_id)
            response = result.get_response()
            assert response.id == request_id
            assert (response.model_name, response.model_version) == ("pair", "1")
            same([result.as_numpy(name) for name in ("sum", "difference")], expected())

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
            headers={"x-mine": "1"},
        )
        same([result.as_numpy(name) for name in ("sum", "difference")], expected())

    @pytest.mark.parametrize("compression", ["gzip", "deflate"])
    def test_compression(self, client: Any, compression: str) -> None:
        for array in (X, np.zeros((100_000, 4), np.float32)):
            result = client.infer(
                "double", [wire_input("x", array)], compression_algorithm=compression
            )
            same([result.as_numpy("y")], [array * 2])

    def test_a_token_in_the_headers(self, served: AcceleratorProcess) -> None:
        headers = {"authorization": f"Bearer {served.token()}"}
        options = [("grpc.use_local_subchannel_pool", 1)]
        with triton.InferenceServerClient(
            f"127.0.0.1:{served.port}", channel_args=options
        ) as stranger:
            assert stranger.is_server_live()
            status, message = refused(stranger.infer, "double", [wire_input("x", X)])
            assert (status, "no token" in message) == ("UNAUTHENTICATED", True)
            result = stranger.infer("double", [wire_input("x", X)], headers=headers)
            same([result.as_numpy("y")], [X * 2])

    def test_tls(self, start_accelerator: Any, tmp_path: Path) -> None:
        certificate, key = make_certificate(tmp_path)
        process = start_accelerator(
            certificate=certificate, private_key=key, server_name=SERVER_NAME
        )
        endpoint = Endpoint(process.config.handover_socket)
        try:
            with connect(
                process,
                f"127.0.0.1:{endpoint.port}",
                ssl=True,
                root_certificates=str(certificate),
                channel_args=[("grpc.ssl_target_name_override", SERVER_NAME)],
            ) as client:
                load(client, "double", scale_model(2))
                same([client.infer("double", [wire_input("x", X)]).as_numpy("y")], [X * 2])
        finally:
            endpoint.close()


class TestErrors:
    def test_unknown_models_and_versions(self, client: Any) -> None:
        status, message = refused(client.infer, "nothing", wire_inputs(PAIR))
        assert (status, "'nothing'" in message) == ("NOT_FOUND", True)
        status, message = refused(client.infer, "pair", wire_inputs(PAIR), model_version="9")
        assert (status, "version '9'" in message) == ("NOT_FOUND", True)

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
        status, message = refused(client.infer, "pair", wire_inputs(feeds))
        assert status == "INVALID_ARGUMENT"
        assert why in message

    def test_unknown_outputs(self, client: Any) -> None:
        status, message = refused(client.infer, "pair", wire_inputs(PAIR), outputs=ask("product"))
        assert (status, "'product'" in message) == ("INVALID_ARGUMENT", True)

    def test_classification_is_refused_clearly(self, client: Any) -> None:
        outputs = [triton.InferRequestedOutput("sum", class_count=2)]
        status, message = refused(client.infer, "pair", wire_inputs(PAIR), outputs=outputs)
        assert status == "INVALID_ARGUMENT"
        assert "classification extension is not supported" in message

    def test_a_client_timeout(self, start_accelerator: Any) -> None:
        process = start_accelerator()
        with connect(process) as client:
            load(client, "endless", slow(10_000_000))
            wired = [wire_input("x", np.eye(24, dtype=np.float32))]
            status, _ = refused(client.infer, "endless", wired, client_timeout=0.5)
            assert status == "DEADLINE_EXCEEDED"
            assert client.is_server_ready()

    def test_an_error_leaves_the_connection_usable(self, client: Any) -> None:
        for _ in range(3):
            assert refused(client.infer, "nothing", wire_inputs(PAIR))[0] == "NOT_FOUND"
            assert refused(client.infer, "pair", wire_inputs({"a": X}))[0] == "INVALID_ARGUMENT"
            same([client.infer("double", [wire_input("x", X)]).as_numpy("y")], [X * 2])


class Answers:
    """What a callback was given: results and errors in the order of their coming."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def __call__(self, result: Any, error: Any) -> None:
        self._queue.put((result, error))

    def take(self, count: int) -> list[tuple[Any, Any]]:
        return [self._queue.get(timeout=PATIENCE) for _ in range(count)]


class TestConcurrency:
    def test_callbacks_get_their_own_answers(self, client: Any) -> None:
        arrays = ARRAYS * 10
        answers = Answers()
        for number, array in enumerate(arrays):
            client.async_infer("double", [wire_input("x", array)], answers, request_id=str(number))
        came = answers.take(len(arrays))
        assert [error for _, error in came if error is not None] == []
        results = [result for result, _ in came]
        results.sort(key=lambda each: int(each.get_response().id))
        same([each.as_numpy("y") for each in results], [array * 2 for array in arrays])

    def test_callbacks_get_errors(self, client: Any) -> None:
        answers = Answers()
        client.async_infer("nothing", wire_inputs(PAIR), answers)
        ((result, error),) = answers.take(1)
        assert result is None
        assert error.status() == "StatusCode.NOT_FOUND"

    def test_a_call_is_cancelled(self, start_accelerator: Any) -> None:
        process = start_accelerator()
        with connect(process) as client:
            load(client, "endless", slow(10_000_000))
            answers = Answers()
            wired = [wire_input("x", np.eye(24, dtype=np.float32))]
            client.async_infer("endless", wired, answers).cancel()
            ((result, error),) = answers.take(1)
            assert result is None
            assert error.status() == "StatusCode.CANCELLED"
            assert client.is_server_ready()

    def test_the_asyncio_client(self, served: AcceleratorProcess) -> None:
        async def run() -> list[Any]:
            url = f"127.0.0.1:{served.port}"
            async with triton_aio.InferenceServerClient(url) as client:
                client.register_plugin(Bearer(served))
                assert await client.is_server_live()
                assert await client.is_server_ready()
                assert await client.is_model_ready("double", "1")
                with pytest.raises(InferenceServerException, match="nothing"):
                    await client.get_model_metadata("nothing")
                codings = (None, "gzip", "deflate")
                asked = [
                    client.infer(
                        "double",
                        [wire_input("x", array)],
                        request_id=str(number),
                        compression_algorithm=codings[number % 3],
                    )
                    for number, array in enumerate(ARRAYS)
                ]
                return list(await asyncio.gather(*asked))

        results = asyncio.run(run())
        assert [each.get_response().id for each in results] == [
            str(number) for number in range(len(ARRAYS))
        ]
        same([each.as_numpy("y") for each in results], [array * 2 for array in ARRAYS])

    def test_the_asyncio_client_streams(self, served: AcceleratorProcess) -> None:
        async def requests() -> Any:
            for number, array in enumerate(ARRAYS):
                yield {
                    "model_name": "double",
                    "inputs": [wire_input("x", array)],
                    "request_id": str(number),
                }

        async def run() -> list[tuple[Any, Any]]:
            url = f"127.0.0.1:{served.port}"
            async with triton_aio.InferenceServerClient(url) as client:
                client.register_plugin(Bearer(served))
                return [answer async for answer in client.stream_infer(requests())]

        answers = asyncio.run(run())
        assert all(error is None for _, error in answers)
        same([each.as_numpy("y") for each, _ in answers], [array * 2 for array in ARRAYS])


class TestStreams:
    def test_answers_come_in_order(self, client: Any) -> None:
        answers = Answers()
        client.start_stream(answers)
        for number, array in enumerate(ARRAYS):
            client.async_stream_infer("double", [wire_input("x", array)], request_id=str(number))
        came = answers.take(len(ARRAYS))
        client.stop_stream()
        assert [result.get_response().id for result, _ in came] == [
            str(number) for number in range(len(ARRAYS))
        ]
        same([result.as_numpy("y") for result, _ in came], [array * 2 for array in ARRAYS])
        assert came[0][0].get_response().parameters["triton_final_response"].bool_param

    def test_an_error_ends_one_inference_alone(self, client: Any) -> None:
        answers = Answers()
        client.start_stream(answers, compression_algorithm="gzip")
        for name in ("double", "nothing", "pair", "double"):
            client.async_stream_infer(name, [wire_input("x", X)], request_id=name)
        came = answers.take(4)
        client.stop_stream()
        assert [error is None for _, error in came] == [True, False, False, True]
        assert "'nothing' is not loaded" in came[1][1].message()
        assert "'a'" in came[2][1].message()
        same([came[3][0].as_numpy("y")], [X * 2])

    def test_an_error_ends_the_stream_where_that_is_asked_for(self, client: Any) -> None:
        answers = Answers()
        client.start_stream(answers, headers={"triton_grpc_error": "true"})
        client.async_stream_infer("nothing", [wire_input("x", X)])
        ((_, error),) = answers.take(1)
        client.stop_stream()
        assert error.status() == "StatusCode.NOT_FOUND"

    def test_a_stream_is_stopped_with_requests_under_way(self, client: Any) -> None:
        client.start_stream(Answers())
        for _ in range(50):
            client.async_stream_infer("double", [wire_input("x", X)])
        client.stop_stream(cancel_requests=True)
        same([client.infer("double", [wire_input("x", X)]).as_numpy("y")], [X * 2])

    def test_failures_are_counted(self, client: Any) -> None:
        load(client, "streamed", scale_model(2))
        answers = Answers()
        client.start_stream(answers)
        for wired in (wire_input("x", X), wire_input("z", X), wire_input("x", X)):
            client.async_stream_infer("streamed", [wired])
        answers.take(3)
        client.stop_stream()
        (entry,) = client.get_inference_statistics("streamed").model_stats
        assert entry.inference_stats.success.count == 2
        assert entry.inference_stats.fail.count == 1
