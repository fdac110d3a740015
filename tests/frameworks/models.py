"""Small models that between them use the kinds of values and shapes that applications use."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

Feeds = dict[str, Any]


def value(name: str, dtype: int = T.FLOAT, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def build(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: list[Any] | None = None,
    *,
    domains: dict[str, int] | None = None,
    **fields: Any,
) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights or [])
    opsets = [helper.make_opsetid(*item) for item in {"": 21, **(domains or {})}.items()]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10, **fields)
    return bytes(made.SerializeToString())


def weight(name: str, *shape: int, seed: int = 0) -> Any:
    data = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(data, name)


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def add() -> bytes:
    """z = x + y, with x of [n, 3] and y of [3]."""
    return build(
        [node("Add", "x y", "z")],
        [value("x", T.FLOAT, ["n", 3]), value("y", T.FLOAT, [3])],
        [value("z", T.FLOAT, ["n", 3])],
    )


def random(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _perceptron() -> tuple[bytes, Feeds]:
    model = build(
        [node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("Softmax", "r", "y")],
        [value("x", T.FLOAT, ["batch", 32])],
        [value("y", T.FLOAT, ["batch", 16])],
        [weight("w", 32, 16), weight("b", 16, seed=2)],
    )
    return model, {"x": random(5, 32)}


def _convolution() -> tuple[bytes, Feeds]:
    model = build(
        [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("GlobalAveragePool", "c", "y")],
        [value("x", T.FLOAT, ["n", 3, "h", "w_"])],
        [value("y")],
        [weight("w", 8, 3, 3, 3), weight("b", 8, seed=2)],
    )
    return model, {"x": random(2, 3, 37, 53)}


def _recurrent() -> tuple[bytes, Feeds]:
    model = build(
        [node("LSTM", "x w r", "y h c", hidden_size=8)],
        [value("x", T.FLOAT, ["steps", "batch", 6])],
        [value("y"), value("h"), value("c")],
        [weight("w", 1, 32, 6), weight("r", 1, 32, 8, seed=2)],
    )
    return model, {"x": random(7, 3, 6)}


def _attention() -> tuple[bytes, Feeds]:
    model = build(
        [
            node("Transpose", "k", "t", perm=[0, 2, 1]),
            node("MatMul", "q t", "s"),
            node("Softmax", "s", "p"),
            node("MatMul", "p v", "y"),
        ],
        [value(name, T.FLOAT, ["b", "s", 16]) for name in "qkv"],
        [value("y")],
    )
    return model, {name: random(2, 9, 16, seed=index) for index, name in enumerate("qkv")}


def _strings() -> tuple[bytes, Feeds]:
    model = build(
        [node("StringConcat", "x x", "y"), node("StringSplit", "x", "z n", delimiter=" ")],
        [value("x", T.STRING, ["n"])],
        [value("y", T.STRING, ["n"]), value("z", T.STRING), value("n", T.INT64)],
    )
    return model, {"x": np.array(["straße", "日本", "", "a b"], object)}


def _many_types() -> tuple[bytes, Feeds]:
    kinds = [
        T.BOOL,
        T.INT8,
        T.UINT8,
        T.INT16,
        T.UINT16,
        T.INT32,
        T.UINT32,
        T.INT64,
        T.UINT64,
        T.FLOAT16,
        T.DOUBLE,
    ]
    model = build(
        [node("Identity", f"x{kind}", f"y{kind}") for kind in kinds],
        [value(f"x{kind}", kind, ["n"]) for kind in kinds],
        [value(f"y{kind}", kind, ["n"]) for kind in kinds],
    )
    feeds = {
        f"x{kind}": np.arange(5).astype(helper.tensor_dtype_to_np_dtype(kind)) for kind in kinds
    }
    return model, feeds


def _scalars_and_empty() -> tuple[bytes, Feeds]:
    model = build(
        [node("Mul", "x s", "y"), node("NonZero", "e", "z"), node("Neg", "s", "t")],
        [value("x", T.FLOAT, ["n", 2]), value("s", T.FLOAT, []), value("e", T.FLOAT, ["m"])],
        [value("y"), value("z", T.INT64), value("t", T.FLOAT, [])],
    )
    return model, {
        "x": np.empty((0, 2), np.float32),
        "s": np.array(2.5, np.float32),
        "e": np.zeros(0, np.float32),
    }


def _selection() -> tuple[bytes, Feeds]:
    model = build(
        [node("TopK", "x k", "v i"), node("Unique", "i", "u", sorted=1)],
        [value("x", T.FLOAT, ["n"]), value("k", T.INT64, [1])],
        [value("v"), value("i", T.INT64), value("u", T.INT64)],
    )
    return model, {"x": random(50), "k": np.array([7], np.int64)}


def _loop() -> tuple[bytes, Feeds]:
    body = helper.make_graph(
        [node("Add", "a x", "b"), node("Identity", "c", "d")],
        "body",
        [value("i", T.INT64, []), value("c", T.BOOL, []), value("a", T.FLOAT, ["n"])],
        [value("d", T.BOOL, []), value("b", T.FLOAT, ["n"])],
    )
    model = build(
        [node("Loop", "count go x", "y", body=body)],
        [value("count", T.INT64, []), value("go", T.BOOL, []), value("x", T.FLOAT, ["n"])],
        [value("y", T.FLOAT, ["n"])],
    )
    return model, {"count": np.array(4, np.int64), "go": np.array(True), "x": random(6)}


def _sequence() -> tuple[bytes, Feeds]:
    model = build(
        [node("SplitToSequence", "x", "s", axis=0, keepdims=0), node("SequenceLength", "s", "n")],
        [value("x", T.FLOAT, ["r", 4])],
        [helper.make_tensor_sequence_value_info("s", T.FLOAT, None), value("n", T.INT64, [])],
    )
    return model, {"x": random(3, 4)}


def _sequence_input() -> tuple[bytes, Feeds]:
    model = build(
        [node("ConcatFromSequence", "s", "y", axis=0)],
        [helper.make_tensor_sequence_value_info("s", T.FLOAT, None)],
        [value("y")],
    )
    return model, {"s": [random(2, 3), random(1, 3, seed=4)]}


def _optional() -> tuple[bytes, Feeds]:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(T.FLOAT, [2]))
    model = build(
        [node("Identity", "x", "y"), node("OptionalHasElement", "x", "b")],
        [helper.make_value_info("x", kind)],
        [helper.make_value_info("y", kind), value("b", T.BOOL, [])],
    )
    return model, {"x": random(2)}


def _map() -> tuple[bytes, Feeds]:
    keys = helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, []))
    kind = helper.make_sequence_type_proto(keys)
    model = build(
        [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[7, 9])],
        [value("x", T.FLOAT, ["n", 2])],
        [helper.make_value_info("y", kind)],
        domains={"ai.onnx.ml": 3},
    )
    return model, {"x": random(3, 2)}


def _string_map() -> tuple[bytes, Feeds]:
    keys = helper.make_map_type_proto(T.STRING, helper.make_tensor_type_proto(T.FLOAT, []))
    kind = helper.make_sequence_type_proto(keys)
    model = build(
        [
            helper.make_node(
                "ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog"]
            )
        ],
        [value("x", T.FLOAT, ["n", 2])],
        [helper.make_value_info("y", kind)],
        domains={"ai.onnx.ml": 3},
    )
    return model, {"x": random(3, 2)}


MODELS = {
    made.__name__.strip("_"): made
    for made in (
        _perceptron,
        _convolution,
        _recurrent,
        _attention,
        _strings,
        _many_types,
        _scalars_and_empty,
        _selection,
        _loop,
        _sequence,
        _sequence_input,
        _optional,
        _map,
        _string_map,
    )
}


def save_with_external_data(model: bytes, path: Any) -> None:
    onnx.save(
        onnx.load_from_string(model),
        path,
        save_as_external_data=True,
        size_threshold=0,
        location="weights.bin",
    )
