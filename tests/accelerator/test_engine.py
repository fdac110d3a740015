"""ONNX Runtime as an engine: results, types, errors, and the prepared models on disk."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from elastic_inference.accelerator.engines.base import LoadOptions, ModelFiles
from elastic_inference.accelerator.engines.onnxruntime import OnnxRuntimeEngine
from elastic_inference.errors import (
    AcceleratorOutOfMemoryError,
    InvalidRequestError,
    ModelFormatError,
)
from elastic_inference.protocol.tensors import Packed
from tests.accelerator import graphs
from tests.accelerator.engines import bits, encoded, engine, load, local

__all__ = ["engine", "load"]

value_info = graphs.value_info


@pytest.mark.parametrize("graph", graphs.dozen(), ids=lambda graph: graph.name)
@pytest.mark.parametrize("threads", [1, 2])
def test_results_are_those_of_a_local_session_bit_for_bit(
    load: Any, graph: graphs.Graph, threads: int
) -> None:
    expected = [encoded(value) for value in local(graph.model, threads).run(None, graph.feeds)]
    feeds = {name: encoded(value) for name, value in graph.feeds.items()}
    options = LoadOptions(threads=threads)
    for cache in (False, True, True):
        model = load(graph.model, options, cache=cache)
        for _ in range(2):
            results = model.run(feeds)
            assert [bits(value) for value in results] == [bits(value) for value in expected]


@pytest.mark.parametrize("level", ["disable", "basic", "extended", "layout", "all"])
def test_each_optimisation_level_gives_what_it_gives_locally(load: Any, level: str) -> None:
    graph = graphs.dozen()[0]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(
        ort.GraphOptimizationLevel, "ORT_DISABLE_ALL" if level == "disable"
        else f"ORT_ENABLE_{level.upper()}",
    )  # fmt: skip
    (expected,) = ort.InferenceSession(graph.model, options).run(None, graph.feeds)
    for source in ("prepared", "cache"):
        model = load(graph.model, LoadOptions(graph_optimization_level=level))
        assert model.source == source
        assert bits(model.run(graph.feeds)[0]) == bits(expected)


def test_two_models_of_one_architecture_answer_with_their_own_weights(load: Any) -> None:
    one, two = graphs.network(1), graphs.network(2)
    x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    first, second = load(one, name="one"), load(two, name="two")
    for model, data in ((first, one), (second, two), (first, one)):
        assert bits(model.run({"x": x})[0]) == bits(local(data).run(None, {"x": x})[0])
    assert bits(first.run({"x": x})[0]) != bits(second.run({"x": x})[0])


def test_specifications_and_metadata_are_the_models(load: Any) -> None:
    made = onnx.load_from_string(graphs.linear(400, 400))
    made.producer_name, made.model_version = "test", 7
    made.metadata_props.add(key="labels", value="a,b")
    for source in ("prepared", "cache"):
        model = load(made.SerializeToString())
        assert model.source == source
        assert model.inputs[0].name == "x"
        assert model.inputs[0].datatype == "FP32"
        assert model.inputs[0].shape == (-1, 400)
        assert model.inputs[0].symbols == ("n", None)
        assert model.metadata["producer_name"] == "test"
        assert model.metadata["version"] == 7
        assert model.metadata["custom"] == {"labels": "a,b"}
        assert model.providers == ("CPUExecutionProvider",)
    assert load(graphs.identity(TensorProto.FLOAT, None), name="u").inputs[0].shape is None
    assert load(graphs.identity(TensorProto.FLOAT, []), name="s").inputs[0].shape == ()


def test_free_dimensions_are_fixed(load: Any) -> None:
    data = graphs.network()
    for _ in range(2):
        model = load(data, LoadOptions(free_dimensions={"n": 2, "h": 32, "w": 32}))
        assert model.inputs[0].shape == (2, 3, 32, 32)
        assert model.run({"x": np.zeros((2, 3, 32, 32), np.float32)})[0].shape == (2, 200)


# Types


FOREIGN = {
    "BF16": TensorProto.BFLOAT16, "FP8E4M3FN": TensorProto.FLOAT8E4M3FN,
    "FP8E4M3FNUZ": TensorProto.FLOAT8E4M3FNUZ, "FP8E5M2": TensorProto.FLOAT8E5M2,
    "FP8E5M2FNUZ": TensorProto.FLOAT8E5M2FNUZ,
}  # fmt: skip


@pytest.mark.parametrize("datatype", FOREIGN)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 5)])
def test_types_that_numpy_lacks_pass_unchanged(
    load: Any, datatype: str, shape: tuple[int, ...]
) -> None:
    model = load(graphs.identity(FOREIGN[datatype], [f"d{i}" for i in range(len(shape))]))
    assert model.inputs[0].datatype == datatype
    carrier = np.uint16 if datatype == "BF16" else np.uint8
    x = (np.arange(int(np.prod(shape))) * 37 + 5).astype(carrier).reshape(shape)
    (y,) = model.run({"x": x})
    assert bits(y) == bits(x)
    with pytest.raises(InvalidRequestError, match=f"expected {datatype}"):
        model.run({"x": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("datatype", ["INT4", "UINT4"])
def test_packed_types_go_in_and_come_out(load: Any, datatype: str) -> None:
    kind = getattr(TensorProto, datatype)
    data = graphs.model(
        [
            helper.make_node("DequantizeLinear", ["x", "s"], ["y"]),
            helper.make_node("QuantizeLinear", ["y", "s"], ["q"], output_dtype=kind),
        ],
        [value_info("x", kind, ["n"]), value_info("s", TensorProto.FLOAT, [])],
        [value_info("y", TensorProto.FLOAT, ["n"]), value_info("q", kind, ["n"])],
        opsets={"": 21},
    )
    model = load(data)
    x = Packed(datatype, (5,), np.array([0x21, 0x43, 0x05], np.uint8))
    feeds = {"x": x, "s": np.array(1, np.float32)}
    y, q = model.run(feeds)
    assert y.tolist() == [1, 2, 3, 4, 5]
    assert (q.datatype, q.shape, q.data.tolist()) == (datatype, (5,), [0x21, 0x43, 0x05])
    assert model.run(feeds, ["y"])[0].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(InvalidRequestError, match="bytes"):
        model.run({**feeds, "x": Packed(datatype, (5,), x.data[:2])})
    with pytest.raises(InvalidRequestError, match=f"expected {datatype}"):
        model.run({**feeds, "x": x.data})


def test_strings_are_bytes_outside_and_must_be_text(load: Any) -> None:
    model = load(graphs.identity(TensorProto.STRING))
    x = np.array([b"", "stra\u00dfe\0\U0001f600".encode()], np.object_)
    assert model.run({"x": x})[0].tolist() == x.tolist()
    for wrong in ([b"\xff\xfe"], ["\udcff"], [1.5], [None]):
        with pytest.raises(InvalidRequestError, match="'x'"):
            model.run({"x": np.array(wrong, np.object_)})


def test_strings_beside_types_that_numpy_lacks(load: Any) -> None:
    data = graphs.model(
        [
            helper.make_node("Identity", ["a"], ["ya"]),
            helper.make_node("Cast", ["b"], ["yb"], to=1),
        ],
        [value_info("a", TensorProto.STRING, ["n"]), value_info("b", TensorProto.BFLOAT16, ["n"])],
        [value_info("ya", TensorProto.STRING, ["n"]), value_info("yb", TensorProto.FLOAT, ["n"])],
    )
    model = load(data)
    feeds = {"a": np.array([b"t"], np.object_), "b": np.array([0x3FC0], np.uint16)}
    ya, yb = model.run(feeds)
    assert (ya.tolist(), yb.tolist()) == ([b"t"], [1.5])


def test_sequences_and_optionals(load: Any) -> None:
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
    sequence = helper.make_sequence_type_proto(tensor)
    node = helper.make_node("Identity", ["x"], ["y"])

    def passing(kind: Any) -> bytes:
        info = helper.make_value_info
        return graphs.model([node], [info("x", kind)], [info("y", kind)])

    model = load(passing(sequence), name="sequence")
    assert model.inputs[0].datatype == "SEQUENCE"
    assert model.inputs[0].element.datatype == "FP32"
    items = [np.arange(3, dtype=np.float32), np.zeros(0, np.float32)]
    assert [bits(y) for y in model.run({"x": items})[0]] == [bits(x) for x in items]
    assert model.run({"x": []})[0] == []
    for wrong in (items[0], [np.zeros(2)], [1.0], None):
        with pytest.raises(InvalidRequestError, match="expected"):
            model.run({"x": wrong})

    model = load(passing(helper.make_optional_type_proto(tensor)), name="optional")
    assert model.inputs[0].datatype == "OPTIONAL"
    assert model.run({"x": None})[0] is None
    assert model.run({})[0] is None
    assert bits(model.run({"x": items[0]})[0]) == bits(items[0])

    model = load(passing(helper.make_optional_type_proto(sequence)), name="both")
    assert model.run({"x": None})[0] is None
    assert [bits(y) for y in model.run({"x": items})[0]] == [bits(x) for x in items]


def test_maps_go_in_and_come_out(load: Any) -> None:
    scalar = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    out = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, scalar))
    ml = {"": 17, "ai.onnx.ml": 1}
    node = helper.make_node(
        "ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[10, 20]
    )
    model = load(
        graphs.model(
            [node], [value_info("x", 1, ["n", 2])], [helper.make_value_info("y", out)], opsets=ml
        )
    )
    assert model.outputs[0].datatype == "SEQUENCE"
    assert model.outputs[0].element.datatype == "MAP"
    (y,) = model.run({"x": np.array([[1, 2]], np.float32)})
    assert y == [{10: 1.0, 20: 2.0}]

    text = helper.make_map_type_proto(TensorProto.STRING, scalar)
    node = helper.make_node(
        "DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"]
    )
    model = load(
        graphs.model(
            [node], [helper.make_value_info("x", text)], [value_info("y", 1, [1, 2])], opsets=ml
        ),
        name="vector",
    )
    assert model.run({"x": {"b": 2.0}})[0].tolist() == [[0, 2]]
    for wrong in ({1: 2.0}, np.zeros(2, np.float32)):
        with pytest.raises(InvalidRequestError):
            model.run({"x": wrong})


# Bad requests


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "'x' is missing"),
        ({"z": np.zeros((1, 16), np.float32)}, "'x' is missing"),
        ({"x": np.zeros((1, 16), np.float32), "z": np.zeros(1)}, "no input 'z'"),
        ({"x": np.zeros((1, 16))}, r"'x': expected FP32\[n, 16\], got FP64\[1, 16\]"),
        ({"x": np.zeros((1, 15), np.float32)}, r"expected FP32\[n, 16\], got FP32\[1, 15\]"),
        ({"x": np.zeros(16, np.float32)}, r"expected FP32\[n, 16\], got FP32\[16\]"),
        ({"x": [[0.0] * 16]}, "got a SEQUENCE"),
        ({"x": None}, "got nothing"),
        ({"x": np.zeros((1, 16), np.float16)}, "got FP16"),
    ],
)
def test_what_does_not_fit_is_named(load: Any, feeds: Any, message: str) -> None:
    model = load(graphs.linear())
    with pytest.raises(InvalidRequestError, match=message):
        model.run(feeds)
    assert model.run({"x": np.zeros((1, 16), np.float32)})[0].shape == (1, 16)


def test_outputs_are_chosen_by_name(load: Any) -> None:
    graph = graphs.dozen()[3]
    model = load(graph.model)
    assert len(model.run(graph.feeds, ["p"])) == 1
    with pytest.raises(InvalidRequestError, match="no output 'q'"):
        model.run(graph.feeds, ["p", "q"])


def test_inputs_are_neither_changed_nor_kept(load: Any) -> None:
    model = load(graphs.identity(TensorProto.FLOAT))
    x = np.arange(4, dtype=np.float32)
    (y,) = model.run({"x": x})
    x[:] = -1
    assert y.tolist() == [0, 1, 2, 3]
    assert sys.getrefcount(x) == 2


def test_a_failed_allocation_is_out_of_memory_and_passes(load: Any) -> None:
    model = load(graphs.expand())
    with pytest.raises(AcceleratorOutOfMemoryError):
        model.run({"shape": np.array([1 << 20, 1 << 20], np.int64)})
    assert model.run({"shape": np.array([2], np.int64)})[0].tolist() == [1, 1]


def test_what_the_graph_cannot_do_with_its_input_is_an_error(load: Any) -> None:
    data = graphs.model(
        [helper.make_node("Gather", ["x", "i"], ["y"])],
        [value_info("x", 1, ["n"]), value_info("i", TensorProto.INT64, ["k"])],
        [value_info("y", 1, ["k"])],
    )
    with pytest.raises(InvalidRequestError, match="out of data bounds"):
        load(data).run({"x": np.zeros(2, np.float32), "i": np.array([5])})


# Bad models


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    "data", [b"", b"garbage" * 30, cut(graphs.linear()), cut(graphs.network())]
)
def test_files_that_are_no_models_are_refused(load: Any, data: bytes) -> None:
    with pytest.raises(ModelFormatError):
        load(data)


def test_unknown_operators_are_named(load: Any) -> None:
    info = value_info("x", 1, [1]), value_info("y", 1, [1])
    for domain, opsets in (("com.acme", {"": 17, "com.acme": 1}), ("com.acme", {"": 17}),
                           ("", {"": 17})):  # fmt: skip
        node = helper.make_node("Frobnicate", ["x"], ["y"], domain=domain)
        with pytest.raises(ModelFormatError, match="Frobnicate") as caught:
            load(graphs.model([node], [info[0]], [info[1]], opsets=opsets))
        assert (domain or "ai.onnx") in caught.value.message


def test_operator_sets_of_the_future_are_refused_and_known_ones_listed(
    load: Any, engine: OnnxRuntimeEngine
) -> None:
    assert engine.domains[""] >= 21
    assert {"ai.onnx.ml", "com.microsoft"} <= set(engine.domains)
    node = helper.make_node("Identity", ["x"], ["y"])
    infos = value_info("x", 1, [1]), value_info("y", 1, [1])
    newest = engine.domains[""]
    load(graphs.model([node], [infos[0]], [infos[1]], opsets={"": newest}))
    with pytest.raises(ModelFormatError, match=f"up to {newest}"):
        load(graphs.model([node], [infos[0]], [infos[1]], opsets={"": newest + 1}))


def test_models_of_the_future_are_refused(load: Any) -> None:
    infos = [value_info(name, 1, [1]) for name in "xy"]
    node = helper.make_node("Relu", ["x"], ["y"])
    made = onnx.ModelProto.FromString(graphs.model([node], [infos[0]], [infos[1]]))
    made.ir_version = 99
    with pytest.raises(
        ModelFormatError, match=r"^The model has IR version 99; .* up to \d+\."
    ) as e:
        load(made.SerializeToString())
    assert "older IR version" in e.value.next_step


def test_failures_are_told_without_the_engines_source(load: Any) -> None:
    nodes = [helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=2, layout=1)]
    infos = [value_info(name, 1, None) for name in "xwry"]
    with pytest.raises(ModelFormatError, match=r"layout == 1.* not supported") as caught:
        load(graphs.model(nodes, infos[:3], infos[3:], opsets={"": 17}))
    assert "onnxruntime" not in caught.value.message
    assert "(const" not in caught.value.message


def test_messages_do_not_tell_where_files_lie(load: Any, tmp_path: Path) -> None:
    made = onnx.load_from_string(graphs.linear())
    made.graph.node[0].op_type = "Conv"
    with pytest.raises(ModelFormatError) as caught:
        load(made.SerializeToString())
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LoadOptions(config={"session.load_model_format": "ORT"}), "not allowed"),
        (LoadOptions(config={"session.optimized_model_external_initializers_file_name": "x"}),
         "not allowed"),
        (LoadOptions(graph_optimization_level="most"), "graph_optimization_level"),
        (LoadOptions(execution_mode="random"), "execution_mode"),
        (LoadOptions(threads=0), "threads"),
        (LoadOptions(free_dimensions={"n": -1}), "dimension"),
    ],
)  # fmt: skip
def test_options_that_are_not_allowed_are_refused(
    load: Any, options: LoadOptions, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        load(graphs.linear(), options)


def test_allowed_session_entries_are_taken(load: Any) -> None:
    options = LoadOptions(config={"session.set_denormal_as_zero": "1"}, execution_mode="parallel")
    assert load(graphs.linear(), options).run({"x": np.zeros((1, 16), np.float32)})


def test_models_in_the_engines_own_format_are_refused(
    engine: OnnxRuntimeEngine, tmp_path: Path
) -> None:
    (tmp_path / "model.ort").write_bytes(graphs.linear())
    with pytest.raises(ModelFormatError, match="own format"):
        engine.load(ModelFiles("m", tmp_path, "model.ort", None, 1), LoadOptions())


def test_deeply_nested_models_load_and_run_on_a_small_stack(load: Any) -> None:
    data = graphs.nested(30, helper.make_node("Add", ["x", "x"], ["o0"]))
    results: list[Any] = []

    def work() -> None:
        model = load(data)
        results.extend(model.run({"x": np.ones(1, np.float32), "c": np.array(True)}))

    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert results[0].tolist() == [2]


def test_long_chains_of_functions_load_on_a_small_stack(load: Any) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    count = 1500
    functions = [
        helper.make_function(
            "own",
            f"F{index}",
            ["a"],
            ["b"],
            [helper.make_node(f"F{index + 1}", ["a"], ["b"], domain="own")
             if index < count else helper.make_node("Add", ["a", "a"], ["b"])],
            opsets,
        )
        for index in range(count + 1)
    ]  # fmt: skip
    data = graphs.model(
        [helper.make_node("F0", ["x"], ["y"], domain="own")],
        [value_info("x", 1, [1])],
        [value_info("y", 1, [1])],
        opsets={"": 17, "own": 1},
        functions=functions,
    )
    assert load(data).run({"x": np.ones(1, np.float32)})[0].tolist() == [2]


def test_many_threads_run_one_model(load: Any) -> None:
    model = load(graphs.network())
    x = np.random.default_rng(3).random((8, 1, 3, 24, 24), np.float32)
    expected = [bits(local(graphs.network()).run(None, {"x": each})[0]) for each in x]
    results: dict[int, list[Any]] = {}

    def work(index: int) -> None:
        results[index] = [bits(model.run({"x": x[index]})[0]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {index: [expected[index]] * 20 for index in range(8)}
