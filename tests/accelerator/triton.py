"""tritonclient, unmodified, connected to an accelerator process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import np_to_triton_dtype

from tests.processes import AcceleratorProcess

CONFIG = '{"backend": "onnxruntime"}'


class Bearer:
    """A plugin of tritonclient's that shows the accelerator's token with every request."""

    def __init__(self, process: AcceleratorProcess) -> None:
        self._token = process.token()

    def __call__(self, request: Any) -> None:
        request.headers["Authorization"] = f"Bearer {self._token}"


@contextlib.contextmanager
def connect(process: AcceleratorProcess, concurrency: int = 1) -> Iterator[Any]:
    """A `tritonclient.http.InferenceServerClient`."""
    with triton.InferenceServerClient(
        f"127.0.0.1:{process.port}", concurrency=concurrency
    ) as client:
        client.register_plugin(Bearer(process))
        yield client


def load(client: Any, name: str, model: bytes) -> None:
    client.load_model(name, config=CONFIG, files={"file:1/model.onnx": model})


def wire_input(
    name: str, array: np.ndarray, *, binary: bool = True, make: type[Any] = triton.InferInput
) -> Any:
    """`array` as the client's `InferInput`."""
    made = make(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array, binary_data=binary)


def wire_inputs(feeds: dict[str, Any], *, binary: bool = True) -> list[Any]:
    return [wire_input(name, np.asarray(array), binary=binary) for name, array in feeds.items()]


def same(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Bit for bit: datatype, shape and every byte."""
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        if theirs.dtype == np.object_:
            assert ours.tolist() == theirs.tolist()
        else:
            assert ours.tobytes() == theirs.tobytes()
