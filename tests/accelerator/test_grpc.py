"""Remote procedures of a real accelerator process, called by gRPC's own client."""

from __future__ import annotations

import base64
import json
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from elastic_inference.settings import Limits
from tests.accelerator.grpc_client import (
    HEALTH_WATCH,
    INFER,
    LIVE,
    SERVICE,
    STREAM_INFER,
    bearer,
    channel,
    infer_request,
    output_of,
    unary,
)
from tests.accelerator.http_client import Wire, X, infer, load, scale_model
from tests.client.models import slow
from tests.endpoint import SERVER_NAME, Endpoint, make_certificate
from tests.processes import AcceleratorProcess

Start = Callable[..., AcceleratorProcess]

# So long that no test waits for its end; the process is ended with it.
_ENDLESS = 10_000_000
# Long enough that something else certainly comes in between.
_LONG = 3000
_SQUARE = np.eye(24, dtype=np.float32)
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def served(accelerator: AcceleratorProcess) -> AcceleratorProcess:
    load(accelerator, "double", scale_model(2))
    load(accelerator, "triple", scale_model(3))
    load(accelerator, "long", slow(_LONG))
    return accelerator


@pytest.fixture
def made(served: AcceleratorProcess) -> Iterator[Any]:
    with channel(served) as opened:
        unary(opened)(infer_request("double", X), metadata=bearer(served))
        yield opened


