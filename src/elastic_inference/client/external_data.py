"""Names of external data in an ONNX file, found without parsing the model.

Entries of `TensorProto.external_data` are searched by their bytes. Large tensors are stepped
over by the file's structure (protobuf's wire format), so a model with its weights inside costs
little. It may find too much, where weights look like an entry; what is needed and missing
the accelerator says.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator

MAX_LOCATION = 4096
# The start of an entry whose key is "location".
_ENTRY = b"\x0a\x08location\x12"
# What is smaller is searched and not looked into.
_LARGE = 16 * 1024
_CHUNK = 8 * 1024 * 1024
_BYTES = 2
_FIXED = {1: 8, 5: 4}
# Field numbers on the way to weights: ModelProto.graph, GraphProto.initializer.
_GRAPH = 7
_INITIALIZER = 5
_EXTERNAL_DATA = 13

Data = bytes | mmap.mmap
Field = tuple[int, int, int]


def locations(data: Data) -> frozenset[str]:
    """What stands as a location of external data in the ONNX model `data`."""
    try:
        ranges = list(_worth_searching(data))
    except (ValueError, IndexError):
        ranges = [(0, len(data))]
    return frozenset(name for start, stop in ranges for name in _search(data, start, stop))


def _worth_searching(data: Data) -> Iterator[tuple[int, int]]:
    """The ranges of `data` outside of weights.

    Raises:
        ValueError, IndexError: it is not in protobuf's wire format.
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


def _fields(data: Data, at: int, end: int) -> Iterator[Field]:
    """Number and content of each length-delimited field of the message in `data[at:end]`."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, at, at + size
            at += size
        elif kind == 0:
            _, at = _varint(data, at, end)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise ValueError("not protobuf")


def _varint(data: Data, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number does not end")


def _search(data: Data, start: int, stop: int) -> Iterator[str]:
    overlap = len(_ENTRY) + MAX_LOCATION + 2
    for first in range(start, stop, _CHUNK):
        yield from _entries(data[first : min(first + _CHUNK + overlap, stop)])


def _entries(data: bytes) -> Iterator[str]:
    at = data.find(_ENTRY)
    while at >= 0:
        at += len(_ENTRY)
        with contextlib.suppress(ValueError):
            size, start = _varint(data, at, len(data))
            if 0 < size <= MAX_LOCATION and start + size <= len(data):
                # UnicodeDecodeError is a ValueError.
                yield data[start : start + size].decode()
        at = data.find(_ENTRY, at)
