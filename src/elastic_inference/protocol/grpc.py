"""gRPC over HTTP/2: what its fields, messages and trailers look like, as a server writes them.

As in https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Header blocks are made of
literals that no dynamic table keeps, so they are the same for every connection.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

from elastic_inference.errors import (
    ElasticInferenceError,
    InvalidRequestError,
    PayloadTooLargeError,
)
from elastic_inference.protocol.grpc_status import GRPC_STATUS_BY_KIND
from elastic_inference.protocol.tensors import Buffer

PREFIX_LENGTH = 5
CONTENT_TYPE = b"application/grpc"
ENCODINGS = ("identity", "deflate", "gzip")
UNKNOWN = 2
UNIMPLEMENTED = 12

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# A header block must fit into a frame of any peer, however its text is escaped.
_MAX_TEXT = 500
# Positions in HPACK's static table: `:status`, with and without 200, and `content-type`.
_STATUS_200 = b"\x88"
_STATUS_NAME = b"\x08"
_CONTENT_TYPE_NAME = b"\x0f\x10"
# 31: the gzip header; 15: that of zlib, which is what HTTP and gRPC call deflate.
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


def parse_timeout(raw: bytes | None) -> float | None:
    """Seconds of a `grpc-timeout`.

    Raises:
        InvalidRequestError: it is malformed.
    """
    if raw is None:
        return None
    match = _TIMEOUT.fullmatch(raw)
    if match is None:
        raise InvalidRequestError("grpc-timeout is malformed.")
    return int(match[1]) * _UNITS[match[2]]


def message_prefix(size: int, *, compressed: bool = False) -> bytes:
    """What comes before a message of `size` bytes."""
    return b"\x01" + size.to_bytes(4, "big") if compressed else size.to_bytes(5, "big")


def literal(name: bytes, value: bytes) -> bytes:
    """A field as HPACK writes it without an index."""
    return b"\x00" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    rest = size - 127
    head = bytearray(b"\x7f")
    while rest > 127:
        head.append(rest & 0x7F | 0x80)
        rest >>= 7
    head.append(rest)
    return bytes(head) + text


@lru_cache(maxsize=8)
def answer_block(encoding: str = "identity") -> bytes:
    """The header block of a successful answer."""
    block = _STATUS_200 + _CONTENT_TYPE_NAME + _string(CONTENT_TYPE)
    if encoding != "identity":
        block += literal(b"grpc-encoding", encoding.encode())
    return block


OK_TRAILERS = literal(b"grpc-status", b"0")


def error_trailers(error: ElasticInferenceError, status: int | None = None) -> bytes:
    """The trailers of a call that failed; `status` where the error's kind does not tell it."""
    if status is None:
        status = GRPC_STATUS_BY_KIND.get(error.kind, UNKNOWN)
    text = f"{error.message} {error.next_step}".strip()[:_MAX_TEXT]
    detail = error.to_dict()
    for name in ("error", "next_step"):
        if name in detail:
            detail[name] = detail[name][:_MAX_TEXT]
    raw = json.dumps(detail, separators=(",", ":")).encode()
    block = literal(b"grpc-status", str(status).encode())
    block += literal(b"grpc-message", percent_encode(text))
    if status == UNIMPLEMENTED:
        block += literal(b"grpc-accept-encoding", ",".join(ENCODINGS).encode())
    return block + literal(b"ei-error-bin", base64.b64encode(raw).rstrip(b"="))


def refusal_block(status: int) -> bytes:
    """The header block for a request that is no call at all; `status` is HTTP's."""
    return _STATUS_NAME + _string(str(status).encode())


def percent_encode(text: str) -> bytes:
    """A `grpc-message`."""
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode("utf-8", "replace")
    )


def inflate(message: Buffer, encoding: str, limit: int) -> bytes:
    """A compressed message as it was.

    Raises:
        InvalidRequestError: it is not compressed as `encoding` says.
        PayloadTooLargeError: it is larger than `limit` bytes.
    """
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise InvalidRequestError("A message is compressed, but grpc-encoding does not say how.")
    inflater = zlib.decompressobj(wbits=bits)
    try:
        inflated = inflater.decompress(message, limit + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"A message is not compressed as said: {error}.") from None
    if len(inflated) > limit:
        raise message_too_large(limit)
    if not inflater.eof or inflater.unused_data:
        raise InvalidRequestError("A compressed message is cut off, or followed by something.")
    return inflated


def deflate(parts: Sequence[Buffer | bytes], encoding: str) -> bytes:
    """The message of `parts`, compressed."""
    # Tensors compress badly: the fastest level loses little and saves much time.
    deflater = zlib.compressobj(level=1, wbits=_WINDOW_BITS[encoding])
    return b"".join([*map(deflater.compress, parts), deflater.flush()])


def message_too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"A message is larger than {limit} bytes.", next_step="The limit is EI_MAX_BODY."
    )
