"""Which service a request is for, which protocol it speaks, and its body as that reads it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace

from elastic_inference.aws import errors
from elastic_inference.aws.cbor_protocol import CborProtocol
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.front import CBOR_PATHS, REST_PATHS
from elastic_inference.aws.json_protocol import JsonProtocol, RestJsonProtocol
from elastic_inference.aws.models import SERVICES, protocols
from elastic_inference.aws.protocol import WireProtocol
from elastic_inference.aws.query_protocol import QueryProtocol
from elastic_inference.control.front import HttpRequest

_SCOPE = re.compile(r"Credential=[^/,\s]{1,128}/[0-9]{1,8}/[^/,\s]{1,64}/([a-z0-9.-]{1,64})/")
_QUERY, _JSON, _CBOR, _REST = "query", "json", "smithy-rpc-v2-cbor", "rest-json"
_OF_EC2 = b"Version=2016-11-15"
_PROTOCOLS: Mapping[str, WireProtocol] = {
    "ec2": QueryProtocol(ec2=True),
    _QUERY: QueryProtocol(),
    _JSON: JsonProtocol(),
    _CBOR: CborProtocol(),
    _REST: RestJsonProtocol(),
}
# Of a request that says no service that there is, as clients of that kind read errors.
_USUAL = (_QUERY, _JSON, _CBOR, _REST)


def service_of(request: HttpRequest) -> str:
    """The service that a request is for, as its signature says it.

    Where that says nothing the request is refused, in the words of the service that it looks to
    be for; "" where it looks like none.
    """
    match = _SCOPE.search(request.header("Authorization")[:4096])
    if match:
        return match[1]
    if request.path.startswith(REST_PATHS):
        return "elastic-inference"
    if request.path.startswith(CBOR_PATHS) or request.header("X-Amz-Target"):
        return "monitoring"
    return "ec2" if _OF_EC2 in request.query.encode() or _OF_EC2 in (request.body or b"") else ""


def protocol_of(service: str, request: HttpRequest) -> WireProtocol:
    """The protocol that a request speaks; what it is answered in, whatever is wrong with it."""
    names = protocols(service) if service in SERVICES else _USUAL
    if _CBOR in names and request.path.startswith(CBOR_PATHS):
        return _PROTOCOLS[_CBOR]
    if _REST in names and request.path.startswith(REST_PATHS):
        return _PROTOCOLS[_REST]
    if _JSON in names and request.header("X-Amz-Target"):
        return _PROTOCOLS[_JSON]
    return _PROTOCOLS[_QUERY if _QUERY in names else names[0]]


def uncompressed(service: str, request: HttpRequest, most: int) -> HttpRequest:
    """The request with its body as it was before it was compressed.

    Args:
        most: bytes that the body may have.

    Raises:
        AwsError: it is no gzip, has more after its end, or is larger.
    """
    coding = ",".join(v for name, v in request.headers if name.lower() == "content-encoding")
    if coding.strip().lower() in {"", "identity"}:
        return request
    if coding.strip().lower() != "gzip":
        raise errors.invalid(
            service, f"The Content-Encoding {coding[:64]!r} is not taken: gzip is."
        )
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = unpacker.decompress(request.body or b"", most + 1)
    except zlib.error:
        raise errors.invalid(service, "The body is not the gzip that it should be.") from None
    if len(body) > most:
        raise too_large(most)
    if not unpacker.eof or unpacker.unused_data:
        raise errors.invalid(service, "The body is not one whole gzip.")
    return replace(request, body=body)


def too_large(most: int) -> AwsError:
    """A body has more bytes than are taken."""
    return AwsError("RequestEntityTooLarge", f"The body is larger than {most} bytes.", 413)
