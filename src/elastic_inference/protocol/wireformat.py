"""Protobuf's wire format: https://protobuf.dev/programming-guides/encoding/.

Stricter than a parser need be: whatever two parsers could read differently is refused. What
is refused is by default a model's file; a reader of something else says so by `refuse`.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import TypeAlias

from elastic_inference.errors import InvalidRequestError, ModelFormatError

Source: TypeAlias = bytes | mmap.mmap
Span: TypeAlias = tuple[int, int]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def not_onnx(why: str) -> ModelFormatError:
    return ModelFormatError(f"The file is not an ONNX model: {why}.")


def fields(
    data: Source | memoryview, span: Span, refuse: Callable[[str], InvalidRequestError] = not_onnx
) -> Iterator[tuple[int, int, Span]]:
    """The fields of the message in `span`: number, wire type, and the body's span.

    For a varint the first item of the span is its value.

    Args:
        refuse: makes the error out of what is wrong.

    Raises:
        InvalidRequestError: `refuse`'s; the bytes are no message.
    """
    at, end = span
    while at < end:
        tag = data[at]
        at += 1
        if tag > 0x7F:
            tag, at = read_varint(data, at - 1, end, refuse)
        number, wire = tag >> 3, tag & 7
        # A parser of 32 bits would read a larger tag as another field.
        if number == 0 or tag >> 32:
            raise refuse("a field has no valid number")
        if wire == BYTES:
            size, at = read_varint(data, at, end, refuse)
            if size > end - at:
                raise refuse("it is cut off or corrupt")
            yield number, wire, (at, at + size)
            at += size
        elif wire == VARINT:
            value, at = read_varint(data, at, end, refuse)
            yield number, wire, (value, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            if size > end - at:
                raise refuse("it is cut off or corrupt")
            yield number, wire, (at, at + size)
            at += size
        else:
            raise refuse("it has a field of an unknown kind")


def read_varint(
    data: Source | memoryview,
    at: int,
    end: int,
    refuse: Callable[[str], InvalidRequestError] = not_onnx,
) -> tuple[int, int]:
    """The number at `at`, at most 70 bits wide, and where it ends; errors as `fields`."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise refuse("it is cut off or corrupt")


def after(data: Source, at: int) -> int:
    tag, at = read_varint(data, at, len(data))
    wire = tag & 7
    if wire == VARINT:
        return read_varint(data, at, len(data))[1]
    if wire == BYTES:
        size, at = read_varint(data, at, len(data))
        return at + size
    return at + (8 if wire == FIXED64 else 4)


def submessage(number: int, body: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(body)) + body


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
