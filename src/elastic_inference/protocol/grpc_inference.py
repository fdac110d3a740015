"""The messages of an inference over gRPC: `ModelInferRequest` and `ModelInferResponse`.

A request's raw tensors stay where they are in the message. All other bytes but the id's
usually repeat from call to call, and a request is known again by them: what they say was read
then. Of a response all but the id and the tensors is remembered by the outputs' shapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.grpc_contents import tensor_from_contents
from elastic_inference.protocol.grpc_messages import MESSAGES
from elastic_inference.protocol.inference import (
    VERSION,
    InferRequest,
    Regions,
    build_request,
    bytes_of,
    describe_outputs,
    read_inputs,
)
from elastic_inference.protocol.json_object import parse_object
from elastic_inference.protocol.protobuf import decode, encode, length_delimited
from elastic_inference.protocol.tensors import (
    CONTAINERS,
    MAX_RANK,
    Buffer,
    TensorSpec,
    Value,
    aligned,
    parse_shape,
)
from elastic_inference.protocol.varints import malformed
from elastic_inference.protocol.wireformat import fields, varint

Parts: TypeAlias = "list[Buffer | bytes]"

# What the elements of a sequence, optional or map are: JSON, as in docs/protocol.md.
ELEMENTS = "elastic_inference_elements"
_REQUEST = MESSAGES["ModelInferRequest"]
_RESPONSE = MESSAGES["ModelInferResponse"]
_OUTPUT = MESSAGES["InferOutputTensor"]
_NAME_TAG, _VERSION_TAG, _ID_TAG = b"\x0a\x12\x1a"
_ID, _RAW_INPUT = 3, 7
_RAW_OUTPUT_TAG = b"\x32"
_STREAM_RESPONSE_TAG = b"\x12"
_FINAL = encode(_RESPONSE, {"parameters": {"triton_final_response": True}})
_MAX_KEYS = 512
_MAX_ALIKE = 4
_MAX_FIXED = 16384
_MAX_RESPONSES = 64


# By the bytes before the id and the number of all others. Shared by the connections of the
# process, all of which belong to one tenant; a race between threads costs a second parse.
_known: dict[tuple[bytes, int], list[KnownRequest]] = {}


@dataclass(slots=True)
class KnownRequest:
    """A request without its id and its raw tensors.

    Attributes:
        name, version: the model's, as the request says them.
        id_field: of a request that cannot be known again; else None.
        align_at: offset of the largest raw tensor in the message, as if it had no id.
        fixed: the bytes that tell it: offsets after the id, and what is there.
        plain: name, shape, dtype and offset of each input, if all are raw numbers.
        in_message: no output is wanted in a region.
    """

    name: str
    version: str
    id_field: bytes | None
    request: InferRequest
    align_at: int
    plain: Sequence[tuple[str, tuple[int, ...], np.dtype[Any], int]] | None
    in_message: bool
    fixed: Sequence[tuple[int, int, bytes]] = ()
    responses: dict[Any, _KnownResponse] = field(default_factory=dict)

    def matches(self, message: Buffer, after_id: int) -> bool:
        """Whether `message` is this request, with an id that ends at `after_id`."""
        for start, end, wanted in self.fixed:
            if message[after_id + start : after_id + end].tobytes() != wanted:
                return False
        return True

    def inputs(self, message: Buffer, shift: int, regions: Regions) -> dict[str, Value]:
        """The input values, as views of `message` wherever its bytes are aligned.

        Args:
            shift: bytes of the id's field.

        Raises:
            InvalidRequestError: bytes and shapes do not fit, or there is no such region.
        """
        if self.plain is None:
            return read_inputs(self.request, message, shift, regions)
        feeds: dict[str, Value] = {}
        for name, shape, dtype, offset in self.plain:
            feeds[name] = aligned(np.ndarray(shape, dtype, message, shift + offset))
        return feeds

    def respond(
        self,
        handle: str,
        specs: Sequence[TensorSpec],
        values: Sequence[Value],
        regions: Regions,
        id_field: bytes,
    ) -> Parts:
        """The response that carries `values`.

        Args:
            handle: of the model that made them.
            specs: what each value is, in the order of `values`.
            id_field: the request's, which the response repeats.

        Raises:
            InvalidRequestError: an output does not fit its region.
        """
        if self.in_message:
            shapes = tuple([value.shape for value in values if type(value) is np.ndarray])
            response = self.responses.get((handle, shapes))
            if response is None:
                if not _all_plain(specs, values):
                    return self._describe(specs, values, regions, id_field)
                response = _KnownResponse.of(self.name, specs, values)
                if len(self.responses) < _MAX_RESPONSES:
                    self.responses[handle, shapes] = response
            return response.with_values(values, id_field)
        return self._describe(specs, values, regions, id_field)

    def _describe(
        self,
        specs: Sequence[TensorSpec],
        values: Sequence[Value],
        regions: Regions,
        id_field: bytes,
    ) -> Parts:
        described = describe_outputs(self.request, specs, values, regions)
        head = {"model_name": self.name, "model_version": VERSION}
        parts: Parts = [
            encode(_RESPONSE, head),
            id_field,
            b"".join(
                length_delimited(5, encode(_OUTPUT, _output(entry))) for entry, _ in described
            ),
        ]
        # One for each output, as clients count on; empty where the bytes are in a region.
        for _, buffers in described:
            size = sum(len(buffer) for buffer in buffers)
            parts.append(_RAW_OUTPUT_TAG + varint(size))
            parts.extend(buffers)
        return parts


@dataclass(slots=True)
class _KnownResponse:
    """A response without its id and its tensors, all of which are numbers."""

    before_id: bytes
    after_id: bytes
    separators: Sequence[bytes]

    @classmethod
    def of(cls, name: str, specs: Sequence[TensorSpec], values: Sequence[Value]) -> _KnownResponse:
        outputs = b""
        separators = []
        for spec, value in zip(specs, values, strict=True):
            assert isinstance(value, np.ndarray)  # noqa: S101 - `_all_plain`
            entry = {"name": spec.name, "datatype": spec.datatype, "shape": value.shape}
            outputs += length_delimited(5, encode(_OUTPUT, entry))
            separators.append(_RAW_OUTPUT_TAG + varint(value.nbytes))
        head = encode(_RESPONSE, {"model_name": name, "model_version": VERSION})
        if not separators:
            return cls(head, outputs, ())
        return cls(head, outputs + separators[0], separators[1:])

    def with_values(self, values: Sequence[Value], id_field: bytes) -> Parts:
        parts: Parts = [self.before_id + id_field + self.after_id]
        if values:
            parts.append(bytes_of(values[0]))
            for separator, value in zip(self.separators, values[1:], strict=True):
                parts.append(separator)
                parts.append(bytes_of(value))
        return parts


def _all_plain(specs: Sequence[TensorSpec], values: Sequence[Value]) -> bool:
    # All three follow from the model but for optionals, which are containers.
    return all(
        type(value) is np.ndarray and not value.dtype.hasobject and spec.datatype not in CONTAINERS
        for spec, value in zip(specs, values, strict=True)
    )


def _output(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An output's description with its elements as a parameter."""
    parameters = dict(entry["parameters"])
    parameters.pop("binary_data_size", None)
    if "elements" in entry:
        parameters[ELEMENTS] = json.dumps(entry["elements"], separators=(",", ":"))
    return {**entry, "parameters": parameters}


