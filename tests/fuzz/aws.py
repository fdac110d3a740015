"""Targets of AWS's APIs: whole requests of every protocol, and CBOR alone. Without I/O."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from unittest.mock import MagicMock
from urllib.parse import parse_qsl, urlencode

import cbor2
from botocore.model import OperationModel
from botocore.parsers import create_parser

from elastic_inference.aws import cbor, validation
from elastic_inference.aws.call import Operation
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.front import AwsFront
from elastic_inference.aws.gateway import Gateway
from elastic_inference.aws.models import SERVICES, service_model
from elastic_inference.aws.protocol import Parsed
from elastic_inference.aws.wire import protocol_of, service_of, uncompressed
from elastic_inference.control.access import Principal
from elastic_inference.control.clock import Clock
from elastic_inference.control.front import HttpRequest
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import AccessKey
from elastic_inference.protocol.sigv4 import Fault, SignatureError
from tests.aws.values import Values, plain, seeded
from tests.aws.wires import SPOKEN, operations, request
from tests.fuzz.mutations import mutate_bytes, mutate_document
from tests.fuzz.target import Target

_ADDRESS = ("127.0.0.1", 443)
# The largest of each kind, and one with a map, a time or a blob in it.
_OPERATIONS: Mapping[str, Sequence[str]] = {
    "ec2": ("RunInstances", "CreateLaunchTemplate", "DescribeInstances", "ImportKeyPair"),
    "iam": ("SimulatePrincipalPolicy", "CreateRole", "GetServiceLastAccessedDetails"),
    "sts": ("AssumeRole",),
    "autoscaling": ("CreateAutoScalingGroup", "PutScalingPolicy", "DescribeScalingActivities"),
    "monitoring": ("PutMetricData", "GetMetricData", "GetMetricStatistics"),
    "elastic-inference": ("DescribeAccelerators", "TagResource", "UntagResource"),
}
_WORDS = ("", "1", "true", "a", "%00", "2026-01-01T00:00:00Z", "eyJ9", "é", "\x07", "-1", "1e309")


class AwsRequests(Target):
    """Whole requests: answered in their protocol, without a defect, and read as they are meant."""

    name = "aws-requests"
    cases = 80_000
    max_length = 16384

    def __init__(self) -> None:
        self._gateway = Gateway(cast("ControlPlane", _Plane()))
        # Set before anybody reads it, the operations of the real registry are not made.
        self._gateway.__dict__["operations"] = {
            service: {each.name: _idle(each) for each in operations(service)}
            for service in SERVICES
        }

    def make_seeds(self) -> Sequence[bytes]:
        return tuple(
            _written(request(service, protocol, model, _given(model, fullness)))
            for service, protocol in SPOKEN
            for name in _OPERATIONS[service]
            for model in (service_model(service).operation_model(name),)
            for fullness in (0.2, 0.6)
        )

    def run(self, case: bytes) -> None:
        sent = _read(case)
        if sent is None:
            return
        answer = self._gateway.answer(sent)
        assert answer.status < 500, answer.body
        named = protocol_of(service_of(sent), sent)
        assert dict(answer.headers)["x-amzn-RequestId"]
        found = _parsed(sent)
        if found is not None:
            self._is_meant(service_of(sent), found)
        if answer.status >= 400:
            _reads_error(type(named).__name__, answer.status, dict(answer.headers), answer.body)

    def _is_meant(self, service: str, found: Parsed) -> None:
        """What was read is read again where botocore writes it."""
        for spoken, protocol in SPOKEN:
            if spoken == service:
                again = _parsed(request(service, protocol, found.operation, found.input), bare=True)
                assert again is not None
                assert again.operation.name == found.operation.name
                assert _without_empty(again.input) == _without_empty(found.input)

    def mutate(self, chance: random.Random, case: bytes) -> bytes:
        if chance.random() < 0.3:
            return mutate_bytes(chance, case, self.seeds)
        head, _, body = case.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n" + _mutate_body(chance, head.lower(), body)


def _idle(model: OperationModel) -> Operation:
    """An operation that heeds everything and does nothing."""
    members = model.input_shape.members if model.input_shape is not None else {}
    return Operation(lambda _: {}, frozenset(members))


def _mutate_body(chance: random.Random, head: bytes, body: bytes) -> bytes:
    try:
        if b"json" in head:
            return json.dumps(mutate_document(chance, json.loads(body))).encode()
        if b"cbor" in head or b"/service/" in head:
            return cbor2.dumps(mutate_document(chance, cbor2.loads(body)))
        return _mutate_form(chance, body.decode()).encode()
    except (ValueError, TypeError, OverflowError, cbor2.CBORError):
        return mutate_bytes(chance, body)


def _mutate_form(chance: random.Random, form: str) -> str:
    pairs = parse_qsl(form, keep_blank_values=True)
    for _ in range(chance.choice((1, 1, 2, 4)) if pairs else 0):
        at = chance.randrange(len(pairs))
        name, value = pairs[at]
        parts = name.split(".")
        part = chance.randrange(len(parts))
        match chance.randrange(6):
            case 0:
                pairs[at] = (name, chance.choice(_WORDS))
            case 1:
                parts[part] = chance.choice((*_WORDS, "0", "01", "99999999", "member", "entry"))
                pairs[at] = (".".join(parts), value)
            case 2:
                pairs.append((".".join(parts[: part + 1]), value))
            case 3:
                pairs.append((f"{name}.{chance.choice(_WORDS)}", value))
            case 4:
                pairs.append(chance.choice(pairs))
            case _:
                del pairs[at]
                break
    return urlencode(pairs)


class AwsCbor(Target):
    """CBOR: refused, or read as a full implementation reads it."""

    name = "aws-cbor"
    cases = 40_000
    max_length: ClassVar[int] = 512

    def make_seeds(self) -> Sequence[bytes]:
        values: tuple[Any, ...] = (
            {"a": [1, -1, 1 << 63, 0.5, True, None, b"abc", "\u20ac"], "b": {"c": {}}},
            cbor.Moment(1.5),
            ["x" * 300, [[[]]]],
        )
        return (
            *map(cbor.encode, values),
            b"\xbf\x61a\x9f\x01\xff\x61b\x7f\x61c\x61d\xff\xff",
            b"\xf9\x3e\x00", b"\xfa\x3f\xc0\x00\x00", b"\xc1\x1a\x00\x00\x00\x01", b"\x5f\x41a\xff",
            b"\xd8\x1c\x81\xd8\x1d\x00", b"\xc2\x49" + b"\xff" * 9, b"\xd8\x23\x61a",
        )  # fmt: skip

    def run(self, case: bytes) -> None:
        try:
            found = cbor.decode(case)
        except ValueError:
            return
        # What is no number is like nothing, not even itself.
        assert repr(cbor.decode(cbor.encode(found))) == repr(found)
        if "Moment(" not in repr(found):
            assert repr(_plain(cbor2.loads(case))) == repr(found)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return None if value is cbor2.undefined else value


class _Access:
    """Knows whoever says a service's name."""

    def authenticate(self, *_: object, service: str, regions: Collection[str]) -> Principal:
        del regions
        if not service:
            raise SignatureError.of(Fault.MISSING, "The request is not signed.", "Sign it.")
        return Principal("arn:aws:iam::123456789012:root", AccessKey(id="AKIATESTS", secret=""))

    def authorise(self, *_: object) -> None:
        """Everything is allowed."""


