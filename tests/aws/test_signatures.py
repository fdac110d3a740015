"""Whose a request is: everything that is wrong with a signature, in every protocol.

AWS's own codes are answered, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.aws.conftest import Aws
from tests.aws.raw import Raw, call, contents, exchange

ARN = "arn:aws:elastic-inference:us-east-1:123456789012:elastic-inference-accelerator/eia-0123"
METRIC = {"Namespace": "intruder", "MetricData": [{"MetricName": "m", "Value": 1.0}]}
# One call for each protocol of each family, that would change something.
WRITES: tuple[tuple[str, str, str, Mapping[str, Any]], ...] = (
    ("ec2", "ec2", "CreateVpc", {"CidrBlock": "10.9.0.0/16"}),
    ("iam", "query", "CreateUser", {"UserName": "intruder"}),
    ("monitoring", "query", "PutMetricData", METRIC),
    ("monitoring", "json", "PutMetricData", METRIC),
    ("monitoring", "smithy-rpc-v2-cbor", "PutMetricData", METRIC),
    ("elastic-inference", "rest-json", "TagResource", {"resourceArn": ARN, "tags": {"a": "b"}}),
)
Codes = tuple[str, str, str]
FAMILIES = {"ec2": 0, "elastic-inference": 2}
MISSING = (
    "MissingAuthenticationToken", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
)  # fmt: skip
MALFORMED = ("IncompleteSignature", "IncompleteSignature", "IncompleteSignatureException")
MISMATCH = ("SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException")
SCOPE = ("AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException")
UNKNOWN = ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")
SKEW = ("RequestExpired", "SignatureDoesNotMatch", "InvalidSignatureException")


def calls(aws: Aws) -> list[tuple[str, Raw, int]]:
    """The calls with their protocols, and which of a fault's codes is theirs."""
    return [
        (protocol, call(aws, service, protocol, operation, given), FAMILIES.get(service, 1))
        for service, protocol, operation, given in WRITES
    ]


def header(raw: Raw, **parts: str) -> Raw:
    """The call with parts of its Authorization header replaced once it is signed."""
    scope = f"{raw.key.id}/20260101/{raw.region}/{raw.service}/aws4_request"
    values = {"Credential": scope, "SignedHeaders": "host;x-amz-date", "Signature": "0" * 64}
    text = ", ".join(f"{name}={value}" for name, value in {**values, **parts}.items() if value)
    return raw.but(late={"Authorization": f"AWS4-HMAC-SHA256 {text}"})


def other(raw: Raw, **changes: Any) -> Raw:
    return raw.but(key=replace(raw.key, **changes))


