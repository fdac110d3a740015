"""The fields of an HTTP/2 request that calls a remote procedure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from hpack import Decoder, HPACKError
from hpack.table import HeaderTable

from elastic_inference.errors import InvalidRequestError
from elastic_inference.protocol.grpc import parse_timeout
from elastic_inference.protocol.http2 import (
    COMPRESSION_ERROR,
    PROTOCOL_ERROR,
    Http2Error,
    StreamError,
)

_PSEUDO = {b":method", b":scheme", b":path", b":authority"}
# Of one connection and not of a request; HTTP/2 does not have them (RFC 9113, 8.2.2).
_FORBIDDEN = {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_TRANSPORT = {b"te", b"content-type", b"authorization", b"content-length"}
_MAX_KNOWN = 64


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """What a call says of itself.

    Attributes:
        timeout: seconds that the caller waits; None for ever.
        encoding: how its messages are compressed.
        accepts: the encodings that the caller reads.
        length: bytes of all DATA, if the caller told.
        metadata: all that is not the transport's own, without the authorisation.
    """

    method: bytes
    path: str
    content_type: bytes
    timeout: float | None
    encoding: str
    accepts: frozenset[str]
    authorization: bytes | None
    client: bytes | None
    length: int | None
    metadata: Mapping[str, str]


class _Table(HeaderTable):
    """A dynamic table that tells when it changes."""

    changed = False

    def add(self, name: bytes, value: bytes) -> None:
        self.changed = True
        super().add(name, value)


class HeaderDecoder:
    """Reads a connection's header blocks, and remembers those that come again and again."""

    def __init__(self, max_list: int) -> None:
        self._decoder = Decoder(max_header_list_size=max_list)
        self._table = self._decoder.header_table = _Table()
        self._known: dict[bytes, RequestHeaders] = {}
        self._shown: dict[bytes, RequestHeaders] = {}
        self._vouched = b""

    def request(self, block: bytes, stream: int) -> RequestHeaders:
        """The request that a header block makes.

        Raises:
            Http2Error: the block cannot be read.
            StreamError: the request is malformed.
        """
        known = self._known.get(block) or self._shown.get(block)
        if known is not None:
            return known
        fields = self.fields(block)
        headers = _request(fields, stream)
        # What a block means depends on the dynamic table; a token is never kept with it.
        if not self._table.changed and headers.authorization is None:
            _keep(self._known, block, headers)
        return headers

    def vouch(self, block: bytes, headers: RequestHeaders) -> None:
        """The authorisation in this block is what the connection is granted its rights by.

        While no other is, the block says no more than one without it, and is read as such.
        """
        authorization = headers.authorization
        if authorization is None:
            return
        if authorization != self._vouched:
            self._shown.clear()
            self._vouched = authorization
        if not self._table.changed:
            _keep(self._shown, block, replace(headers, authorization=None))

    def fields(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of a block, in order.

        Raises:
            Http2Error: the block cannot be read.
        """
        table = self._table
        table.changed = False
        size = table.maxsize
        try:
            decoded = cast("Iterable[tuple[bytes, bytes]]", self._decoder.decode(block, raw=True))
            fields = [(bytes(name), bytes(value)) for name, value in decoded]
        except (HPACKError, IndexError, ValueError) as error:
            raise Http2Error(COMPRESSION_ERROR, f"a header block is corrupt ({error})") from None
        if table.changed or table.maxsize != size:
            table.changed = True
            self._known.clear()
            self._shown.clear()
        return fields


def _keep(known: dict[bytes, RequestHeaders], block: bytes, headers: RequestHeaders) -> None:
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[block] = headers


def _request(fields: Iterable[tuple[bytes, bytes]], stream: int) -> RequestHeaders:
    pseudo: dict[bytes, bytes] = {}
    plain: dict[bytes, bytes] = {}
    for name, value in fields:
        if name.startswith(b":"):
            if plain or name in pseudo or name not in _PSEUDO:
                raise StreamError(stream, PROTOCOL_ERROR, "a pseudo field is out of its place")
            pseudo[name] = value
        elif name in plain:
            if name in _TRANSPORT or name == b"grpc-timeout":
                raise StreamError(stream, PROTOCOL_ERROR, f"{name.decode()} is repeated")
            plain[name] = plain[name] + b"," + value
        else:
            # perf_analyzer sends blanks before a value; gRPC's own servers take them.
            stripped = value.strip(b" \t")
            _check(name, stripped, stream)
            plain[name] = stripped
    return _assemble(pseudo, plain, stream)


def _check(name: bytes, value: bytes, stream: int) -> None:
    if not _NAME.fullmatch(name) or name in _FORBIDDEN:
        raise StreamError(stream, PROTOCOL_ERROR, "a field's name is not allowed")
    if not _VALUE.fullmatch(value):
        raise StreamError(stream, PROTOCOL_ERROR, f"the value of {name.decode()} is not allowed")
    if name == b"te" and value != b"trailers":
        raise StreamError(stream, PROTOCOL_ERROR, "te is not trailers")


def _assemble(
    pseudo: Mapping[bytes, bytes], plain: Mapping[bytes, bytes], stream: int
) -> RequestHeaders:
    path = pseudo.get(b":path", b"")
    if not path or b":method" not in pseudo or b":scheme" not in pseudo:
        raise StreamError(stream, PROTOCOL_ERROR, "a pseudo field is missing")
    length = plain.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) < 20):
        raise StreamError(stream, PROTOCOL_ERROR, "content-length is no number")
    try:
        timeout = parse_timeout(plain.get(b"grpc-timeout"))
    except InvalidRequestError as error:
        raise StreamError(stream, PROTOCOL_ERROR, str(error)) from None
    accepts = plain.get(b"grpc-accept-encoding", b"identity").decode("latin-1")
    return RequestHeaders(
        method=pseudo[b":method"],
        path=path.decode("latin-1"),
        content_type=plain.get(b"content-type", b""),
        timeout=timeout,
        encoding=plain.get(b"grpc-encoding", b"identity").decode("latin-1"),
        accepts=frozenset(each.strip() for each in accepts.split(",")),
        authorization=plain.get(b"authorization"),
        client=plain.get(b"ei-client"),
        length=None if length is None else int(length),
        metadata={
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in plain.items()
            if name not in _TRANSPORT and not name.startswith(b"grpc-")
        },
    )
