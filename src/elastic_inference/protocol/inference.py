"""The inference request and response of the Open Inference Protocol v2.

A request's JSON is parsed once into an `InferRequest`, which holds nothing of the request's
tensors or its id and can therefore be remembered by the JSON's bytes. `split_id` takes the
id out of the bytes first, since clients change it with every request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.json_object import parse_object
from elastic_inference.protocol.json_tensors import tensor_from_json, value_to_json
from elastic_inference.protocol.tensors import (
    ALIGNED,
    BITS,
    CARRIER,
    CONTAINERS,
    Buffer,
    TensorSpec,
    Value,
    byte_size,
    decode_tensor,
    decode_value,
    encode_tensor,
    encode_value,
    parse_shape,
)

VERSION = "1"
"""The one version that a model has."""
MAX_INPUTS = 4096
ALIGNMENT = 64
_MAX_CACHED_RESPONSES = 64
_BINARY_FORMS = {"shared_memory_region", "binary_data_size"}


class Regions(Protocol):
    """The shared memory that a request may name."""

    def read(self, name: str, offset: int, size: int) -> Buffer:
        """`size` bytes: a view where the memory cannot be cut short, else a copy.

        Raises:
            InvalidRequestError: no such region, or it is smaller.
        """

    def write(self, name: str, offset: int, parts: Sequence[Buffer]) -> None:
        """Lay `parts` down one after the other.

        Raises:
            InvalidRequestError: no such region, or it is smaller.
        """


class NoRegions:
    """For callers that share no memory."""

    def read(self, name: str, offset: int, size: int) -> Buffer:  # noqa: ARG002 - as in Regions
        raise unknown_region(name)

    def write(self, name: str, offset: int, parts: Sequence[Buffer]) -> None:  # noqa: ARG002
        raise unknown_region(name)


def unknown_region(name: str) -> InvalidRequestError:
    return InvalidRequestError(f"There is no shared memory region {name[:100]!r}.")


@dataclass(slots=True)
class InputSlot:
    """Where one input of a request is.

    Attributes:
        dtype: carrier of a plain numeric tensor in binary form, else None.
        nbytes: bytes of the binary form; 0 for JSON data.
        offset: of the binary form, from the first binary byte or within the region.
        region: name of a shared memory region, or "".
        data: the JSON data, or what a message carried as an array; None for bytes.
        entry: the request's own entry (of containers), or {}.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    nbytes: int
    offset: int
    region: str = ""
    data: Any = None
    entry: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class OutputSlot:
    """How one output is wanted: binary or JSON, in the body or in a region."""

    name: str
    binary: bool
    region: str = ""
    offset: int = 0
    capacity: int = 0


@dataclass(slots=True)
class InferRequest:
    """A parsed request.

    Attributes:
        request_id: "" where there is none or `split_id` took it.
        inputs: in the request's order.
        output_names: what was asked for; None for all.
        outputs: by name, how each is wanted.
        binary_default: outputs not named in `outputs` are wanted in binary form.
        output_region: (name, offset, size) of the extension in docs/protocol.md, or None.
        binary_bytes: how many bytes must follow the JSON.
        direct: every input is a tensor of numbers in the body, at a multiple of `ALIGNED`.
        signature: names, datatypes and shapes of the inputs; equal ones need equal memory.
        responses: remembered response JSON by model and output shapes.
    """

    request_id: str
    inputs: tuple[InputSlot, ...]
    output_names: tuple[str, ...] | None
    outputs: dict[str, OutputSlot]
    binary_default: bool
    output_region: tuple[str, int, int] | None
    binary_bytes: int
    direct: bool
    signature: str
    responses: dict[Any, bytes] = field(default_factory=dict)

    @property
    def reusable(self) -> bool:
        """Nothing in it belongs to one request alone."""
        return not self.request_id and all(slot.data is None for slot in self.inputs)


def split_id(raw: bytes) -> tuple[bytes, bytes]:
    """The JSON without a leading `"id"` member, and that member's raw text (quotes included)."""
    if not raw.startswith(b'{"id":"'):
        return raw, b""
    end = raw.find(b'"', 7)
    if end < 0 or raw.find(b"\\", 7, end) >= 0 or raw[end + 1 : end + 2] != b",":
        return raw, b""
    return b"{" + raw[end + 2 :], raw[6 : end + 1]


