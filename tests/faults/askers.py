"""The ways in which a worker asks: the project's client, ONNX Runtime's API, plain HTTP."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tests.accelerator.http_client import infer_body, read_output
from tests.client.models import scaled
from tests.faults.errors import ClearError
from tests.faults.tokens import token

if TYPE_CHECKING:
    from tests.faults.worker import Task

Array = np.ndarray[Any, Any]
_TIMEOUT = 40.0
# Weights that make each model of a churning worker an upload of some size.
_BALLAST = 400_000


class Asker(Protocol):
    """Something that multiplies by a model's factor, on an accelerator."""

    def ask(self, factor: int, x: Array) -> Array:
        """`x * factor`."""

    def close(self) -> None:
        """Give back what it has."""


class ClientAsker:
    """The project's client; `EI_TRANSPORT` says over what."""

    def __init__(self, factors: Sequence[int], task: Task) -> None:
        from elastic_inference.client import connect

        del task
        self._accelerator = connect()
        self._models = {factor: self._accelerator.load(scaled(factor)) for factor in factors}

    def ask(self, factor: int, x: Array) -> Array:
        values = self._models[factor].run({"x": x}, ["y"])
        return np.asarray(values[0])

    def close(self) -> None:
        self._accelerator.close()


class ChurnAsker:
    """The project's client, which loads a model anew for each request and drops it."""

    def __init__(self, factors: Sequence[int], task: Task) -> None:
        from elastic_inference.client import connect

        del factors
        self._accelerator = connect()
        # Some come again, so that kept uploads and caches are met too.
        self._fresh = int(task.settings.get("fresh", 3))
        self._count = 0
        self._number = task.number

    def ask(self, factor: int, x: Array) -> Array:
        self._count += 1
        if self._count % self._fresh == 0:
            # No other factor has these ballast's bytes.
            model = scaled(factor, size=_BALLAST + 4 * (self._count * 64 + self._number))
        else:
            model = scaled(factor)
        with self._accelerator.load(model) as loaded:
            return np.asarray(loaded.run({"x": x}, ["y"])[0])

    def close(self) -> None:
        self._accelerator.close()


class SessionAsker:
    """An application of ONNX Runtime that knows nothing of accelerators; see `ei run`."""

    def __init__(self, factors: Sequence[int], task: Task) -> None:
        import onnxruntime

        self._sessions = {}
        for factor in factors:
            path = Path(f"{task.board}-{factor}.onnx")
            path.write_bytes(scaled(factor))
            self._sessions[factor] = onnxruntime.InferenceSession(str(path))

    def ask(self, factor: int, x: Array) -> Array:
        return np.asarray(self._sessions[factor].run(["y"], {"x": x})[0])

    def close(self) -> None:
        self._sessions.clear()


class WireAsker:
    """The Open Inference Protocol on a bare TLS connection, with what `ei token` says.

    It repeats nothing: a connection that is cut is one clear failure, and the next request
    opens another.
    """

    def __init__(self, factors: Sequence[int], task: Task) -> None:
        self._accelerator = str(task.settings["accelerator"])
        self._names = {factor: f"{task.name}-{factor}" for factor in factors}
        self._grant: dict[str, Any] = {}
        self._socket: ssl.SSLSocket | None = None
        self._buffer = b""
        for factor in factors:
            self._load(factor)

    def ask(self, factor: int, x: Array) -> Array:
        body, length = infer_body(x)
        fields = [f"Inference-Header-Content-Length: {length}"]
        path = f"/v2/models/{self._names[factor]}/infer"
        status, headers, raw = self._request(path, body, fields)
        if status == 401:
            # Its time is over: another token opens the same connection.
            self._grant = {}
            status, headers, raw = self._request(path, body, fields)
        if status == 404:
            self._load(factor)
            status, headers, raw = self._request(path, body, fields)
        if status != 200:
            raise _refusal(status, raw)
        return read_output(headers, raw)

    def _load(self, factor: int) -> None:
        import base64

        model = base64.b64encode(scaled(factor)).decode()
        body = json.dumps({"parameters": {"file:1/model.onnx": model}}).encode()
        path = f"/v2/repository/models/{self._names[factor]}/load"
        status, _, raw = self._request(path, body, [])
        if status != 200:
            raise _refusal(status, raw)

    def _request(
        self, path: str, body: bytes, fields: list[str]
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            if not self._grant:
                self._grant = token(self._accelerator)
            if self._socket is None:
                self._socket = self._connect()
            lines = [
                f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}",
                f"Authorization: Bearer {self._grant['token']}", *fields, "", "",
            ]  # fmt: skip
            self._socket.sendall("\r\n".join(lines).encode() + body)
            return self._answer()
        except OSError as error:
            self.close()
            raise ClearError(f"the connection broke: {error!r}") from error

    def _answer(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        size = int(headers["content-length"])
        while len(self._buffer) < size:
            self._receive()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(first.split(" ")[1]), headers, body

    def _receive(self) -> None:
        assert self._socket is not None
        part = self._socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the accelerator closed it")
        self._buffer += part

    def _connect(self) -> ssl.SSLSocket:
        where = urllib.parse.urlsplit(self._grant["url"])
        context = ssl.create_default_context(cafile=self._grant["ca"])
        plain = socket.create_connection((where.hostname, where.port), _TIMEOUT)
        self._buffer = b""
        try:
            return context.wrap_socket(plain, server_hostname=self._grant["server_name"])
        except BaseException:
            plain.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _refusal(status: int, raw: bytes) -> Exception:
    """The error that an answer carries; one of the tree says its kind and what happened."""
    document = json.loads(raw)
    if status < 500 or document["kind"] != "internal":
        return ClearError(f"{status} {document['kind']}: {document['error']}")
    return RuntimeError(f"{status}: {document}")


def _grpc(factors: Sequence[int], task: Task) -> Asker:
    # gRPC is no small thing to import, and forks badly.
    from tests.faults.grpc_asker import GrpcAsker

    return GrpcAsker(factors, task)


ASKERS: dict[str, Callable[[Sequence[int], Task], Asker]] = {
    "client": ClientAsker,
    "churn": ChurnAsker,
    "grpc": _grpc,
    "session": SessionAsker,
    "wire": WireAsker,
}
