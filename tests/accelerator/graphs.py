"""ONNX models for tests, each with inputs that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

value_info = helper.make_tensor_value_info
Feeds = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A model's bytes and feeds for it (strings as str, as ONNX Runtime takes them)."""

    name: str
    model: bytes
    feeds: Feeds


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    weights: dict[str, Any] | None = None,
    opsets: dict[str, int] | None = None,
    functions: Sequence[Any] = (),
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        list(inputs),
        list(outputs),
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    imports = [helper.make_opsetid(name, number) for name, number in (opsets or {"": 17}).items()]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    made.ir_version = 9
    data: bytes = made.SerializeToString()
    return data


def identity(datatype: int, shape: Sequence[Any] | None = ("n",)) -> bytes:
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value_info("x", datatype, shape)],
        [value_info("y", datatype, shape)],
        opsets={"": 21},
    )


def linear(rows: int = 16, columns: int = 16, seed: int = 0) -> bytes:
    """`y = x @ w + b` with `w` FP32[rows, columns]; its size is that of `w`."""
    random = np.random.default_rng(seed)
    return model(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        [value_info("x", TensorProto.FLOAT, ["n", rows])],
        [value_info("y", TensorProto.FLOAT, ["n", columns])],
        {
            "w": random.standard_normal((rows, columns), np.float32),
            "b": random.standard_normal(columns).astype(np.float32),
        },
    )


def expand() -> bytes:
    """`y = ones(shape)`: memory that the caller chooses, FP32."""
    one = numpy_helper.from_array(np.ones(1, np.float32))
    return model(
        [helper.make_node("ConstantOfShape", ["shape"], ["y"], value=one)],
        [value_info("shape", TensorProto.INT64, ["rank"])],
        [value_info("y", TensorProto.FLOAT, None)],
    )


def network(seed: int = 0) -> bytes:
    """A small convolutional network on FP32[n, 3, h, w], about 1.2 MB of weights."""
    random = np.random.default_rng(seed)
    weights: Feeds = {}
    nodes = []
    x, channels = "x", 3
    for index, wide in enumerate((32, 64, 128, 128)):
        kernel = random.standard_normal((wide, channels, 3, 3)) / (channels * 9) ** 0.5
        weights[f"w{index}"] = kernel.astype(np.float32)
        weights[f"b{index}"] = random.standard_normal(wide).astype(np.float32)
        nodes += [
            helper.make_node(
                "Conv", [x, f"w{index}", f"b{index}"], [f"c{index}"], pads=[1] * 4, strides=[2, 2]
            ),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"]),
        ]
        x, channels = f"r{index}", wide
    weights["fc"] = random.standard_normal((128, 200)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [x], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "fc"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    return model(
        nodes,
        [value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [value_info("y", TensorProto.FLOAT, ["n", 200])],
        weights,
    )


def nested(depth: int, innermost: Any) -> bytes:
    """A model with `innermost` (a node that makes `o0` from `x`) in `depth` nested Ifs."""
    graph = helper.make_graph([innermost], "g0", [], [value_info("o0", TensorProto.FLOAT, None)])
    for level in range(1, depth + 1):
        other = helper.make_graph(
            [helper.make_node("Identity", ["x"], [f"e{level}"])],
            f"e{level}",
            [],
            [value_info(f"e{level}", TensorProto.FLOAT, None)],
        )
        node = helper.make_node("If", ["c"], [f"o{level}"], then_branch=graph, else_branch=other)
        graph = helper.make_graph(
            [node], f"g{level}", [], [value_info(f"o{level}", TensorProto.FLOAT, None)]
        )
    graph.input.extend(
        [value_info("x", TensorProto.FLOAT, ["n"]), value_info("c", TensorProto.BOOL, [])]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    data: bytes = made.SerializeToString()
    return data


def dozen() -> list[Graph]:
    """Graphs with dynamic shapes, strings, several inputs and outputs, and every plain type."""
    random = np.random.default_rng(7)

    def floats(*shape: int) -> Any:
        return random.standard_normal(shape).astype(np.float32)

    return [make(floats) for make in _DOZEN]


def _network(floats: Callable[..., Any]) -> Graph:
    return Graph("convolutions", network(), {"x": floats(2, 3, 37, 53)})


def _linear(floats: Callable[..., Any]) -> Graph:
    return Graph("linear", linear(), {"x": floats(5, 16)})


def _large(floats: Callable[..., Any]) -> Graph:
    return Graph("large linear", linear(700, 700), {"x": floats(3, 700)})


def _attention(floats: Callable[..., Any]) -> Graph:
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    built = model(
        nodes,
        [
            value_info("q", TensorProto.FLOAT, ["b", "n", 8]),
            value_info("k", TensorProto.FLOAT, ["b", 8, "m"]),
            value_info("v", TensorProto.FLOAT, ["b", "m", 4]),
        ],
        [value_info("y", TensorProto.FLOAT, None), value_info("p", TensorProto.FLOAT, None)],
    )
    return Graph(
        "attention", built, {"q": floats(2, 3, 8), "k": floats(2, 8, 5), "v": floats(2, 5, 4)}
    )


def _gelu(floats: Callable[..., Any]) -> Graph:
    weights = {
        "root": np.array(1.4142135, np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
        "scale": floats(24),
        "bias": floats(24),
    }
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "bias"], ["l"]),
        helper.make_node("Div", ["l", "root"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        helper.make_node("Mul", ["l", "a"], ["m"]),
        helper.make_node("Mul", ["m", "half"], ["y"]),
    ]
    built = model(
        nodes,
        [value_info("x", TensorProto.FLOAT, ["n", 24])],
        [value_info("y", TensorProto.FLOAT, ["n", 24])],
        weights,
    )
    return Graph("gelu", built, {"x": floats(7, 24)})


def _half(floats: Callable[..., Any]) -> Graph:
    return Graph(
        "half precision",
        identity(TensorProto.FLOAT16, ["n", "m"]),
        {"x": floats(3, 2).astype(np.float16)},
    )


def _strings(_: Callable[..., Any]) -> Graph:
    built = model(
        [helper.make_node("StringConcat", ["x", "x"], ["y"])],
        [value_info("x", TensorProto.STRING, ["n"])],
        [value_info("y", TensorProto.STRING, ["n"])],
        opsets={"": 20},
    )
    return Graph("strings", built, {"x": np.array(["straße", "", "a\tb"], np.object_)})


def _labels(floats: Callable[..., Any]) -> Graph:
    nodes = [
        helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder",
            ["i"],
            ["label"],
            domain="ai.onnx.ml",
            keys_int64s=[0, 1, 2],
            values_strings=["zero", "one", "two"],
        ),
    ]
    built = model(
        nodes,
        [value_info("x", TensorProto.FLOAT, ["n", 3])],
        [value_info("label", TensorProto.STRING, ["n"]), value_info("i", TensorProto.INT64, ["n"])],
        opsets={"": 17, "ai.onnx.ml": 2},
    )
    return Graph("labels", built, {"x": floats(6, 3)})


def _scalars(_: Callable[..., Any]) -> Graph:
    built = model(
        [helper.make_node("Add", ["a", "b"], ["y"]), helper.make_node("Less", ["a", "b"], ["l"])],
        [value_info("a", TensorProto.DOUBLE, []), value_info("b", TensorProto.DOUBLE, [])],
        [value_info("y", TensorProto.DOUBLE, []), value_info("l", TensorProto.BOOL, [])],
    )
    return Graph("scalars", built, {"a": np.array(1.1), "b": np.array(2.2)})


def _empty(floats: Callable[..., Any]) -> Graph:
    built = model(
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=0)],
        [
            value_info("a", TensorProto.FLOAT, ["n", 3]),
            value_info("b", TensorProto.FLOAT, ["m", 3]),
        ],
        [value_info("y", TensorProto.FLOAT, None)],
    )
    return Graph("empty", built, {"a": floats(0, 3), "b": floats(0, 3)})


