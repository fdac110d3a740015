"""Inference requests and responses: parsing, values in every form, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.inference import (
    InferRequest,
    NoRegions,
    parse_infer_request,
    read_inputs,
    split_id,
    write_response,
)
from elastic_inference.protocol.tensors import (
    CARRIER,
    STANDARD,
    Packed,
    TensorSpec,
    Value,
    datatype_of,
    decode_value,
    encode_value,
)


def well_aligned(value: Any) -> bool:
    """Whether an engine adds it up as it adds up numpy's own memory."""
    return bool(value.ctypes.data % 16 == 0)


class Memory:
    """One region in ordinary memory."""

    def __init__(self, size: int) -> None:
        self.data = memoryview(bytearray(size))

    def read(self, name: str, offset: int, size: int) -> memoryview:
        assert name == "r"
        return self.data[offset : offset + size]

    def write(self, name: str, offset: int, parts: Sequence[memoryview]) -> None:
        assert name == "r"
        for part in parts:
            self.data[offset : offset + len(part)] = part
            offset += len(part)


def request_of(**members: Any) -> InferRequest:
    return parse_infer_request(json.dumps(members).encode())


def one_input(**entry: Any) -> InferRequest:
    return request_of(inputs=[{"name": "x", "datatype": "FP32", "shape": [2], **entry}])


NUMERIC = sorted(name for name in STANDARD if name != "BYTES")


@given(st.data())
def test_binary_tensors_arrive_as_they_were(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(NUMERIC))
    array = data.draw(
        hnp.arrays(CARRIER[datatype], hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
    )
    entry, parts = encode_value(array, TensorSpec("x", datatype, array.shape))
    request = request_of(inputs=[{"name": "x", **entry}])
    body = bytearray(64) + b"".join(bytes(part) for part in parts) + b"\0"
    value = read_inputs(request, memoryview(body), 64, NoRegions())["x"]
    assert isinstance(value, np.ndarray)
    assert value.dtype == array.dtype
    assert value.shape == array.shape
    assert value.tobytes() == array.tobytes()


@given(
    hnp.arrays(np.object_, hnp.array_shapes(max_dims=3), elements=st.binary(max_size=20)),
)
def test_strings_arrive_as_they_were(array: np.ndarray[Any, Any]) -> None:
    entry, parts = encode_value(array, TensorSpec("x", "BYTES", array.shape))
    value = decode_value(entry, memoryview(b"".join(parts)))
    assert isinstance(value, np.ndarray)
    assert value.tolist() == array.tolist()


def test_containers_arrive_as_they_were() -> None:
    value: list[Value] = [
        [np.arange(3, dtype=np.int64), np.zeros((0, 2), np.float32)],
        {1: 0.5, 2: 0.25},
        {"a": 1},
        None,
        Packed("INT4", (3,), np.array([0x21, 0x03], np.uint8)),
    ]
    entry, parts = encode_value(value, TensorSpec("x", "SEQUENCE", (len(value),)))
    decoded = decode_value(entry, memoryview(b"".join(parts)))
    assert isinstance(decoded, list)
    assert decoded[1:4] == [{1: 0.5, 2: 0.25}, {"a": 1}, None]
    inner = decoded[0]
    assert isinstance(inner, list)
    assert isinstance(inner[0], np.ndarray)
    assert inner[0].tolist() == [0, 1, 2]
    packed = decoded[4]
    assert isinstance(packed, Packed)
    assert (packed.shape, packed.data.tolist()) == ((3,), [0x21, 0x03])


def test_several_inputs_follow_one_another() -> None:
    request = request_of(
        inputs=[
            {"name": "a", "datatype": "UINT8", "shape": [3], "parameters": {"binary_data_size": 3}},
            {"name": "b", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}},
        ]
    )
    assert not request.direct, "b begins at an odd byte"
    body = memoryview(b"\1\2\3" + np.float32(2.5).tobytes() + b"\0")
    values = read_inputs(request, body, 0, NoRegions())
    assert values["a"].tolist() == [1, 2, 3]  # type: ignore[union-attr]  # an array, as shown
    assert values["b"].tolist() == [2.5]  # type: ignore[union-attr]  # an array, as shown


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("FP32", [1, 2.5], [1.0, 2.5]),
        ("INT64", [[-1], [2]], [-1, 2]),
        ("BOOL", [True, False], [True, False]),
        ("BYTES", ["a", "ü"], [b"a", "ü".encode()]),
        ("BF16", [1.0, -2.0], [0x3F80, 0xC000]),
        ("FP16", [0.5, 1e9], [0.5, float("inf")]),
    ],
)
def test_json_tensors(datatype: str, data: list[Any], expected: list[Any]) -> None:
    request = one_input(datatype=datatype, data=data)
    value = read_inputs(request, memoryview(b""), 0, NoRegions())["x"]
    assert isinstance(value, np.ndarray)
    assert value.shape == (2,)
    assert value.tolist() == expected
    assert not request.reusable


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", [1]),
        ("FP32", [1, 2, 3]),
        ("FP32", [1, "2"]),
        ("FP32", [1, None]),
        ("FP32", [[1], 2]),
        ("INT8", [1, 200]),
        ("INT8", [1, 1.5]),
        ("UINT8", [1, -1]),
        ("BOOL", [1, 0]),
        ("BYTES", ["a", 1]),
        ("COMPLEX64", [1, 2]),
    ],
)
def test_json_tensors_that_do_not_fit(datatype: str, data: list[Any]) -> None:
    with pytest.raises(InvalidRequestError, match="'x'"):
        read_inputs(one_input(datatype=datatype, data=data), memoryview(b""), 0, NoRegions())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"inputs":1}',
        b'{"inputs":[1]}',
        b'{"inputs":[{"name":"x"}]}',
        b'{"inputs":[{"name":"x","datatype":"FP31","shape":[1],"data":[1]}]}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[-1],"data":[1]}]}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1.0],"data":[1]}]}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[true],"data":[1]}]}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1]}]}',
        (
            b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],'
            b'"parameters":{"binary_data_size":5}}]}'
        ),
        (
            b'{"inputs":[{"name":"x","datatype":"FP32","shape":[4611686018427387904,4],'
            b'"parameters":{"binary_data_size":0}}]}'
        ),
        (
            b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]},'
            b'{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
        ),
        b'{"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]}',
        b'{"inputs":[],"outputs":[{"name":"y","parameters":{"classification":3}}]}',
        b'{"inputs":[],"parameters":[]}',
        b'{"inputs":[],"id":3}',
        b'{"inputs":' + b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_refuses_malformed_requests(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_infer_request(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "inputs",
                    "outputs",
                    "name",
                    "datatype",
                    "shape",
                    "data",
                    "parameters",
                    "binary_data_size",
                    "shared_memory_region",
                    "elements",
                    "id",
                ]
            ),
            children,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_parses_or_is_refused(document: Any) -> None:
    raw = json.dumps(document).encode()
    try:
        request = parse_infer_request(raw)
        read_inputs(request, memoryview(bytes(64)), 0, NoRegions())
    except InvalidRequestError:
        return
    assert isinstance(document, dict)


