"""ONNX Runtime with the same session options in every server; imported inside peers' environments.

It needs nothing but numpy and onnxruntime, since those environments have nothing of the project's.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

Run = Callable[[Any], Any]

_PR_SET_PDEATHSIG = 1


def open_model(path: Path) -> Run:
    """`x` to `y` of the model at `path`, with one thread and no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["y"], {"x": x})[0]


class Models:
    """The models of the folder that EI_PEERS_MODELS names: `NAME.onnx` each."""

    def __init__(self) -> None:
        self.paths = {
            path.stem: path for path in sorted(Path(os.environ["EI_PEERS_MODELS"]).glob("*.onnx"))
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def open(self, name: str) -> Run:
        return open_model(self.paths[name])

    def describe(self, name: str) -> tuple[list[int], type[Any], list[int]]:
        """Shape and dtype of the input and shape of the output; a batch of one."""
        session = onnxruntime.InferenceSession(
            str(self.paths[name]), providers=["CPUExecutionProvider"]
        )
        x, y = session.get_inputs()[0], session.get_outputs()[0]
        dtype: type[Any] = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}[x.type]
        return [1, *x.shape[1:]], dtype, [1, *y.shape[1:]]


def begin() -> list[int]:
    """The free ports that were chosen for this server, which ends when the benchmark does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return [int(port) for port in os.environ["EI_PEERS_PORTS"].split(",")]
