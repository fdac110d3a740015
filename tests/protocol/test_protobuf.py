"""Protobuf messages by their description, against the generated code of tritonclient."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol import protobuf
from elastic_inference.protocol.grpc_messages import DATA_TYPES, MESSAGES
from elastic_inference.protocol.protobuf import MAX_REPEATED, Message, decode, encode
from elastic_inference.protocol.varints import decode_varints
from tests.protocol.triton_messages import (
    PAIRS,
    build,
    generated,
    plain_of_ours,
    plain_of_theirs,
    sized,
    values_of,
    varint,
    wire,
)

# What clients send, and what they are sent; the messages inside are read and written with them.
READ = [
    *("ModelInferRequest", "ModelInferResponse", "RepositoryModelLoadRequest"),
    *("ModelMetadataRequest", "RepositoryIndexRequest", "SystemSharedMemoryRegisterRequest"),
]
WRITTEN = [
    *("ModelInferResponse", "ModelStreamInferResponse", "ModelMetadataResponse"),
    *("ModelStatisticsResponse", "ModelConfigResponse", "RepositoryIndexResponse"),
    *("SystemSharedMemoryStatusResponse", "ServerMetadataResponse", "ServerLiveResponse"),
]
FEW = settings(max_examples=30, deadline=None)
OURS = {theirs: MESSAGES[ours] for ours, theirs in PAIRS}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_fields_are_those_of_the_service(ours: str, theirs: str) -> None:
    descriptor = generated(theirs).DESCRIPTOR
    for number, known in MESSAGES[ours].fields.items():
        field = descriptor.fields_by_number[number]
        assert field.name == known.name
        assert field.is_repeated is (known.repeated or known.kind == "map")
        assert (field.containing_oneof is not None) is known.choice
        kind = {"span": "bytes", "map": "message"}.get(known.kind, known.kind)
        assert getattr(field, f"TYPE_{kind.upper()}") == field.type


def read(message: Message, data: bytes) -> dict[str, Any]:
    return plain_of_ours(message, decode(message, memoryview(data)), data)


@pytest.mark.parametrize("name", READ)
@FEW
@given(data=st.data())
def test_reads_what_any_client_writes(name: str, data: st.DataObject) -> None:
    raw = data.draw(wire(OURS[name]))
    expected = plain_of_theirs(OURS[name], generated(name).FromString(raw))
    assert read(OURS[name], raw) == expected


@pytest.mark.parametrize("name", WRITTEN)
@FEW
@given(data=st.data())
def test_writes_what_any_client_reads(name: str, data: st.DataObject) -> None:
    message = OURS[name]
    values = data.draw(values_of(message))
    expected = build(message, generated(name)(), values)
    found = generated(name).FromString(encode(message, values))
    assert plain_of_theirs(message, found) == plain_of_theirs(message, expected)


@pytest.mark.parametrize("name", READ)
@FEW
@given(data=st.data())
def test_what_is_cut_off_or_changed_is_read_alike_or_refused(
    name: str, data: st.DataObject
) -> None:
    message = OURS[name]
    raw = bytearray(data.draw(wire(message)))
    del raw[data.draw(st.integers(0, len(raw))) :]
    for at in data.draw(st.lists(st.integers(0, max(0, len(raw) - 1)), max_size=2)):
        raw[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
    try:
        found = read(message, bytes(raw))
        expected = generated(name).FromString(bytes(raw))
    except (InvalidRequestError, DecodeError):
        # What one of the two refuses need not be what the other does: theirs bounds the length
        # of tags and sizes, and ours knows no groups.
        return
    assert found == plain_of_theirs(message, expected)


@given(st.binary(max_size=40))
def test_noise_is_refused_or_read(raw: bytes) -> None:
    for name in READ:
        with contextlib.suppress(InvalidRequestError):
            decode(OURS[name], memoryview(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0a",
        b"\x0a\x05ab",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x0a\x02\xff\xfe",
        b"\x00",
        b"\x0b\x0c",
        b"\x2a\x03\x1a\x01\x80",
    ],
)
def test_malformed_messages(raw: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="is not what the call takes"):
        decode(MESSAGES["ModelInferRequest"], memoryview(raw))


@pytest.mark.parametrize(
    "field",
    [
        sized(5, b""),
        sized(6, b""),
        sized(7, b""),
        *(sized(4, sized(1, str(number).encode())) for number in range(2)),
    ],
)
def test_counts_are_bounded(field: bytes) -> None:
    message = MESSAGES["ModelInferRequest"]
    if field[0] >> 3 == 4:
        many = [sized(4, sized(1, str(number).encode())) for number in range(MAX_REPEATED + 1)]
        assert decode(message, memoryview(field * (MAX_REPEATED + 1)))
    else:
        many = [field] * (MAX_REPEATED + 1)
    assert decode(message, memoryview(b"".join(many[:-1])))
    with pytest.raises(InvalidRequestError, match="more than 4096"):
        decode(message, memoryview(b"".join(many)))


@pytest.mark.parametrize("name", ["ModelInferRequest", "InferTensorContents"])
def test_fields_are_bounded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 1000)
    fields = sized(1, b"") if name == "ModelInferRequest" else varint(3 << 3) + varint(300)
    assert decode(MESSAGES[name], memoryview(fields * 1000))
    with pytest.raises(InvalidRequestError, match="more than 1000 fields"):
        decode(MESSAGES[name], memoryview(fields * 1001))


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=300))
def test_packed_numbers(numbers: list[int]) -> None:
    packed = b"".join(map(varint, numbers))
    assert decode_varints(memoryview(packed)).tolist() == numbers


def test_many_packed_numbers() -> None:
    numbers = np.arange(400_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    some = numbers[::1000].tolist()
    packed = b"".join(map(varint, some)) * 1000
    assert decode_varints(memoryview(packed)).tolist() == some * 1000


@pytest.mark.parametrize("packed", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01", b"\x80" * 3000])
def test_packed_numbers_that_are_none(packed: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        decode_varints(memoryview(packed))


def test_datatypes_have_the_numbers_of_the_model_configuration() -> None:
    from tritonclient.grpc import model_config_pb2

    assert dict(model_config_pb2.DataType.items()) == DATA_TYPES
