"""ONNX files read as protobuf wire format, without protobuf and without loading weights.

A model file comes from outside. Before the engine opens it, `inspect` walks every place in
which a tensor can name external data, and refuses names that are not among the model's own
files. `detach_weights` rewrites a model so that its large weights lie in a file of their own,
which the engine maps instead of holding them twice.
"""

from __future__ import annotations

import mmap
import os
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from elastic_inference.accelerator.onnxcalls import check_nesting
from elastic_inference.errors import ModelFormatError
from elastic_inference.protocol.wireformat import (
    BYTES,
    VARINT,
    Source,
    Span,
    after,
    fields,
    not_onnx,
    number_field,
    submessage,
    varint,
)

MAX_DEPTH = 64
MAX_FUNCTIONS = 4096
DETACH_LEAST = 1024 * 1024
_LARGE = 64 * 1024
_ALIGNMENT = 4096

# Which fields of which message lead to tensors: message -> field number -> message.
TENSOR_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}  # fmt: skip
EXTERNAL_DATA = 13
# Bytes that a node must contain for the walk to go into it: a tensor's external data has the
# key "location", a subgraph can hold anything. The search costs far less than the walk.
_LOCATION = b"location"
_RAW_DATA, _DATA_LOCATION = 9, 14
# What an entry of external data may say. The engine would believe others, such as where in the
# file a weight lies that was laid out before.
_EXTERNAL_KEYS = frozenset({_LOCATION, b"offset", b"length", b"checksum"})
_STRING = 8
# Fields of a tensor that has more to it than raw data: segments, a second body, a file.
_NOT_PLAIN = (3, _RAW_DATA, EXTERNAL_DATA, _DATA_LOCATION)
_COMPILED = b"EPContext"


@dataclass(frozen=True, slots=True)
class OnnxInfo:
    """What `inspect` found.

    Attributes:
        ir_version: the file's IR version.
        opsets: the operator-set version per domain that the model imports.
        locations: external files that tensors refer to, relative to the model's folder.
        inline_bytes: bytes of large weights that lie in the file itself.
        unranked: names of inputs and outputs whose rank the model does not state.
    """

    ir_version: int
    opsets: dict[str, int]
    locations: frozenset[str]
    inline_bytes: int
    unranked: frozenset[str]


@dataclass(slots=True)
class _Found:
    locations: set[str] = field(default_factory=set)


def inspect(path: Path, files: Collection[str]) -> OnnxInfo:
    """Check the ONNX file at `path`.

    Args:
        files: names, relative to the file's folder, that external data may have.

    Raises:
        ModelFormatError: not an ONNX model, cut off, nested too deeply, compiled for one
            machine, or a tensor refers to a file that is not among `files`.
    """
    with _mapped(path) as data:
        info = _inspect(data)
    known = {posixpath.normpath(name) for name in files}
    for location in info.locations:
        if location not in known:
            raise ModelFormatError(
                f"A tensor of the model refers to the file {location[:200]!r}, which is not "
                "among the model's files.",
                next_step="Upload every file of external data together with the model.",
            )
    return info


def detach_weights(path: Path, skeleton: Path, weights: Path) -> bool:
    """Write the model at `path` anew, its large weights in the file `weights`.

    Both files must be in one folder and be new. No weight passes through anonymous memory.

    Returns:
        False, and nothing is written, where less than `DETACH_LEAST` bytes would move.

    Raises:
        ModelFormatError: `path` is not an ONNX model.
        OSError: the files cannot be written.
    """
    with _mapped(path) as data:
        graphs = [span for number, _, span in fields(data, (0, len(data))) if number == 7]
        if len(graphs) != 1:
            return False
        (graph,) = graphs
        large = [
            (tensor, raw)
            for number, _, tensor in fields(data, graph)
            if number == 5 and (raw := _movable(data, tensor)) is not None
        ]
        if sum(end - start for _, (start, end) in large) < DETACH_LEAST:
            return False
        with path.open("rb") as source, weights.open("xb") as target:
            pieces = _rewrite(data, graph, large, weights.name, source.fileno(), target.fileno())
        with skeleton.open("xb") as output:
            output.writelines(pieces)
    return True


def identity_model(domain: str, version: int) -> bytes:
    """A model of one node, `y = Identity(x)` on `FP32[1]`, that imports an operator set."""
    return _one_node("Identity", (b"x",), (1,), {"": 13, domain: version})


