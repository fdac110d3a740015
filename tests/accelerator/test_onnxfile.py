"""Model files from outside: what the scanner accepts, refuses and rewrites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from elastic_inference.accelerator import onnxfile
from elastic_inference.accelerator.onnxcalls import MAX_NESTING
from elastic_inference.errors import ModelFormatError
from tests.accelerator import graphs


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_(data: bytes, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write_


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def with_initializer(tensor: TensorProto) -> bytes:
    made = onnx.load_from_string(graphs.linear())
    made.graph.initializer.append(tensor)
    data: bytes = made.SerializeToString()
    return data


def in_constant_of_a_subgraph(tensor: TensorProto) -> bytes:
    return graphs.nested(3, helper.make_node("Constant", [], ["o0"], value=tensor))


def in_sparse_initializer(tensor: TensorProto) -> bytes:
    made = onnx.load_from_string(graphs.linear())
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    made.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=tensor, indices=indices, dims=[4])
    )
    data: bytes = made.SerializeToString()
    return data


def in_function(tensor: TensorProto) -> bytes:
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Constant", [], ["b"], value=tensor)]
    function = helper.make_function("own", "F", [], ["b"], body, opsets)
    return graphs.model(
        [helper.make_node("F", [], ["y"], domain="own")],
        [],
        [graphs.value_info("y", TensorProto.FLOAT, None)],
        opsets={"": 17, "own": 1},
        functions=[function],
    )


def in_list_attribute(tensor: TensorProto) -> bytes:
    return graphs.nested(1, helper.make_node("Custom", [], ["o0"], domain="own", many=[tensor]))


PLACES = [
    with_initializer,
    in_constant_of_a_subgraph,
    in_sparse_initializer,
    in_function,
    in_list_attribute,
]


def test_a_plain_model_is_described(write: Any) -> None:
    info = onnxfile.inspect(write(graphs.linear()), [])
    assert info.opsets == {"": 17}
    assert info.ir_version == 9
    assert info.locations == frozenset()
    assert info.unranked == frozenset()


def test_unknown_rank_is_told_from_a_scalar(write: Any) -> None:
    assert onnxfile.inspect(write(graphs.identity(1, None)), []).unranked == {"x", "y"}
    assert onnxfile.inspect(write(graphs.identity(1, [])), []).unranked == frozenset()


@pytest.mark.parametrize("place", PLACES)
def test_external_data_among_the_files_is_found_everywhere(write: Any, place: Any) -> None:
    info = onnxfile.inspect(write(place(external("data/w.bin"))), ["data/w.bin"])
    assert info.locations == {"data/w.bin"}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location",
    ["../../etc/passwd", "/etc/passwd", "a/../../x", "other.bin", "", "w.bin\0", ".",
     "*/_ORT_MEM_ADDR_/*"],
)  # fmt: skip
def test_external_data_elsewhere_is_refused(write: Any, place: Any, location: str) -> None:
    with pytest.raises(ModelFormatError):
        onnxfile.inspect(write(place(external(location))), ["data/w.bin"])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "key", ["prepacked_0", "prepacked_", "basepath", "Location", "", "offset "]
)
def test_entries_that_only_the_engine_writes_are_refused(write: Any, place: Any, key: str) -> None:
    tensor = external("w.bin")
    for good in ("offset", "length", "checksum"):
        tensor.external_data.add(key=good, value="0")
    assert onnxfile.inspect(write(place(tensor)), ["w.bin"]).locations == {"w.bin"}
    tensor.external_data.add(key=key, value="Gemm+1|64;128;0")
    with pytest.raises(ModelFormatError, match="not allowed"):
        onnxfile.inspect(write(place(tensor)), ["w.bin"])


def test_every_value_of_an_ambiguous_entry_must_be_good(write: Any) -> None:
    # One entry with two values: parsers take the last one.
    tensor = external("w.bin")
    entry = tensor.external_data[0].SerializeToString()
    doubled = entry + b"\x12\x0b/etc/passwd"
    raw = tensor.SerializeToString().replace(
        bytes([13 << 3 | 2, len(entry)]) + entry, bytes([13 << 3 | 2, len(doubled)]) + doubled
    )
    assert TensorProto.FromString(raw).external_data[0].value == "/etc/passwd"
    graph = onnx.load_from_string(graphs.linear()).graph.SerializeToString()
    graph += b"\x2a" + bytes([len(raw)]) + raw
    size = len(graph)
    assert 128 <= size < 1 << 14
    whole = b"\x08\x09\x3a" + bytes([size & 0x7F | 0x80, size >> 7]) + graph
    assert len(onnx.load_from_string(whole).graph.initializer) == 3
    with pytest.raises(ModelFormatError):
        onnxfile.inspect(write(whole), ["w.bin"])


@pytest.mark.parametrize("data", [b"", b"garbage" * 20, b"\x08\x09", b"PK\x03\x04", b"\x3a\x00"])
def test_what_is_no_model_is_refused(write: Any, data: bytes) -> None:
    with pytest.raises(ModelFormatError):
        onnxfile.inspect(write(data), [])


def test_nodes_compiled_for_one_machine_are_refused(write: Any) -> None:
    node = helper.make_node("EPContext", ["x"], ["o0"], domain="com.microsoft", embed_mode=0)
    with pytest.raises(ModelFormatError, match="EPContext"):
        onnxfile.inspect(write(graphs.nested(1, node)), [])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "random.onnx"
    path.write_bytes(data)
    try:
        onnxfile.inspect(path, [])
    except ModelFormatError:
        return
    onnx.load_from_string(data)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_model_never_hides_external_data(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(in_constant_of_a_subgraph(external("/etc/passwd")))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = whole[: data.draw(st.integers(1, len(whole)))]
    path = tmp_path / "damaged.onnx"
    path.write_bytes(cut)
    try:
        info = onnxfile.inspect(path, ["w.bin"])
    except ModelFormatError:
        return
    assert info.locations <= {"w.bin"}
    try:
        parsed = onnx.load_from_string(bytes(cut))
    except Exception:  # noqa: BLE001 - onnx and protobuf raise what they like
        return
    assert all(location == "w.bin" for location in locations_of(parsed))


def locations_of(message: Any) -> list[str]:
    """Every external location in a parsed model, by protobuf's own reflection."""
    found = []
    for descriptor, value in message.ListFields():
        if descriptor.type != descriptor.TYPE_MESSAGE:
            continue
        repeated = not hasattr(value, "ListFields")
        for item in value if repeated else [value]:
            if isinstance(item, TensorProto):
                found += [e.value for e in item.external_data if e.key == "location"]
            found += locations_of(item)
    return found


