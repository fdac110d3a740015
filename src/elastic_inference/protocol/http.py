"""HTTP/1.1 framing (RFC 9112): request heads in, response heads out. No I/O.

Only what an inference server needs, and strictly: a head that could be read in two ways is
refused, so that no proxy in front can be made to disagree about where a request ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.compression import wanted_coding

MAX_HEADERS = 100
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_TARGET = re.compile(rb"/[!-~]*")
_SPECIAL = {b"authorization", b"ei-client", b"ei-timing"}
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


@dataclass(slots=True)
class RequestHead:
    """A parsed request head.

    Attributes:
        method: upper case.
        path: segments of the path, percent-decoded; () for "/".
        query: the part behind "?", not decoded.
        content_length: bytes of the body, or None where there is none or it is chunked.
        chunked: the body comes in chunks.
        json_length: `Inference-Header-Content-Length`, or None.
        keep_alive: the connection stays open after the answer.
        expect_continue: the client waits for `100 Continue`.
        headers: all fields, lower-case names; of repeated ones the last.
        is_infer: POST …/infer.
        is_plain_infer: and its body comes at once, as it is: what the fast path takes.
        is_usual: nothing in it asks for a special treatment of this one request.
        coding: `gzip` or `deflate`, with which to compress an inference's answer, or b"".
    """

    method: str
    path: tuple[str, ...]
    query: str
    content_length: int | None
    chunked: bool
    json_length: int | None
    keep_alive: bool
    expect_continue: bool
    headers: dict[bytes, bytes]
    is_infer: bool
    is_plain_infer: bool
    is_usual: bool
    coding: bytes


def split_authorization(head: bytes) -> tuple[bytes, bytes | None]:
    """A head without its Authorization field, and the field's value.

    Finds the two common spellings; another one is found by `parse_request_head`, whose
    result then holds the field and must not be cached.
    """
    at = head.find(b"\r\nAuthorization:")
    if at < 0:
        at = head.find(b"\r\nauthorization:")
        if at < 0:
            return head, None
    end = head.find(b"\r\n", at + 2)
    if end < 0:
        end = len(head)
    return head[:at] + head[end:], head[at + 16 : end].strip()


def parse_request_head(head: bytes) -> RequestHead:
    """Parse everything before the empty line.

    Raises:
        InvalidRequestError: not HTTP/1.x, or ambiguous.
    """
    lines = head.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or parts[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise InvalidRequestError("The request line is not HTTP/1.1.")
    method, target, version = parts
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise InvalidRequestError("The request line is malformed.")
    headers = _parse_fields(lines[1:])
    path, _, query = target.partition(b"?")
    segments = _segments(path)
    chunked, length = _body_framing(headers)
    json_length = headers.get(b"inference-header-content-length")
    if json_length is not None and not _DIGITS.fullmatch(json_length):
        raise InvalidRequestError("Inference-Header-Content-Length is not a number.")
    is_infer = method == b"POST" and segments[-1:] == ("infer",) and segments[1:2] == ("models",)
    expect_continue = headers.get(b"expect", b"").lower() == b"100-continue"
    connection = headers.get(b"connection", b"").lower()
    keep_alive = connection == b"keep-alive" if version == b"HTTP/1.0" else connection != b"close"
    # HTTP/1.0 knows no chunks, which a large compressed answer comes in.
    codable = is_infer and version == b"HTTP/1.1"
    coding = wanted_coding(headers.get(b"accept-encoding", b"")) if codable else b""
    return RequestHead(
        method=method.decode(),
        path=segments,
        query=query.decode(),
        content_length=length,
        chunked=chunked,
        json_length=None if json_length is None else int(json_length),
        keep_alive=keep_alive,
        expect_continue=expect_continue,
        headers=headers,
        is_infer=is_infer,
        is_plain_infer=is_infer
        and bool(length)
        and not expect_continue
        and b"content-encoding" not in headers,
        is_usual=keep_alive and not coding and not (headers.keys() & _SPECIAL),
        coding=coding,
    )


def _parse_fields(lines: list[bytes]) -> dict[bytes, bytes]:
    if len(lines) > MAX_HEADERS:
        raise InvalidRequestError(f"The request has more than {MAX_HEADERS} header fields.")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise InvalidRequestError("A header field is malformed.")
        name = name.lower()
        if name in headers and name in {
            b"content-length",
            b"transfer-encoding",
            b"inference-header-content-length",
            b"content-range",
            b"authorization",
            b"ei-client",
        }:
            raise InvalidRequestError(f"The header field {name.decode()} is repeated.")
        headers[name] = value
    return headers


def _body_framing(headers: dict[bytes, bytes]) -> tuple[bool, int | None]:
    length = headers.get(b"content-length")
    encoding = headers.get(b"transfer-encoding")
    if encoding is not None:
        if encoding.lower() != b"chunked" or length is not None:
            raise InvalidRequestError("The body's framing is ambiguous or unknown.")
        return True, None
    if length is None:
        return False, None
    if not _DIGITS.fullmatch(length):
        raise InvalidRequestError("Content-Length is not a number.")
    return False, int(length)


def _segments(path: bytes) -> tuple[str, ...]:
    """Split first, decode after: an encoded slash stays part of its segment."""
    try:
        return tuple(unquote_to_bytes(segment).decode() for segment in path.split(b"/") if segment)
    except UnicodeDecodeError:
        raise InvalidRequestError("The path is not UTF-8.") from None


def response_head(
    status: int,
    length: int | None,
    content_type: bytes = b"application/json",
    *,
    json_length: int | None = None,
    extra: bytes = b"",
    close: bool = False,
) -> bytes:
    """A response head with its empty line.

    Args:
        length: of the body, in bytes; None if it comes in chunks.
        extra: whole fields, each with CRLF.
    """
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    json_field = (
        b"" if json_length is None else b"Inference-Header-Content-Length: %d\r\n" % json_length
    )
    return b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s%s%s%s\r\n\r\n" % (
        status,
        HTTPStatus(status).phrase.encode(),
        content_type,
        json_field,
        extra,
        b"Connection: close\r\n" if close else b"",
        framing,
    )


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# `ElasticInferenceError.kind` -> HTTP status; see docs/protocol.md.
STATUS_BY_KIND = {
    "invalid-request": 400,
    "model-format": 400,
    "unauthenticated": 401,
    "access-denied": 403,
    "not-found": 404,
    "conflict": 409,
    "too-large": 413,
    "limit-exceeded": 429,
    "internal": 500,
    "error": 500,
    "configuration": 500,
    "unavailable": 503,
    "accelerator-lost": 503,
    "deadline-exceeded": 504,
    "out-of-memory": 507,
    "insufficient-capacity": 507,
}
