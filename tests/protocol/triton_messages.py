"""The messages that `grpc_messages` describes beside those of tritonclient's generated code."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2, service_pb2

from elastic_inference.protocol.grpc_messages import MESSAGES
from elastic_inference.protocol.protobuf import Field, Message
from elastic_inference.protocol.varints import WIRE_OF, Numbers

# Ours that stand for several of the service's, which have the same fields.
SHARED = {
    "ModelVersion": (
        *("ModelReadyRequest", "ModelMetadataRequest", "ModelStatisticsRequest"),
        "ModelConfigRequest",
    ),
    "Empty": (
        *("ServerLiveRequest", "ServerReadyRequest", "ServerMetadataRequest"),
        *("RepositoryModelLoadResponse", "RepositoryModelUnloadResponse"),
        *("SystemSharedMemoryRegisterResponse", "SystemSharedMemoryUnregisterResponse"),
        *("CudaSharedMemoryRegisterResponse", "CudaSharedMemoryUnregisterResponse"),
        *("CudaSharedMemoryStatusResponse", "TraceSettingRequest", "LogSettingsRequest"),
    ),
    "RepositoryModelRequest": ("RepositoryModelLoadRequest", "RepositoryModelUnloadRequest"),
    "RegionName": (
        *("SystemSharedMemoryStatusRequest", "SystemSharedMemoryUnregisterRequest"),
        *("CudaSharedMemoryStatusRequest", "CudaSharedMemoryRegisterRequest"),
        "CudaSharedMemoryUnregisterRequest",
    ),
    "TensorMetadata": ("ModelMetadataResponse.TensorMetadata",),
    "InferInputTensor": ("ModelInferRequest.InferInputTensor",),
    "InferRequestedOutputTensor": ("ModelInferRequest.InferRequestedOutputTensor",),
    "InferOutputTensor": ("ModelInferResponse.InferOutputTensor",),
    "ModelTensor": ("ModelInput",),
    "ModelIndex": ("RepositoryIndexResponse.ModelIndex",),
    "SystemRegionStatus": ("SystemSharedMemoryStatusResponse.RegionStatus",),
}
# tritonclient has no health messages.
HEALTH = {"HealthCheckRequest", "HealthCheckResponse"}
PAIRS = [
    (ours, theirs)
    for ours in MESSAGES
    if ours not in HEALTH
    for theirs in SHARED.get(ours, (ours,))
]
_WIDTH = {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64}
_MASK = (1 << 64) - 1


def generated(name: str) -> Any:
    """The generated class of that name."""
    outer, _, inner = name.partition(".")
    found = getattr(service_pb2, outer, None) or getattr(model_config_pb2, outer)
    return getattr(found, inner) if inner else found


def is_single(known: Field) -> bool:
    """It is a message that is there or not."""
    return known.kind == "message" and not known.repeated


def plain_of_theirs(message: Message, theirs: Any) -> dict[str, Any]:
    """A generated message as plain values; what has its default is left out."""
    found: dict[str, Any] = {}
    for known in message.fields.values():
        value = getattr(theirs, known.name)
        if is_single(known) or known.choice:
            if theirs.HasField(known.name):
                found[known.name] = _of_theirs(known, value)
            continue
        if known.kind == "map":
            plain: Any = {key: _of_theirs(known, item) for key, item in value.items()}
        elif known.repeated:
            plain = [_of_theirs(known, item) for item in value]
        else:
            plain = _scalar(known.kind, value)
        if plain:
            found[known.name] = plain
    return found


def _of_theirs(known: Field, value: Any) -> Any:
    if known.message is None:
        return _scalar(known.kind, value)
    plain = plain_of_theirs(known.message, value)
    if known.kind == "map" and known.message.is_choice:
        return next(iter(plain.values()), None)
    return plain


def plain_of_ours(message: Message, ours: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """What `decode` read from `data`, as `plain_of_theirs`."""
    found: dict[str, Any] = {}
    for known in message.fields.values():
        if known.name not in ours:
            continue
        value = ours[known.name]
        if isinstance(value, Numbers):
            plain: Any = [_scalar(known.kind, item) for item in value.array().tolist()]
        elif known.kind == "map":
            plain = {key: _of_ours(known, item, data) for key, item in value.items()}
        elif known.repeated:
            plain = [_of_ours(known, item, data) for item in value]
        else:
            plain = _of_ours(known, value, data)
        if plain or known.choice or is_single(known):
            found[known.name] = plain
    return found


def _of_ours(known: Field, value: Any, data: bytes) -> Any:
    if known.kind == "span":
        return data[value[0] : value[1]]
    if known.message is None:
        return _scalar(known.kind, value)
    if known.kind == "map" and known.message.is_choice:
        return _scalar("double" if isinstance(value, float) else "", value)
    return plain_of_ours(known.message, value, data)


def _scalar(kind: str, value: Any) -> Any:
    """Floats by their bits, since NaN is not itself."""
    return struct.pack("<d", value) if kind in ("float", "double") else value


# Messages as they may come: fields in any order, repeated, packed or not, known or not.


def varint(value: int, padding: int = 0) -> bytes:
    """A varint, with `padding` bytes more than it needs."""
    value &= _MASK
    groups = []
    while True:
        groups.append(value & 0x7F)
        value >>= 7
        if not value:
            break
    groups += [0] * min(padding, 10 - len(groups))
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def sized(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


@st.composite
def wire(draw: st.DrawFn, message: Message, most: int = 6) -> bytes:
    """Bytes that a client of any kind might send as `message`."""
    known = [each for each in message.fields.values() if each.kind != "enum"]
    out = b""
    for _ in range(draw(st.integers(0, most))):
        if len(known) > 0 and draw(st.integers(0, 5)):
            out += draw(_field(draw(st.sampled_from(known)), most))
        else:
            number = draw(st.sampled_from([100, 2047, 2**29 - 1]))
            out += draw(_unknown(number))
    return out


@st.composite
def _unknown(draw: st.DrawFn, number: int) -> bytes:
    kind = draw(st.sampled_from([0, 1, 2, 5]))
    tag = varint(number << 3 | kind)
    if kind == 2:
        body = draw(st.binary(max_size=5))
        return tag + varint(len(body)) + body
    if kind == 0:
        return tag + varint(draw(st.integers(0, _MASK)))
    size = 8 if kind == 1 else 4
    return tag + draw(st.binary(min_size=size, max_size=size))


@st.composite
def _field(draw: st.DrawFn, known: Field, most: int) -> bytes:
    if draw(st.integers(0, 9)) == 0 and not (known.repeated and known.kind in WIRE_OF):
        # Of another wire type than it should be.
        odd = (0, b"\7") if WIRE_OF.get(known.kind) == 5 else (5, b"text")
        return varint(known.number << 3 | odd[0]) + odd[1]
    if known.kind == "map":
        assert known.message is not None
        parts = draw(st.lists(st.sampled_from([1, 2]), max_size=3))
        keys = st.text(max_size=3).map(str.encode)
        bodies = [draw(keys if part == 1 else wire(known.message, 2)) for part in parts]
        entry = b"".join(map(sized, parts, bodies))
        return sized(known.number, entry)
    if known.message is not None:
        return sized(known.number, draw(wire(known.message, most - 1)))
    if known.kind in ("string", "bytes", "span"):
        text = st.text(max_size=4).map(str.encode)
        return sized(known.number, draw(text if known.kind == "string" else st.binary(max_size=6)))
    if known.repeated and draw(st.booleans()):
        count = draw(st.sampled_from([0, 1, 2, 5, 90, 400]))
        some = [draw(_number(known.kind)) for _ in range(min(count, 5))]
        return sized(known.number, b"".join(some[each % 5] for each in range(count)))
    return varint(known.number << 3 | WIRE_OF[known.kind]) + draw(_number(known.kind))


def _number(kind: str) -> st.SearchStrategy[bytes]:
    if kind == "float":
        return st.binary(min_size=4, max_size=4)
    if kind == "double":
        return st.binary(min_size=8, max_size=8)
    edges = [0, 1, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, _MASK]
    values = st.sampled_from(edges) | st.integers(0, _MASK)
    return st.builds(varint, values, st.sampled_from([0, 0, 1, 9]))


# Messages as the server writes them.


def values_of(message: Message) -> st.SearchStrategy[dict[str, Any]]:
    """Plain values of a message."""
    options = {known.name: _plain(known) for known in message.fields.values()}
    return st.fixed_dictionaries({}, optional=options)


def _plain(known: Field) -> st.SearchStrategy[Any]:
    if known.message is None:
        single = _plain_scalar(known.kind)
    elif known.message.is_choice:
        kinds = [each.kind for each in known.message.fields.values()]
        single = st.one_of([_plain_scalar(kind) for kind in kinds if kind != "uint64"])
    else:
        single = values_of(known.message)
    if known.kind == "map":
        return st.dictionaries(st.text(max_size=4), single, max_size=3)
    return st.lists(single, max_size=4) if known.repeated else single


def _plain_scalar(kind: str) -> st.SearchStrategy[Any]:
    if kind in _WIDTH:
        bits = _WIDTH[kind]
        low = -(1 << bits - 1) if kind.startswith("int") else 0
        return st.integers(low, low + (1 << bits) - 1)
    return {
        "bool": st.booleans(),
        "enum": st.integers(0, 14),
        "float": st.floats(width=32),
        "double": st.floats(),
        "string": st.text(max_size=6),
        "bytes": st.binary(max_size=6),
    }[kind]


def build(message: Message, theirs: Any, values: Mapping[str, Any]) -> Any:
    """The generated message that has these plain values."""
    for known in message.fields.values():
        if known.name not in values:
            continue
        value = values[known.name]
        target = getattr(theirs, known.name)
        if known.kind == "map":
            for key, item in value.items():
                _set(known, target[key], item)
        elif known.repeated and known.message is not None:
            for item in value:
                build(known.message, target.add(), item)
        elif known.repeated:
            target.extend(value)
        elif known.message is not None:
            target.SetInParent()
            build(known.message, target, value)
        else:
            setattr(theirs, known.name, value)
    return theirs


def _set(known: Field, theirs: Any, item: Any) -> None:
    assert known.message is not None
    if not known.message.is_choice:
        build(known.message, theirs, item)
        return
    names = {
        bool: "bool_param", int: "int64_param", float: "double_param",
        str: "string_param", bytes: "bytes_param",
    }  # fmt: skip
    setattr(theirs, names[type(item)], item)
