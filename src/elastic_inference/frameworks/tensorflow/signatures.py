"""The signatures of a SavedModel, read without TensorFlow.

Messages: tensorflow/core/protobuf/saved_model.proto and meta_graph.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.errors import ModelFormatError, NotFoundError
from elastic_inference.frameworks.tensorflow.plan import Shape, Tensor
from elastic_inference.protocol.tensorflow import NAMES, name_of
from elastic_inference.protocol.wireformat import BYTES, VARINT, Span, fields

SAVED_MODEL = "saved_model.pb"
INIT_OP = "__saved_model_init_op"
# A graph without its variables; TensorFlow itself reads no more than 2 GB.
_LARGEST = 2**31 - 1
_META_GRAPHS, _META_INFO, _SIGNATURES, _TAGS = 2, 1, 5, 4
_INPUTS, _OUTPUTS, _METHOD = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry of a SavedModel's `signature_def`.

    Attributes:
        inputs, outputs: by key; a tensor that is no dense one has the name "".
        method: its method name.
        raw: its SignatureDef as it lies in the file.
    """

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    method: str
    raw: bytes


def read_signatures(folder: Path, tags: Sequence[str] = ("serve",)) -> dict[str, Signature]:
    """All signatures of the meta graph with exactly these tags, by key.

    Raises:
        NotFoundError: the folder holds no SavedModel, or none with these tags.
        ModelFormatError: its file is damaged.
    """
    path = folder / SAVED_MODEL
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelFormatError(f"{path} is larger than 2 GB.")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"There is no SavedModel in {folder}: it has no {SAVED_MODEL}.",
            next_step="Name the folder that holds it, for example the one of a version.",
        ) from None
    except OSError as error:
        raise ModelFormatError(f"{path} cannot be read: {error.strerror}.") from error
    found = []
    for number, _, span in _fields(data, (0, len(data))):
        if number == _META_GRAPHS:
            has = _tags(data, span)
            if has == set(tags):
                return _signatures(data, span)
            found.append(", ".join(sorted(has)) or "none")
    raise NotFoundError(
        f"{path} has no meta graph with the tags {', '.join(tags) or 'none'}; "
        f"it has: {'; '.join(found) or 'no meta graph'}.",
        next_step="Give the tags of one of these.",
    )


def _refuse(why: str) -> ModelFormatError:
    return ModelFormatError(f"The SavedModel's file is damaged: {why}.")


def _fields(data: bytes, span: Span) -> Iterator[tuple[int, int, Span]]:
    return fields(data, span, _refuse)


def _tags(data: bytes, meta: Span) -> set[str]:
    found = set()
    for number, wire, span in _fields(data, meta):
        if number == _META_INFO and wire == BYTES:
            for inner, _, text in _fields(data, span):
                if inner == _TAGS:
                    found.add(_text(data, text))
    return found


def _signatures(data: bytes, meta: Span) -> dict[str, Signature]:
    found = {}
    for number, wire, span in _fields(data, meta):
        if number == _SIGNATURES and wire == BYTES:
            key, value = _entry(data, span)
            found[key] = _signature(data, value)
    return found


def _entry(data: bytes, span: Span) -> tuple[str, Span]:
    """Key and value of an entry of a map."""
    key, value = "", (span[1], span[1])
    for number, wire, inner in _fields(data, span):
        if wire != BYTES:
            continue
        if number == 1:
            key = _text(data, inner)
        elif number == 2:
            value = inner
    return key, value


def read_signature(raw: bytes) -> Signature:
    """The signature in the bytes of a SignatureDef.

    Raises:
        ModelFormatError: the bytes are none.
    """
    return _signature(raw, (0, len(raw)))


def _signature(data: bytes, span: Span) -> Signature:
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    method = ""
    for number, wire, inner in _fields(data, span):
        if wire != BYTES:
            continue
        if number in (_INPUTS, _OUTPUTS):
            key, value = _entry(data, inner)
            (inputs if number == _INPUTS else outputs)[key] = _tensor_info(data, value)
        elif number == _METHOD:
            method = _text(data, inner)
    return Signature(inputs, outputs, method, data[span[0] : span[1]])


def _tensor_info(data: bytes, span: Span) -> Tensor:
    """A TensorInfo: name = 1, dtype = 2, tensor_shape = 3."""
    name = dtype = ""
    shape: Shape = None
    for number, wire, inner in _fields(data, span):
        if number == 1 and wire == BYTES:
            name = _text(data, inner)
        elif number == 2 and wire == VARINT:
            dtype = name_of(inner[0]) if inner[0] in NAMES else ""
        elif number == 3 and wire == BYTES:
            shape = _shape(data, inner)
    return Tensor(name, dtype, shape)


def _shape(data: bytes, span: Span) -> Shape:
    """A TensorShapeProto: dim = 2 {size = 1}, unknown_rank = 3."""
    sizes: list[int | None] = []
    for number, wire, inner in _fields(data, span):
        if number == 3 and wire == VARINT and inner[0]:
            return None
        if number == 2 and wire == BYTES:
            size = 0
            for key, kind, value in _fields(data, inner):
                if key == 1 and kind == VARINT:
                    size = value[0] - 2**64 if value[0] >= 2**63 else value[0]
            sizes.append(size if size >= 0 else None)
    return tuple(sizes)


def _text(data: bytes, span: Span) -> str:
    try:
        return data[span[0] : span[1]].decode()
    except UnicodeDecodeError:
        raise _refuse("a text is not UTF-8") from None
