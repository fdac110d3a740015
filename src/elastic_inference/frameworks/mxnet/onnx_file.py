"""What a symbol needs of an ONNX file: inputs, outputs, weights, and the rest as it is."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from elastic_inference.errors import InvalidRequestError, ModelFormatError
from elastic_inference.frameworks.mxnet import onnx_writer
from elastic_inference.frameworks.mxnet.builder import MAIN, Store
from elastic_inference.frameworks.mxnet.origins import map_file
from elastic_inference.protocol.tensors import Array
from elastic_inference.protocol.wireformat import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Span,
    fields,
    not_onnx,
    number_field,
    read_varint,
    submessage,
    varint,
)

# Numbers of ONNX's dtypes; what has no number here stays inside of the model.
DTYPES: Mapping[int, str] = {
    1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64",
}  # fmt: skip
_MODEL_GRAPH, _GRAPH_NAME, _GRAPH_WEIGHTS, _GRAPH_INPUTS, _GRAPH_OUTPUTS = 7, 2, 5, 11, 12
_MAX_RANK = 32
# Fields of a tensor with its content one number after the other.
_NUMBERS = {4: "<f4", 10: "<f8"}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output.

    Attributes:
        shape: 0 for a size that may be any, None where not even the rank is told.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """An ONNX model without those of its weights that are of floating point.

    Attributes:
        name: of the graph.
        weights: the missing ones.
        head: the model's bytes without the graph; `body`: the graph's bytes.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: tuple[Port, ...]
    head: bytes
    body: bytes

    def to_text(self) -> str:
        """The whole as text, for an attribute of a symbol."""
        document = {
            "head": base64.b64encode(self.head).decode(),
            "body": base64.b64encode(self.body).decode(),
            "weights": [[each.name, each.dtype, list(each.shape or ())] for each in self.weights],
        }
        return json.dumps(document, separators=(",", ":"))

    @staticmethod
    def from_text(text: str) -> OnnxGraph:
        """What `to_text` wrote.

        Raises:
            ModelFormatError: it did not.
        """
        try:
            document = json.loads(text)
            head, body = (base64.b64decode(document[key]) for key in ("head", "body"))
            weights = tuple(
                Port(str(name), str(np.dtype(dtype)), tuple(int(size) for size in shape))
                for name, dtype, shape in document["weights"]
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFormatError(f"The imported model is damaged: {error}.") from error
        return _described(head, body, weights)

    def files(self, weights: Mapping[str, Array]) -> dict[str, Any]:
        """The model with these weights, as the client takes it; others are inputs."""
        store = Store()
        body = self.body
        for each in self.weights:
            array = weights.get(each.name)
            if array is None:
                body += submessage(
                    _GRAPH_INPUTS, onnx_writer.value_info(each.name, each.dtype, each.shape)
                )
            else:
                place = store.place(array)
                written = onnx_writer.tensor(each.name, array, place)
                body += submessage(_GRAPH_WEIGHTS, written)
        return {MAIN: self.head + submessage(_MODEL_GRAPH, body), **store.files()}


def read(path: str) -> tuple[OnnxGraph, dict[str, Array]]:
    """An ONNX file, and its weights where they lie in it.

    Raises:
        InvalidRequestError: it cannot be read.
        ModelFormatError: it is no ONNX model.
    """
    try:
        with Path(path).open("rb") as file:
            whole = map_file(file, str(path))
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"Cannot read {path}: {error}.") from error
    data = memoryview(whole)
    head, graph = b"", None
    for number, wire, span in fields(data, (0, len(data))):
        if number == _MODEL_GRAPH and wire == BYTES:
            if graph is not None:
                raise not_onnx("it has two graphs")
            graph = span
        else:
            head += _again(data, number, wire, span)
    if graph is None:
        raise not_onnx("it has no graph")
    weights: dict[str, Array] = {}
    body = bytearray()
    for number, wire, span in fields(data, graph):
        if number == _GRAPH_WEIGHTS and wire == BYTES:
            found = _weight(whole, data, span, Path(path).parent)
            if found is None:
                body += _whole_tensor(data, span, Path(path).parent)
            else:
                weights[found[0]] = found[1]
        else:
            body += _again(data, number, wire, span)
    ports = tuple(Port(name, each.dtype.name, each.shape) for name, each in weights.items())
    return _described(head, bytes(body), ports), weights


def _again(data: memoryview, number: int, wire: int, span: Span) -> bytes:
    """A field as it was."""
    if wire == VARINT:
        return number_field(number, span[0])
    content = bytes(data[span[0] : span[1]])
    if wire == BYTES:
        return submessage(number, content)
    return varint(number << 3 | wire) + content


def _described(head: bytes, body: bytes, weights: tuple[Port, ...]) -> OnnxGraph:
    data = memoryview(body)
    name = ""
    inside = {each.name for each in weights}
    inputs: list[Port] = []
    outputs: list[Port] = []
    kept = bytearray()
    for number, wire, span in fields(data, (0, len(data))):
        if wire == BYTES and number == _GRAPH_NAME:
            name = _text(data, span)
        elif wire == BYTES and number == _GRAPH_WEIGHTS:
            inside.add(_name(data, span, 8))
    for number, wire, span in fields(data, (0, len(data))):
        if wire == BYTES and number == _GRAPH_INPUTS:
            # Weights need be no inputs, and models run faster where they are none.
            if _name(data, span, 1) in inside:
                continue
            inputs.append(_port(data, span))
        elif wire == BYTES and number == _GRAPH_OUTPUTS:
            outputs.append(_port(data, span))
        kept += _again(data, number, wire, span)
    return OnnxGraph(name or "onnx", tuple(inputs), tuple(outputs), weights, head, bytes(kept))


