"""TensorProto on the wire, against TensorFlow's own reader and writer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.errors import InvalidRequestError, PayloadTooLargeError
from elastic_inference.protocol.tensorflow import NUMBERS, carrier_of
from elastic_inference.protocol.tensors import Array
from elastic_inference.protocol.varints import decode_varints, encode_varints
from elastic_inference.protocol.wireformat import number_field, submessage, varint
from elastic_inference.serving.tensors import MAX_FILLED, Reader, tensor_parts

DTYPES = [each for each in NUMBERS if each not in {"resource", "variant"}]
FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    **dict.fromkeys(("int32", "uint8", "int16", "int8", "uint16"), "int_val"),
    "string": "string_val",
    "complex64": "scomplex_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "complex128": "dcomplex_val",
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}
FEW = settings(max_examples=25, deadline=None)
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def read(raw: bytes) -> tuple[str, Array]:
    return Reader(memoryview(raw)).tensor((0, len(raw)))


def write(array: Array, dtype: str, *, as_content: bool = False) -> bytes:
    return b"".join(tensor_parts(array, dtype, as_content=as_content))


def values_of(dtype: str, shape: tuple[int, ...], seed: int) -> Array:
    """An array in TensorFlow's dtype; every bit pattern of a number that is none is left out."""
    count = math.prod(shape)
    chance = np.random.default_rng(seed)
    if dtype == "string":
        texts = [chance.bytes(int(size)) for size in chance.integers(0, 300, count)]
        array = np.empty(count, np.object_)
        array[:] = texts
        return array.reshape(shape)
    if dtype == "bool":
        return chance.integers(0, 2, shape).astype(np.bool_)
    numpy_dtype = tf.as_dtype(dtype).as_numpy_dtype
    if dtype.startswith(("int", "uint")):
        limits = np.iinfo(numpy_dtype)
        return chance.integers(limits.min, limits.max, shape, numpy_dtype, endpoint=True)
    real = chance.standard_normal(shape)
    if dtype.startswith("complex"):
        return np.asarray(real + 1j * chance.standard_normal(shape)).astype(numpy_dtype)
    return np.asarray(real).astype(numpy_dtype)


def same(found: Array, expected: Array) -> bool:
    if found.shape != expected.shape:
        return False
    if expected.dtype == object:
        return [*found.ravel()] == [*expected.ravel()]
    raw = np.ascontiguousarray(expected).tobytes()
    return np.ascontiguousarray(found).tobytes() == raw


@pytest.mark.parametrize("dtype", DTYPES)
@FEW
@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_reads_what_tensorflow_makes(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    values = values_of(dtype, shape, seed)
    proto = tf.make_tensor_proto(values, dtype=dtype)
    name, found = read(proto.SerializeToString())
    assert name == dtype
    assert found.dtype == carrier_of(dtype)
    assert same(found, values)


@pytest.mark.parametrize("dtype", DTYPES)
@FEW
@given(shape=SHAPES, seed=st.integers(0, 2**32), given_count=st.integers(0, 9), data=st.data())
def test_reads_typed_fields_as_tensorflow_does(
    dtype: str, shape: tuple[int, ...], seed: int, given_count: int, data: st.DataObject
) -> None:
    proto = tf.make_tensor_proto(values_of(dtype, (given_count,), seed), dtype=dtype)
    typed = proto_of_fields(tf.make_ndarray(proto), dtype)
    del typed.tensor_shape.dim[:]
    for size in shape:
        typed.tensor_shape.dim.add(size=size)
    raw = typed.SerializeToString()
    expected = tf.io.parse_tensor(raw, dtype).numpy()
    _, found = read(raw)
    assert same(found, np.asarray(expected, None if dtype != "string" else object))
    if data.draw(st.booleans()):
        _, again = read(unpacked(typed, dtype))
        assert same(again, found)


def proto_of_fields(values: Array, dtype: str) -> Any:
    """A TensorProto of one dimension with typed fields."""
    proto = tf.make_tensor_proto(0, "int32")
    proto.Clear()
    proto.dtype = NUMBERS[dtype]
    proto.tensor_shape.dim.add(size=len(values))
    flat: Any = values
    if dtype in {"float16", "bfloat16"}:
        flat = values.view(np.uint16)
    elif dtype.startswith("complex"):
        flat = values.view(np.float32 if dtype == "complex64" else np.float64)
    getattr(proto, FIELDS[dtype]).extend(flat.tolist())
    return proto


def unpacked(proto: Any, dtype: str) -> bytes:
    """The same message with a field for each number."""
    name = FIELDS[dtype]
    number = proto.DESCRIPTOR.fields_by_name[name].number
    out = number_field(1, proto.dtype) + submessage(2, proto.tensor_shape.SerializeToString())
    for value in getattr(proto, name):
        if name == "string_val":
            out += submessage(number, value)
        elif name in {"float_val", "scomplex_val"}:
            out += varint(number << 3 | 5) + np.float32(value).tobytes()
        elif name in {"double_val", "dcomplex_val"}:
            out += varint(number << 3 | 1) + np.float64(value).tobytes()
        else:
            out += number_field(number, int(value) & (2**64 - 1))
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@FEW
@given(shape=SHAPES, seed=st.integers(0, 2**32), as_content=st.booleans())
def test_writes_what_tensorflow_reads(
    dtype: str, shape: tuple[int, ...], seed: int, as_content: bool
) -> None:
    values = values_of(dtype, shape, seed)
    ours = values.view(np.uint16) if dtype == "bfloat16" and seed % 2 else values
    raw = write(ours, dtype, as_content=as_content)
    proto = type(tf.make_tensor_proto(0)).FromString(raw)
    assert same(np.asarray(tf.io.parse_tensor(raw, dtype).numpy(), values.dtype), values)
    # As the server of TensorFlow answers: in the field of the type, unless it is told otherwise.
    is_content = as_content and dtype != "string" and values.size > 0
    assert bool(proto.tensor_content) is is_content
    assert bool(getattr(proto, FIELDS[dtype])) is (values.size > 0 and not is_content)
    if not is_content and values.ndim == 1:
        assert raw == proto_of_fields(values, dtype).SerializeToString()


@FEW
@given(values=st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1)), max_size=50))
def test_varints_survive_a_round_trip(values: list[int]) -> None:
    packed = encode_varints(np.array(values, np.uint64))
    assert packed.tobytes() == b"".join(map(varint, values))
    assert decode_varints(memoryview(packed.tobytes())).tolist() == values


