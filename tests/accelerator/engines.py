"""An engine for tests, and how to load models with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from elastic_inference.accelerator.engines._model import OnnxRuntimeModel
from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine

GIB = 1 << 30


@pytest.fixture(scope="module")
def engine() -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine("cpu", GIB, 2)


@pytest.fixture
def load(engine: OnnxRuntimeEngine, tmp_path: Path) -> Iterator[Any]:
    made: list[OnnxRuntimeModel] = []

    def load_(
        data: bytes, options: LoadOptions | None = None, *, name: str = "m", cache: bool = True
    ) -> OnnxRuntimeModel:
        files = place(tmp_path, name, data, cache=cache)
        made.append(engine.load(files, options or LoadOptions()))
        return made[-1]

    yield load_
    for each in made:
        each.close()


def place(directory: Path, name: str, data: bytes, *, cache: bool = True) -> ModelFiles:
    folder = directory / name
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(data)
    return ModelFiles(
        name, folder, "model.onnx", directory / "caches" / name if cache else None, len(data)
    )


def local(data: bytes, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return ort.InferenceSession(data, options)


def encoded(value: Any) -> Any:
    """A value as the protocol carries it: text as bytes."""
    if isinstance(value, np.ndarray) and value.dtype == np.object_:
        return np.array([text.encode() for text in value.flat], np.object_).reshape(value.shape)
    return value


def bits(value: Any) -> Any:
    if value.dtype == np.object_:
        return value.tolist(), value.shape
    return value.dtype, value.shape, value.tobytes()
