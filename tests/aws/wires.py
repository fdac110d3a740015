"""Requests as botocore makes them, and answers as it reads them, with no network between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.models import SERVICES, protocols, service_model
from elastic_inference.aws.protocol import Parsed
from elastic_inference.aws.wire import protocol_of
from elastic_inference.control.front import HttpAnswer, HttpRequest

# Every way in which every service is spoken to.
SPOKEN = [(service, protocol) for service in SERVICES for protocol in protocols(service)]


def operations(service: str) -> list[OperationModel]:
    """All operations of a service's model."""
    model = service_model(service)
    return [model.operation_model(name) for name in model.operation_names]


def request(
    service: str, protocol: str, operation: OperationModel, given: Mapping[str, Any]
) -> HttpRequest:
    """The request that botocore sends for a call."""
    serializer = create_serializer(protocol, include_validation=False)
    made = serializer.serialize_to_request(given, operation)
    prepare_request_dict(made, "https://pool.example/", context={})
    sent = create_request_object(made).prepare()
    url = urlsplit(sent.url)
    body = sent.body or b""
    headers = [*sent.headers.items(), ("Authorization", authorization(service))]
    return HttpRequest(
        sent.method,
        url.path + (f"?{url.query}" if url.query else ""),
        [(name, v.decode() if isinstance(v, bytes) else v) for name, v in headers],
        body.encode() if isinstance(body, str) else bytes(body),
        ("127.0.0.1", 443),
        ("127.0.0.1", 50000),
    )


def authorization(service: str) -> str:
    """What tells the service of a request; the signature is none."""
    scope = f"AKIATESTS/20260101/us-east-1/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"


def read(protocol: str, shape: Any, answer: HttpAnswer) -> dict[str, Any]:
    """What botocore makes of an answer."""
    headers = {name.lower(): value for name, value in answer.headers}
    return read_reply(protocol, shape, answer.status, headers, answer.body)


def read_reply(
    protocol: str, shape: Any, status: int, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """The same; names of headers are in lower case."""
    found: dict[str, Any] = create_parser(protocol).parse(
        {"status_code": status, "headers": headers, "body": body}, shape
    )
    return found


def parse(
    service: str, body: bytes, target: str = "/", method: str = "POST", **headers: str
) -> Parsed:
    """What the pool reads of a request."""
    given = [*headers.items(), ("Authorization", authorization(service))]
    address = ("127.0.0.1", 1)
    request = HttpRequest(method, target, given, body, address, address)
    return protocol_of(service, request).parse(service, service_model(service), request)


def refused(service: str, body: bytes, *arguments: str, **headers: str) -> str:
    """The code of the error by which the pool refuses a request."""
    with pytest.raises(AwsError) as failed:
        parse(service, body, *arguments, **headers)
    assert 400 <= failed.value.status < 500
    assert len(failed.value.message) < 1000
    return failed.value.code
