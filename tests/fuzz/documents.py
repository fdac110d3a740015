"""Valid requests, to begin from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

X = np.arange(4, dtype=np.float32).reshape(1, 4)


def _binary(size: int) -> dict[str, int]:
    return {"binary_data_size": size}


def _input(datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape, **more}


_LIST = [
    {"datatype": "FP32", "shape": [1], "parameters": _binary(4)},
    {"datatype": "FP32", "shape": [2], "parameters": _binary(8)},
]
_OUT = {"binary_data_output": True}

# Inference requests: the model, the JSON, the bytes that follow it.
DOCUMENTS: tuple[tuple[str, dict[str, Any], bytes], ...] = (
    (
        "float",
        {
            "id": "1",
            "inputs": [_input("FP32", [1, 4], parameters=_binary(16))],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
            "parameters": _OUT,
        },
        X.tobytes(),
    ),
    (
        "float",
        {"inputs": [_input("FP32", [4], parameters=_binary(16))], "parameters": _OUT},
        X.tobytes(),
    ),
    ("float", {"inputs": [_input("FP32", [4], data=[1, 2, 3, 4.5])]}, b""),
    (
        "text",
        {"inputs": [_input("BYTES", [2], parameters=_binary(11))], "parameters": _OUT},
        b"\1\0\0\0a\2\0\0\0bc",
    ),
    ("text", {"inputs": [_input("BYTES", [1, 2], data=[["a", "b"]])]}, b""),
    (
        "flag",
        {"inputs": [_input("BOOL", [4], parameters=_binary(4))], "parameters": _OUT},
        b"\0\1\1\0",
    ),
    (
        "nibble",
        {"inputs": [_input("INT4", [3], parameters=_binary(2))], "parameters": _OUT},
        b"\x21\x03",
    ),
    (
        "list",
        {
            "inputs": [_input("SEQUENCE", [2], elements=_LIST, parameters=_binary(12))],
            "parameters": _OUT,
        },
        np.ones(3, np.float32).tobytes(),
    ),
    (
        "float",
        {
            "inputs": [
                _input(
                    "FP32",
                    [4],
                    parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16},
                )
            ],
            "parameters": {
                "elastic_inference_output_region": "r",
                "elastic_inference_output_offset": 64,
                "elastic_inference_output_byte_size": 64,
            },
        },
        b"",
    ),
)

# Values that no model here takes: an entry and its bytes.
CONTAINERS: tuple[tuple[dict[str, Any], bytes], ...] = (
    (_input("OPTIONAL", [1], elements=_LIST[:1]), b"abcd"),
    (_input("OPTIONAL", [0], elements=[]), b""),
    (
        _input(
            "MAP",
            [2],
            elements=[
                {"datatype": "INT64", "shape": [2], "parameters": _binary(16)},
                {"datatype": "BYTES", "shape": [2], "parameters": _binary(10)},
            ],
        ),
        bytes(range(16)) + b"\1\0\0\0a\1\0\0\0b",
    ),
    (
        _input(
            "SEQUENCE",
            [2],
            elements=[
                {"datatype": "SEQUENCE", "shape": [2], "elements": _LIST, "parameters": _binary(12)}
            ]
            * 2,
        ),
        bytes(24),
    ),
    (_input("COMPLEX64", [1, 1]), bytes(8)),
    (_input("FP4E2M1", [3]), b"\x21\x03"),
    (_input("BF16", [2, 0], parameters={}), b""),
)

# What else is asked of an accelerator: method, path, document.
_ASKED: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v2/repository/index", {"ready": True}),
    (
        "POST",
        "/v2/repository/models/m/load",
        {"parameters": {"config": "{}", "file:1/a.onnx": "AA=="}},
    ),
    ("POST", "/v2/repository/models/m/unload", {"parameters": {"unload_dependents": False}}),
    (
        "POST",
        "/v2/elastic-inference/models",
        {"files": {"a": "0" * 64}, "main": "a", "options": {"threads": 1}},
    ),
    ("POST", "/v2/elastic-inference/usage", {"calls": 1, "wall_ns": 1}),
    (
        "POST",
        "/v2/systemsharedmemory/region/r/register",
        {"key": "/ei-fuzz-none", "offset": 0, "byte_size": 16},
    ),
    ("POST", "/v2/systemsharedmemory/unregister", None),
    ("DELETE", "/v2/elastic-inference/memory/r", None),
    *(
        ("GET", path, None)
        for path in (
            "/v2", "/metrics", "/v2/models/float", "/v2/models/float/versions/1/stats",
            "/v2/models/stats", "/v2/elastic-inference/accelerator", "/v2/health/live",
            "/v2/health/ready", "/v2/models/float/config", "/v2/systemsharedmemory/status",
            "/v2/elastic-inference/blobs/" + "ab" * 32,
        )
    ),
)  # fmt: skip


def request(method: str, path: str, body: bytes, *more: str) -> bytes:
    """A request with a length, of `body`."""
    lines = [f"{method} {path} HTTP/1.1", "Host: t", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def inference(model: str, document: Any, data: bytes, *more: str) -> bytes:
    """An inference request."""
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return request(
        "POST",
        f"/v2/models/{model}/infer",
        raw + data,
        f"Inference-Header-Content-Length: {len(raw)}",
        *more,
    )


def chunked(head: bytes, body: bytes, trailer: bytes = b"A: b\r\n") -> bytes:
    """A request whose body comes in two chunks."""
    half = len(body) // 2
    pieces = b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece
    )
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n" + trailer + b"\r\n"


def requests() -> tuple[bytes, ...]:
    """Requests of every kind, right as they are on a connection that has a grant."""
    import zlib

    name, document, data = DOCUMENTS[0]
    raw = json.dumps(document).encode()
    head = f"POST /v2/models/{name}/infer HTTP/1.1\r\nHost: t\r\n".encode()
    length = f"Inference-Header-Content-Length: {len(raw)}"
    lengths = f"{length}\r\n".encode()
    packed = zlib.compress(raw + data)
    plain = inference("float", document, data)
    return (
        *(inference(*each) for each in DOCUMENTS),
        plain + plain,
        chunked(head + lengths, raw + data),
        chunked(head + lengths, raw + data, b"") + request("GET", "/v2/health/ready", b""),
        request("POST", "/v2/models/float/infer", packed, length, "Content-Encoding: deflate"),
        inference(name, document, data, "Accept-Encoding: gzip"),
        inference(name, document, data, "EI-Timing: 1", "Connection: close"),
        inference(name, document, data, "Expect: 100-continue"),
        request(
            "PUT", "/v2/elastic-inference/blobs/" + "ab" * 32, b"abcdef",
            "Content-Range: bytes 0-5/6",
        ),
        *(
            request(method, path, b"" if each is None else json.dumps(each).encode())
            for method, path, each in _ASKED
        ),
        b"GET /v2/health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    )  # fmt: skip


def heads(token: str) -> tuple[bytes, ...]:
    """The heads of `requests`, some with a token."""
    found = [each.split(b"\r\n\r\n", 1)[0] for each in requests()]
    field = f"\r\nAuthorization: Bearer {token}".encode()
    return (*found, *(each + field for each in found), found[0] + field.lower() + b"\r\nA: b")
