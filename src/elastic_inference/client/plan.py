"""Requests prepared once and sent many times, and the layout of their answers.

A plan belongs to a model, the names, dtypes and shapes of its inputs and the outputs asked
for. Everything but the tensors' bytes is in it already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from elastic_inference.client.http import not_http, request_head
from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.tensors import (
    CARRIER,
    CONTAINERS,
    Array,
    Buffer,
    TensorSpec,
    Value,
    byte_size,
    datatype_of,
    encode_value,
    parse_shape,
)

# Below this, one system call with a copy is faster than several without.
SMALL = 16 * 1024
_MAX_PLANS = 256
_MAX_LAYOUTS = 16
# What reading a document of another form may raise.
_MALFORMED = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    InvalidRequestError,
)


@dataclass(frozen=True, slots=True)
class OutputSlot:
    """Where one output is in an answer.

    Attributes:
        dtype: of a plain numeric tensor; None where `entry` has to be decoded.
        offset, nbytes: from the first binary byte, or within the region.
        region: name of a shared memory region, or "".
    """

    entry: Mapping[str, Any]
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    region: str


@dataclass(frozen=True, slots=True)
class Layout:
    """An answer's outputs.

    Attributes:
        slots: in the answer's order.
        order: for each output asked for, its index in `slots`.
        nbytes: of all outputs together, wherever they are.
    """

    slots: tuple[OutputSlot, ...]
    order: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class Prefix:
    """The last small answer: while the next one begins so, it needs no parsing.

    Attributes:
        raw: head and JSON.
        total: bytes of the whole answer.
        parts: shape, dtype and place in the answer of each output asked for.
    """

    raw: bytes
    total: int
    parts: tuple[tuple[tuple[int, ...], np.dtype[Any], int, int], ...]


@dataclass(slots=True)
class Plan:
    """A prepared request.

    Attributes:
        request: head and JSON.
        wanted: names of the outputs, in the order to return them.
        asked: the same where the caller named them, else None.
        shared: request by where its tensors lie in shared memory.
        input_bytes: of all inputs.
        buffers: the inputs' bytes where they are not plain numeric arrays; such a plan is
            used once. None for plain ones.
        convert: an input is not in the machine's byte order.
        output_bytes: of the last answer's outputs.
    """

    request: bytes
    wanted: tuple[str, ...]
    asked: tuple[str, ...] | None
    input_bytes: int
    buffers: list[Buffer] | None = None
    convert: bool = False
    output_bytes: int = 0
    prefix: Prefix | None = None
    layouts: dict[bytes, Layout] = field(default_factory=dict)
    shared: dict[Any, bytes] = field(default_factory=dict)

    def layout(self, raw: bytes, binary_bytes: int) -> Layout:
        """The layout that an answer's JSON describes, `binary_bytes` following it.

        Raises:
            AcceleratorLostError: it does not describe an answer to this request.
        """
        layout = self.layouts.get(raw)
        if layout is None:
            layout = parse_layout(raw, self.wanted)
            if len(self.layouts) >= _MAX_LAYOUTS:
                self.layouts.clear()
            self.layouts[raw] = layout
        if sum(slot.nbytes for slot in layout.slots if not slot.region) != binary_bytes:
            raise not_http("its outputs do not fit its length")
        self.output_bytes = layout.nbytes
        return layout


class Planner:
    """The plans of one model."""

    def __init__(
        self, handle: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:
        self.handle = handle
        self.plans: dict[Any, Plan] = {}
        self._inputs = {spec.name: spec for spec in inputs}
        self._outputs = tuple(spec.name for spec in outputs)

    def make(self, key: Any, feeds: Mapping[str, Value], outputs: tuple[str, ...] | None) -> Plan:
        """A plan for `feeds`; remembered under `key` where it can be used again.

        Raises:
            InvalidRequestError: a value is not one that the protocol carries.
        """
        entries = []
        plain = True
        buffers: list[Buffer] = []
        for name, value in feeds.items():
            if is_plain(value):
                entries.append(self._plain_entry(name, value))
            else:
                plain = False
        if not plain:
            entries, buffers = self.encode(feeds)
        wanted = self._outputs if outputs is None else outputs
        size = sum(entry["parameters"]["binary_data_size"] for entry in entries)
        asked = None if outputs is None else wanted
        plan = Plan(
            infer_request(self.handle, entries, asked, size),
            wanted,
            asked,
            size,
            None if plain else buffers,
            plain and any(not value.dtype.isnative for value in feeds.values()),  # type: ignore[union-attr]  # plain ones are arrays
        )
        if plain:
            if len(self.plans) >= _MAX_PLANS:
                self.plans.clear()
            self.plans[key] = plan
        return plan

    def encode(self, feeds: Mapping[str, Value]) -> tuple[list[dict[str, Any]], list[Buffer]]:
        """The entries of any values in a request, and the bytes that follow it.

        Raises:
            InvalidRequestError: a value is not one that the protocol carries.
        """
        entries = []
        buffers: list[Buffer] = []
        for name, value in feeds.items():
            entry, parts = self._encode(name, value)
            entries.append(entry)
            buffers.extend(parts)
        return entries, buffers

    def datatype(self, name: str, value: Array) -> str:
        """What `value` is on the wire: the model's own type where it is the carrier of that."""
        spec = self._inputs.get(name)
        if spec is not None and CARRIER.get(spec.datatype) == value.dtype.newbyteorder("="):
            return spec.datatype
        return datatype_of(value)

    def _plain_entry(self, name: str, value: Array) -> dict[str, Any]:
        return {
            "name": name,
            "datatype": self.datatype(name, value),
            "shape": list(value.shape),
            "parameters": {"binary_data_size": value.nbytes},
        }

    def _encode(self, name: str, value: Value) -> tuple[dict[str, Any], list[Buffer]]:
        spec = self._inputs.get(name)
        if isinstance(value, np.ndarray | np.generic):
            spec = TensorSpec(name, self.datatype(name, value), value.shape)
            value = np.asarray(value)
        if spec is None:
            known = ", ".join(self._inputs) or "none"
            raise InvalidRequestError(f"The model has no input {name!r}; it has: {known}.")
        entry, parts = encode_value(value, spec)
        return {"name": name, **entry}, parts


