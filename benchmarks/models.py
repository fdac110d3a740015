"""The models of the workloads, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

_OPSET = 17
_IR_VERSION = 8
# ResNet-50's stages: how many blocks, and the width of each block's middle convolution.
_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))


def _model(
    nodes: list[onnx.NodeProto],
    x: onnx.ValueInfoProto,
    y: onnx.ValueInfoProto,
    weights: dict[str, Array],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "benchmark", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    return model


def _tensor(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["n", *shape])


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def tiny() -> onnx.ModelProto:
    """`float32[n,16]` -> `float32[n,16]`: one small matrix product."""
    rng = np.random.default_rng(0)
    return _model(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        _tensor("x", TensorProto.FLOAT, 16),
        _tensor("y", TensorProto.FLOAT, 16),
        {"w": _normal(rng, 16, 16), "b": np.zeros(16, np.float32)},
    )


def image() -> onnx.ModelProto:
    """`float32[n,3,224,224]` -> `float32[n,1000]`: channel means and a matrix product."""
    rng = np.random.default_rng(0)
    return _model(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("Gemm", ["m", "w", "b"], ["y"]),
        ],
        _tensor("x", TensorProto.FLOAT, 3, 224, 224),
        _tensor("y", TensorProto.FLOAT, 1000),
        {"w": _normal(rng, 3, 1000), "b": np.zeros(1000, np.float32)},
    )


def frame() -> onnx.ModelProto:
    """`uint8[n,1080,1920,3]` -> `float32[n,3]`: channel means of every eighth pixel."""
    return _model(
        [
            helper.make_node("Slice", ["x", "starts", "ends", "axes", "steps"], ["sampled"]),
            helper.make_node("Cast", ["sampled"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["real"], ["y"], axes=[1, 2], keepdims=0),
        ],
        _tensor("x", TensorProto.UINT8, 1080, 1920, 3),
        _tensor("y", TensorProto.FLOAT, 3),
        {
            "starts": np.array([0, 0], np.int64),
            "ends": np.array([1080, 1920], np.int64),
            "axes": np.array([1, 2], np.int64),
            "steps": np.array([8, 8], np.int64),
        },
    )


class ConvNet:
    """Residual blocks as in ResNet, with the normalisation folded into the convolutions."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}

    def add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def convolve(self, x: str, channels: tuple[int, int], size: int, stride: int) -> str:
        entering, leaving = channels
        name = f"w{len(self.weights)}"
        scale = 0.5 * (2 / (entering * size * size)) ** 0.5
        self.weights[name] = _normal(self.rng, leaving, entering, size, size, scale=scale)
        bias = f"b{len(self.weights)}"
        self.weights[bias] = np.zeros(leaving, np.float32)
        return self.add(
            "Conv",
            [x, name, bias],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            kernel_shape=[size, size],
        )

    def block(self, x: str, entering: int, width: int, stride: int) -> str:
        y = self.add("Relu", [self.convolve(x, (entering, width), 1, 1)])
        y = self.add("Relu", [self.convolve(y, (width, width), 3, stride)])
        y = self.convolve(y, (width, width * 4), 1, 1)
        if entering != width * 4:
            x = self.convolve(x, (entering, width * 4), 1, stride)
        return self.add("Relu", [self.add("Add", [x, y])])

    def resnet50(self) -> onnx.ModelProto:
        x = self.add("Relu", [self.convolve("x", (3, 64), 7, 2)])
        x = self.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        channels = 64
        for stage, (blocks, width) in enumerate(_STAGES):
            for number in range(blocks):
                stride = 2 if stage and not number else 1
                x = self.block(x, channels, width, stride)
                channels = width * 4
        x = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        self.weights["fw"] = _normal(self.rng, 2048, 1000, scale=0.02)
        self.weights["fb"] = np.zeros(1000, np.float32)
        self.nodes.append(helper.make_node("Gemm", [x, "fw", "fb"], ["y"]))
        return _model(
            self.nodes,
            _tensor("x", TensorProto.FLOAT, 3, 224, 224),
            _tensor("y", TensorProto.FLOAT, 1000),
            self.weights,
        )


def resnet50() -> onnx.ModelProto:
    """`float32[n,3,224,224]` -> `float32[n,1000]`: 25.5 million weights, 102 MB."""
    return ConvNet().resnet50()


BUILDERS: dict[str, Callable[[], onnx.ModelProto]] = {
    "tiny": tiny,
    "image": image,
    "frame": frame,
    "resnet50": resnet50,
}
