"""The REST front end's answers, with a stand-in for the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from elastic_inference.errors import (
    DeadlineExceededError,
    LimitExceededError,
    ModelFormatError,
    UnavailableError,
)
from elastic_inference.frameworks.tensorflow.signatures import read_signature
from elastic_inference.serving.service import ModelSpec, VersionStatus
from tests.serving.rest_client import ONE, PREDICT, Front


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front()
    yield made
    made.close()


# Predict: what goes in and out


def test_rows_and_columns(front: Front) -> None:
    assert front.ask("POST", PREDICT, ONE) == (200, '{\n    "predictions": [3.0\n    ]\n}')
    assert front.headers["content-type"] == "application/json"
    assert front.predict({"instances": [2.0, 3.0, 4.0]}) == (200, {"predictions": [3.0, 3.5, 4.0]})
    assert front.predict({"inputs": [2.0, 3.0]}) == (200, {"outputs": [3.0, 3.5]})
    assert front.predict({"inputs": {"x": [[2.0], [3.0]]}}) == (200, {"outputs": [[3.0], [3.5]]})
    assert front.predict({"inputs": 2}) == (200, {"outputs": 3.0})
    assert front.predict({"instances": [{"x": 2}, {"x": 3}]}) == (200, {"predictions": [3.0, 3.5]})
    assert front.predict({"instances": [[1.0, 2.0], [3.0, 4.0]]}) == (
        200,
        {"predictions": [[2.5, 3.0], [3.5, 4.0]]},
    )
    text = front.metrics.text()
    assert ':tensorflow:serving:request_count{model_name="default",status="OK"} 7' in text


def test_several_tensors(front: Front) -> None:
    front.takes({"a": "int32", "b": "string"})
    rows = [{"a": [[1, 2]], "b": "x"}, {"a": [[3, 4]], "b": "é"}]
    assert front.predict({"instances": rows}) == (200, {"predictions": rows})
    columns = {"a": [[[1, 2]]], "b": {"b64": "eA=="}}
    assert front.predict({"inputs": columns}) == (200, {"outputs": {"a": [[[1, 2]]], "b": "x"}})


def test_the_form_is_that_of_the_original(front: Front) -> None:
    front.takes({"a": "int32", "b": "float32"})
    body = json.dumps({"instances": [{"a": [1, 2], "b": 1}]}).encode()
    assert front.ask("POST", PREDICT, body)[1] == (
        '{\n    "predictions": [\n        {\n            "a": [1, 2],\n            "b": 1.0\n'
        "        }\n    ]\n}"
    )
    body = json.dumps({"inputs": {"a": [[1, 2]], "b": 1}}).encode()
    assert front.ask("POST", PREDICT, body)[1] == (
        '{\n    "outputs": {\n        "a": [\n            [\n                1,\n'
        '                2\n            ]\n        ],\n        "b": 1.0\n    }\n}'
    )


def test_bytes_both_ways(front: Front) -> None:
    front.takes({"raw_bytes": "string"})
    rows = [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ"}, "text"]
    status, found = front.predict({"instances": rows})
    assert status == 200
    assert front.versions.servable.seen is not None
    assert front.versions.servable.seen[0]["raw_bytes"].tolist() == [b"hello", b"world", b"text"]
    assert found["predictions"] == [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}, {"b64": "dGV4dA=="}]
    assert "base64 decode" in front.error({"instances": [{"b64": "*"}]})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_numbers_that_are_none(front: Front, dtype: str) -> None:
    front.takes({"x": dtype})
    status, text = front.ask("POST", PREDICT, b'{"instances": [NaN, Infinity, -Infinity, 3]}')
    assert status == 200
    assert text == '{\n    "predictions": [NaN, Infinity, -Infinity, 3.0\n    ]\n}'


def test_decimals_are_written_as_short_as_they_are(front: Front) -> None:
    numbers = [9000000, 999999, 0.5, 0.0003, 0.00003, 555557.5, 0.1, 1 / 3, 1435774380, -0.0]
    status, text = front.ask("POST", PREDICT, json.dumps({"inputs": numbers}).encode())
    assert status == 200
    front.takes({"x": "float32"})
    _, text = front.ask("POST", PREDICT, json.dumps({"instances": numbers}).encode())
    assert text == (
        '{\n    "predictions": [9e+06, 999999.0, 0.5, 0.0003, 3e-05, 555557.5, 0.1, 0.333333343, '
        "1.43577434e+09, -0.0\n    ]\n}"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decimals_survive_a_round_trip(front: Front, dtype: str) -> None:
    front.takes({"x": dtype})
    chance = np.random.default_rng(1)
    bits = chance.integers(0, 2**32, 3000, np.uint64).astype(np.uint32).view(np.float32)
    values = np.where(np.isfinite(bits), bits, 1).astype(dtype) * (1 + 1e-9)
    _, found = front.predict({"instances": values.astype(dtype).tolist()})
    assert np.array_equal(np.array(found["predictions"], dtype), values.astype(dtype))


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("count", [1, 1000])
def test_integers_keep_to_their_types(front: Front, dtype: str, count: int) -> None:
    front.takes({"x": dtype})
    limits = np.iinfo(dtype)
    values = [int(limits.min), int(limits.max)] * count
    assert front.predict({"instances": values}) == (200, {"predictions": values})
    for wrong in (1.5, True, int(limits.max) + 1, int(limits.min) - 1):
        words = front.error({"instances": [*values, wrong]})
        assert f"is not of expected type: {dtype}" in words, wrong


def test_booleans(front: Front) -> None:
    front.takes({"x": "bool"})
    assert front.predict({"instances": [True, False]}) == (200, {"predictions": [True, False]})
    assert "Type: Number is not of expected type: bool" in front.error({"instances": [1]})


def test_what_has_no_form_in_json(front: Front) -> None:
    front.takes({"x": "complex64"})
    status, text = front.ask("POST", PREDICT, b'{"inputs": [1]}')
    assert status == 501
    assert "Conversion of JSON Value: 1 to type: complex64" in text
    front.takes({"x": "float32"}, {"x": "complex64"})
    front.versions.servable.function = lambda _: {"x": np.array([1j], np.complex64)}
    assert front.error({"instances": [1]}) == (
        "Failed to write JSON value for tensor type: complex64"
    )


def test_empty_tensors(front: Front) -> None:
    assert front.predict({"inputs": []}) == (200, {"outputs": []})
    assert front.predict({"inputs": [[], []]}) == (200, {"outputs": [[], []]})
    assert front.predict({"instances": [[], []]}) == (200, {"predictions": [[], []]})


def test_rows_need_outputs_of_as_many_rows(front: Front) -> None:
    front.takes({"x": "float32"}, {"a": "float32", "b": "float32"})
    function = front.versions.servable
    function.function = lambda _: {"a": np.ones(2, np.float32), "b": np.ones(1, np.float32)}
    assert "inconsistent batch size: 1 expecting: 2" in front.error({"instances": [1]})
    function.function = lambda _: {"a": np.array(1, np.float32)}
    assert "has no shape information" in front.error({"instances": [1]})
    function.function = lambda _: {}
    assert "empty tensor map" in front.error({"instances": [1]})


@pytest.mark.parametrize("shape", [(2, 500), (1, 20, 20, 3), (3000,)])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_large_arrays(front: Front, shape: tuple[int, ...], named: bool, dtype: str) -> None:
    front.takes({"x": dtype})
    chance = np.random.default_rng(0)
    values: Any = chance.integers(0, 256, shape).astype(dtype)
    if dtype.startswith("float"):
        values = (chance.standard_normal(shape) * 10.0 ** chance.integers(-9, 9, shape)).astype(
            dtype
        )
    rows = [{"x": row} for row in values.tolist()] if named else values.tolist()
    for key in ("instances", "inputs"):
        if named and key == "inputs":
            continue
        status, _ = front.predict({"signature_name": "serving_default", key: rows})
        assert status == 200
        assert front.versions.servable.seen is not None
        found = front.versions.servable.seen[0]["x"]
        assert found.dtype == values.dtype
        assert np.array_equal(found, values)


def test_large_arrays_with_a_fault_are_refused(front: Front) -> None:
    numbers = ", ".join(["1.5"] * 1000)
    assert "Expecting tensor size: 1000 but got: 999" in front.error(
        f'{{"instances": [[{numbers}], [{numbers[5:]}]]}}'
    )
    for wrong in ("01", "1.", ".5", "+1", "1 2", "--1", "1e", "1..2", "", "0x1", "-", "1e5.5"):
        assert "JSON Parse error" in front.error(f'{{"instances": [{numbers}, {wrong}]}}'), wrong
    assert "Type: String" in front.error(f'{{"instances": [{numbers}, "x"]}}')
    assert "Type: Null" in front.error(f'{{"instances": [{numbers}, null]}}')
    # What looks like an array within a text is a text.
    front.takes({"x": "string"})
    text = f"[{numbers}]"
    assert front.predict({"instances": [text]}) == (200, {"predictions": [text]})


# Predict: what is refused, in the words of the original


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("instances = [1, 2]", "JSON Parse error: Invalid value."),
        ('{"instances": [1, 2', "JSON Parse error"),
        ("[1]", "JSON Value: [1] Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"signature_name": 100}, "'signature_name' key must be a string value."),
        ({"signature_name": "x", "instances": [1]}, 'signature name: "x" not found in signature'),
        ({"instances": [1], "inputs": [1]}, "Not formatted correctly expecting only one of"),
        ({"instances": 1}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": ["x", "y"]}, "not of expected type: float"),
        ({"instances": [[1, 2], [3, 4], [5, 6, 7]]}, "Expecting tensor size: 2 but got: 3"),
        ({"instances": [[1, 2], [3, 4], [[5, 6]]]}, "Expecting shape [2] but got: [1,2]"),
        ({"instances": [1, [1]]}, "Expecting shape [] but got: [1]"),
        ({"instances": [[[1], [2, 3]]]}, "Encountered list at unexpected size: 2 at level: 1"),
        ({"instances": [[1, [2]]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"instances": [[[1], 2]]}, "found at incorrect level: 2 in the JSON DOM."),
        ({"instances": [[1, 2], ["a", "b"]]}, "element: 1 of 'instances' list. Error: INVALID_ARG"),
        ({"instances": [{"x": 1}, [1]]}, "Expecting object but got list at item 1"),
        ({"instances": [[1], {"x": 1}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"y": 1}]}, "JSON object: does not have named input: y"),
        ({"instances": [{"x": 1}, {}]}, "keys must be equal to: x"),
        ({"inputs": {"y": [1]}}, "Missing named input: x in 'inputs' object."),
        ({"inputs": [[1], [2, 3]]}, "Encountered list at unexpected size: 2 at level: 1"),
        ({"inputs": {"b64": "eA=="}}, "is not of expected type: float"),
        ('{"instances": ["\\ud800"]}', "not of expected type: float"),
    ],
)
def test_words_of_refusals(front: Front, document: Any, words: str) -> None:
    assert words in front.error(document)
    assert front.predict({"instances": [2]}) == (200, {"predictions": [3.0]})


def test_plain_values_for_several_tensors_are_refused(front: Front) -> None:
    front.takes({"a": "int32", "b": "string"})
    assert "instances is a plain list" in front.error({"instances": [1]})
    assert "inputs is a plain value/list" in front.error({"inputs": [1]})
    rows = [{"a": [1], "b": "x"}, {"a": [1, 2], "b": "x"}]
    assert "element: 1 key: a of 'instances' list" in front.error({"instances": rows})


def test_what_follows_the_document_is_passed_over(front: Front) -> None:
    assert front.ask("POST", PREDICT, ONE + b"X")[0] == 200


def test_texts_that_are_no_text(front: Front) -> None:
    front.takes({"x": "string"})
    assert front.ask("POST", PREDICT, b'{"instances": ["\xff"]}')[0] == 200
    assert front.versions.servable.seen is not None
    assert front.versions.servable.seen[0]["x"].tolist() == [b"\xff"]
    assert "surrogate" in front.error('{"instances": ["\\ud800"]}')


def test_deep_documents_are_refused(front: Front) -> None:
    for count in (201, 500_000):
        deep = "[" * count + "]" * count
        assert "JSON Parse error" in front.error(f'{{"instances": [1], "nested": {deep}}}')
    assert front.error({"instances": json.loads("[" * 100 + "1" + "]" * 100)})


# Classify and regress


def test_classify_and_regress(front: Front) -> None:
    front.versions.servable.rows = [[("a", 0.5), ("b", 1.0)], [("", 12.0)]]
    front.versions.servable.values = [3.0, 0.25]
    body = {"signature_name": "s", "context": {"c": "of all"}, "examples": [{"x": 2.0}, {"x": 1}]}
    status, found = front.predict(body, path="/v1/models/default:classify")
    assert (status, found) == (200, {"results": [[["a", 0.5], ["b", 1.0]], [["", 12.0]]]})
    first, second = map(tf.train.Example.FromString, front.versions.servable.examples)
    assert first.features.feature["x"].float_list.value == [2.0]
    assert second.features.feature["x"].int64_list.value == [1]
    assert second.features.feature["c"].bytes_list.value == [b"of all"]
    status, found = front.predict(body, path="/v1/models/default/versions/123:regress")
    assert (status, found) == (200, {"results": [3.0, 0.25]})
    assert front.versions.specs[-1] == ModelSpec("default", 123, "", "s")
    front.versions.servable.rows = []
    _, found = front.predict(body, path="/v1/models/default:classify")
    assert "empty ClassificationResults" in found["error"]


def test_features(front: Front) -> None:
    example = {
        "text": ["a", {"b64": "/w=="}],
        "floats": [0.5, 1e40, float("nan")],
        "integers": [-(2**63), 2**63 - 1, True],
        "huge": 2**70,
        "none": [],
    }
    front.predict({"examples": [example]}, path="/v1/models/default:regress")
    (raw,) = front.versions.servable.examples
    found = tf.train.Example.FromString(raw).features.feature
    assert found["text"].bytes_list.value == [b"a", b"\xff"]
    assert found["floats"].float_list.value[:2] == [0.5, float("inf")]
    assert found["integers"].int64_list.value == [-(2**63), 2**63 - 1, 1]
    assert found["huge"].float_list.value == [np.float32(2**70)]
    assert found["none"].WhichOneof("kind") is None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "key 'examples' is expected and was not found"),
        ({"examples": 1}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": None}]}, "has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"a": 1}}]}, "has element with unexpected JSON type: Object"),
        ({"examples": [{"x": [1, "a"]}]}, "in feature: x expecting type: int64"),
        ({"examples": [{"x": 2**63}]}, "has uint64_t element"),
        ({"examples": [{"x": 10**400}]}, "Number too big"),
        ({"examples": [{"x": {"b64": "*"}}]}, "Unable to base64 decode"),
    ],
)
def test_words_of_refused_examples(front: Front, document: Any, words: str) -> None:
    status, found = front.predict(document, path="/v1/models/default:classify")
    assert status == 400
    assert words in found["error"]


# Status, metadata, metrics


def test_status(front: Front) -> None:
    front.versions.versions.append(VersionStatus(7, "END", ModelFormatError("It is damaged.")))
    status, text = front.ask("GET", "/v1/models/default")
    assert status == 200
    assert json.loads(text) == {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            },
            {
                "version": "7",
                "state": "END",
                "status": {"error_code": "INVALID_ARGUMENT", "error_message": "It is damaged."},
            },
        ]
    }
    status, text = front.ask("GET", "/v1/models/x")
    assert status == 404
    assert json.loads(text) == {"error": "Could not find any versions of model x"}


def test_metadata_is_what_protobuf_writes(front: Front) -> None:
    from google.protobuf import json_format
    from tensorflow_serving.apis import get_model_metadata_pb2

    theirs = get_model_metadata_pb2.SignatureDefMap()
    signature_def = theirs.signature_def["serving_default"]
    signature_def.method_name = "tensorflow/serving/predict"
    for key, dtype in {"x": 1, "y": 7, "z": 19, "w": 101, "v": 14}.items():
        info = signature_def.inputs[key]
        info.name, info.dtype = f"{key}:0", dtype
        info.tensor_shape.dim.add(size=-1, name="batch")
        info.tensor_shape.dim.add(size=3)
    signature_def.outputs["any"].tensor_shape.unknown_rank = True
    sparse = signature_def.outputs["sparse"].coo_sparse
    sparse.values_tensor_name = "a:0"
    signature_def.outputs["sparse"].tensor_shape.dim.add()
    front.versions.servable.signatures = {
        "serving_default": read_signature(signature_def.SerializeToString())
    }
    status, text = front.ask("GET", "/v1/models/default/metadata")
    assert status == 200
    found = json.loads(text)
    assert found["model_spec"] == {"name": "default", "signature_name": "", "version": "123"}
    assert found["metadata"]["signature_def"] == json_format.MessageToDict(
        theirs, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def test_metrics(tmp_path: Path) -> None:
    config = tmp_path / "monitoring"
    config.write_text('prometheus_config { enable: true path: "/here" }')
    front = Front(monitoring_config_file=str(config))
    front.predict({"instances": [1]})
    status, text = front.ask("GET", "/here")
    assert status == 200
    assert front.headers["content-type"] == "text/plain"
    assert "# TYPE :tensorflow:serving:request_count counter" in text
    front.close()


def test_no_metrics_unless_they_are_enabled(front: Front) -> None:
    assert front.ask("GET", "/monitoring/prometheus/metrics")[0] == 404


# Paths and methods


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/v1/foo", "Malformed request: GET /v1/foo"),
        ("POST", "/v1/foo", "Malformed request: POST /v1/foo"),
        ("GET", "/v1/models", "Missing model name"),
        ("GET", "/v1/models/debug/model_name", "Malformed request"),
        ("POST", "/v1/models", "Malformed request"),
        ("GET", "/v1/models/foo:predict", "Malformed request"),
        ("POST", "/v1/models/foo/version/50:regress", "Malformed request"),
        ("POST", "/v1/models/foo/versions/HELLO:regress", "Malformed request"),
        ("POST", f"/v1/models/foo/versions/{2**64 - 1}:regress", "Failed to convert version"),
        ("POST", f"/v1/models/foo/versions/{'9' * 5000}:regress", "Failed to convert version"),
        ("POST", "/v1/models/foo/metadata", "Malformed request"),
        ("POST", "/v1/models/foo/versions/50/labels/some_label:regress", "Malformed request"),
        ("POST", "/v1/models/foo:Predict", "Malformed request"),
        ("PUT", "/v1/models/default:predict", "Malformed request: PUT /v1/models/default:predict"),
        ("DELETE", "/v1/models/default", "Malformed request"),
        ("POST", "/v1/models/%ff:predict", "not UTF-8"),
    ],
)
def test_what_is_no_call(front: Front, method: str, path: str, words: str) -> None:
    status, text = front.ask(method, path, ONE if method == "POST" else None)
    assert status == 400
    assert words in json.loads(text)["error"]


def test_paths(front: Front) -> None:
    for path, spec in {
        "/v1/models/default/versions/5:predict": ModelSpec("default", 5),
        "/v1/models/default/labels/a%20b:predict": ModelSpec("default", None, "a b"),
        "/V1/MODELS/d%65fault:predict?x=1": ModelSpec("default"),
    }.items():
        assert front.ask("POST", path, ONE)[0] == 200
        assert front.versions.specs[-1] == spec
    status, text = front.ask("POST", "/v1/models/x:predict", ONE)
    assert status == 404
    assert "Servable not found for request: Latest(x)" in text
    status, text = front.ask("GET", "/elsewhere")
    assert status == 404
    assert json.loads(text) == {"error": "Not found: GET /elsewhere"}


def test_head_and_options(front: Front) -> None:
    assert front.ask("HEAD", "/v1/models/default") == (200, "")
    assert int(front.headers["content-length"]) > 0
    assert front.ask("OPTIONS", PREDICT, headers={"Origin": "http://x"}) == (200, "")
    assert "access-control-allow-origin" not in front.headers
    status, text = front.ask("OPTIONS", PREDICT)
    assert status == 400
    assert "Origin header is missing" in text


def test_cors() -> None:
    front = Front(rest_api_enable_cors_support=True)
    assert front.ask("OPTIONS", PREDICT, headers={"Origin": "https://x"}) == (200, "")
    assert front.headers["access-control-allow-methods"] == "POST, GET"
    for body in (ONE, b"x"):
        front.ask("POST", PREDICT, body)
        assert front.headers["access-control-allow-origin"] == "*"
        assert front.headers["access-control-allow-headers"] == "Content-Type"
    front.close()


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UnavailableError("x"), 503),
        (DeadlineExceededError("x"), 504),
        (LimitExceededError("x"), 429),
        (KeyError("defect"), 500),
    ],
)
def test_failures_have_their_codes(front: Front, failure: Exception, code: int) -> None:
    front.versions.failure = failure
    status, found = front.predict({"instances": [1]})
    assert status == code
    assert "defect" not in found["error"]


def test_requests_have_a_deadline() -> None:
    for given, has_one in ((1000, True), (0, False)):
        front = Front(rest_api_timeout_in_ms=given)
        front.predict({"instances": [1]})
        assert front.versions.servable.seen is not None
        assert (front.versions.servable.seen[2] is not None) is has_one
        front.close()
