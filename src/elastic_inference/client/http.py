"""Response heads, and the heads of requests that are not inferences."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from elastic_inference.errors import AcceleratorLostError

MAX_HEAD = 32 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_MAX_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What an answer's head says.

    Attributes:
        status: the HTTP status.
        length: bytes of the body.
        json_length: bytes of the JSON in front of the binary data; `length` where none follows.
        close: the connection ends after this answer.
    """

    status: int
    length: int
    json_length: int
    close: bool


class HeadCache:
    """Parsed heads by their bytes: a server's answers to one model differ in little."""

    def __init__(self) -> None:
        self._heads: dict[bytes, ResponseHead] = {}

    def parse(self, raw: bytes) -> ResponseHead:
        """The head in `raw` (without its empty line).

        Raises:
            AcceleratorLostError: it is not HTTP, so nothing on this connection can be trusted.
        """
        head = self._heads.get(raw)
        if head is None:
            head = parse_response_head(raw)
            if len(self._heads) >= _MAX_REMEMBERED:
                self._heads.clear()
            self._heads[raw] = head
        return head


def parse_response_head(raw: bytes) -> ResponseHead:
    """The head in `raw` (without its empty line).

    Raises:
        AcceleratorLostError: it is not an HTTP/1.x head with a usable Content-Length.
    """
    lines = raw.split(b"\r\n")
    status_line = _STATUS_LINE.fullmatch(lines[0])
    if status_line is None:
        raise not_http("its first line is no HTTP status line")
    status = int(status_line[1])
    fields: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or (name in fields and name.endswith(b"content-length")):
            raise not_http("a header field is malformed")
        fields[name] = value.strip()
    if b"transfer-encoding" in fields:
        raise not_http("it has no Content-Length")
    bodiless = status < 200 or status == 204
    length = _number(fields.get(b"content-length", b"0" if bodiless else b""))
    json_field = fields.get(b"inference-header-content-length")
    json_length = length if json_field is None else _number(json_field)
    if json_length > length:
        raise not_http("its JSON is longer than its body")
    close = fields.get(b"connection", b"").lower() == b"close"
    return ResponseHead(status, length, json_length, close)


def _number(raw: bytes) -> int:
    if not _DIGITS.fullmatch(raw):
        raise not_http("it has no Content-Length")
    return int(raw)


def not_http(why: str) -> AcceleratorLostError:
    """The error for an answer that breaks the protocol."""
    return AcceleratorLostError(
        f"The accelerator's answer cannot be read: {why}.",
        next_step="Check that the address is an accelerator's.",
    )


def json_of(raw: bytes) -> Any:
    """The JSON in the body `raw` of an answer; {} where it is empty.

    Raises:
        AcceleratorLostError: it is none.
    """
    try:
        return json.loads(raw) if raw else {}
    except (ValueError, RecursionError) as error:
        raise AcceleratorLostError(f"The accelerator's answer is not JSON: {error}.") from error


def object_of(document: Any) -> dict[str, Any]:
    """`document`, which must be a JSON object.

    Raises:
        AcceleratorLostError: it is none.
    """
    if not isinstance(document, dict):
        raise AcceleratorLostError("The accelerator's answer is not a JSON object.")
    return document


def request_head(method: str, path: str, length: int, fields: str = "") -> bytes:
    """A request's head; `fields` holds whole header fields, each with CRLF."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: accelerator\r\n{fields}Content-Length: {length}\r\n\r\n"
    ).encode()