@given(
    st.dictionaries(st.sampled_from(["datatype", "shape", "elements", "parameters"]), _JSON),
    st.binary(max_size=50),
)
def test_any_element_decodes_or_is_refused(entry: dict[str, Any], data: bytes) -> None:
    try:
        decode_value(entry, memoryview(data))
    except InvalidRequestError:
        return
    assert "datatype" in entry


@pytest.mark.parametrize(
    ("raw", "bare", "text"),
    [
        (b'{"id":"7","inputs":[]}', b'{"inputs":[]}', b'"7"'),
        (b'{"inputs":[],"id":"7"}', b'{"inputs":[],"id":"7"}', b""),
        (b'{"id":"a\\"b","inputs":[]}', b'{"id":"a\\"b","inputs":[]}', b""),
        (b'{"id":"7"}', b'{"id":"7"}', b""),
        (b'{"id":"7', b'{"id":"7', b""),
    ],
)
def test_the_id_is_split_off_where_that_is_safe(raw: bytes, bare: bytes, text: bytes) -> None:
    assert split_id(raw) == (bare, text)


def test_a_remembered_response_still_carries_each_id() -> None:
    request = one_input(parameters={"binary_data_size": 8})
    spec = [TensorSpec("y", "FP32", (2,))]
    binary = {"parameters": {"binary_data": True}}
    request = request_of(
        inputs=[
            {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
        ],
        outputs=[{"name": "y", **binary}],
    )
    value = np.array([1, 2], np.float32)
    for raw_id in (b'"1"', b'"2"', b""):
        response = write_response(request, ("m", "1"), spec, [value], NoRegions(), raw_id)
        document = json.loads(response.header)
        assert document.get("id") == (json.loads(raw_id) if raw_id else None)
        assert document["model_name"] == "m"
        assert bytes(response.buffers[0]) == value.tobytes()
    other = write_response(request, ("n", "1"), spec, [value], NoRegions())
    assert json.loads(other.header)["model_name"] == "n"


def test_outputs_as_json() -> None:
    request = one_input(data=[1, 2])
    specs = [
        TensorSpec("y", "FP32", (2,)),
        TensorSpec("s", "BYTES", (1,)),
        TensorSpec("b", "BF16", (1,)),
    ]
    values: list[Value] = [
        np.array([1, 2], np.float32),
        np.array([b"a"], np.object_),
        np.array([0x3F80], np.uint16),
    ]
    response = write_response(request, ("m", "1"), specs, values, NoRegions())
    assert not response.buffers
    outputs = json.loads(response.header)["outputs"]
    assert [output["data"] for output in outputs] == [[1.0, 2.0], ["a"], [1.0]]
    with pytest.raises(InvalidRequestError, match="binary form only"):
        write_response(request, ("m", "1"), [TensorSpec("z", "SEQUENCE", (1,))], [[]], NoRegions())


def test_outputs_in_a_region() -> None:
    memory = Memory(256)
    request = request_of(
        inputs=[],
        parameters={
            "elastic_inference_output_region": "r",
            "elastic_inference_output_offset": 64,
            "elastic_inference_output_byte_size": 80,
        },
    )
    specs = [TensorSpec(name, "FP32", (4,)) for name in "abc"]
    values: list[Value] = [np.full(size, size, np.float32) for size in (4, 4, 40)]
    response = write_response(request, ("m", "1"), specs, values, memory)
    outputs = {
        entry["name"]: entry["parameters"] for entry in json.loads(response.header)["outputs"]
    }
    assert outputs["a"]["shared_memory_offset"] == 64
    assert outputs["b"]["shared_memory_offset"] == 128
    assert outputs["c"] == {"binary_data_size": 160}, "what does not fit comes in the body"
    assert bytes(memory.data[64:80]) == values[0].tobytes()  # type: ignore[union-attr]  # an array
    assert bytes(memory.data[128:144]) == values[1].tobytes()  # type: ignore[union-attr]  # as above
    assert [len(buffer) for buffer in response.buffers] == [160]


def test_an_output_larger_than_its_region_is_refused() -> None:
    request = request_of(
        inputs=[],
        outputs=[
            {"name": "y", "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 8}}
        ],
    )
    with pytest.raises(InvalidRequestError, match="takes 16 bytes"):
        write_response(
            request,
            ("m", "1"),
            [TensorSpec("y", "FP32", (4,))],
            [np.zeros(4, np.float32)],
            Memory(256),
        )


def test_datatypes_of_numpy_arrays() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert datatype_of(np.zeros(1, np.float16)) == "FP16"
    assert datatype_of(np.zeros(1, "U3")) == "BYTES"
    assert datatype_of(np.zeros(1, ml_dtypes.bfloat16)) == "BF16"
    with pytest.raises(InvalidRequestError, match="datetime64"):
        datatype_of(np.zeros(1, "M8[s]"))


@pytest.mark.parametrize("sizes", [(3, 8, 4), (8, 3, 4), (4, 4, 4)])
def test_every_input_lies_where_an_engine_takes_it_as_its_own(sizes: tuple[int, ...]) -> None:
    arrays = {f"x{index}": np.arange(size, dtype="<f4") for index, size in enumerate(sizes)}
    request = request_of(
        inputs=[
            {
                "name": name,
                "datatype": "FP32",
                "shape": [array.size],
                "parameters": {"binary_data_size": array.nbytes},
            }
            for name, array in arrays.items()
        ]
    )
    data = b"".join(array.tobytes() for array in arrays.values())
    room = np.empty(len(data) + 64, np.uint8)
    start = -room.ctypes.data % 64
    room[start : start + len(data)] = np.frombuffer(data, np.uint8)
    found = read_inputs(request, memoryview(room), start, NoRegions())
    for name, array in arrays.items():
        value: Any = found[name]
        assert value.tolist() == array.tolist()
        assert well_aligned(value)


def test_inputs_of_shared_memory_are_moved_where_they_lie_badly() -> None:
    memory = Memory(256)
    at = -np.frombuffer(memory.data, np.uint8).ctypes.data % 64
    for offset in (at, at + 4, at + 8, at + 16):
        memory.write("r", offset, [memoryview(np.array([1, 2], "<f4").tobytes())])
        request = one_input(
            parameters={
                "shared_memory_region": "r",
                "shared_memory_offset": offset,
                "shared_memory_byte_size": 8,
            }
        )
        value: Any = read_inputs(request, memoryview(b""), 0, memory)["x"]
        assert value.tolist() == [1, 2]
        assert well_aligned(value)
        assert np.shares_memory(value, np.frombuffer(memory.data, np.uint8)) is (
            (offset - at) % 16 == 0
        )
