"""`tf.Example`s of JSON requests to classify and regress, serialized.

https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/example.proto
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.protobuf import length_delimited
from elastic_inference.protocol.wireformat import varint
from elastic_inference.serving.json_documents import (
    bytes_of,
    encoded,
    is_b64,
    type_name,
    wrong_format,
    wrong_syntax,
)

_EXAMPLES, _CONTEXT = "examples", "context"
# The kinds of a feature by the number of their field.
_BYTES, _FLOAT, _INT64 = 1, 2, 3
_KINDS: Mapping[int, str] = {_BYTES: "bytes", _FLOAT: "float", _INT64: "int64"}
_MASK = 2**64 - 1


def read_examples(document: Mapping[str, Any]) -> list[bytes]:
    """The examples of a request, each with the context of all merged in.

    Raises:
        InvalidRequestError: they are no such, in TensorFlow Serving's words.
    """
    context = _example(document[_CONTEXT]) if _CONTEXT in document else b""
    if _EXAMPLES not in document:
        raise wrong_format(
            document, f"When method is classify, key '{_EXAMPLES}' is expected and was not found"
        )
    examples = document[_EXAMPLES]
    if not isinstance(examples, list):
        raise wrong_format(document, f"Expecting '{_EXAMPLES}' value to be an list/array")
    if not examples:
        raise wrong_format(document, f"'{_EXAMPLES}' value is an empty array")
    # Messages one after the other are one message, whose later fields count.
    return [context + _example(each) for each in examples]


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"Example must be JSON object but got JSON {type_name(value)}")
    entries = b"".join(
        length_delimited(1, length_delimited(1, encoded(name)) + length_delimited(2, feature))
        for name, feature in ((name, _feature(name, each)) for name, each in value.items())
    )
    return length_delimited(1, entries)


def _feature(name: str, content: Any) -> bytes:
    values = content if isinstance(content, list) else [content]
    if not values:
        return b""
    kind = _kind(name, values[0])
    for value in values:
        if _kind(name, value) != kind:
            raise InvalidRequestError(
                f"Unexpected element type in feature: {name} expecting type: {_KINDS[kind]}"
            )
    if kind == _BYTES:
        packed = b"".join(length_delimited(1, bytes_of(value)) for value in values)
    elif kind == _FLOAT:
        packed = length_delimited(1, b"".join(map(_float, values)))
    else:
        packed = length_delimited(1, b"".join(varint(int(value) & _MASK) for value in values))
    return length_delimited(kind, packed)


def _kind(name: str, value: Any) -> int:
    if isinstance(value, str) or is_b64(value):
        return _BYTES
    if isinstance(value, float):
        return _FLOAT
    if not isinstance(value, int):
        raise InvalidRequestError(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )
    if value >> 63 == 1:
        raise InvalidRequestError(
            f"Feature: {name} has uint64_t element. Only int64_t is supported."
        )
    # Integers that fit no type are decimals to TensorFlow Serving's parser.
    return _INT64 if -(2**63) <= value < 2**63 else _FLOAT


def _float(value: float) -> bytes:
    try:
        number = float(value)
    except OverflowError:
        raise wrong_syntax("Number too big to be stored in double.") from None
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, number))
