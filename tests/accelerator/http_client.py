"""A bare HTTP client for tests that must say exactly which bytes go out."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any, Self

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.processes import AcceleratorProcess

X = np.arange(4, dtype=np.float32).reshape(1, 4)


class Wire:
    """One data connection, byte by byte."""

    def __init__(self, process: AcceleratorProcess, *, unix: bool = False) -> None:
        self.process = process
        self.socket: socket.socket = process.connect(unix=unix)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        token: str | None = "",
        headers: tuple[str, ...] = (),
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request and read its answer; `token` None sends none, "" a valid one."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token or self.process.token()}")
        if body or method in {"POST", "PUT"}:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers (lower case) and body."""
        head, self._buffer = self._until(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", "0"))
        while len(self._buffer) < size:
            self._receive()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return int(first.split(" ")[1]), headers, body

    def closed(self) -> bool:
        """Whether the other end closes the connection without another byte."""
        try:
            return self._buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark: bytes) -> tuple[bytes, bytes]:
        while mark not in self._buffer:
            self._receive()
        before, _, after = self._buffer.partition(mark)
        return before, after

    def _receive(self) -> None:
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the accelerator closed the connection")
        self._buffer += part


def infer_body(array: np.ndarray[Any, Any], name: str = "x", **members: Any) -> tuple[bytes, int]:
    """A binary request with one FP32 input: the body and its JSON's length."""
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "datatype": "FP32",
                    "shape": list(array.shape),
                    "parameters": {"binary_data_size": array.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
            **members,
        }
    ).encode()
    return header + array.tobytes(), len(header)


def read_output(headers: dict[str, str], body: bytes) -> np.ndarray[Any, Any]:
    """The first output of a binary answer, FP32."""
    length = int(headers["inference-header-content-length"])
    output = json.loads(body[:length])["outputs"][0]
    return np.frombuffer(body[length:], np.float32).reshape(output["shape"])


def scale_model(factor: float, output: str = "y") -> bytes:
    """`y = x * factor` for FP32 of any length."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "f"], [output])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor("f", TensorProto.FLOAT, [], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def load(process: AcceleratorProcess, name: str, model: bytes) -> None:
    parameters = {
        "config": json.dumps({"backend": "onnxruntime"}),
        "file:1/model.onnx": base64.b64encode(model).decode(),
    }
    status, _, body = process.request(
        "POST", f"/v2/repository/models/{name}/load", {"parameters": parameters}
    )
    assert status == 200, body


def infer(wire: Wire, model: str, array: np.ndarray = X, *, token: str | None = "") -> np.ndarray:
    body, length = infer_body(array)
    status, headers, answer = wire.request(
        "POST",
        f"/v2/models/{model}/infer",
        body,
        headers=(f"Inference-Header-Content-Length: {length}",),
        token=token,
    )
    assert status == 200, answer
    return read_output(headers, answer)


def error_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    status, _, body = answer
    document = json.loads(body)
    assert document["accelerator_id"].startswith("eia-")
    assert document["request_id"].startswith("EI-")
    return status, document["error"]
