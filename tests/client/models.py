"""ONNX models for the client's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name: str, dtype: int = FLOAT, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def build(nodes: list[Any], inputs: list[Any], outputs: list[Any], **fields: Any) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, fields.pop("weights", []))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=10, **fields).SerializeToString()
    )


def identity(dtype: int, shape: Any = None) -> bytes:
    """y = x."""
    return build(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", dtype, shape)],
        [value("y", dtype, shape)],
    )


def scaled(factor: float, *, size: int = 0) -> bytes:
    """y = x * factor, with `size` bytes of weights that take no part."""
    weights = [numpy_helper.from_array(np.array([factor], np.float32), "f")]
    nodes = [helper.make_node("Mul", ["x", "f"], ["y"])]
    outputs = [value("y", FLOAT, ["n"])]
    if size:
        ballast = np.random.default_rng(int(factor)).random(size // 4, np.float32)
        weights.append(numpy_helper.from_array(ballast, "ballast"))
        nodes.append(helper.make_node("Add", ["ballast", "f"], ["unused"]))
        outputs.append(value("unused", FLOAT, [size // 4]))
    return build(nodes, [value("x", FLOAT, ["n"])], outputs, weights=weights)


def slow(rounds: int = 2000) -> bytes:
    """y = x @ x @ … : takes long enough to be interrupted, and says so in its result."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["a", "a"], ["m"]),
            helper.make_node("Tanh", ["m"], ["b"]),
            helper.make_node("Identity", ["c"], ["d"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("c", TensorProto.BOOL, []),
            value("a", FLOAT, ["n", "n"]),
        ],
        [value("d", TensorProto.BOOL, []), value("b", FLOAT, ["n", "n"])],
    )
    return build(
        [helper.make_node("Loop", ["count", "go", "x"], ["y"], body=body)],
        [value("x", FLOAT, ["n", "n"])],
        [value("y", FLOAT, ["n", "n"])],
        weights=[
            numpy_helper.from_array(np.array(rounds, np.int64), "count"),
            numpy_helper.from_array(np.array(True), "go"),
        ],
    )