class _Plane:
    access = _Access()
    settings = SimpleNamespace(region="us-east-1")
    clock = Clock()
    store = MagicMock()


def _given(model: OperationModel, fullness: float) -> dict[str, Any]:
    return Values(seeded(model.name), odd=False, fullness=fullness).of_input(model)


def _written(sent: HttpRequest) -> bytes:
    head = [f"{sent.method} {sent.target}", *(f"{name}: {value}" for name, value in sent.headers)]
    return "\r\n".join([*head, "", ""]).encode() + (sent.body or b"")


def _read(case: bytes) -> HttpRequest | None:
    """The request, if the server would call it one."""
    head, _, body = case.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, target = first.partition(" ")
    headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in lines)]
    sent = HttpRequest(method, target, headers, body, _ADDRESS, _ADDRESS)
    return sent if AwsFront(cast("ControlPlane", None)).takes(method, target, headers) else None


def _parsed(sent: HttpRequest, *, bare: bool = False) -> Parsed | None:
    """What is read of a request, and held to the model unless it is `bare`."""
    service = service_of(sent)
    if service not in SERVICES:
        return None
    try:
        body = uncompressed(service, sent, AwsFront.max_body)
        found = protocol_of(service, body).parse(service, service_model(service), body)
        if not bare:
            validation.check(service, found.operation.input_shape, found.input)
    except AwsError:
        return None
    return found


def _without_empty(value: Any) -> Any:
    """Without what some protocols cannot say: that something is there and empty."""
    if isinstance(value, Mapping):
        pairs = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in pairs.items() if each not in ({}, [])}
    if isinstance(value, list):
        return [each for each in map(_without_empty, value) if each not in ({}, [])]
    return plain(round(value, 3) if isinstance(value, float) else value)


_PARSERS = {
    "QueryProtocol": "query", "JsonProtocol": "json", "RestJsonProtocol": "rest-json",
    "CborProtocol": "smithy-rpc-v2-cbor",
}  # fmt: skip


def _reads_error(name: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    found = create_parser(_PARSERS[name]).parse(
        {
            "status_code": status,
            "headers": {name.lower(): value for name, value in headers.items()},
            "body": body,
        },
        None,
    )
    assert found["Error"]["Code"]
    assert found["Error"]["Message"]