class TestCalls:
    def test_an_inference(self, made: Any) -> None:
        assert output_of(unary(made)(infer_request("triple", X))).tolist() == (X * 3).tolist()

    @pytest.mark.parametrize("rows", [1, 1000, 4096, 100_000, 1_500_000])
    def test_messages_of_any_size(self, made: Any, rows: int) -> None:
        array = np.random.default_rng(rows).random((rows, 4), np.float32)
        for _ in range(2):
            answer = output_of(unary(made)(infer_request("double", array)))
            assert np.array_equal(answer, array * 2)

    def test_liveness_needs_no_token(self, served: AcceleratorProcess) -> None:
        with channel(served) as opened:
            assert pb.ServerLiveResponse.FromString(unary(opened, LIVE)(b"")).live

    def test_the_grant_belongs_to_the_connection(self, served: AcceleratorProcess) -> None:
        with channel(served) as opened:
            with pytest.raises(grpc.RpcError) as refused:
                unary(opened)(infer_request("double", X))
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            unary(opened, SERVICE + "ServerReady")(b"", metadata=bearer(served))
            unary(opened)(infer_request("double", X))

    @pytest.mark.parametrize("token", ["Bearer nonsense", "Basic eDp5", "Bearer"])
    def test_bad_tokens(self, served: AcceleratorProcess, token: str) -> None:
        with channel(served) as opened, pytest.raises(grpc.RpcError) as refused:
            unary(opened)(infer_request("double", X), metadata=(("authorization", token),))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED

    def test_errors_tell_all(self, made: Any, served: AcceleratorProcess) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            unary(made)(infer_request("nothing-ä%", X))
        error = refused.value
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert "nothing-ä%" in error.details()
        raw = dict(error.trailing_metadata())["ei-error-bin"]
        document = json.loads(raw)
        assert document["kind"] == "not-found"
        assert document["accelerator_id"] == served.config.accelerator_id
        assert document["request_id"].startswith("EI-")
        # An error costs the connection nothing.
        unary(made)(infer_request("double", X))

    def test_unknown_procedures(self, made: Any) -> None:
        for path in (SERVICE + "Nothing", "/no.Service/ModelInfer", "/"):
            with pytest.raises(grpc.RpcError) as refused:
                unary(made, path)(b"")
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED

    def test_two_messages_are_one_too_many(self, made: Any) -> None:
        call = made.stream_unary(INFER)
        with pytest.raises(grpc.RpcError) as refused:
            call(iter([infer_request("double", X)] * 2))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    def test_no_message_is_one_too_few(self, made: Any) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            made.stream_unary(INFER)(iter([]))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    @pytest.mark.parametrize("encoding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
    def test_compression(self, made: Any, encoding: grpc.Compression) -> None:
        array = np.zeros((5000, 4), np.float32)
        answer = unary(made)(infer_request("double", array), compression=encoding)
        assert np.array_equal(output_of(answer), array)

    def test_statistics(self, made: Any, served: AcceleratorProcess) -> None:
        load(served, "counted", scale_model(2))
        unary(made)(infer_request("counted", X))
        with pytest.raises(grpc.RpcError):
            unary(made)(infer_request("counted", np.ones((1, 3))))
        _, _, body = served.request("GET", "/v2/models/counted/stats")
        (statistics,) = json.loads(body)["model_stats"]
        assert statistics["inference_stats"]["success"]["count"] == 1
        assert statistics["inference_stats"]["fail"]["count"] == 1


class TestManyAtOnce:
    def test_answers_are_not_mixed_up(self, made: Any) -> None:
        call = unary(made)

        def ask(number: int) -> bool:
            model, factor = (("double", 2), ("triple", 3))[number % 2]
            array = np.full((1 + number * 37 % 5000, 4), number, np.float32)
            return np.array_equal(output_of(call(infer_request(model, array))), array * factor)

        with ThreadPoolExecutor(24) as pool:
            assert all(pool.map(ask, range(600)))

    def test_a_long_call_keeps_no_other_waiting(self, start_accelerator: Start) -> None:
        process = start_accelerator()
        load(process, "double", scale_model(2))
        load(process, "endless", slow(_ENDLESS))
        with channel(process) as opened:
            call = unary(opened)
            call(infer_request("double", X), metadata=bearer(process))
            endless = call.future(infer_request("endless", _SQUARE))
            for _ in range(20):
                answer = call(infer_request("double", X), timeout=_PATIENCE)
                assert output_of(answer).tolist() == (X * 2).tolist()
            assert not endless.done()
            # However many run, there is a thread that reads and tells that the process lives.
            more = [call.future(infer_request("endless", _SQUARE)) for _ in range(30)]
            for _ in range(20):
                unary(opened, LIVE)(b"", timeout=_PATIENCE)
            for each in (endless, *more):
                each.cancel()
            assert endless.code() == grpc.StatusCode.CANCELLED

    def test_a_deadline_passes_while_the_engine_runs(self, start_accelerator: Start) -> None:
        process = start_accelerator()
        load(process, "double", scale_model(2))
        load(process, "endless", slow(_ENDLESS))
        with channel(process) as opened:
            call = unary(opened)
            call(infer_request("double", X), metadata=bearer(process))
            with pytest.raises(grpc.RpcError) as late:
                call(infer_request("endless", _SQUARE), timeout=0.5)
            assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert output_of(call(infer_request("double", X))).tolist() == (X * 2).tolist()


class TestConversations:
    def test_answers_come_in_order(self, made: Any) -> None:
        arrays = [np.full((1 + number % 7, 4), number, np.float32) for number in range(2000)]
        requests = iter([infer_request("double", array) for array in arrays])
        for array, raw in zip(arrays, made.stream_stream(STREAM_INFER)(requests), strict=True):
            answer = pb.ModelStreamInferResponse.FromString(raw)
            assert not answer.error_message
            found = output_of(answer.infer_response.SerializeToString())
            assert np.array_equal(found, array * 2)

    def test_large_messages(self, made: Any) -> None:
        arrays = [np.full((200_000, 4), number, np.float32) for number in range(8)]
        requests = iter([infer_request("double", array) for array in arrays])
        answers = made.stream_stream(STREAM_INFER)(requests)
        for array, raw in zip(arrays, answers, strict=True):
            answer = pb.ModelStreamInferResponse.FromString(raw)
            found = output_of(answer.infer_response.SerializeToString())
            assert np.array_equal(found, array * 2)

    def test_an_error_ends_one_inference_only(self, made: Any) -> None:
        requests = iter(infer_request(name, X) for name in ("double", "nothing", "triple"))
        answers = [
            pb.ModelStreamInferResponse.FromString(raw)
            for raw in made.stream_stream(STREAM_INFER)(requests)
        ]
        assert [bool(each.error_message) for each in answers] == [False, True, False]

    def test_one_message_at_a_time(self, made: Any) -> None:
        gate: list[threading.Event] = [threading.Event() for _ in range(5)]

        def requests() -> Iterator[bytes]:
            for event in gate:
                assert event.wait(_PATIENCE)
                yield infer_request("double", X)

        answers = made.stream_stream(STREAM_INFER)(requests())
        for event in gate:
            event.set()
            assert pb.ModelStreamInferResponse.FromString(next(answers)).infer_response
        assert list(answers) == []

    def test_a_cancelled_one_leaves_the_connection_alone(self, made: Any) -> None:
        stop = threading.Event()

        def requests() -> Iterator[bytes]:
            while not stop.is_set():
                yield infer_request("double", X)

        answers = made.stream_stream(STREAM_INFER)(requests())
        for _ in range(10):
            next(answers)
        answers.cancel()
        stop.set()
        assert output_of(unary(made)(infer_request("double", X))).tolist() == (X * 2).tolist()


class TestTransports:
    def test_a_unix_socket(self, served: AcceleratorProcess) -> None:
        with channel(served, f"unix:{served.config.data_socket}") as opened:
            answer = unary(opened)(infer_request("double", X), metadata=bearer(served))
            assert output_of(answer).tolist() == (X * 2).tolist()

    def test_http_1_goes_on_beside_it(self, made: Any, served: AcceleratorProcess) -> None:
        with Wire(served) as wire:
            for _ in range(3):
                assert infer(wire, "double", X).tolist() == (X * 2).tolist()
                unary(made)(infer_request("triple", X))

    def test_tls(self, start_accelerator: Start, tmp_path: Path) -> None:
        certificate, key = make_certificate(tmp_path)
        process = start_accelerator(
            certificate=certificate, private_key=key, server_name=SERVER_NAME
        )
        load(process, "double", scale_model(2))
        endpoint = Endpoint(process.config.handover_socket)
        try:
            credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
            options = (
                ("grpc.ssl_target_name_override", SERVER_NAME),
                ("grpc.max_receive_message_length", -1),
            )
            target = f"127.0.0.1:{endpoint.port}"
            with grpc.secure_channel(target, credentials, options) as opened:
                call = unary(opened)
                call(infer_request("double", X), metadata=bearer(process))
                arrays = [np.full((number * 20_000, 4), number, np.float32) for number in range(9)]
                with ThreadPoolExecutor(4) as pool:
                    answers = pool.map(lambda each: call(infer_request("double", each)), arrays)
                    for array, answer in zip(arrays, answers, strict=True):
                        assert np.array_equal(output_of(answer), array * 2)
        finally:
            endpoint.close()


class TestTheEnd:
    def test_a_running_call_is_answered(self, start_accelerator: Start) -> None:
        process = start_accelerator()
        load(process, "long", slow(_LONG))
        load(process, "double", scale_model(2))
        with channel(process) as opened:
            call = unary(opened)
            call(infer_request("double", X), metadata=bearer(process))
            running = call.future(infer_request("long", _SQUARE))
            # The answer of a later call shows that the earlier one has begun.
            call(infer_request("double", X))
            process.process.send_signal(signal.SIGTERM)
            assert output_of(running.result(_PATIENCE)).shape == _SQUARE.shape
        assert process.process.wait(_PATIENCE) == 0

    def test_what_only_stands_by_ends(self, start_accelerator: Start) -> None:
        process = start_accelerator()
        with channel(process) as opened:
            watch = opened.unary_stream(HEALTH_WATCH)(b"")
            assert next(watch)
            process.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError) as ended:
                list(watch)
            assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        assert process.process.wait(_PATIENCE) == 0