def parse_infer_request(raw: bytes) -> InferRequest:
    """Parse the JSON of an inference request.

    Raises:
        InvalidRequestError: not JSON or not a request; the message names the place.
    """
    return build_request(parse_object(raw))


def build_request(body: Mapping[str, Any]) -> InferRequest:
    """The request that a document says, whatever it was written in.

    Args:
        body: as the JSON has it; an input's `data` may be its array too.

    Raises:
        InvalidRequestError: it is no request; the message names the place.
    """
    parameters = _parameters(body, "the request")
    inputs: list[InputSlot] = []
    at = 0
    entries = body.get("inputs")
    if not isinstance(entries, list) or len(entries) > MAX_INPUTS:
        raise InvalidRequestError('The request has no list of "inputs".')
    for entry in entries:
        slot = _input_slot(entry, at)
        if not slot.region:
            at += slot.nbytes
        inputs.append(slot)
    if len({slot.name for slot in inputs}) != len(inputs):
        raise InvalidRequestError("Two inputs have one name.")
    binary_default = parameters.get("binary_data_output", False) is True
    outputs, names = _output_slots(body.get("outputs"), binary_default=binary_default)
    request_id = body.get("id", "")
    if not isinstance(request_id, str):
        raise InvalidRequestError('The "id" must be a string.')
    return InferRequest(
        request_id,
        tuple(inputs),
        names,
        outputs,
        binary_default,
        _output_region(parameters),
        at,
        all(
            slot.dtype is not None
            and slot.dtype.kind != "b"
            and not slot.region
            and slot.offset % ALIGNED == 0
            for slot in inputs
        ),
        repr([(slot.name, slot.datatype, slot.shape) for slot in inputs]),
    )


def _parameters(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"The parameters of {where} must be an object.")
    return parameters


def _size_of(parameters: Mapping[str, Any], key: str, where: str, default: int = 0) -> int:
    size = parameters.get(key, default)
    if type(size) is not int or not 0 <= size < 1 << 62:
        raise InvalidRequestError(f"{key} of {where} must be a number of bytes.")
    return size


def _check_region(parameters: Mapping[str, Any], where: str) -> None:
    if ("shared_memory_region" in parameters) != ("shared_memory_byte_size" in parameters):
        raise InvalidRequestError(
            f"The parameters of {where} need both of shared_memory_region and "
            "shared_memory_byte_size, or neither."
        )
    region = parameters.get("shared_memory_region", "none")
    if not isinstance(region, str) or not region:
        # Without a name it would be taken for the body, at an offset of the caller's.
        raise InvalidRequestError(f"The shared_memory_region of {where} must be a name.")


def _name_of(entry: Any, what: str) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidRequestError(f"An {what} has no name.")
    return name


def _input_slot(entry: Any, at: int) -> InputSlot:
    name = _name_of(entry, "input")
    where = f"input {name[:100]!r}"
    datatype = entry.get("datatype")
    if not isinstance(datatype, str) or not (
        datatype in CARRIER or datatype in BITS or datatype in CONTAINERS
    ):
        raise InvalidRequestError(f"The datatype {str(datatype)[:40]!r} of {where} is not known.")
    try:
        shape = parse_shape(entry.get("shape"))
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{where}: {error.message}") from None
    parameters = _parameters(entry, where)
    _check_region(parameters, where)
    if "data" in entry and not parameters.keys().isdisjoint(_BINARY_FORMS):
        raise InvalidRequestError(f"{where} has its data in two forms.")
    carrier = CARRIER.get(datatype)
    dtype = None if carrier is None or carrier.hasobject else carrier
    if "shared_memory_region" in parameters:
        size = _size_of(parameters, "shared_memory_byte_size", where)
        offset = _size_of(parameters, "shared_memory_offset", where)
        region = str(parameters["shared_memory_region"])
        slot = InputSlot(name, datatype, shape, dtype, size, offset, region, entry=entry)
    elif "binary_data_size" in parameters:
        size = _size_of(parameters, "binary_data_size", where)
        slot = InputSlot(name, datatype, shape, dtype, size, at, entry=entry)
    elif isinstance(entry.get("data"), list | np.ndarray):
        return InputSlot(name, datatype, shape, None, 0, 0, data=entry["data"])
    else:
        raise InvalidRequestError(f"{where} has no data.")
    if dtype is not None and slot.nbytes != (expected := byte_size(datatype, shape)):
        raise InvalidRequestError(
            f"{where}: {datatype}{list(shape)} takes {expected} bytes, got {slot.nbytes}."
        )
    return slot


