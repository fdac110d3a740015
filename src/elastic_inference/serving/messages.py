"""The messages of TensorFlow Serving's gRPC services, to and from the service's values.

https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from elastic_inference.errors import InvalidRequestError
from elastic_inference.frameworks.tensorflow.signatures import Signature
from elastic_inference.protocol.protobuf import decode, encode, parse_proto
from elastic_inference.protocol.protobuf import length_delimited as delimited
from elastic_inference.protocol.tensors import Array, Buffer
from elastic_inference.protocol.varints import Numbers, malformed
from elastic_inference.protocol.wireformat import BYTES, VARINT, Span, fields, varint
from elastic_inference.serving.config import ModelServerConfig, model_config
from elastic_inference.serving.service import (
    Classified,
    ModelSpec,
    Prediction,
    Regressed,
    VersionStatus,
)
from elastic_inference.serving.statuses import OK, status_of, words_of
from elastic_inference.serving.tensors import Reader, tensor_parts

SIGNATURE_DEF = "signature_def"
_SIGNATURES_TYPE = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
_STATES: Mapping[str, int] = {
    "START": 10,
    "LOADING": 20,
    "AVAILABLE": 30,
    "UNLOADING": 40,
    "END": 50,
}
# Specs that are remembered.
_MOST_SPECS = 256
_LONGEST = 512
# More inputs or names of outputs than any signature has.
_MOST_KEYS = 4096
_FLOAT = struct.Struct("<f")

# `ModelSpec` and `InferenceResult` mix a choice with other fields: of the first the reader is
# written out below, the second is only written.
MESSAGES = parse_proto("""
message ExampleList {
  repeated bytes examples = 1;
}
message ExampleListWithContext {
  repeated bytes examples = 1;
  bytes context = 2;
}
message Input {
  oneof kind {
    ExampleList example_list = 1;
    ExampleListWithContext example_list_with_context = 2;
  }
}
message InferenceRequest {
  span model_spec = 1;
  Input input = 2;
}
message InferenceTask {
  span model_spec = 1;
  string method_name = 2;
}
message MultiInferenceRequest {
  repeated InferenceTask tasks = 1;
  Input input = 2;
}
message GetModelMetadataRequest {
  span model_spec = 1;
  repeated string metadata_field = 2;
}
message GetModelStatusRequest {
  span model_spec = 1;
}

message StatusProto {
  int32 error_code = 1;
  string error_message = 2;
}
message ModelVersionStatus {
  int64 version = 1;
  int32 state = 2;
  StatusProto status = 3;
}
message GetModelStatusResponse {
  repeated ModelVersionStatus model_version_status = 1;
}
message ReloadConfigResponse {
  StatusProto status = 1;
}

