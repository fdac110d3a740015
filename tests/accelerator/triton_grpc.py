"""tritonclient's gRPC client, unmodified, connected to an accelerator process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.accelerator.triton import CONFIG
from tests.processes import AcceleratorProcess

X = np.arange(4, dtype=np.float32).reshape(1, 4)


class Bearer:
    """A plugin of tritonclient's that shows the accelerator's token with every call."""

    def __init__(self, process: AcceleratorProcess) -> None:
        self._token = process.token()

    def __call__(self, request: Any) -> None:
        request.headers["authorization"] = f"Bearer {self._token}"


@contextlib.contextmanager
def connect(process: AcceleratorProcess, url: str = "", **options: Any) -> Iterator[Any]:
    """A `tritonclient.grpc.InferenceServerClient` with a connection of its own."""
    with triton.InferenceServerClient(url or f"127.0.0.1:{process.port}", **options) as client:
        client.register_plugin(Bearer(process))
        yield client


def load(client: Any, name: str, model: bytes) -> None:
    client.load_model(name, config=CONFIG, files={"file:1/model.onnx": model})


def wire_input(name: str, array: np.ndarray) -> Any:
    """`array` as the client's `InferInput`."""
    made = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array)


def wire_inputs(feeds: dict[str, Any]) -> list[Any]:
    return [wire_input(name, np.asarray(array)) for name, array in feeds.items()]


def ask(*names: str) -> list[Any]:
    return [triton.InferRequestedOutput(name) for name in names]


def refused(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[str, str]:
    """The status and the text of the error that the call raises."""
    with pytest.raises(InferenceServerException) as caught:
        call(*args, **options)
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()
