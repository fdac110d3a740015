"""JSON texts of requests, read as TensorFlow Serving reads them, and its words on what is wrong.

https://github.com/tensorflow/serving/blob/master/tensorflow_serving/util/json_tensor.cc
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.json_object import is_deep
from elastic_inference.serving.json_numbers import Numbers

_LONGEST = 256
# What TensorFlow Serving's parser says where the standard library's says this.
_WORDS: Mapping[str, str] = {
    "Expecting value": "Invalid value.",
    "Expecting ',' delimiter": "Missing a comma or } after an object member.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
_DECODER = json.JSONDecoder()
_B64 = "b64"


def read_document(text: bytes) -> dict[str, Any]:
    """The object that `text` begins with; what follows it is passed over, as by TensorFlow Serving.

    Bytes in strings that are no UTF-8 stay what they are, as surrogates.

    Raises:
        InvalidRequestError: it is no JSON object, or one of more than 200 levels.
    """
    if not text:
        raise wrong_syntax("The document is empty")
    if is_deep(text):
        raise wrong_syntax("It is nested too deeply.")
    decoded = text.decode("utf-8-sig", "surrogateescape")
    try:
        document, _ = _DECODER.raw_decode(decoded, len(decoded) - len(decoded.lstrip(" \t\r\n")))
    except json.JSONDecodeError as error:
        words = _WORDS.get(error.msg, f"{error.msg}.")
        raise wrong_syntax(f"{words} at offset: {error.pos}") from None
    except (ValueError, RecursionError) as error:
        raise wrong_syntax(str(error)[:_LONGEST]) from None
    if not isinstance(document, dict):
        raise wrong_format(document, "Is not object")
    return document


def wrong_syntax(what: str) -> InvalidRequestError:
    """The error for a text that is no JSON."""
    return InvalidRequestError(f"JSON Parse error: {what}")


def wrong_format(value: Any, what: str) -> InvalidRequestError:
    """The error for JSON that is not what is expected."""
    return InvalidRequestError(f"JSON Value: {shown(value)} {what}")


def signature_of(document: Mapping[str, Any]) -> str:
    """The signature that a request names, or "".

    Raises:
        InvalidRequestError: it is no text.
    """
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise wrong_format(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return signature


def shown(value: Any) -> str:
    """A value in JSON for an error's words, cut where it is long."""
    text = ""
    for piece in json.JSONEncoder(ensure_ascii=False, default=_plain).iterencode(value):
        text += piece[:_LONGEST]
        if len(text) >= _LONGEST:
            break
    return text[:_LONGEST].encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Numbers):
        return value.values.tolist()
    return str(value)


def type_name(value: Any) -> str:
    """TensorFlow Serving's name of a value's type."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return "Object"
    if isinstance(value, str):
        return "String"
    return "Number" if isinstance(value, int | float) else "Array"


def is_b64(value: Any) -> bool:
    """Whether it stands for bytes: {"b64": "…"}."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_B64), str)


def bytes_of(value: Any) -> bytes:
    """The bytes of a text, or of {"b64": "…"}.

    Raises:
        InvalidRequestError: it is neither.
    """
    if isinstance(value, str):
        return encoded(value)
    if not is_b64(value):
        raise wrong_format(value, "not formatted correctly for base64 data")
    text = "".join(value[_B64].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError("Unable to base64 decode") from None


def encoded(text: str) -> bytes:
    """The bytes of a JSON string.

    Raises:
        InvalidRequestError: half of a surrogate pair is escaped in it.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise wrong_syntax("The surrogate pair in string is invalid.") from None
