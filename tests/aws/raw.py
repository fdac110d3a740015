"""Requests of AWS's as no client of AWS's would send them, to a whole pool."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from botocore.parsers import create_parser

from elastic_inference.aws.models import service_model
from elastic_inference.control import schema
from elastic_inference.control.records import AccessKey
from elastic_inference.protocol import sigv4
from tests.aws import wires
from tests.aws.conftest import Aws


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error(self, protocol: str) -> str:
        """The code of the error that botocore reads in it."""
        found = {"status_code": self.status, "headers": self.headers, "body": self.body}
        parsed = create_parser(protocol).parse(found, None)
        assert parsed["Error"]["Message"]
        assert parsed["ResponseMetadata"]["RequestId"] == self.headers["x-amzn-requestid"]
        return str(parsed["Error"]["Code"])


@dataclass(frozen=True)
class Raw:
    """A call that can be spoiled in every part before and after it is signed.

    Attributes:
        service: in whose name it is signed.
        late: headers that are added to the signed ones, or replace them; None takes one away.
        later: by how many seconds the signer's clock is ahead.
    """

    service: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    key: AccessKey
    region: str
    late: Mapping[str, str | None] = field(default_factory=dict)
    sent: bytes | None = None
    later: float = 0.0

    def but(self, **changes: Any) -> Raw:
        return replace(self, **changes)

    def send(self, aws: Aws) -> Reply:
        """The pool's answer."""
        url = aws.pool.pointer.endpoint
        headers = dict(self.headers)
        if self.key.session_token:
            headers["X-Amz-Security-Token"] = self.key.session_token
        signed: dict[str, str | None] = dict(
            sigv4.sign(
                self.method, url + self.target, headers, self.body, self.key.id, self.key.secret,
                self.region, self.service, time.time() + self.later,
            )
        )  # fmt: skip
        signed |= self.late
        given = {name: value for name, value in signed.items() if value is not None}
        body = self.body if self.sent is None else self.sent
        return exchange(aws, self.method, self.target, given, body)


def exchange(aws: Aws, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """Send a request as it is."""
    address = urlsplit(aws.pool.pointer.endpoint)
    context = ssl.create_default_context(cafile=aws.pool.pointer.ca)
    assert address.hostname is not None
    connection = http.client.HTTPSConnection(
        address.hostname, address.port, context=context, timeout=60
    )
    try:
        connection.request(method, target, body, dict(headers))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())
    finally:
        connection.close()


def call(aws: Aws, service: str, protocol: str, operation: str, given: Mapping[str, Any]) -> Raw:
    """The call as botocore would send it, signed by the owner."""
    model = service_model(service).operation_model(operation)
    made = wires.request(service, protocol, model, given)
    headers = {
        name: value
        for name, value in made.headers
        if name.lower() not in {"authorization", "content-length"}
    }
    assert made.body is not None
    return Raw(service, made.method, made.target, headers, made.body, aws.owner, aws.region)


def contents(aws: Aws) -> dict[str, set[str]]:
    """All that the pool keeps, to see whether it changed, but what hosts report by themselves."""
    return {
        table.name: {str(tuple(row)) for row in aws.plane.store.rows(table.select())}
        for table in schema.metadata.sorted_tables
        if table is not schema.nodes
    }
