"""Names of external data in an ONNX file, found without parsing the model.

Entries of `TensorProto.external_data` are searched by their bytes. Large tensors are stepped
over by the file's structure (protobuf's wire format), so a model with its weights inside costs
little. It may find too much, where weights look like an entry; what is needed and missing
the accelerator says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from elastic_inference.errors import ModelFormatError
from elastic_inference.protocol.wireformat import BYTES, Source, fields, read_varint

MAX_LOCATION = 4096
# The start of an entry whose key is "location".
_ENTRY = b"\x0a\x08location\x12"
# What is smaller is searched and not looked into.
_LARGE = 16 * 1024
_CHUNK = 8 * 1024 * 1024
# Field numbers on the way to weights: ModelProto.graph, GraphProto.initializer.
_GRAPH = 7
_INITIALIZER = 5
_EXTERNAL_DATA = 13


def locations(data: Source) -> frozenset[str]:
    """What stands as a location of external data in the ONNX model `data`."""
    try:
        ranges = list(_worth_searching(data))
    except ModelFormatError:
        ranges = [(0, len(data))]
    return frozenset(name for start, stop in ranges for name in _search(data, start, stop))


def _worth_searching(data: Source) -> Iterator[tuple[int, int]]:
    """The ranges of `data` outside of weights.

    Raises:
        ModelFormatError: it is not in protobuf's wire format.
    """
    for number, start, stop in _fields(data, 0, len(data)):
        if number != _GRAPH:
            yield start, stop
            continue
        for inner, first, last in _fields(data, start, stop):
            if inner != _INITIALIZER or last - first < _LARGE:
                yield first, last
                continue
            for part, begin, end in _fields(data, first, last):
                if part == _EXTERNAL_DATA:
                    yield begin, end


def _fields(data: Source, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Number and content of each length-delimited field of the message in `data[start:stop]`."""
    for number, wire, (begin, end) in fields(data, (start, stop)):
        if wire == BYTES:
            yield number, begin, end


def _search(data: Source, start: int, stop: int) -> Iterator[str]:
    overlap = len(_ENTRY) + MAX_LOCATION + 2
    for first in range(start, stop, _CHUNK):
        yield from _entries(data[first : min(first + _CHUNK + overlap, stop)])


def _entries(data: bytes) -> Iterator[str]:
    at = data.find(_ENTRY)
    while at >= 0:
        at += len(_ENTRY)
        with contextlib.suppress(ModelFormatError, UnicodeDecodeError):
            size, start = read_varint(data, at, len(data))
            if 0 < size <= MAX_LOCATION and start + size <= len(data):
                yield data[start : start + size].decode()
        at = data.find(_ENTRY, at)