message Latest {
  uint32 num_versions = 1;
}
message All {
}
message Specific {
  repeated int64 versions = 1;
}
message ServableVersionPolicy {
  oneof policy_choice {
    Latest latest = 100;
    All all = 101;
    Specific specific = 102;
  }
}
message VersionLabel {
  string key = 1;
  int64 value = 2;
}
message ModelConfig {
  string name = 1;
  string base_path = 2;
  int32 model_type = 3;
  string model_platform = 4;
  span logging_config = 6;
  ServableVersionPolicy model_version_policy = 7;
  repeated VersionLabel version_labels = 8;
}
message ModelConfigList {
  repeated ModelConfig config = 1;
}
message Any {
  string type_url = 1;
}
message ModelServerConfig {
  oneof config {
    ModelConfigList model_config_list = 1;
    Any custom_model_config = 2;
  }
}
message ReloadConfigRequest {
  ModelServerConfig config = 1;
}
""")


@dataclass(slots=True)
class PredictRequest:
    """A request to `Predict`.

    Attributes:
        inputs: by key; of a key given twice the last.
        dtypes: TensorFlow's names of the inputs' element types.
        outputs: the output filter.
    """

    spec: ModelSpec = field(default_factory=lambda: ModelSpec(""))
    inputs: dict[str, Array] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


# Reading


def read_predict(data: bytes) -> PredictRequest:
    """The PredictRequest in `data`; arrays are views of it where its bytes allow.

    Raises:
        InvalidRequestError: the bytes are no such message, or a tensor is wrong.
    """
    view = memoryview(data)
    tensors = Reader(view)
    request = PredictRequest()
    for number, wire, body in fields(view, (0, len(view)), malformed):
        if wire != BYTES:
            continue
        if number == 1:
            request.spec = _spec(view, body)
        elif number == 2:
            key, value = _entry(view, body)
            try:
                request.dtypes[key], request.inputs[key] = tensors.tensor(value)
            except InvalidRequestError as error:
                error.message = f"tensor parsing error: {key}: {error.message}"
                raise
        elif number == 3:
            request.outputs.append(_text(view, body))
        if len(request.inputs) > _MOST_KEYS or len(request.outputs) > _MOST_KEYS:
            raise malformed(f"it has more than {_MOST_KEYS} inputs or outputs")
    return request


def read_inference(data: bytes) -> tuple[ModelSpec, list[bytes]]:
    """Model and serialized examples of a ClassificationRequest or RegressionRequest.

    Raises:
        InvalidRequestError: the bytes are no such message, or there are no examples.
    """
    view, document = _decoded("InferenceRequest", data)
    return _spec_in(view, document), _examples(document)


def read_multi_inference(data: bytes) -> tuple[list[tuple[ModelSpec, str]], list[bytes]]:
    """Tasks and serialized examples of a MultiInferenceRequest; errors as `read_inference`."""
    view, document = _decoded("MultiInferenceRequest", data)
    tasks = [
        (_spec_in(view, task), task.get("method_name", "")) for task in document.get("tasks", ())
    ]
    return tasks, _examples(document)


def read_metadata(data: bytes) -> tuple[ModelSpec | None, list[str]]:
    """Model and metadata fields of a GetModelMetadataRequest.

    Raises:
        InvalidRequestError: the bytes are no such message.
    """
    view, document = _decoded("GetModelMetadataRequest", data)
    spec = _spec_in(view, document) if "model_spec" in document else None
    return spec, document.get("metadata_field", [])


def read_status(data: bytes) -> ModelSpec | None:
    """The model of a GetModelStatusRequest; errors as `read_metadata`."""
    view, document = _decoded("GetModelStatusRequest", data)
    return _spec_in(view, document) if "model_spec" in document else None


def read_reload(data: bytes) -> ModelServerConfig | None:
    """The configuration of a ReloadConfigRequest, or None; errors as `read_metadata`."""
    config = _decoded("ReloadConfigRequest", data)[1].get("config", {})
    if "custom_model_config" in config:
        return ModelServerConfig(custom=config["custom_model_config"].get("type_url") or "Any")
    if "model_config_list" not in config:
        return None
    return ModelServerConfig(
        tuple(model_config(each, _few) for each in config["model_config_list"].get("config", ()))
    )


def _decoded(name: str, data: bytes) -> tuple[Buffer, dict[str, Any]]:
    view = memoryview(data)
    return view, decode(MESSAGES[name], view)


def _spec_in(view: Buffer, document: Mapping[str, Any]) -> ModelSpec:
    return _spec(view, document["model_spec"]) if "model_spec" in document else ModelSpec("")


def _spec(view: Buffer, span: Span) -> ModelSpec:
    read = _read_spec if span[1] - span[0] <= _LONGEST else _read_spec.__wrapped__
    return read(view[span[0] : span[1]].tobytes())


@lru_cache(_MOST_SPECS)
def _read_spec(raw: bytes) -> ModelSpec:
    """The ModelSpec in `raw`; most requests bring that of one before."""
    view, span = memoryview(raw), (0, len(raw))
    name = label = signature = ""
    version: int | None = None
    for number, wire, body in fields(view, span, malformed):
        if wire != BYTES:
            continue
        if number == 1:
            name = _text(view, body)
        elif number == 2:
            # Of a choice the last one counts.
            version, label = _wrapped(view, body), ""
        elif number == 3:
            signature = _text(view, body)
        elif number == 4:
            version, label = None, _text(view, body)
    return ModelSpec(name, version, label, signature)


def _wrapped(view: Buffer, span: Span) -> int:
    """The number of an Int64Value."""
    value = 0
    for number, wire, body in fields(view, span, malformed):
        if number == 1 and wire == VARINT:
            value = body[0] & (2**64 - 1)
    return value - 2**64 if value >> 63 else value


def _entry(view: Buffer, span: Span) -> tuple[str, Span]:
    """Key and value of a map's entry."""
    key, value = "", (span[1], span[1])
    for number, wire, body in fields(view, span, malformed):
        if wire == BYTES and number == 1:
            key = _text(view, body)
        elif wire == BYTES and number == 2:
            value = body
    return key, value


