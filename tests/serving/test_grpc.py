"""The gRPC front end, with the stubs of tensorflow-serving-api and a stand-in for the models."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from elastic_inference.errors import (
    ConfigurationError,
    DeadlineExceededError,
    LimitExceededError,
    UnavailableError,
)
from elastic_inference.protocol.grpc_messages import MESSAGES, NOT_SERVING, SERVING
from elastic_inference.protocol.protobuf import encode
from elastic_inference.protocol.wireformat import number_field, submessage
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.options import Options
from elastic_inference.serving.rpc import GrpcServer, channel_arguments
from tests.serving.standin import FakeVersions, Gate, failing, service, signature

PREDICT = "/tensorflow.serving.PredictionService/Predict"
PATIENCE = 20.0


class Front:
    """A server, and a channel to it."""

    def __init__(self, versions: FakeVersions, options: Options | None = None) -> None:
        self.versions = versions
        self.metrics = Metrics()
        self.server = GrpcServer(
            service(versions), self.metrics, options or Options(grpc_max_threads=4)
        )
        (self.port,) = self.server.start("127.0.0.1:0")
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def raw(self, method: str, request: bytes) -> bytes:
        answer: bytes = self.channel.unary_unary(method)(request, timeout=PATIENCE)
        return answer

    def close(self) -> None:
        self.channel.close()
        self.server.stop(None)


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front(FakeVersions())
    yield made
    made.close()


def predict_request(values: Any = (2.0,), name: str = "default") -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    return request


def still_serves(front: Front) -> bool:
    front.versions.failure = None
    found = front.prediction.Predict(predict_request(), PATIENCE)
    return list(found.outputs["y"].float_val) == [3.0]


def test_predict_answers_in_typed_fields(front: Front) -> None:
    request = predict_request([2.0, 4.0])
    request.output_filter.append("y")
    found = front.prediction.Predict(request, PATIENCE)
    assert list(found.outputs["y"].float_val) == [3.0, 4.0]
    assert found.outputs["y"].tensor_content == b""
    assert found.model_spec.name == "default"
    assert found.model_spec.version.value == 123
    assert found.model_spec.signature_name == "serving_default"
    assert front.versions.servable.seen is not None
    assert front.versions.servable.seen[1] == ["y"]
    text = front.metrics.text()
    assert ':tensorflow:serving:request_count{model_name="default",status="OK"} 1' in text
    assert 'API="Predict",entrypoint="GRPC"' in text


def test_predict_answers_in_tensor_content_where_asked() -> None:
    front = Front(
        FakeVersions(), Options(grpc_max_threads=1, enable_serialization_as_tensor_content=True)
    )
    found = front.prediction.Predict(predict_request(), PATIENCE)
    assert found.outputs["y"].tensor_content == np.float32(3).tobytes()
    front.close()


def test_all_dtypes_go_through(front: Front) -> None:
    given: dict[str, Any] = {
        "text": np.array([b"\xff\0", b""], object),
        "flag": np.array([True, False]),
        "byte": np.array([[0, 255]], np.uint8),
        "wide": np.array(-(2**63), np.int64),
        "half": np.array([0.5], np.float16),
    }
    names = {"text": "string", "flag": "bool", "byte": "uint8", "wide": "int64", "half": "float16"}
    front.versions.servable.signatures = {"serving_default": signature(names, names)}
    front.versions.servable.function = dict
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    for key, value in given.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    found = front.prediction.Predict(request, PATIENCE)
    for key, value in given.items():
        array = tf.make_ndarray(found.outputs[key])
        assert array.dtype == value.dtype
        assert array.tolist() == value.tolist()


@pytest.mark.parametrize(("wanted", "given"), [("bfloat16", "uint16"), ("uint16", "bfloat16")])
def test_types_that_are_carried_alike_are_told_apart(front: Front, wanted: str, given: str) -> None:
    front.versions.servable.signatures = {
        "serving_default": signature({"x": wanted}, {"x": wanted})
    }
    front.versions.servable.function = dict
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1, 2], wanted))
    found = front.prediction.Predict(request, PATIENCE)
    assert tf.make_ndarray(found.outputs["x"]).tolist() == [1, 2]
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1, 2], given))
    with pytest.raises(grpc.RpcError) as raised:
        front.prediction.Predict(request, PATIENCE)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"to be {wanted} but {given} is provided" in raised.value.details()


def test_classify_regress_and_both(front: Front) -> None:
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(2.0)
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.name = "default"
    classify.model_spec.signature_name = "classify_x_to_y"
    classify.input.example_list.examples.append(example)
    classes = front.prediction.Classify(classify, PATIENCE)
    assert [one.score for one in classes.result.classifications[0].classes] == [3.0]
    assert classes.model_spec.signature_name == "classify_x_to_y"
    assert classes.model_spec.version.value == 123
    assert front.versions.servable.examples == [example.SerializeToString()]
    regress = regression_pb2.RegressionRequest.FromString(classify.SerializeToString())
    values = front.prediction.Regress(regress, PATIENCE)
    assert [one.value for one in values.result.regressions] == [3.0]
    both = inference_pb2.MultiInferenceRequest(input=classify.input)
    for name in ("regress", "classify"):
        task = both.tasks.add(method_name=f"tensorflow/serving/{name}")
        task.model_spec.name = "default"
        task.model_spec.signature_name = f"{name}_x_to_y"
    results = front.prediction.MultiInference(both, PATIENCE).results
    assert results[0].regression_result.regressions[0].value == 3.0
    assert results[1].classification_result.classifications[0].classes[0].score == 3.0
    assert [each.model_spec.signature_name for each in results] == [
        "regress_x_to_y",
        "classify_x_to_y",
    ]


def test_metadata(front: Front) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "default"
    found = front.prediction.GetModelMetadata(request, PATIENCE)
    assert found.model_spec.name == "default"
    assert found.model_spec.version.value == 123
    assert list(found.metadata) == ["signature_def"]
    for fields, words in (([], "must specify at least one"), (["x"], "field x is not supported")):
        del request.metadata_field[:]
        request.metadata_field.extend(fields)
        with pytest.raises(grpc.RpcError, match=words):
            front.prediction.GetModelMetadata(request, PATIENCE)
    request.ClearField("model_spec")
    with pytest.raises(grpc.RpcError, match="Missing ModelSpec"):
        front.prediction.GetModelMetadata(request, PATIENCE)


def test_status_and_reload(front: Front) -> None:
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "default"
    (version,) = front.model.GetModelStatus(asked, PATIENCE).model_version_status
    assert (version.version, version.state, version.status.error_code) == (123, 30, 0)
    asked.model_spec.name = "x"
    with pytest.raises(grpc.RpcError) as missing:
        front.model.GetModelStatus(asked, PATIENCE)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    assert missing.value.details() == "Could not find any versions of model x"
    reload = model_management_pb2.ReloadConfigRequest()
    reload.config.model_config_list.config.add(
        name="a", base_path="/a", model_platform="tensorflow"
    )
    answer = front.model.HandleReloadConfigRequest(reload, PATIENCE)
    assert answer.status.error_code == 0
    assert front.versions.config is not None
    assert [each.name for each in front.versions.config.models] == ["a"]
    reload.config.custom_model_config.type_url = "x"
    with pytest.raises(grpc.RpcError, match="Only ModelConfigList is currently supported"):
        front.model.HandleReloadConfigRequest(reload, PATIENCE)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UnavailableError("Not now."), grpc.StatusCode.UNAVAILABLE),
        (DeadlineExceededError("Late."), grpc.StatusCode.DEADLINE_EXCEEDED),
        (LimitExceededError("Full.", next_step="Wait."), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (KeyError("defect"), grpc.StatusCode.INTERNAL),
        (MemoryError(), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_failures_have_their_codes(front: Front, failure: Exception, code: grpc.StatusCode) -> None:
    front.versions.failure = failure
    with pytest.raises(grpc.RpcError) as raised:
        front.prediction.Predict(predict_request(), PATIENCE)
    assert raised.value.code() is code
    assert "defect" not in raised.value.details()
    assert f'status="{code.name}"' in front.metrics.text()
    assert still_serves(front)


def test_a_missing_model_is_told_in_the_words_that_clients_look_for(front: Front) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        front.prediction.Predict(predict_request(name="x"), PATIENCE)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert raised.value.details() == "Servable not found for request: Latest(x)"


def test_hostile_messages_are_refused_and_the_server_lives(front: Front) -> None:
    good = predict_request().SerializeToString()
    shape = submessage(2, b"".join(submessage(2, number_field(1, 2**62)) for _ in range(40)))
    cases = [
        good[:-1],
        b"\xff" * 100,
        b"\x0a\xff\xff\xff\xff\x0f",
        submessage(1, b"\x0a\x02\xff\xfe"),
        submessage(2, submessage(1, b"x") + submessage(2, number_field(1, 1) + shape)),
        b"\x0b" * 10_000,
    ]
    for case in cases:
        with pytest.raises(grpc.RpcError) as raised:
            front.raw(PREDICT, case)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, case[:20]
    for method in ("Classify", "Regress", "MultiInference", "GetModelMetadata"):
        with pytest.raises(grpc.RpcError) as raised:
            front.raw(f"/tensorflow.serving.PredictionService/{method}", b"\x0a\x7f")
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as raised:
        front.raw("/tensorflow.serving.PredictionService/Nothing", b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert still_serves(front)


def test_a_large_message_goes_through(front: Front) -> None:
    values = np.arange(3_000_000, dtype=np.float32)
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{front.port}", options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        found = stub.Predict(predict_request(values), PATIENCE)
    assert found.outputs["y"].float_val[-1] == np.float32(2_999_999 * 0.5 + 2)


def test_deadlines_are_passed_on(front: Front) -> None:
    before = time.monotonic()
    front.prediction.Predict(predict_request(), 100.0)
    assert front.versions.servable.seen is not None
    deadline = front.versions.servable.seen[2]
    assert deadline is not None
    # On the wire a deadline is rounded up.
    assert before < deadline < time.monotonic() + 200.0
    front.prediction.Predict(predict_request())
    assert front.versions.servable.seen[2] is None


def test_a_call_that_is_cancelled_while_it_waits_is_not_run() -> None:
    front = Front(FakeVersions(), Options(grpc_max_threads=1))
    gate = Gate()
    front.versions.servable.function = gate
    first = front.prediction.Predict.future(predict_request(), PATIENCE)
    assert gate.entered.wait(PATIENCE)
    second = front.prediction.Predict.future(predict_request(), PATIENCE)
    expired = front.prediction.Predict.future(predict_request(), 0.05)
    second.cancel()
    assert expired.exception(PATIENCE).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gate.opened.set()
    assert list(first.result(PATIENCE).outputs["y"].float_val) == [3.0]
    # Calls are answered in their order: with the third the second is past.
    front.prediction.Predict(predict_request(), PATIENCE)
    assert len(front.versions.specs) == 2
    front.close()


def test_stopping_lets_calls_end() -> None:
    front = Front(FakeVersions(), Options(grpc_max_threads=2))
    gate = Gate()
    front.versions.servable.function = gate
    call = front.prediction.Predict.future(predict_request(), PATIENCE)
    assert gate.entered.wait(PATIENCE)
    stopper = threading.Thread(target=front.server.stop, args=(PATIENCE,))
    stopper.start()
    gate.opened.set()
    assert list(call.result(PATIENCE).outputs["y"].float_val) == [3.0]
    stopper.join(PATIENCE)
    assert not stopper.is_alive()
    front.channel.close()


def test_health() -> None:
    front = Front(FakeVersions(), Options(grpc_max_threads=1, enable_grpc_healthcheck_service=True))

    def asked(name: str) -> bytes:
        return encode(MESSAGES["HealthCheckRequest"], {"service": name})

    for name in ("", "PredictionService", "tensorflow.serving.ModelService"):
        answer = front.raw("/grpc.health.v1.Health/Check", asked(name))
        assert answer == number_field(1, SERVING)
    with pytest.raises(grpc.RpcError) as raised:
        front.raw("/grpc.health.v1.Health/Check", asked("x"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as raised:
        front.raw("/grpc.health.v1.Health/Check", b"\xff")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    watch = front.channel.unary_stream("/grpc.health.v1.Health/Watch")
    unknown = watch(asked("x"), timeout=PATIENCE)
    assert next(unknown) == number_field(1, 3)
    unknown.cancel()
    known = watch(asked(""), timeout=PATIENCE)
    assert next(known) == number_field(1, SERVING)
    # Who watches holds none of the threads that answer.
    assert still_serves(front)
    stopper = threading.Thread(target=front.server.stop, args=(PATIENCE,))
    stopper.start()
    assert list(known) == [number_field(1, NOT_SERVING)]
    stopper.join(PATIENCE)
    front.channel.close()


def test_a_unix_socket(tmp_path: Path) -> None:
    server = GrpcServer(service(FakeVersions()), Metrics(), Options(grpc_max_threads=1))
    address = f"unix:{tmp_path}/s"
    server.start("127.0.0.1:0", address)
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        found = stub.Predict(predict_request(), PATIENCE)
    assert list(found.outputs["y"].float_val) == [3.0]
    server.stop(None)


def test_a_port_that_is_taken_is_refused(front: Front) -> None:
    other = GrpcServer(service(FakeVersions()), Metrics(), Options(grpc_max_threads=1))
    with pytest.raises(ConfigurationError, match=f"listen on 127.0.0.1:{front.port}"):
        other.start(f"127.0.0.1:{front.port}")
    other.stop(None)


def test_channel_arguments() -> None:
    text = "grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb"
    assert channel_arguments(text) == [
        ("grpc.max_connection_age_ms", 2000),
        ("grpc.lb_policy_name", "grpclb"),
    ]
    assert channel_arguments("") == []
    with pytest.raises(ConfigurationError, match="KEY=VALUE"):
        channel_arguments("x")
    front = Front(FakeVersions(), Options(grpc_max_threads=1, grpc_channel_arguments=text))
    assert still_serves(front)
    front.close()


def certificate() -> tuple[bytes, bytes]:
    """A key and a certificate for localhost that it signed itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made.public_bytes(pem)


