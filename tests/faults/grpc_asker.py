"""The Open Inference Protocol over gRPC, by Triton's own client."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.client.models import scaled
from tests.faults.errors import ClearError
from tests.faults.tokens import token

if TYPE_CHECKING:
    from tests.faults.worker import Task

Array = np.ndarray[Any, Any]
_TIMEOUT = 40.0
# An accelerator's own defects; gRPC itself says UNKNOWN where TLS is cut amid a record.
_DEFECTS = ("StatusCode.INTERNAL",)
_LARGEST = 64 << 20


class GrpcAsker:
    """Calls on one channel, which gRPC connects again by itself; nothing is repeated."""

    def __init__(self, factors: Sequence[int], task: Task) -> None:
        self._accelerator = str(task.settings["accelerator"])
        self._names = {factor: f"{task.name}-{factor}" for factor in factors}
        self._client: triton.InferenceServerClient | None = None
        self._headers: dict[str, str] = {}
        for factor in factors:
            self._load(factor)

    def ask(self, factor: int, x: Array) -> Array:
        given = triton.InferInput("x", list(x.shape), "FP32")
        given.set_data_from_numpy(x)
        for last in (False, False, True):
            try:
                client = self._connect()
                answer = client.infer(
                    self._names[factor], [given], headers=self._headers, client_timeout=_TIMEOUT
                )
                return np.asarray(answer.as_numpy("y"))
            except InferenceServerException as error:
                if last or not self._repaired(factor, error):
                    raise _clear(error) from error
        raise AssertionError("not reached")

    def _repaired(self, factor: int, error: InferenceServerException) -> bool:
        if error.status() == "StatusCode.UNAUTHENTICATED":
            self._headers = {}
            return True
        if error.status() == "StatusCode.NOT_FOUND":
            self._load(factor)
            return True
        return False

    def _connect(self) -> triton.InferenceServerClient:
        if not self._headers:
            grant = token(self._accelerator)
            self._headers = {"authorization": f"Bearer {grant['token']}"}
            if self._client is None:
                options = [
                    ("grpc.ssl_target_name_override", grant["server_name"]),
                    ("grpc.max_receive_message_length", _LARGEST),
                    ("grpc.max_reconnect_backoff_ms", 500),
                ]
                self._client = triton.InferenceServerClient(
                    urllib.parse.urlsplit(grant["url"]).netloc,
                    ssl=True,
                    root_certificates=str(Path(grant["ca"])),
                    channel_args=options,
                )
        assert self._client is not None
        return self._client

    def _load(self, factor: int) -> None:
        for last in (False, True):
            try:
                self._connect().load_model(
                    self._names[factor],
                    headers=self._headers,
                    config=json.dumps({}),
                    files={"file:1/model.onnx": scaled(factor)},
                    client_timeout=_TIMEOUT,
                )
            except InferenceServerException as error:
                if last or error.status() != "StatusCode.UNAUTHENTICATED":
                    time.sleep(0.1)
                    raise _clear(error) from error
                self._headers = {}
            else:
                return

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _clear(error: InferenceServerException) -> Exception:
    text = f"{error.status()}: {error.message()}"
    return RuntimeError(text) if error.status() in _DEFECTS else ClearError(text)