def _text(view: Buffer, span: Span) -> str:
    try:
        return str(view[span[0] : span[1]], "utf-8")
    except UnicodeDecodeError:
        raise malformed("a text is not UTF-8") from None


def _examples(document: Mapping[str, Any]) -> list[bytes]:
    given = document.get("input", {})
    plain = given.get("example_list", {})
    found: list[bytes] = plain.get("examples", [])
    if "example_list_with_context" in given:
        within = given["example_list_with_context"]
        context = within.get("context", b"")
        # Messages one after the other are one message, whose later fields count.
        found = [context + example for example in within.get("examples", ())]
    if not found:
        raise InvalidRequestError("Input is empty.")
    return found


def _few(versions: Numbers) -> Sequence[int]:
    return versions.few(_MOST_KEYS)


# Writing


def write_prediction(prediction: Prediction, *, as_content: bool = False) -> bytes:
    """The PredictResponse; see `tensor_parts`."""
    parts: list[bytes | Buffer] = []
    outputs = prediction.signature.outputs
    for key, array in prediction.outputs.items():
        body = tensor_parts(array, outputs[key].dtype, as_content=as_content)
        name = delimited(1, key.encode())
        size = sum(map(len, body))
        value = b"\x12" + varint(size)
        parts.append(b"\x0a" + varint(len(name) + len(value) + size) + name + value)
        parts += body
    parts.append(delimited(2, _write_spec(prediction.spec)))
    return b"".join(parts)


def write_classified(answer: Classified) -> bytes:
    """The ClassificationResponse."""
    return delimited(1, _classes(answer)) + delimited(2, _write_spec(answer.spec))


def write_regressed(answer: Regressed) -> bytes:
    """The RegressionResponse."""
    return delimited(1, _values(answer)) + delimited(2, _write_spec(answer.spec))


def write_multi_inference(answers: Sequence[Classified | Regressed]) -> bytes:
    """The MultiInferenceResponse."""
    out = bytearray()
    for answer in answers:
        result = delimited(1, _write_spec(answer.spec))
        if isinstance(answer, Classified):
            result += delimited(2, _classes(answer))
        else:
            result += delimited(3, _values(answer))
        out += delimited(1, result)
    return bytes(out)


def write_metadata(spec: ModelSpec, signatures: Mapping[str, Signature]) -> bytes:
    """The GetModelMetadataResponse with all signatures."""
    found = b"".join(
        delimited(1, delimited(1, key.encode()) + delimited(2, signature.raw))
        for key, signature in signatures.items()
    )
    packed = delimited(1, _SIGNATURES_TYPE.encode()) + delimited(2, found)
    entry = delimited(1, SIGNATURE_DEF.encode()) + delimited(2, packed)
    return delimited(1, _write_spec(spec)) + delimited(2, entry)


def write_status(versions: Sequence[VersionStatus]) -> bytes:
    """The GetModelStatusResponse."""
    return _encoded(
        "GetModelStatusResponse",
        {
            "model_version_status": [
                {
                    "version": each.version,
                    "state": _STATES[each.state],
                    "status": {
                        "error_code": (status_of(each.error) if each.error else OK).code,
                        "error_message": words_of(each.error) if each.error else "",
                    },
                }
                for each in versions
            ]
        },
    )


def write_reloaded() -> bytes:
    """The ReloadConfigResponse of a configuration that is served."""
    return _encoded("ReloadConfigResponse", {"status": {}})


def _encoded(name: str, values: Mapping[str, Any]) -> bytes:
    return encode(MESSAGES[name], values)


@lru_cache(_MOST_SPECS)
def _write_spec(spec: ModelSpec) -> bytes:
    out = delimited(1, spec.name.encode())
    if spec.version is not None:
        number = b"\x08" + varint(spec.version & (2**64 - 1)) if spec.version else b""
        out += delimited(2, number)
    if spec.signature:
        out += delimited(3, spec.signature.encode())
    return out


def _classes(answer: Classified) -> bytes:
    out = bytearray()
    for row in answer.rows:
        classes = bytearray()
        for label, score in row:
            text = delimited(1, label.encode()) if label else b""
            classes += delimited(1, text + b"\x15" + _FLOAT.pack(score))
        out += delimited(1, bytes(classes))
    return bytes(out)


def _values(answer: Regressed) -> bytes:
    return b"".join(b"\x0a\x05\x0d" + _FLOAT.pack(value) for value in answer.values)