SPOILT: Mapping[str, tuple[Callable[[Raw], Raw], Codes]] = {
    "unsigned": (lambda raw: raw.but(late={"Authorization": None, "X-Amz-Date": None}), MISSING),
    "with a bearer's token": (lambda raw: raw.but(late={"Authorization": "Bearer a"}), MALFORMED),
    "without a signature": (lambda raw: header(raw, Signature=""), MALFORMED),
    "with half a scope": (lambda raw: header(raw, Credential=f"{raw.key.id}/20260101"), MALFORMED),
    "with another algorithm": (
        lambda raw: raw.but(late={"Authorization": "AWS4-ECDSA-P256-SHA256 Credential=a"}),
        MALFORMED,
    ),
    "with a secret that is wrong": (lambda raw: other(raw, secret="wrong"), MISMATCH),
    "with a key that nobody has": (lambda raw: other(raw, id="AKIA" + "X" * 16), UNKNOWN),
    "for another region": (lambda raw: raw.but(region="eu-north-1"), SCOPE),
    "an hour ago": (lambda raw: raw.but(later=-3600.0), SKEW),
    "an hour from now": (lambda raw: raw.but(later=3600.0), SKEW),
    "a quarter of an hour and some ago": (lambda raw: raw.but(later=-960.0), SKEW),
    "without its date": (lambda raw: raw.but(late={"X-Amz-Date": None}), MALFORMED),
    "for another date": (lambda raw: raw.but(late={"X-Amz-Date": "20200101T000000Z"}), SCOPE),
    "with a header that is not signed": (lambda raw: raw.but(late={"X-Amz-Acl": "a"}), SCOPE),
    "with another host": (lambda raw: raw.but(late={"Host": "pool.example"}), MISMATCH),
    "with another body": (lambda raw: raw.but(sent=raw.body[:-1] + b"x"), MISMATCH),
    "with a date that is none": (lambda raw: raw.but(late={"X-Amz-Date": "20200101"}), MALFORMED),
    "with a session's token": (
        lambda raw: raw.but(headers={**raw.headers, "X-Amz-Security-Token": "t"}), UNKNOWN,
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_a_call_that_is_signed_wrongly_changes_nothing(aws: Aws, how: str) -> None:
    spoil, codes = SPOILT[how]
    before = contents(aws)
    for protocol, raw, family in calls(aws):
        answer = spoil(raw).send(aws)
        assert answer.error(protocol) == codes[family], (raw.service, protocol)
        assert answer.status in {400, 401, 403}
    assert contents(aws) == before


def test_what_is_signed_rightly_is_done(aws: Aws) -> None:
    before = contents(aws)
    for protocol, raw, _ in calls(aws):
        answer = raw.send(aws)
        assert answer.status == (200 if protocol != "rest-json" else 404), answer.body
    changed = {name for name, rows in contents(aws).items() if rows != before[name]}
    assert {"users", "vpcs"} <= changed


def test_a_clock_may_be_off_by_minutes(aws: Aws) -> None:
    raw = call(aws, "sts", "query", "GetCallerIdentity", {})
    for later in (-840.0, 840.0):
        assert raw.but(later=later).send(aws).status == 200


def test_what_no_policy_allows_is_denied(aws: Aws) -> None:
    nobody = aws.user("nobody")
    before = contents(aws)
    codes = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
    for protocol, raw, family in calls(aws):
        answer = raw.but(key=nobody).send(aws)
        assert answer.error(protocol) == codes[family], (raw.service, protocol)
        assert answer.status == 403
    assert contents(aws) == before


def test_what_a_policy_forbids_is_denied_whatever_else_allows_it(aws: Aws) -> None:
    every = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    but = {"Effect": "Deny", "Action": ["iam:CreateUser", "ec2:Create*"], "Resource": "*"}
    someone = aws.user("someone", every, but)
    before = contents(aws)
    for protocol, raw, _ in calls(aws)[:2]:
        answer = raw.but(key=someone).send(aws)
        assert answer.error(protocol) in {"UnauthorizedOperation", "AccessDenied"}
    assert contents(aws) == before
    assert call(aws, "iam", "query", "ListUsers", {}).but(key=someone).send(aws).status == 200


def test_global_services_take_their_own_region_too(start_aws: Any) -> None:
    aws = start_aws(region="eu-central-1")
    raw = call(aws, "sts", "query", "GetCallerIdentity", {})
    for region in ("us-east-1", "eu-central-1"):
        assert raw.but(region=region).send(aws).status == 200
    assert raw.but(region="eu-north-1").send(aws).error("query") == "SignatureDoesNotMatch"
    raw = call(aws, "ec2", "ec2", "DescribeVpcs", {})
    assert raw.send(aws).status == 200
    assert raw.but(region="us-east-1").send(aws).error("ec2") == "AuthFailure"


def test_the_service_that_is_signed_for_is_the_one_that_is_asked(aws: Aws) -> None:
    before = contents(aws)
    raw = call(aws, "iam", "query", "CreateUser", {"UserName": "intruder"})
    assert raw.but(service="sts").send(aws).error("query") == "InvalidAction"
    assert raw.but(service="s3").send(aws).error("query") == "UnsupportedOperation"
    assert contents(aws) == before


@pytest.mark.parametrize("name", ["Authorization", "X-Amz-Date", "Host"])
def test_a_header_that_is_there_twice_is_refused(aws: Aws, name: str) -> None:
    raw = call(aws, "ec2", "ec2", "CreateVpc", {"CidrBlock": "10.9.0.0/16"})
    before = contents(aws)
    # To the client these are two headers.
    answer = raw.but(late={name.lower(): "x"}).send(aws)
    assert answer.error("ec2") == "IncompleteSignature"
    assert contents(aws) == before


def test_a_query_that_is_signed_is_no_signature(aws: Aws) -> None:
    target = "/?Action=DescribeVpcs&Version=2016-11-15&X-Amz-Signature=" + "0" * 64
    answer = exchange(aws, "GET", target, {}, b"")
    assert answer.error("ec2") == "MissingAuthenticationToken"