def _integers(_: Callable[..., Any]) -> Graph:
    names = ["UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64"]
    nodes, inputs, outputs, feeds = [], [], [], {}
    for name in names:
        kind = getattr(TensorProto, name)
        nodes.append(helper.make_node("Identity", [f"x{name}"], [f"y{name}"]))
        inputs.append(value_info(f"x{name}", kind, [None, "n"]))
        outputs.append(value_info(f"y{name}", kind, [None, "n"]))
        dtype = np.dtype(name.lower())
        feeds[f"x{name}"] = np.array([[np.iinfo(dtype).min, 1, np.iinfo(dtype).max]], dtype)
    return Graph("integers", model(nodes, inputs, outputs), feeds)


def _quantised(floats: Callable[..., Any]) -> Graph:
    weights = {"s": np.array(0.05, np.float32), "z": np.array(3, np.uint8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    built = model(
        nodes,
        [value_info("x", TensorProto.FLOAT, ["n"])],
        [value_info("y", TensorProto.FLOAT, ["n"]), value_info("q", TensorProto.UINT8, ["n"])],
        weights,
    )
    return Graph("quantised", built, {"x": floats(33)})


def _branches(floats: Callable[..., Any]) -> Graph:
    node = helper.make_node("Mul", ["x", "x"], ["o0"])
    return Graph("branches", nested(3, node), {"x": floats(4), "c": np.array(True)})


def _loop(floats: Callable[..., Any]) -> Graph:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v_in", "x"], ["v_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "body",
        [
            value_info("i", TensorProto.INT64, []),
            value_info("go_in", TensorProto.BOOL, []),
            value_info("v_in", TensorProto.FLOAT, ["n"]),
        ],
        [value_info("go_out", TensorProto.BOOL, []), value_info("v_out", TensorProto.FLOAT, ["n"])],
    )
    built = model(
        [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
        [value_info("x", TensorProto.FLOAT, ["n"]), value_info("count", TensorProto.INT64, [])],
        [value_info("y", TensorProto.FLOAT, ["n"])],
    )
    return Graph("loop", built, {"x": floats(4), "count": np.array(5)})


_DOZEN = (
    _network, _linear, _large, _attention, _gelu, _half, _strings, _labels, _scalars, _empty,
    _integers, _quantised, _branches, _loop,
)  # fmt: skip