def _output_slots(
    entries: Any, *, binary_default: bool
) -> tuple[dict[str, OutputSlot], tuple[str, ...] | None]:
    if entries is None or entries == []:
        return {}, None
    if not isinstance(entries, list) or len(entries) > MAX_INPUTS:
        raise InvalidRequestError('"outputs" must be a list.')
    slots: dict[str, OutputSlot] = {}
    for entry in entries:
        name = _name_of(entry, "output")
        where = f"output {name[:100]!r}"
        parameters = _parameters(entry, where)
        _check_region(parameters, where)
        if parameters.get("classification"):
            raise InvalidRequestError(
                f"{where}: the classification extension is not supported.",
                next_step="Ask for the tensor and rank it on the client.",
            )
        if name in slots:
            raise InvalidRequestError(f"{where} is asked for twice.")
        slots[name] = OutputSlot(
            name,
            parameters.get("binary_data", binary_default) is True,
            str(parameters.get("shared_memory_region", "")),
            _size_of(parameters, "shared_memory_offset", where),
            _size_of(parameters, "shared_memory_byte_size", where),
        )
    return slots, tuple(slots)


def _output_region(parameters: Mapping[str, Any]) -> tuple[str, int, int] | None:
    name = parameters.get("elastic_inference_output_region")
    if name is None:
        return None
    offset = _size_of(parameters, "elastic_inference_output_offset", "the request")
    size = _size_of(parameters, "elastic_inference_output_byte_size", "the request")
    return str(name), offset, size


def read_inputs(
    request: InferRequest, body: Buffer, start: int, regions: Regions
) -> dict[str, Value]:
    """The input values, as views of `body` and of the regions wherever possible.

    Args:
        body: a buffer that holds the binary data from `start` on, `ALIGNMENT`-aligned there.
        regions: the shared memory that this connection may name.

    Raises:
        InvalidRequestError: bytes and shapes do not fit, or there is no such region.
    """
    if request.direct:
        return {
            slot.name: np.ndarray(slot.shape, slot.dtype, body, start + slot.offset)
            for slot in request.inputs
        }
    return {slot.name: _read_input(slot, body, start, regions) for slot in request.inputs}


def _read_input(slot: InputSlot, body: Buffer, start: int, regions: Regions) -> Value:
    if isinstance(slot.data, np.ndarray):
        return slot.data
    if slot.data is not None:
        return tensor_from_json(slot.name, slot.datatype, slot.shape, slot.data)
    if slot.region:
        data = regions.read(slot.region, slot.offset, slot.nbytes)
        if slot.dtype is None or _steers(slot.dtype):
            # The other side could change it after it was checked.
            data = memoryview(bytearray(data))
    else:
        data = body[start + slot.offset : start + slot.offset + slot.nbytes]
    try:
        if slot.datatype in CONTAINERS:
            return decode_value(slot.entry, data)
        return decode_tensor(slot.datatype, slot.shape, data)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"input {slot.name[:100]!r}: {error.message}") from None


def _steers(dtype: np.dtype[Any]) -> bool:
    """Whether an engine may take such elements for indices, sizes or conditions.

    It checks them once and then relies on them; of pixels and numbers it only computes.
    """
    return dtype.kind == "b" or (dtype.kind in "iu" and dtype.itemsize > 1)


@dataclass(slots=True)
class InferResponse:
    """A response to send: its JSON, and the binary data that follows it."""

    header: bytes
    buffers: Sequence[Buffer]


def write_response(
    request: InferRequest,
    model: tuple[str, str],
    specs: Sequence[TensorSpec],
    values: Sequence[Value],
    regions: Regions,
    raw_id: bytes = b"",
) -> InferResponse:
    """The response that carries `values`.

    Args:
        model: name and version, as the response says them.
        specs: what each value is, in the order of `values`.
        raw_id: the id's JSON text that `split_id` took.

    Raises:
        InvalidRequestError: an output does not fit its region.
    """
    if request.output_region is None and not request.request_id:
        key = _cache_key(request, model, specs, values)
        if key is not None:
            buffers = [bytes_of(value) for value in values]
            header = request.responses.get(key)
            if header is None:
                header = _describe(request, model, specs, values, regions)[0]
                if len(request.responses) < _MAX_CACHED_RESPONSES:
                    request.responses[key] = header
            return InferResponse(_with_id(header, raw_id), buffers)
    header, parts = _describe(request, model, specs, values, regions)
    return InferResponse(_with_id(header, raw_id), parts)