class TestLimits:
    def test_a_large_message(self, start_accelerator: Start) -> None:
        process = start_accelerator(limits=Limits(max_body=100_000))
        load(process, "double", scale_model(2))
        with channel(process) as opened:
            call = unary(opened)
            call(infer_request("double", X), metadata=bearer(process))
            for size in (25_001, 1_000_000):
                with pytest.raises(grpc.RpcError) as refused:
                    call(infer_request("double", np.zeros((size // 4, 4))))
                assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            bomb = infer_request("double", np.zeros((100_000, 4)))
            with pytest.raises(grpc.RpcError) as refused:
                call(bomb, compression=grpc.Compression.Gzip)
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            call(infer_request("double", X))

    def test_all_messages_together(self, start_accelerator: Start) -> None:
        process = start_accelerator(limits=Limits(max_bodies=1 << 20))
        load(process, "double", scale_model(2))
        with channel(process) as opened:
            call = unary(opened)
            call(infer_request("double", X), metadata=bearer(process))
            with pytest.raises(grpc.RpcError) as refused:
                call(infer_request("double", np.zeros((100_000, 4))))
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            for _ in range(50):
                call(infer_request("double", np.zeros((30_000, 4))))


def test_the_error_in_full_is_base64() -> None:
    # What a client without gRPC's library reads; with it, it comes decoded.
    from elastic_inference.errors import NotFoundError
    from elastic_inference.protocol.grpc import error_trailers

    block = error_trailers(NotFoundError("Nothing."))
    encoded = block.rpartition(b"ei-error-bin")[2][1:]
    padded = encoded + b"=" * (-len(encoded) % 4)
    assert json.loads(base64.b64decode(padded))["error"] == "Nothing."