def read_request(message: Buffer) -> tuple[KnownRequest, int, bytes]:
    """The request in `message`; by how much an id displaces its tensors; and the id's field.

    Raises:
        InvalidRequestError: it is none; the error says where.
    """
    at, after_id = _find_id(message)
    key = (message[:at].tobytes(), len(message) - after_id)
    alike = _known.get(key)
    if alike is not None:
        for known in alike:
            if known.matches(message, after_id):
                return known, after_id - at, _id_field(message, at, after_id)
    known = _parse(message, at, after_id)
    if known.fixed:
        _remember(key, known)
    if known.id_field is not None:
        return known, after_id - at, known.id_field
    return known, after_id - at, _id_field(message, at, after_id)


def stream_response(parts: Parts) -> Parts:
    """The `ModelStreamInferResponse` with the response that `parts` are.

    It says, as Triton's clients may ask, that nothing more follows for the request.
    """
    size = sum(len(part) for part in parts) + len(_FINAL)
    return [_STREAM_RESPONSE_TAG + varint(size), *parts, _FINAL]


def stream_error(text: str, id_field: bytes) -> Parts:
    """The `ModelStreamInferResponse` that tells an error of the request with that id."""
    return [length_delimited(1, text.encode()) + length_delimited(2, id_field)]


def _find_id(message: Buffer) -> tuple[int, int]:
    """Where the id's field begins and ends, if it is where clients put it: third."""
    size = len(message)
    at = 0
    for tag in (_NAME_TAG, _VERSION_TAG):
        if at + 1 < size and message[at] == tag and message[at + 1] < 0x80:
            at += 2 + message[at + 1]
    if at + 1 < size and message[at] == _ID_TAG and message[at + 1] < 0x80:
        after_id = at + 2 + message[at + 1]
        if after_id <= size:
            return at, after_id
    return at, at


def _id_field(message: Buffer, at: int, after_id: int) -> bytes:
    if at == after_id:
        return b""
    field_ = message[at:after_id].tobytes()
    try:
        field_[2:].decode()
    except UnicodeDecodeError:
        raise malformed("a text is not UTF-8") from None
    return field_