def _with_id(header: bytes, raw_id: bytes) -> bytes:
    return b'{"id":' + raw_id + b"," + header[1:] if raw_id else header


def bytes_of(array: Any) -> Buffer:
    """The bytes of a numeric array as a flat view."""
    if array.flags.c_contiguous and array.size and array.dtype.isnative:
        return array.data.cast("B") if array.ndim else memoryview(array.tobytes())
    return encode_tensor(array)


def _cache_key(
    request: InferRequest,
    model: tuple[str, str],
    specs: Sequence[TensorSpec],
    values: Sequence[Value],
) -> Any:
    """A key under which the response JSON may be remembered, or None."""
    shapes = []
    for spec, value in zip(specs, values, strict=True):
        if type(value) is not np.ndarray or value.dtype.hasobject:
            return None
        slot = request.outputs.get(spec.name)
        if slot is None:
            if not request.binary_default:
                return None
        elif not slot.binary or slot.region:
            return None
        shapes.append((spec.name, spec.datatype, value.shape))
    return (model, tuple(shapes))


def _describe(
    request: InferRequest,
    model: tuple[str, str],
    specs: Sequence[TensorSpec],
    values: Sequence[Value],
    regions: Regions,
) -> tuple[bytes, list[Buffer]]:
    head: dict[str, Any] = {"model_name": model[0], "model_version": model[1]}
    if request.request_id:
        head["id"] = request.request_id
    described = describe_outputs(request, specs, values, regions)
    head["outputs"] = [entry for entry, _ in described]
    buffers = [part for _, parts in described for part in parts]
    return json.dumps(head, separators=(",", ":")).encode(), buffers


def describe_outputs(
    request: InferRequest, specs: Sequence[TensorSpec], values: Sequence[Value], regions: Regions
) -> list[tuple[dict[str, Any], list[Buffer]]]:
    """The entry of each output, and the binary data that follows in the body.

    Raises:
        InvalidRequestError: an output does not fit its region.
    """
    window = _Window(request.output_region, regions) if request.output_region else None
    described: list[tuple[dict[str, Any], list[Buffer]]] = []
    for spec, value in zip(specs, values, strict=True):
        slot = request.outputs.get(spec.name) or OutputSlot(spec.name, request.binary_default)
        if not (slot.binary or slot.region or window):
            described.append(({"name": spec.name, **value_to_json(value, spec)}, []))
            continue
        encoded, parts = encode_value(value, spec)
        entry = {"name": spec.name, **encoded}
        if slot.region:
            _check_capacity(entry, slot)
            _place(entry, parts, regions, slot.region, slot.offset)
            parts = []
        elif window is not None and window.place(entry, parts):
            parts = []
        described.append((entry, parts))
    return described


def _check_capacity(entry: Mapping[str, Any], slot: OutputSlot) -> None:
    size = entry["parameters"]["binary_data_size"]
    if size > slot.capacity:
        raise InvalidRequestError(
            f"output {slot.name[:100]!r} takes {size} bytes, its shared memory has {slot.capacity}."
        )


def _place(
    entry: dict[str, Any], parts: Sequence[Buffer], regions: Regions, region: str, offset: int
) -> None:
    regions.write(region, offset, parts)
    entry["parameters"] = {
        "shared_memory_region": region,
        "shared_memory_offset": offset,
        "shared_memory_byte_size": entry["parameters"]["binary_data_size"],
    }


class _Window:
    """The region into which the extension lays outputs one after the other."""

    def __init__(self, region: tuple[str, int, int], regions: Regions) -> None:
        self._name, self._offset, self._size = region
        self._regions = regions
        self._used = 0

    def place(self, entry: dict[str, Any], parts: Sequence[Buffer]) -> bool:
        """Lay the value down if it fits."""
        size = entry["parameters"]["binary_data_size"]
        start = -(-self._used // ALIGNMENT) * ALIGNMENT
        if start + size > self._size:
            return False
        _place(entry, parts, self._regions, self._name, self._offset + start)
        self._used = start + size
        return True
