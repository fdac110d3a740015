"""A server of the REST front end, and a client that asks it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any

from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.options import Options
from elastic_inference.serving.rest_server import RestServer
from tests.serving.standin import FakeVersions, service, signature

PREDICT = "/v1/models/default:predict"
PATIENCE = 20.0
ONE = b'{"instances": [2.0]}'


class Front:
    """A server, and a connection to it."""

    def __init__(self, versions: FakeVersions | None = None, **options: Any) -> None:
        self.versions = versions or FakeVersions()
        self.metrics = Metrics()
        given = Options(**{"rest_api_num_threads": 2, **options})
        self.server = RestServer(service(self.versions), self.metrics, given)
        self.port = self.server.start("127.0.0.1:0")
        self.client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.headers: Mapping[str, str] = {}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        self.client.request(method, path, body, dict(headers or {}))
        answer = self.client.getresponse()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, answer.read().decode()

    def predict(self, document: Any, *, path: str = PREDICT) -> tuple[int, Any]:
        status, text = self.ask("POST", path, json.dumps(document))
        return status, json.loads(text)

    def error(self, document: Any) -> str:
        """The words of a refused prediction."""
        text = document if isinstance(document, str) else json.dumps(document)
        status, answer = self.ask("POST", PREDICT, text.encode())
        assert status == 400
        found = json.loads(answer)
        assert list(found) == ["error"]
        return str(found["error"])

    def takes(self, inputs: Mapping[str, str], outputs: Mapping[str, str] | None = None) -> None:
        """Let the model give its inputs back."""
        self.versions.servable.signatures = {
            "serving_default": signature(inputs, outputs or inputs)
        }
        self.versions.servable.function = dict

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def close(self) -> None:
        self.client.close()
        self.server.stop(0)


def read_all(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found