def _remember(key: tuple[bytes, int], known: KnownRequest) -> None:
    if key not in _known and len(_known) >= _MAX_KEYS:
        _known.clear()
    alike = _known.setdefault(key, [])
    if len(alike) >= _MAX_ALIKE:
        alike.pop(0)
    alike.append(known)


def _parse(message: Buffer, at: int, after_id: int) -> KnownRequest:
    document = decode(_REQUEST, message)
    raw_spans: list[tuple[int, int]] = document.get("raw_input_contents", [])
    request = build_request(_as_json(document, raw_spans))
    request.direct = False
    rest = (after_id, len(message))
    shift = after_id - at
    largest = align_at = 0
    spans = iter(raw_spans)
    for slot in request.inputs:
        if slot.data is None and not slot.region:
            slot.offset = next(spans)[0] - shift
            if slot.nbytes > largest:
                largest, align_at = slot.nbytes, slot.offset
    stray = any(number == _ID for number, _, _ in fields(message, rest, malformed))
    known = KnownRequest(
        document.get("model_name", ""),
        document.get("model_version", ""),
        length_delimited(_ID, document.get("id", "").encode()) if stray else None,
        request,
        align_at,
        _plain(request),
        request.output_region is None and not any(slot.region for slot in request.outputs.values()),
    )
    if not stray and all(slot.data is None for slot in request.inputs):
        known.fixed = _fixed(message, after_id, raw_spans)
    return known


def _plain(
    request: InferRequest,
) -> list[tuple[str, tuple[int, ...], np.dtype[Any], int]] | None:
    plain = []
    for slot in request.inputs:
        # Whether a BOOL is 0 or 1 is checked each time.
        if slot.dtype is None or slot.dtype.kind == "b" or slot.region or slot.data is not None:
            return None
        plain.append((slot.name, slot.shape, slot.dtype, slot.offset))
    return plain


def _fixed(
    message: Buffer, after_id: int, raw_spans: Sequence[tuple[int, int]]
) -> list[tuple[int, int, bytes]]:
    """What must be the same; nothing if it is too much to keep."""
    if len(message) - after_id - sum(end - start for start, end in raw_spans) > _MAX_FIXED:
        return []
    pieces = []
    at = after_id
    for start, end in (*raw_spans, (len(message), 0)):
        pieces.append((at - after_id, start - after_id, message[at:start].tobytes()))
        at = end
    return pieces


def _as_json(document: Mapping[str, Any], raw_spans: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The request as `build_request` takes it, with the sizes of the raw tensors."""
    raw = iter(raw_spans)
    inputs = [
        _input(entry, raw, expect_raw=bool(raw_spans)) for entry in document.get("inputs", ())
    ]
    if next(raw, None) is not None:
        raise InvalidRequestError(f"{len(raw_spans)} raw_input_contents are more than the inputs.")
    outputs = [
        {
            "name": entry.get("name", ""),
            "parameters": {**_parameters(entry), "binary_data": True},
        }
        for entry in document.get("outputs", ())
    ]
    parameters = {**_parameters(document), "binary_data_output": True}
    return {"inputs": inputs, "outputs": outputs, "parameters": parameters}


def _parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    found: Mapping[str, Any] = entry.get("parameters", {})
    return {name: value for name, value in found.items() if value is not None}


def _input(
    entry: Mapping[str, Any], raw: Iterator[tuple[int, int]], *, expect_raw: bool
) -> dict[str, Any]:
    where = f"input {entry.get('name', '')[:100]!r}"
    parameters = _parameters(entry)
    parameters.pop("binary_data_size", None)
    contents = entry.get("contents") or {}
    shape = entry["shape"].few(MAX_RANK) if "shape" in entry else []
    found = {
        "name": entry.get("name", ""),
        "datatype": entry.get("datatype", ""),
        "shape": shape,
        "parameters": parameters,
    }
    if found["datatype"] in CONTAINERS:
        text = str(parameters.pop(ELEMENTS, "[]")).encode()
        found["elements"] = parse_object(
            b'{"elements":' + text + b"}", f"What {where} says of its elements"
        )["elements"]
    in_region = "shared_memory_region" in parameters
    if contents and (in_region or expect_raw):
        raise InvalidRequestError(f"{where} has its data in two forms.")
    if expect_raw and not in_region:
        span = next(raw, None)
        if span is None:
            raise InvalidRequestError(f"{where} has no raw_input_contents.")
        parameters["binary_data_size"] = span[1] - span[0]
    elif not in_region:
        datatype = found["datatype"]
        found["data"] = tensor_from_contents(where, datatype, parse_shape(shape), contents)
    return found