def is_plain(value: Any) -> TypeGuard[Array]:
    """Whether `value` is an array whose memory is its binary form."""
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcV"


def infer_request(
    handle: str,
    entries: list[dict[str, Any]],
    outputs: Sequence[str] | None,
    body_bytes: int,
    parameters: Mapping[str, Any] | None = None,
) -> bytes:
    """Head and JSON of an inference with `body_bytes` of binary data behind them."""
    body: dict[str, Any] = {
        "inputs": entries,
        "parameters": {"binary_data_output": True, **(parameters or {})},
    }
    if outputs is not None:
        body["outputs"] = [{"name": str(name)} for name in outputs]
    raw = json.dumps(body, separators=(",", ":")).encode()
    # Blanks behind the JSON put the tensors on a multiple of their largest element.
    raw += b" " * (-len(raw) % 16)
    head = request_head(
        "POST",
        f"/v2/models/{handle}/infer",
        len(raw) + body_bytes,
        f"Inference-Header-Content-Length: {len(raw)}\r\n",
    )
    return head + raw


def parse_layout(raw: bytes, wanted: Sequence[str]) -> Layout:
    """The layout in an answer's JSON.

    Raises:
        AcceleratorLostError: it is malformed, or lacks one of `wanted`.
    """
    try:
        entries = list(json.loads(raw)["outputs"])
        slots: list[OutputSlot] = []
        names = {}
        at = 0
        for entry in entries:
            slot = _slot(entry, at)
            if not slot.region:
                at += slot.nbytes
            names[entry["name"]] = len(slots)
            slots.append(slot)
        order = tuple(names[name] for name in wanted)
    except _MALFORMED as error:
        raise not_http(f"its outputs are malformed ({error!r:.200})") from error
    return Layout(tuple(slots), order, sum(slot.nbytes for slot in slots))


def _slot(entry: Mapping[str, Any], at: int) -> OutputSlot:
    datatype = entry["datatype"]
    shape = parse_shape(entry["shape"])
    parameters = entry["parameters"]
    region = parameters.get("shared_memory_region", "")
    key = "shared_memory_byte_size" if region else "binary_data_size"
    nbytes = parameters[key]
    offset = parameters["shared_memory_offset"] if region else at
    if type(nbytes) is not int or type(offset) is not int or nbytes < 0 or offset < 0:
        raise TypeError("a size is not a number")
    carrier = None if datatype in CONTAINERS else CARRIER.get(datatype)
    if carrier is not None and carrier.hasobject:
        carrier = None
    if carrier is not None and nbytes != byte_size(datatype, shape):
        raise ValueError(f"{nbytes} bytes are not a {datatype}{list(shape)}")
    return OutputSlot(entry, carrier, shape, offset, nbytes, str(region))