@settings(max_examples=30, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.lists(st.integers(1, 700), min_size=1, max_size=6), st.booleans())
def test_detached_models_compute_the_same(tmp_path: Path, sizes: list[int], doc: bool) -> None:
    weights = {
        f"w{i}": np.random.default_rng(i).random((size, 997), np.float32)
        for i, size in enumerate(sizes)
    }
    nodes = [helper.make_node("ReduceSum", [name], [f"y{name}"], keepdims=0) for name in weights]
    outputs = [graphs.value_info(f"y{name}", TensorProto.FLOAT, []) for name in weights]
    made = onnx.load_from_string(graphs.model(nodes, [], outputs, weights))
    if doc:
        made.doc_string = "follows the graph"
        made.graph.doc_string = "follows the weights"
    path = tmp_path / "whole.onnx"
    path.write_bytes(made.SerializeToString())
    skeleton, body = tmp_path / "skeleton.onnx", tmp_path / "body.bin"
    skeleton.unlink(missing_ok=True)
    body.unlink(missing_ok=True)
    large = sum(w.nbytes for w in weights.values() if w.nbytes >= 64 * 1024)
    detached = onnxfile.detach_weights(path, skeleton, body)
    assert detached == (large >= onnxfile.DETACH_LEAST)
    if not detached:
        assert not skeleton.exists()
        assert not body.exists()
        return
    assert onnxfile.inspect(skeleton, ["body.bin"]).locations == {"body.bin"}
    assert skeleton.stat().st_size < path.stat().st_size - large + 4096
    back = onnx.load(str(skeleton))
    for tensor, original in zip(back.graph.initializer, made.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(original))
    assert back.doc_string == made.doc_string
    assert back.graph.doc_string == made.graph.doc_string
    theirs = ort.InferenceSession(str(path)).run(None, {})
    ours = ort.InferenceSession(str(skeleton)).run(None, {})
    assert [a.tobytes() for a in ours] == [b.tobytes() for b in theirs]


def functions_that_nest(count: int) -> bytes:
    """Functions that each call the next one inside an If."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def body(index: int) -> list[Any]:
        if index == count:
            return [helper.make_node("Add", ["a", "a"], ["b"])]
        call = helper.make_node(f"F{index + 1}", ["a", "c"], ["t"], domain="own")
        info = graphs.value_info
        then = helper.make_graph([call], "t", [], [info("t", TensorProto.FLOAT, ["n"])])
        other = helper.make_graph(
            [helper.make_node("Identity", ["a"], ["e"])],
            "e",
            [],
            [info("e", TensorProto.FLOAT, ["n"])],
        )
        return [helper.make_node("If", ["c"], ["b"], then_branch=then, else_branch=other)]

    functions = [
        helper.make_function("own", f"F{i}", ["a", "c"], ["b"], body(i), opsets)
        for i in range(count + 1)
    ]
    return graphs.model(
        [helper.make_node("F0", ["x", "c"], ["y"], domain="own")],
        [
            graphs.value_info("x", TensorProto.FLOAT, ["n"]),
            graphs.value_info("c", TensorProto.BOOL, []),
        ],
        [graphs.value_info("y", TensorProto.FLOAT, ["n"])],
        opsets={"": 17, "own": 1},
        functions=functions,
    )


def test_functions_may_nest_graphs_up_to_the_bound(write: Any) -> None:
    onnxfile.inspect(write(functions_that_nest(MAX_NESTING)), [])
    with pytest.raises(ModelFormatError, match="nests"):
        onnxfile.inspect(write(functions_that_nest(MAX_NESTING + 1)), [])


def test_functions_that_call_themselves_are_refused(write: Any) -> None:
    made = onnx.load_from_string(functions_that_nest(2))
    made.functions[2].node[0].CopyFrom(helper.make_node("F0", ["a", "c"], ["b"], domain="own"))
    with pytest.raises(ModelFormatError, match="itself"):
        onnxfile.inspect(write(made.SerializeToString()), [])


def test_too_many_functions_are_refused(write: Any) -> None:
    made = onnx.load_from_string(graphs.linear())
    for index in range(onnxfile.MAX_FUNCTIONS + 1):
        made.functions.add(name=f"F{index}", domain="own")
    with pytest.raises(ModelFormatError, match="functions"):
        onnxfile.inspect(write(made.SerializeToString()), [])
