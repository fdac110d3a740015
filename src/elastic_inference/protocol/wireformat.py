"""Protobuf's wire format, as far as reading and rewriting a model's file takes it.

Stricter than a parser need be: whatever two parsers could read differently is refused.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import TypeAlias

from elastic_inference.errors import ModelFormatError

Source: TypeAlias = bytes | mmap.mmap
Span: TypeAlias = tuple[int, int]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(data: Source, span: Span) -> Iterator[tuple[int, int, Span]]:
    """The fields of the message in `span`: number, wire type, and the body's span.

    For a varint the first item of the span is its value.

    Raises:
        ModelFormatError: the bytes are no message.
    """
    at, end = span
    while at < end:
        tag = data[at]
        at += 1
        if tag > 0x7F:
            tag, at = read_varint(data, at - 1, end)
        number, wire = tag >> 3, tag & 7
        # A parser of 32 bits would read a larger tag as another field.
        if number == 0 or tag >> 32:
            raise not_onnx("a field has no valid number")
        if wire == BYTES:
            size, at = read_varint(data, at, end)
            if size > end - at:
                raise not_onnx("it is cut off or corrupt")
            yield number, wire, (at, at + size)
            at += size
        elif wire == VARINT:
            value, at = read_varint(data, at, end)
            yield number, wire, (value, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            if size > end - at:
                raise not_onnx("it is cut off or corrupt")
            yield number, wire, (at, at + size)
            at += size
        else:
            raise not_onnx("it has a field of an unknown kind")


def read_varint(data: Source, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise not_onnx("it is cut off or corrupt")


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


def not_onnx(why: str) -> ModelFormatError:
    return ModelFormatError(f"The file is not an ONNX model: {why}.")
