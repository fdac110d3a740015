"""Bodies that no client of AWS's would send, to a whole pool: nothing is changed."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.front import AwsFront
from elastic_inference.aws.wire import uncompressed
from elastic_inference.control.front import HttpRequest
from tests.aws.conftest import Aws
from tests.aws.raw import Raw, call, contents

MOST = AwsFront.max_body


def _packed(text: bytes) -> bytes:
    """Without the time, so that the tests have the same names in every process."""
    return gzip.compress(text, 1, mtime=0)


@pytest.mark.parametrize(
    ("coding", "body", "code"),
    [
        ("gzip", b"", "ValidationError"),
        ("gzip", b"abc", "ValidationError"),
        ("gzip", _packed(b"a")[:-1], "ValidationError"),
        ("gzip", _packed(b"a") + b"a", "ValidationError"),
        ("gzip", _packed(b"a") * 2, "ValidationError"),
        ("gzip", _packed(bytes(MOST + 1)), "RequestEntityTooLarge"),
        ("gzip", _packed(bytes(200 << 20)), "RequestEntityTooLarge"),
        ("gzip, gzip", _packed(_packed(b"a")), "ValidationError"),
        ("br", b"a", "ValidationError"),
        ("deflate", b"a", "ValidationError"),
    ],
    ids=str,
)
def test_what_is_no_gzip_or_too_much_of_it(coding: str, body: bytes, code: str) -> None:
    address = ("127.0.0.1", 1)
    request = HttpRequest("POST", "/", [("Content-Encoding", coding)], body, address, address)
    with pytest.raises(AwsError) as failed:
        uncompressed("monitoring", request, MOST)
    assert failed.value.code == code


def test_all_that_may_be_is_unpacked() -> None:
    address = ("127.0.0.1", 1)
    packed = _packed(bytes(MOST))
    request = HttpRequest("POST", "/", [("content-encoding", "GZIP")], packed, address, address)
    assert uncompressed("monitoring", request, MOST).body == bytes(MOST)


def wrong(aws: Aws) -> list[tuple[str, Raw, str]]:
    """Calls that are signed, and wrong, with their protocols and the codes for them."""
    ec2 = call(aws, "ec2", "ec2", "CreateVpc", {"CidrBlock": "10.9.0.0/16"})
    user = call(aws, "iam", "query", "CreateUser", {"UserName": "intruder"})
    given = {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1.0}]}
    json_call = call(aws, "monitoring", "json", "PutMetricData", given)
    cbor_call = call(aws, "monitoring", "smithy-rpc-v2-cbor", "PutMetricData", given)
    rest = call(aws, "elastic-inference", "rest-json", "DescribeAccelerators", {})
    return [
        ("ec2", ec2.but(body=b"<xml>" * 1000), "MissingAction"),
        ("ec2", ec2.but(body=ec2.body + b"&DryRun=maybe"), "InvalidParameterValue"),
        (
            "ec2",
            ec2.but(body=ec2.body + b"&TagSpecification.1.Tag.1.Key=%07"),
            "InvalidParameterValue",
        ),
        ("ec2", ec2.but(body=ec2.body + b"&Ipv4IpamPoolId=ipam-1"), "UnsupportedOperation"),
        ("query", user.but(body=user.body + b"&Path=%00"), "ValidationError"),
        ("query", user.but(body=user.body + b"&Path=" + b"a" * 600), "ValidationError"),
        ("query", user.but(body=user.body.replace(b"intruder", b"a%20b")), "ValidationError"),
        ("json", json_call.but(body=b"{" * 1000), "SerializationException"),
        ("json", json_call.but(body=b'{"Namespace": "\\u0007"}'), "ValidationError"),
        ("smithy-rpc-v2-cbor", cbor_call.but(body=b"\xbf" * 1000), "SerializationException"),
        ("rest-json", rest.but(body=b'{"maxResults": 101}'), "BadRequestException"),
        ("rest-json", rest.but(body=b'{"nextToken": "\\ud800"}'), "BadRequestException"),
    ]  # fmt: skip


def test_what_is_signed_and_wrong_changes_nothing(aws: Aws) -> None:
    before = contents(aws)
    for protocol, raw, code in wrong(aws):
        answer = raw.send(aws)
        assert (answer.error(protocol), answer.status) == (code, 400), raw.body[:100]
    assert contents(aws) == before


def test_large_bodies_are_refused_and_those_at_the_limit_read(aws: Aws) -> None:
    before = contents(aws)
    sent: list[tuple[str, Any]] = [(protocol, raw) for protocol, raw, _ in wrong(aws)]
    for protocol, raw in sent:
        for size in (MOST + 1, 10 << 20):
            answer = raw.but(body=b"a" * size).send(aws)
            assert answer.error(protocol) == "RequestEntityTooLarge"
            assert answer.status == 413
    ec2 = sent[0][1]
    assert ec2.but(body=b"a" * MOST).send(aws).error("ec2") == "MissingAction"
    packed = _packed(bytes(100 << 20))
    unpacked = ec2.but(body=packed, headers={**ec2.headers, "Content-Encoding": "gzip"}).send(aws)
    assert unpacked.error("ec2") == "RequestEntityTooLarge"
    assert contents(aws) == before


def test_an_answer_repeats_no_markup_of_the_caller_s(aws: Aws) -> None:
    body = b"Action=%3Cscript%3E%26%22&Version=2016-11-15"
    answer = call(aws, "ec2", "ec2", "DescribeVpcs", {}).but(body=body).send(aws)
    assert answer.error("ec2") == "InvalidAction"
    assert b"<script>" not in answer.body
    assert answer.headers["content-type"].startswith("text/xml")
