"""What is measured on a GPU: a classifier and a detector, in fp32 and fp16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import ConvNet

NAMES = ("resnet50", "detector")
PRECISIONS = {"fp32": "float32", "fp16": "float16"}
SIZES = {"resnet50": (3, 224, 224), "detector": (3, 320, 320)}
_CLASSES = 8
_CELLS = 400
# Inputs of NonMaxSuppression, which takes them in fp32 alone.
_THRESHOLDS = {"most": np.array([20], np.int64), "overlap": np.array([0.5], np.float32),
               "least": np.array([0.5], np.float32)}  # fmt: skip


def save(directory: Path, name: str, precision: str) -> Path:
    """The model's file in `directory`, written if it is not there."""
    path = directory / f"{name}-{precision}.onnx"
    if not path.exists():
        model = ConvNet().resnet50() if name == "resnet50" else detector()
        path.write_bytes((half(model) if precision == "fp16" else model).SerializeToString())
    return path


def detector() -> onnx.ModelProto:
    """`float32[n,3,320,320]` -> `y` FP32[n,12,400], boxes and scores of a grid of 20 by 20, and
    `kept` INT64[k,3], what non-maximum suppression leaves of them.
    """
    net = ConvNet()
    x = "x"
    for entering, leaving in ((3, 32), (32, 64), (64, 128), (128, 256)):
        x = net.add("Relu", [net.convolve(x, (entering, leaving), 3, 2)])
        if leaving >= 128:
            x = net.block(x, leaving, leaving // 4, 1)
    head = net.convolve(x, (256, 4 + _CLASSES), 1, 1)
    weights: dict[str, Any] = dict(net.weights)
    weights["grid"] = np.array([0, 4 + _CLASSES, _CELLS], np.int64)
    weights["parts"] = np.array([4, _CLASSES], np.int64)
    weights |= _THRESHOLDS
    net.nodes += [
        helper.make_node("Reshape", [head, "grid"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["unit"]),
        helper.make_node("Cast", ["unit"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Split", ["y", "parts"], ["corners", "scores"], axis=1),
        helper.make_node("Transpose", ["corners"], ["boxes"], perm=[0, 2, 1]),
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["kept"]
        ),
    ]
    made = helper.make_model(
        helper.make_graph(
            net.nodes,
            "detector",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 320, 320])],
            [
                helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4 + _CLASSES, _CELLS]),
                helper.make_tensor_value_info("kept", TensorProto.INT64, ["k", 3]),
            ],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    return made


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in fp16: its input, its weights, and what is computed up to a Cast to FLOAT."""
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT and weight.name not in _THRESHOLDS:
            array = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    cast = any(node.op_type == "Cast" for node in model.graph.node)
    halved = [*model.graph.input, *(() if cast else model.graph.output)]
    for value in halved:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.checker.check_model(model)
    return model
