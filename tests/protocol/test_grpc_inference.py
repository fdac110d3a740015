"""gRPC's inference messages: requests of every form, what is known again, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import InferResult
from tritonclient.grpc import service_pb2 as pb

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol import grpc_inference
from elastic_inference.protocol.grpc_contents import FIELD_OF
from elastic_inference.protocol.grpc_inference import (
    ELEMENTS,
    read_request,
    stream_error,
    stream_response,
)
from elastic_inference.protocol.inference import NoRegions
from elastic_inference.protocol.tensors import (
    CARRIER,
    STANDARD,
    Packed,
    TensorSpec,
    Value,
    encode_tensor,
    encode_value,
)

FEW = settings(max_examples=40, deadline=None)
NUMBERS = sorted(STANDARD - {"BYTES", "BOOL"})


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


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    grpc_inference._known.clear()


def laid(request: Any, pad: int = 0) -> memoryview:
    """The message as it lies in a buffer, `pad` bytes from where it is well aligned."""
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    room = np.empty(len(raw) + 128, np.uint8)
    start = -room.ctypes.data % 64 + pad
    room[start : start + len(raw)] = np.frombuffer(raw, np.uint8)
    return memoryview(room)[start : start + len(raw)]


def inputs_of(message: memoryview, regions: Any = None) -> tuple[dict[str, Value], bytes]:
    known, shift, id_field = read_request(message)
    return known.inputs(message, shift, regions or NoRegions()), id_field


def same(found: Any, expected: Any) -> bool:
    if expected.dtype == np.object_:
        return bool(found.shape == expected.shape and found.tolist() == expected.tolist())
    return bool(
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


@st.composite
def tensors(draw: st.DrawFn, datatypes: Sequence[str] = sorted(STANDARD)) -> tuple[str, Any]:
    """A datatype and a tensor of it."""
    datatype = draw(st.sampled_from(datatypes))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    count = int(np.prod(shape, dtype=int))
    if datatype == "BYTES":
        array = np.empty(count, np.object_)
        array[:] = draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count))
    else:
        dtype = CARRIER[datatype]
        raw = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
        array = np.frombuffer(raw, np.uint8)
        array = (array & 1).astype(bool) if datatype == "BOOL" else array.view(dtype)
    return datatype, array.reshape(shape)


def request_of(
    entries: Sequence[tuple[str, Any]], *, typed: bool = False, **fields: Any
) -> pb.ModelInferRequest:
    """A request with inputs `x0`, `x1`, …"""
    request = pb.ModelInferRequest(model_name="m", **fields)
    for number, (datatype, array) in enumerate(entries):
        tensor = request.inputs.add(name=f"x{number}", datatype=datatype, shape=array.shape)
        if typed:
            getattr(tensor.contents, FIELD_OF[datatype]).extend(array.ravel().tolist())
        else:
            request.raw_input_contents.append(bytes(encode_tensor(array)))
    return request


class TestInputs:
    @FEW
    @given(st.lists(tensors(), max_size=4), st.integers(0, 7), st.text(max_size=200))
    def test_raw_tensors(self, entries: list[Any], pad: int, request_id: str) -> None:
        request = request_of(entries, id=request_id)
        for _ in range(2):
            feeds, id_field = inputs_of(laid(request, pad))
            assert pb.ModelInferResponse.FromString(id_field).id == request_id
            assert list(feeds) == [each.name for each in request.inputs]
            for found, (_, expected) in zip(feeds.values(), entries, strict=True):
                assert same(found, expected)
                assert found.flags.aligned  # type: ignore[union-attr]

    @FEW
    @given(st.lists(tensors(sorted(FIELD_OF)), max_size=4))
    def test_typed_tensors(self, entries: list[Any]) -> None:
        feeds, _ = inputs_of(laid(request_of(entries, typed=True)))
        for found, (datatype, expected) in zip(feeds.values(), entries, strict=True):
            # Python's numbers are no narrower than what they came from, but a NaN has no bits.
            if datatype in ("FP32", "FP64"):
                assert np.array_equal(found, expected, equal_nan=True)  # type: ignore[arg-type]
                assert found.dtype == expected.dtype  # type: ignore[union-attr]
            else:
                assert same(found, expected)

    def test_raw_tensors_are_not_copied(self) -> None:
        array = np.arange(64, dtype=np.float32)
        request = request_of([("FP32", array)])
        message = laid(request)
        known, _, _ = read_request(message)
        placed = laid(request, -known.align_at % 64)
        found = read_request(placed)[0].inputs(placed, 0, NoRegions())["x0"]
        assert np.shares_memory(found, np.frombuffer(placed, np.uint8))
        assert found.ctypes.data % 64 == 0  # type: ignore[union-attr]

    def test_regions_and_raw_tensors_beside_each_other(self) -> None:
        memory = Memory(64)
        array = np.arange(4, dtype=np.float32)
        memory.data[16:32] = array.view(np.uint8)
        request = request_of([("FP32", array * 2), ("FP32", array * 3)])
        shared = pb.ModelInferRequest.InferInputTensor(name="s", datatype="FP32", shape=[4])
        shared.parameters["shared_memory_region"].string_param = "r"
        shared.parameters["shared_memory_offset"].int64_param = 16
        shared.parameters["shared_memory_byte_size"].int64_param = 16
        request.inputs.insert(1, shared)
        feeds, _ = inputs_of(laid(request), memory)
        assert list(feeds) == ["x0", "s", "x1"]
        for found, factor in zip(feeds.values(), (2, 1, 3), strict=True):
            assert same(found, array * np.float32(factor))

    @pytest.mark.parametrize(
        ("datatype", "size", "packed"),
        [
            *(("INT4", 2, True), ("UINT2", 1, True), ("FP4E2M1", 2, True)),
            *(("FP8E4M3FN", 3, False), ("COMPLEX64", 24, False)),
        ],
    )
    def test_further_datatypes(self, datatype: str, size: int, packed: bool) -> None:
        raw = bytes(range(size))
        request = pb.ModelInferRequest(model_name="m", raw_input_contents=[raw])
        request.inputs.add(name="x", datatype=datatype, shape=[3])
        found = inputs_of(laid(request))[0]["x"]
        assert bytes(encode_tensor(found)) == raw  # type: ignore[arg-type]
        assert isinstance(found, Packed) is packed

    def test_sequences(self) -> None:
        value: list[Value] = [np.arange(3, dtype=np.int64), np.ones((2, 1), np.int64)]
        inner = TensorSpec("", "INT64", None)
        entry, parts = encode_value(value, TensorSpec("x", "SEQUENCE", None, element=inner))
        request = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"".join(parts)])
        tensor = request.inputs.add(name="x", datatype="SEQUENCE", shape=[2])
        tensor.parameters[ELEMENTS].string_param = json.dumps(entry["elements"])
        found = inputs_of(laid(request))[0]["x"]
        assert isinstance(found, list)
        assert all(map(same, found, value))


def broken(change: Callable[[Any], Any]) -> pb.ModelInferRequest:
    request = request_of([("FP32", np.ones(4, np.float32))], id="7")
    change(request)
    return request


def one(request: Any) -> Any:
    return request.inputs[0]


def set_parameter(entry: Any, name: str, value: int | str) -> None:
    choice = "int64_param" if isinstance(value, int) else "string_param"
    setattr(entry.parameters[name], choice, value)


def name_region(request: Any) -> None:
    set_parameter(one(request), "shared_memory_region", "r")
    request.raw_input_contents.pop()


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda r: r.raw_input_contents.append(b""), "more than the inputs"),
            (lambda r: r.inputs.add(name="y", datatype="FP32", shape=[1]), "'y' has no raw"),
            (lambda r: one(r).contents.fp32_contents.append(1), "two forms"),
            (lambda r: r.raw_input_contents.pop(), "has 4 elements, got 0"),
            (lambda r: one(r).shape.append(2), "takes 32 bytes, got 16"),
            (lambda r: one(r).shape.append(-1), "list of sizes"),
            (lambda r: one(r).shape.extend([1] * 64), "more than 64"),
            (lambda r: one(r).shape.extend([1] * 100_000), "more than 64"),
            (lambda r: one(r).shape.extend([2**61, 2**61]), "too large"),
            (lambda r: setattr(one(r), "datatype", "FP33"), "datatype 'FP33'"),
            (lambda r: setattr(one(r), "name", ""), "no name"),
            (lambda r: [r.inputs.append(one(r)), r.raw_input_contents.append(bytes(16))], "Two"),
            (lambda r: r.outputs.add(name=""), "no name"),
            (lambda r: [r.outputs.add(name="y") for _ in range(2)], "asked for twice"),
            (lambda r: set_parameter(r.outputs.add(name="y"), "classification", 3), "classific"),
            (name_region, "shared_memory_byte_size"),
        ],
    )
    def test_requests_that_do_not_fit(self, change: Callable[[Any], Any], why: str) -> None:
        with pytest.raises(InvalidRequestError, match=why):
            inputs_of(laid(broken(change)))

    @pytest.mark.parametrize(
        ("datatype", "field", "values", "why"),
        [
            ("INT8", "int_contents", [1, 128], "too large for INT8"),
            ("INT16", "int_contents", [1, -40000], "too large for INT16"),
            ("UINT8", "uint_contents", [1, 256], "too large for UINT8"),
            ("INT32", "int64_contents", [1, 2], "int_contents"),
            ("INT32", "int_contents", [1], "has 2 elements, got 1"),
            ("FP16", "fp32_contents", [1, 2], "raw_input_contents"),
            ("BYTES", "bytes_contents", [b""], "has 2 elements, got 1"),
            ("SEQUENCE", "int_contents", [1, 2], "raw_input_contents"),
        ],
    )
    def test_contents_that_do_not_fit(
        self, datatype: str, field: str, values: list[Any], why: str
    ) -> None:
        request = pb.ModelInferRequest(model_name="m")
        tensor = request.inputs.add(name="x", datatype=datatype, shape=[2])
        getattr(tensor.contents, field).extend(values)
        with pytest.raises(InvalidRequestError, match=why):
            inputs_of(laid(request))

    def test_a_bool_is_0_or_1_in_known_requests_too(self) -> None:
        good = request_of([("BOOL", np.array([True, False]))])
        bad = request_of([("BOOL", np.array([True, False]))])
        bad.raw_input_contents[0] = b"\1\2"
        inputs_of(laid(good))
        with pytest.raises(InvalidRequestError, match="A BOOL is 0 or 1"):
            inputs_of(laid(bad))

    def test_elements_must_be_json(self) -> None:
        request = pb.ModelInferRequest(model_name="m", raw_input_contents=[b""])
        tensor = request.inputs.add(name="x", datatype="SEQUENCE", shape=[0])
        for text in ("nonsense", "[", '[]} {"a": 1', "[" * 5000):
            tensor.parameters[ELEMENTS].string_param = text
            with pytest.raises(InvalidRequestError):
                inputs_of(laid(request))

    @FEW
    @given(st.lists(tensors(), max_size=3), st.data())
    def test_what_is_cut_off_is_refused_or_read(self, entries: list[Any], data: Any) -> None:
        raw = request_of(entries, id="1").SerializeToString()
        cut = raw[: data.draw(st.integers(0, len(raw)))]
        try:
            inputs_of(laid(cut))
        except InvalidRequestError:
            return
        pb.ModelInferRequest.FromString(cut)


def outcome(message: memoryview) -> Any:
    """Everything that a message says, or why it says nothing."""
    try:
        known, shift, id_field = read_request(message)
        feeds = known.inputs(message, shift, NoRegions())
    except InvalidRequestError as error:
        return error.message
    request = known.request
    tensors_ = {name: (repr(each), str(each.dtype)) for name, each in feeds.items()}  # type: ignore[union-attr]
    return known.name, known.version, id_field, tensors_, request.output_names, request.signature


class TestKnownRequests:
    def test_one_is_read_once_whatever_its_id_and_tensors(self) -> None:
        arrays = [np.random.default_rng(seed).random(8, np.float32) for seed in range(5)]
        seen = set()
        for number, array in enumerate(arrays):
            request = request_of([("FP32", array), ("FP32", array[::-1])], id="9" * number)
            message = laid(request)
            known, shift, _ = read_request(message)
            seen.add(id(known))
            feeds = known.inputs(message, shift, NoRegions())
            assert same(feeds["x0"], array)
            assert same(feeds["x1"], array[::-1])
        assert len(seen) == 1

    @FEW
    @given(st.lists(tensors(NUMBERS), min_size=1, max_size=3), st.text(max_size=3), st.data())
    def test_another_byte_is_another_request(
        self, entries: list[Any], request_id: str, data: Any
    ) -> None:
        request = request_of(entries, id=request_id, model_version="1")
        request.outputs.add(name="y")
        raw = request.SerializeToString()
        grpc_inference._known.clear()
        first = outcome(laid(raw))
        assert outcome(laid(raw)) == first
        changed = bytearray(raw)
        at = data.draw(st.integers(0, len(raw) - 1))
        changed[at] = data.draw(st.integers(0, 255))
        beside_known = outcome(laid(bytes(changed)))
        grpc_inference._known.clear()
        assert beside_known == outcome(laid(bytes(changed)))

    def test_fields_in_another_order_mean_the_same(self) -> None:
        array = np.arange(6, dtype=np.float32)
        request = request_of([("FP32", array)], id="abc")
        tensor = pb.ModelInferRequest(inputs=request.inputs).SerializeToString()
        raw = pb.ModelInferRequest(raw_input_contents=[array.tobytes()]).SerializeToString()
        rest = pb.ModelInferRequest(model_name="m", id="abc").SerializeToString()
        twice = pb.ModelInferRequest(model_name="else", id="other").SerializeToString()
        for parts in ([raw, tensor, rest], [tensor, rest, raw], [twice, raw, tensor, rest]):
            for _ in range(2):
                known, shift, id_field = read_request(laid(b"".join(parts)))
                assert known.name == "m"
                assert pb.ModelInferResponse.FromString(id_field).id == "abc"
                message = laid(b"".join(parts))
                assert same(known.inputs(message, shift, NoRegions())["x0"], array)

    def test_an_id_that_is_no_text_is_refused_each_time(self) -> None:
        good = request_of([("FP32", np.ones(2, np.float32))], id="ab").SerializeToString()
        inputs_of(laid(good))
        for _ in range(2):
            with pytest.raises(InvalidRequestError):
                inputs_of(laid(good.replace(b"ab", b"\xff\xfe")))

    def test_what_is_known_is_bounded(self) -> None:
        for number in range(3000):
            request = request_of([("FP32", np.ones(2, np.float32))])
            request.inputs[0].name = f"input-{number % 7}-{'x' * (number % 600)}"
            inputs_of(laid(request))
        known = grpc_inference._known
        assert len(known) <= grpc_inference._MAX_KEYS
        assert max(map(len, known.values())) <= grpc_inference._MAX_ALIKE


def respond(
    request: Any, specs: Sequence[TensorSpec], values: Sequence[Value], regions: Any = None
) -> pb.ModelInferResponse:
    known, _, id_field = read_request(laid(request))
    parts = known.respond(repr(specs), specs, values, regions or NoRegions(), id_field)
    streamed = pb.ModelStreamInferResponse.FromString(b"".join(stream_response(parts)))
    response = pb.ModelInferResponse.FromString(b"".join(parts))
    assert streamed.infer_response.parameters.pop("triton_final_response").bool_param
    assert streamed.infer_response == response
    return response


class TestResponses:
    @FEW
    @given(st.lists(tensors(), max_size=4), st.text(max_size=5))
    def test_tensors(self, entries: list[Any], request_id: str) -> None:
        specs = [TensorSpec(f"y{n}", each, None) for n, (each, _) in enumerate(entries)]
        values = [array for _, array in entries]
        for _ in range(2):
            response = respond(request_of([], id=request_id), specs, values)
            assert (response.model_name, response.model_version) == ("m", "1")
            assert response.id == request_id
            result = InferResult(response)
            for spec, value in zip(specs, values, strict=True):
                found = result.as_numpy(spec.name)
                if spec.datatype == "BF16":
                    exact = value.view(ml_dtypes.bfloat16).astype(np.float32)
                    assert np.array_equal(found, exact, equal_nan=True)
                else:
                    assert same(found, value)

    def test_shapes_and_ids_change(self) -> None:
        spec = TensorSpec("y", "INT64", None)
        for number in (1, 2, 1, 3):
            value = np.arange(number, dtype=np.int64)
            response = respond(request_of([], id=str(number)), [spec], [value])
            assert response.id == str(number)
            assert same(InferResult(response).as_numpy("y"), value)

    def test_views_of_other_memory_are_written_as_they_are_read(self) -> None:
        spec = TensorSpec("y", "FP32", None)
        whole = np.arange(24, dtype=np.float32).reshape(4, 6)
        for value in (whole[:, ::2], whole.T, whole[::-1], whole.astype(">f4")):
            response = respond(request_of([]), [spec], [value])
            found = InferResult(response).as_numpy("y")
            assert found.tolist() == value.tolist()

    def test_outputs_in_a_region_have_an_empty_place(self) -> None:
        memory = Memory(64)
        request = request_of([])
        wanted = request.outputs.add(name="a")
        wanted.parameters["shared_memory_region"].string_param = "r"
        wanted.parameters["shared_memory_offset"].int64_param = 8
        wanted.parameters["shared_memory_byte_size"].int64_param = 16
        request.outputs.add(name="b")
        specs = [TensorSpec(name, "FP32", None) for name in "ab"]
        values: list[Value] = [np.ones(4, np.float32), np.zeros(2, np.float32)]
        response = respond(request, specs, values, memory)
        assert list(response.raw_output_contents) == [b"", bytes(8)]
        parameters = response.outputs[0].parameters
        assert parameters["shared_memory_region"].string_param == "r"
        assert parameters["shared_memory_byte_size"].int64_param == 16
        assert bytes(memory.data[8:24]) == np.ones(4, np.float32).tobytes()
        assert InferResult(response).as_numpy("b").tolist() == [0, 0]

    def test_outputs_in_the_window_of_the_request(self) -> None:
        memory = Memory(200)
        request = request_of([])
        request.parameters["elastic_inference_output_region"].string_param = "r"
        request.parameters["elastic_inference_output_byte_size"].int64_param = 200
        specs = [TensorSpec(name, "FP32", None) for name in "abc"]
        values: list[Value] = [np.full(16, n, np.float32) for n in (1, 2, 3)]
        response = respond(request, specs, values, memory)
        offsets = [
            each.parameters["shared_memory_offset"].int64_param for each in response.outputs[:3]
        ]
        assert offsets == [0, 64, 128]
        assert list(response.raw_output_contents) == [b"", b"", b""]
        assert bytes(memory.data[64:128]) == np.full(16, 2, np.float32).tobytes()

    def test_sequences_and_what_is_none(self) -> None:
        inner = TensorSpec("", "FP32", None)
        sequence = TensorSpec("s", "SEQUENCE", None, element=inner)
        optional = TensorSpec("o", "OPTIONAL", None, element=inner)
        value: list[Value] = [np.ones(2, np.float32), np.zeros(1, np.float32)]
        for maybe in (None, np.ones(3, np.float32), None):
            response = respond(request_of([]), [sequence, optional], [value, maybe])
            told, maybe_told = response.outputs
            elements = json.loads(told.parameters[ELEMENTS].string_param)
            assert [each["shape"] for each in elements] == [[2], [1]]
            assert response.raw_output_contents[0] == b"\0\0\x80?" * 2 + bytes(4)
            assert list(maybe_told.shape) == [int(maybe is not None)]
            assert len(response.raw_output_contents[1]) == (0 if maybe is None else 12)

    def test_errors_of_streams(self) -> None:
        known = read_request(laid(request_of([], id="7")))
        answer = pb.ModelStreamInferResponse.FromString(b"".join(stream_error("why", known[2])))
        assert (answer.error_message, answer.infer_response.id) == ("why", "7")


@pytest.mark.parametrize("pad", range(16))
def test_every_input_lies_where_an_engine_takes_it_as_its_own(pad: int) -> None:
    request = pb.ModelInferRequest(model_name="m")
    for name, size in (("a", 3), ("b", 8)):
        request.inputs.add(name=name, datatype="FP32", shape=[size])
        request.raw_input_contents.append(np.arange(size, dtype="<f4").tobytes())
    values, _ = inputs_of(laid(request, pad))
    for value in values.values():
        assert isinstance(value, np.ndarray)
        assert value.tolist() == list(range(value.size))
        assert value.ctypes.data % 16 == 0
