"""An inference with ONNX Runtime, which an instance's accelerator does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def save(path: Path) -> None:
    """A network of one layer: y = relu(x · w)."""
    weights = np.linspace(-1, 1, 16 * 4, dtype=np.float32).reshape(16, 4)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def main() -> None:
    path = Path("layer.onnx")
    save(path)
    session = onnxruntime.InferenceSession(path)
    (y,) = session.run(None, {"x": np.ones((1, 16), np.float32)})
    print("answer", np.round(y, 3).tolist())


if __name__ == "__main__":
    main()