def test_numbers_stay_where_they_are() -> None:
    values = np.arange(6, dtype=np.float32)
    for as_content in (True, False):
        raw = write(values, "float32", as_content=as_content)
        _, found = read(raw)
        assert np.shares_memory(found, np.frombuffer(raw, np.uint8))


def test_views_of_strided_and_foreign_arrays_are_written_rightly() -> None:
    values = np.arange(12, dtype=np.float64).reshape(3, 4).T[::2]
    assert np.array_equal(read(write(values, "float32"))[1], values.astype(np.float32))


def proto_bytes(dtype: int, sizes: list[int], rest: bytes = b"") -> bytes:
    dims = b"".join(submessage(2, number_field(1, size & (2**64 - 1))) for size in sizes)
    return number_field(1, dtype) + submessage(2, dims) + rest


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "type 0"),
        (proto_bytes(0, []), "0"),
        (proto_bytes(20, []), "resource"),
        (proto_bytes(21, []), "variant"),
        (proto_bytes(11, []), "11"),
        (proto_bytes(99, []), "99"),
        (proto_bytes(1, [-1]), "negative"),
        (proto_bytes(1, [1] * 300), "too many"),
        (proto_bytes(1, [2**62, 2**62]), "larger than 2 GB"),
        (proto_bytes(1, [0, 2**62]), "larger than 2 GB"),
        (number_field(1, 1) + submessage(2, number_field(3, 1)), "rank is unknown"),
        (proto_bytes(1, [2], submessage(4, b"1234")), "4 bytes, the tensor 8"),
        (proto_bytes(1, [2], submessage(5, b"123")), "cut off"),
        (proto_bytes(9, [2], submessage(10, b"\x80")), "cut off"),
        (proto_bytes(9, [2], submessage(10, b"\x80" * 11 + b"\1")), "too long"),
        (proto_bytes(7, [2], submessage(4, b"\2\2ab")), "do not fit"),
        (proto_bytes(7, [9], submessage(4, b"\2\2ab")), "cut off"),
        (b"\x0b", "unknown kind"),
        (b"\x2a\x7f", "cut off"),
    ],
)
def test_what_is_no_tensor_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        read(raw)


def test_few_values_fill_no_more_than_is_allowed() -> None:
    one = submessage(5, np.float32(7).tobytes())
    raw = proto_bytes(1, [MAX_FILLED // 8], one)
    reader = Reader(memoryview(raw))
    span = (0, len(raw))
    assert reader.tensor(span)[1][-1] == 7
    assert reader.tensor(span)[1][-1] == 7
    with pytest.raises(PayloadTooLargeError, match="few values"):
        reader.tensor(span)


@FEW
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        _, array = read(raw)
    except InvalidRequestError:
        return
    assert array.nbytes <= MAX_FILLED
