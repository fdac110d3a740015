"""One inference as each protocol puts it: requests for `floor drive` to replay, and their answers.

A protocol is a pair: `request` gives what is replayed, `answer` the output in what came back.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.workloads import Workload

Array = npt.NDArray[Any]

_VARINT, _BYTES = 0, 2
_CALL = "/inference.GRPCInferenceService/ModelInfer"
# HPACK (RFC 7541): entries of the static table, and where its dynamic one begins.
_POST, _HTTP = b"\x83", b"\x86"
_PATH, _AUTHORITY, _CONTENT_TYPE, _AUTHORIZATION = 4, 1, 31, 23
_DYNAMIC = 62


def http_request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST as it goes over the connection."""
    fields = {"Host": "127.0.0.1", **headers, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def binary_request(
    workload: Workload, model: str, headers: Mapping[str, str] | None = None
) -> bytes:
    """The Open Inference Protocol over HTTP with the binary tensor extension."""
    document = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": workload.datatype,
                    "shape": list(workload.shape),
                    "parameters": {"binary_data_size": workload.request_bytes},
                }
            ],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    ).encode()
    return http_request(
        f"/v2/models/{model}/infer",
        document + workload.feed().tobytes(),
        {
            **(headers or {}),
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(document)),
        },
    )


def binary_answer(headers: Mapping[str, str], body: bytes) -> Array:
    """The one output, whether it came as bytes or as JSON."""
    size = int(headers.get("inference-header-content-length", len(body)))
    (output,) = json.loads(body[:size])["outputs"]
    if "data" in output:
        return np.array(output["data"], np.float32)
    return np.frombuffer(body[size:], np.float32)


def json_request(workload: Workload, model: str) -> bytes:
    """The Open Inference Protocol over HTTP with its tensors as JSON."""
    tensor = {
        "name": "x",
        "datatype": workload.datatype,
        "shape": list(workload.shape),
        "data": workload.feed().ravel().tolist(),
    }
    body = json.dumps({"inputs": [tensor]}).encode()
    return http_request(f"/v2/models/{model}/infer", body, {"Content-Type": "application/json"})


def base64_request(workload: Workload, model: str) -> bytes:
    """A JSON object with base64, as a service without a protocol of its own is given tensors."""
    data = base64.b64encode(workload.feed().tobytes()).decode()
    body = json.dumps({"model": model, "x": data}).encode()
    return http_request("/predict", body, {"Content-Type": "application/json"})


def base64_answer(_headers: Mapping[str, str], body: bytes) -> Array:
    """The counterpart of `base64_request`."""
    return np.frombuffer(base64.b64decode(json.loads(body)["y"]), np.float32)


def grpc_request(
    workload: Workload, model: str, metadata: Mapping[str, str] | None = None
) -> bytes:
    """A call of ModelInfer with raw tensors, in the form that grpc_replay.h describes."""
    tensor = (
        _field(1, b"x")
        + _field(2, workload.datatype.encode())
        + _field(3, b"".join(_varint(size) for size in workload.shape))
    )
    message = (
        _field(1, model.encode())
        + _field(5, tensor)
        + _field(6, _field(1, b"y"))
        + _field(7, workload.feed().tobytes())
    )
    first, again = _header_blocks(metadata or {})
    parts = (first, again, struct.pack(">BI", 0, len(message)) + message)
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _header_blocks(metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """The headers of the first call, which enter the dynamic table, and of those after it."""
    indexed = [
        (_PATH, "", _CALL),
        (_AUTHORITY, "", "127.0.0.1"),
        (_CONTENT_TYPE, "", "application/grpc"),
        (0, "te", "trailers"),
    ]
    for name, value in metadata.items():
        indexed.append((_AUTHORIZATION if name == "authorization" else 0, name, value))
    first = _POST + _HTTP
    for index, name, value in indexed:
        first += _prefixed(index, 6, 0x40)
        if not index:
            first += _literal(name)
        first += _literal(value)
    newest_last = [_prefixed(_DYNAMIC + place, 7, 0x80) for place in range(len(indexed))]
    return first, _POST + _HTTP + b"".join(reversed(newest_last))


def _literal(text: str) -> bytes:
    return _prefixed(len(text), 7, 0) + text.encode()


def _prefixed(value: int, bits: int, flags: int) -> bytes:
    """An HPACK integer whose first byte has `bits` bits for it below `flags`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    return bytes([flags | most]) + _varint(value - most)


def grpc_answer(message: bytes) -> Array:
    """The first tensor of a ModelInferResponse, raw or as `fp32_contents`.

    Raises:
        ValueError: there is none.
    """
    for number, value in _fields(message):
        if number == 6:
            return np.frombuffer(value, np.float32)
    for number, value in _fields(message):
        if number == 5:
            for inner, contents in _fields(value):
                if inner == 5:
                    return np.frombuffer(dict(_fields(contents))[6], np.float32)
    raise ValueError("the answer holds no tensor")


def _fields(message: bytes) -> Sequence[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message; the others are left out."""
    found = []
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        size, wire = 0, tag & 7
        if wire == _VARINT:
            _, at = _read_varint(message, at)
        elif wire == _BYTES:
            size, at = _read_varint(message, at)
            found.append((tag >> 3, message[at : at + size]))
            at += size
        else:
            at += 8 if wire == 1 else 4
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