def square_model(size: int = 2) -> bytes:
    """A model of one node, `y = MatMul(x, x)` on `FP32[size, size]`."""
    return _one_node("MatMul", (b"x", b"x"), (size, size), {"": 13})


def _one_node(
    operator: str, inputs: Sequence[bytes], dimensions: Sequence[int], sets: Mapping[str, int]
) -> bytes:
    shape = submessage(
        2, b"".join(submessage(1, number_field(1, dimension)) for dimension in dimensions)
    )
    tensor = submessage(2, submessage(1, number_field(1, 1) + shape))
    node = (
        b"".join(submessage(1, name) for name in inputs)
        + submessage(2, b"y")
        + submessage(4, operator.encode())
    )
    graph = (
        submessage(1, node)
        + submessage(2, b"g")
        + submessage(11, submessage(1, b"x") + tensor)
        + submessage(12, submessage(1, b"y") + tensor)
    )
    imports = b"".join(
        submessage(8, submessage(1, name.encode()) + number_field(2, number))
        for name, number in sets.items()
    )
    return number_field(1, 8) + imports + submessage(7, graph)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise not_onnx("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _inspect(data: Source) -> OnnxInfo:
    ir_version = 0
    opsets: dict[str, int] = {}
    inline = 0
    graph: Span | None = None
    functions = 0
    found = _Found()
    for number, wire, span in fields(data, (0, len(data))):
        if number == 1 and wire == VARINT:
            ir_version = span[0]
        elif number == 8 and wire == BYTES:
            domain, version = _opset(data, span)
            opsets[domain] = version
        elif number == 25:
            functions += 1
        elif number == 7 and wire == BYTES:
            graph = span
            inline += sum(
                raw[1] - raw[0]
                for inner, kind, tensor in fields(data, span)
                if inner == 5 and kind == BYTES
                if (raw := _movable(data, tensor)) is not None
            )
    if ir_version < 1 or graph is None:
        raise not_onnx("it has no graph")
    if functions > MAX_FUNCTIONS:
        raise ModelFormatError(
            f"The model has {functions} functions, more than {MAX_FUNCTIONS}.",
            next_step="Inline its functions before uploading it.",
        )
    _walk(data, (0, len(data)), "model", found, 0)
    if functions:
        check_nesting(data)
    return OnnxInfo(
        ir_version, opsets, frozenset(found.locations), inline, frozenset(_unranked(data, graph))
    )


def _walk(data: Source, span: Span, message: str, found: _Found, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ModelFormatError("The model is nested too deeply.")
    if message == "tensor":
        _tensor(data, span, found)
        return
    if message == "node":
        raw = data[span[0] : span[1]]
        if _COMPILED in raw:
            raise ModelFormatError(
                "The model holds nodes that were compiled for one machine (EPContext).",
                next_step="Export the model without an execution provider's context.",
            )
        if _LOCATION not in raw:
            _skim(raw)
            return
        # A copy of the node: walking bytes is several times faster than walking a map.
        data, span = raw, (0, len(raw))
    paths = TENSOR_PATHS[message]
    for number, wire, inner in fields(data, span):
        if wire == BYTES and number in paths:
            _walk(data, inner, paths[number], found, depth + 1)


def _skim(raw: bytes) -> None:
    """Check that a node is well formed at its first level, as far as that is cheap."""
    for _ in fields(raw, (0, len(raw))):
        pass


def _tensor(data: Source, span: Span, found: _Found) -> None:
    for number, wire, inner in fields(data, span):
        if number != EXTERNAL_DATA or wire != BYTES:
            continue
        parts = [
            (key, bytes(data[part[0] : part[1]]))
            for key, kind, part in fields(data, inner)
            if kind == BYTES and key in (1, 2)
        ]
        keys = {text for key, text in parts if key == 1} or {b""}
        if not keys <= _EXTERNAL_KEYS:
            unknown = min(keys - _EXTERNAL_KEYS).decode("utf-8", "replace")
            raise ModelFormatError(
                f"A tensor's external data has an entry {unknown[:100]!r}, which is not allowed.",
                next_step="Export the model anew: entries are location, offset, length, checksum.",
            )
        if _LOCATION in keys:
            # Which of several keys or values wins is the parser's affair: each must be good.
            texts = [text for key, text in parts if key == 2] or [b""]
            found.locations.update(map(_location, texts))


def _location(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ModelFormatError("The name of an external data file is not UTF-8.") from None
    normal = posixpath.normpath(text)
    if not text or "\0" in text or text.startswith("/") or normal.split("/")[0] in ("..", "."):
        raise ModelFormatError(
            f"A tensor of the model refers outside the model's files: {text[:200]!r}.",
            next_step="Use external data files in the model's own folder.",
        )
    return normal


def _opset(data: Source, span: Span) -> tuple[str, int]:
    domain, version = "", 0
    for number, wire, inner in fields(data, span):
        if number == 1 and wire == BYTES:
            domain = bytes(data[inner[0] : inner[1]]).decode("utf-8", "replace")
        elif number == 2 and wire == VARINT:
            version = inner[0]
    return domain, version


def _unranked(data: Source, graph: Span) -> Iterator[str]:
    """Names of tensor inputs and outputs without a shape: ValueInfo.type.tensor_type.shape."""
    for number, wire, span in fields(data, graph):
        if number not in (11, 12) or wire != BYTES:
            continue
        name, tensor = "", None
        for inner, kind, part in fields(data, span):
            if inner == 1 and kind == BYTES:
                name = bytes(data[part[0] : part[1]]).decode("utf-8", "replace")
            elif inner == 2 and kind == BYTES:
                tensor = _last(data, part, 1)
        if tensor is not None and _last(data, tensor, 2) is None:
            yield name


def _last(data: Source, span: Span, wanted: int) -> Span | None:
    found = None
    for number, wire, inner in fields(data, span):
        if number == wanted and wire == BYTES:
            found = inner
    return found


def _movable(data: Source, tensor: Span) -> Span | None:
    """Where the raw data of a large plain tensor lies, or None."""
    raw = None
    for number, wire, span in fields(data, tensor):
        if number == _RAW_DATA and wire == BYTES and raw is None:
            raw = span
        elif number in _NOT_PLAIN or (number == 2 and wire == VARINT and span[0] == _STRING):
            return None
    return raw if raw is not None and raw[1] - raw[0] >= _LARGE else None


def _rewrite(
    data: Source,
    graph: Span,
    large: list[tuple[Span, Span]],
    location: str,
    source: int,
    target: int,
) -> list[bytes]:
    """The skeleton in pieces; the weights are copied from `source` to `target` meanwhile."""
    inner: list[bytes] = []
    at, offset = graph[0], 0
    for tensor, raw in large:
        head = _field_start(data, at, graph, tensor)
        inner.append(data[at:head])
        size = raw[1] - raw[0]
        entries = (("location", location), ("offset", str(offset)), ("length", str(size)))
        body = _without(data, tensor, raw)
        body += b"".join(
            submessage(EXTERNAL_DATA, submessage(1, key.encode()) + submessage(2, text.encode()))
            for key, text in entries
        )
        body += number_field(_DATA_LOCATION, 1)
        inner.append(submessage(5, body))
        _copy(source, raw[0], target, offset, size)
        at = tensor[1]
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    inner.append(data[at : graph[1]])
    graph_head = _field_start(data, 0, (0, len(data)), graph)
    length = sum(map(len, inner))
    return [
        data[:graph_head],
        varint(7 << 3 | BYTES) + varint(length),
        *inner,
        data[graph[1] :],
    ]


def _field_start(data: Source, at: int, parent: Span, wanted: Span) -> int:
    """Where the tag of the field whose body is `wanted` begins; `at` is a field's start."""
    start = at
    for _, wire, span in fields(data, (at, parent[1])):
        if wire == BYTES and span == wanted:
            return start
        start = after(data, start)
    raise not_onnx("a field is lost")


def _without(data: Source, tensor: Span, raw: Span) -> bytes:
    start = _field_start(data, tensor[0], tensor, raw)
    return data[tensor[0] : start] + data[raw[1] : tensor[1]]


def _copy(source: int, start: int, target: int, offset: int, size: int) -> None:
    os.lseek(target, offset, os.SEEK_SET)
    while size > 0:
        done = os.sendfile(target, source, start, size)
        if done == 0:
            raise not_onnx("the file became shorter while it was read")
        start += done
        size -= done
