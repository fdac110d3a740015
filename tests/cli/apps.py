"""Applications that the tests run under `ei run`, as files."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

_PLAIN = """\
import sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
print("result", session.run(None, {"x": np.arange(4, dtype=np.float32)})[0].tolist(), flush=True)
"""
_TWICE = """\
import sys
import numpy as np
import elastic_inference
accelerator = elastic_inference.connect()
model = accelerator.load(sys.argv[1])
for line in ("first", "second"):
    print(line, model.run({"x": np.arange(4, dtype=np.float32)})[0].tolist(), flush=True)
    open(sys.argv[2]).read() if line == "first" else None
"""
EXPECTED = "[0.0, 2.0, 4.0, 6.0]"


def double(directory: Path) -> str:
    """The file of a model that doubles `x` (float32[n])."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = directory / "double.onnx"
    onnx.save(model, str(path))
    return str(path)


def plain(directory: Path) -> str:
    """An application that uses ONNX Runtime and knows nothing of accelerators."""
    return _write(directory / "plain.py", _PLAIN)


def twice(directory: Path) -> str:
    """One that infers, waits until somebody opens the pipe that it is told, and infers again."""
    return _write(directory / "twice.py", _TWICE)


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)