@pytest.mark.parametrize("verifies", [False, True])
def test_tls(tmp_path: Path, verifies: bool) -> None:
    key, chain = certificate()
    client_key, client_chain = certificate()
    config = tmp_path / "ssl"
    lines = [f'server_key: "{quoted(key)}"', f'server_cert: "{quoted(chain)}"']
    lines += [f'custom_ca: "{quoted(client_chain)}"', f"client_verify: {str(verifies).lower()}"]
    config.write_text("\n".join(lines))
    options = replace(Options(grpc_max_threads=1), ssl_config_file=str(config))
    server = GrpcServer(service(FakeVersions()), Metrics(), options)
    (port,) = server.start("127.0.0.1:0")
    names = (("grpc.ssl_target_name_override", "localhost"),)

    def ask(credentials: Any) -> Any:
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials, names) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return stub.Predict(predict_request(), PATIENCE)

    own = grpc.ssl_channel_credentials(chain, client_key, client_chain)
    assert list(ask(own).outputs["y"].float_val) == [3.0]
    nobody = grpc.ssl_channel_credentials(chain)
    if verifies:
        with pytest.raises(grpc.RpcError) as raised:
            ask(nobody)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    else:
        assert list(ask(nobody).outputs["y"].float_val) == [3.0]
    server.stop(None)


def quoted(pem: bytes) -> str:
    return pem.decode().replace("\n", "\\n")


def test_many_callers_get_their_own_answers(front: Front) -> None:
    calls = {
        value: front.prediction.Predict.future(predict_request([float(value)]), PATIENCE)
        for value in range(200)
    }
    for value, call in calls.items():
        assert list(call.result(PATIENCE).outputs["y"].float_val) == [value * 0.5 + 2]


def test_a_failing_model_fails_its_own_call_only(front: Front) -> None:
    good = front.versions.servable.function
    front.versions.servable.function = failing(UnavailableError("lost"))
    with pytest.raises(grpc.RpcError, match="lost"):
        front.prediction.Predict(predict_request(), PATIENCE)
    front.versions.servable.function = good
    assert still_serves(front)