def _port(data: memoryview, span: Span) -> Port:
    """A ValueInfoProto."""
    name, dtype, shape = "", 0, None
    for number, wire, inner in fields(data, span):
        if number == 1 and wire == BYTES:
            name = _text(data, inner)
        elif number == 2 and wire == BYTES:
            for kind, kind_wire, tensor in fields(data, inner):
                if kind == 1 and kind_wire == BYTES:
                    dtype, shape = _tensor_type(data, tensor)
    if dtype not in DTYPES:
        raise ModelFormatError(
            f"{name!r} of the ONNX model is no tensor of numbers, and MXNet has no other."
        )
    return Port(name, DTYPES[dtype], shape)


def _tensor_type(data: memoryview, span: Span) -> tuple[int, tuple[int, ...] | None]:
    dtype, shape = 0, None
    for number, wire, inner in fields(data, span):
        if number == 1 and wire == VARINT:
            dtype = inner[0]
        elif number == 2 and wire == BYTES:
            sizes = [_size(data, each) for one, _, each in fields(data, inner) if one == 1]
            shape = tuple(sizes[:_MAX_RANK])
    return dtype, shape


def _size(data: memoryview, span: Span) -> int:
    for number, wire, inner in fields(data, span):
        if number == 1 and wire == VARINT:
            return inner[0]
    return 0


def _whole_tensor(data: memoryview, span: Span, folder: Path) -> bytes:
    """A tensor that stays in the graph, with its content if that lies elsewhere."""
    body = bytearray()
    elsewhere: dict[str, str] = {}
    for number, wire, inner in fields(data, span):
        if number == 13 and wire == BYTES:
            elsewhere.update([_entry(data, inner)])
        elif number != 14:
            body += _again(data, number, wire, inner)
    if elsewhere:
        body += submessage(9, _external(folder, elsewhere).tobytes())
    return submessage(_GRAPH_WEIGHTS, bytes(body))


@dataclass(slots=True)
class _Tensor:
    """What a TensorProto says."""

    name: str = ""
    dtype: str = ""
    sizes: list[int] = field(default_factory=list)
    raw: Array | None = None
    numbers: list[Array] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)


def _tensor(whole: Array, data: memoryview, span: Span) -> _Tensor:
    found = _Tensor()
    for number, wire, inner in fields(data, span):
        if number == 1:
            found.sizes += _integers(data, wire, inner)
        elif number == 2 and wire == VARINT:
            found.dtype = DTYPES.get(inner[0], "")
        elif number in _NUMBERS and wire in (BYTES, FIXED32, FIXED64):
            found.numbers.append(_numbers(data[slice(*inner)], _NUMBERS[number]))
        elif wire == BYTES and number == 8:
            found.name = _text(data, inner)
        elif wire == BYTES and number == 9:
            found.raw = whole[slice(*inner)]
        elif wire == BYTES and number == 13:
            found.elsewhere.update([_entry(data, inner)])
    return found


def _numbers(content: memoryview, kind: str) -> Array:
    if len(content) % np.dtype(kind).itemsize:
        raise not_onnx("a list of numbers in it is cut off")
    return np.frombuffer(content, kind)


def _weight(whole: Array, data: memoryview, span: Span, folder: Path) -> tuple[str, Array] | None:
    """Name and content of a TensorProto of floating point; None for others."""
    found = _tensor(whole, data, span)
    raw = _external(folder, found.elsewhere) if found.elsewhere else found.raw
    if not found.dtype.startswith("float") or (found.dtype == "float16" and raw is None):
        return None
    if raw is None:
        array = np.concatenate(found.numbers) if found.numbers else np.zeros(0, found.dtype)
        array.flags.writeable = False
    else:
        array = raw.view(np.dtype(found.dtype)) if _whole(raw, found.dtype) else raw
    if array.size != int(np.prod(found.sizes, dtype=np.int64)) or array.dtype != found.dtype:
        raise not_onnx(f"the weight {found.name!r} has not the size that it says")
    return found.name, array.reshape(found.sizes)


def _whole(raw: Array, kind: str) -> bool:
    return raw.size % np.dtype(kind).itemsize == 0


def _external(folder: Path, entries: Mapping[str, str]) -> Array:
    location = PurePosixPath(entries.get("location", ""))
    if location.is_absolute() or ".." in location.parts or not location.parts:
        raise not_onnx(f"its external data {str(location)!r} is not beside it")
    try:
        with (folder / location).open("rb") as file:
            whole = map_file(file, str(folder / location))
        begin = int(entries.get("offset", "0"))
        end = begin + int(entries.get("length", str(whole.size - begin)))
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"Cannot read {folder / location}: {error}.") from error
    if not 0 <= begin <= end <= whole.size:
        raise not_onnx(f"its external data {str(location)!r} is too short")
    return whole[begin:end]


def _integers(data: memoryview, wire: int, span: Span) -> list[int]:
    if wire == VARINT:
        return [span[0]]
    found, at = [], span[0]
    while at < span[1]:
        value, at = read_varint(data, at, span[1])
        found.append(value)
    return found


def _entry(data: memoryview, span: Span) -> tuple[str, str]:
    texts = {number: _text(data, inner) for number, wire, inner in fields(data, span)
             if wire == BYTES}  # fmt: skip
    return texts.get(1, ""), texts.get(2, "")


def _name(data: memoryview, span: Span, field: int) -> str:
    for number, wire, inner in fields(data, span):
        if number == field and wire == BYTES:
            return _text(data, inner)
    return ""


def _text(data: memoryview, span: Span) -> str:
    try:
        return bytes(data[span[0] : span[1]]).decode()
    except UnicodeDecodeError as error:
        raise not_onnx("a name in it is no text") from error


__all__ = ["DTYPES", "OnnxGraph", "Port", "read"]
