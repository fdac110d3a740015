"""JSON, CBOR and paths that are none of the models'."""

from __future__ import annotations

import re

import pytest

from elastic_inference.aws import cbor
from elastic_inference.aws.errors import AwsError
from tests.aws.wires import parse, refused

METRICS = "GraniteServiceVersion20100801"
JSON = {"X-Amz-Target": f"{METRICS}.PutMetricData", "Content-Type": "application/x-amz-json-1.0"}
CBOR = f"/service/{METRICS}/operation/PutMetricData"
ARN = "/tags/arn%3Aaws%3Aelastic-inference"
DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b'"a"', b"1", b"{}{}", b"{'a': 1}", b'{"Namespace": undefined}',
        b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"Namespace": "\xff"}', b"\x00",
        b'{"Namespace": "a", "Namespace": "b"}',
        b'{"MetricData": [{"Value": 1, "Value": 2}]}',
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"MetricData":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"Namespace": ["a"]}', b'{"Namespace": 1}', b'{"Namespace": true}',
        b'{"MetricData": {}}', b'{"MetricData": [1]}', b'{"MetricData": "a"}',
        b'{"MetricData": [null, 1]}',
        b'{"MetricData": [{"Value": "1"}]}', b'{"MetricData": [{"Value": NaN}]}',
        b'{"MetricData": [{"Value": Infinity}]}', b'{"MetricData": [{"Value": 1e999}]}',
        b'{"MetricData": [{"Value": true}]}', b'{"MetricData": [{"Value": ' + b"9" * 400 + b"}]}",
        b'{"MetricData": [{"Value": ' + b"9" * 5000 + b"}]}",
        b'{"MetricData": [{"StorageResolution": 1.5}]}',
        b'{"MetricData": [{"StorageResolution": 2147483648}]}',
        b'{"MetricData": [{"Timestamp": true}]}', b'{"MetricData": [{"Timestamp": 1e300}]}',
        b'{"MetricData": [{"Timestamp": "soon"}]}', b'{"MetricData": [{"Timestamp": []}]}',
        b'{"Nothing": 1}', b'{"MetricData": [{"Nothing": 1}]}', b'{"__class__": {}}',
    ],
)  # fmt: skip
def test_json_that_is_none_of_the_model(body: bytes) -> None:
    assert refused("monitoring", body, **JSON) == "SerializationException"
    assert refused("elastic-inference", body, "/describe-accelerators") == "SerializationException"


def test_the_place_of_what_is_wrong_is_named() -> None:
    body = b'{"MetricData": [{}, {"Dimensions": [{"Name": 1}]}]}'
    with pytest.raises(
        AwsError, match=re.escape("'MetricData[1].Dimensions[0].Name' must be a str")
    ):
        parse("monitoring", body, **JSON)
    with pytest.raises(AwsError, match=re.escape("'MetricData[0].Color' is not known")):
        parse("monitoring", b'{"MetricData": [{"Color": 1}]}', **JSON)


@pytest.mark.parametrize(
    "target",
    ["", "PutMetricData", "Granite.PutMetricData", f"{METRICS}.", f"{METRICS}.putMetricData",
     f"{METRICS}.PutMetricData.x", f"{METRICS}.__init__", "." * 1000, METRICS],
)  # fmt: skip
def test_an_operation_that_json_does_not_have(target: str) -> None:
    headers = JSON | {"X-Amz-Target": target or "x"}
    assert refused("monitoring", b"{}", **headers) == "InvalidAction"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", CBOR), ("PUT", CBOR), ("POST", "/service/"), ("POST", f"{CBOR}/"),
        ("POST", f"/service/{METRICS}/operation/"), ("POST", CBOR.replace(METRICS, "Other")),
        ("POST", CBOR.lower()), ("POST", f"/service/../{METRICS}/operation/PutMetricData"),
        ("POST", CBOR.replace("Put", "__class__")),
    ],
)  # fmt: skip
def test_an_operation_that_cbor_does_not_have(method: str, target: str) -> None:
    assert refused("monitoring", b"", target, method) == "InvalidAction"


def entry(name: str, value: bytes) -> bytes:
    """A map of one entry, whose value is bytes of CBOR."""
    return b"\xa1" + cbor.encode(name) + value


def metric(name: str, value: bytes) -> bytes:
    return entry("MetricData", b"\x81" + entry(name, value))


@pytest.mark.parametrize(
    "body",
    [
        b"\x80", b"\x60", b"\x00", b"\xf6", b"\xff", b"\x1c", b"\xa0\xa0", b"\xa1", b"\xbf",
        b"\xa1\x61", b"\xa1\x61a", b"\xa1\x61\xff\x00", b"\xa1\x00\x00", b"\xa1\x80\x00",
        b"\xa1\xa0\x00", b"\xa1\x41a\x00", b"\xa1\xf6\x00",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xba\x7f\xff\xff\xff",
        b"\x81" * DEEP, b"\x9f" * DEEP, b"\xa1\x61a" * DEEP, b"\xc1" * DEEP, b"\xbf\x61a" * DEEP,
        b"\xa2" + (cbor.encode("Namespace") + cbor.encode("a")) * 2,
        b"\xbf" + (cbor.encode("Namespace") + cbor.encode("a")) * 2 + b"\xff",
        entry("Namespace", b"\x41a"), entry("Namespace", b"\x01"),
        entry("Namespace", b"\x7f\x41a\xff"),
        entry("Namespace", b"\x7f\x7f\x61a\xff\xff"), entry("Namespace", b"\x63\xed\xa0\x80"),
        entry("Namespace", b"\x7f\x61\xc3\x61\xa9\xff"),
        entry("MetricData", b"\xa0"), entry("MetricData", b"\x81\x00"),
        # Tags of every kind that a full decoder knows: none of them is the protocol's.
        *(metric("Value", bytes([0xD8, tag]) + b"\x81\x01") for tag in (28, 29, 35, 36, 37, 43)),
        metric("Value", b"\xc2\x49" + b"\xff" * 9),
        metric("Value", b"\xc4\x82\x1a\x7f\xff\xff\xff\x01"),
        metric("Value", b"\xc5\x82\x1a\x7f\xff\xff\xff\x01"), metric("Value", b"\xd9\x01\x02\x80"),
        metric("Value", b"\xfb\x7f\xf0\0\0\0\0\0\0"), metric("Value", b"\xf9\x7e\x00"),
        metric("Value", b"\xfb\x7f"), metric("Value", b"\xf8\xff"), metric("Value", b"\xf0"),
        metric("StorageResolution", b"\x1b" + b"\xff" * 8), metric("StorageResolution", b"\xf5"),
        metric("Timestamp", b"\x01"), metric("Timestamp", b"\xc0\x61a"),
        metric("Timestamp", b"\xc1\xfb\x7f\xf0\0\0\0\0\0\0"), metric("Timestamp", b"\xc1\xf5"),
        metric("Timestamp", b"\xc1\x1b" + b"\xff" * 8), metric("Timestamp", b"\xc1\xc1\x01"),
        entry("Nothing", b"\x01"),
    ],
)  # fmt: skip
def test_cbor_that_is_none_of_the_model(body: bytes) -> None:
    assert refused("monitoring", body, CBOR) == "SerializationException"


@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        ("PUT", ARN, b"", "InvalidAction"),
        ("GET", "/tags/", b"", "InvalidAction"),
        ("GET", "/tags/a/b", b"", "InvalidAction"),
        ("GET", "/tags/%ff", b"", "SerializationException"),
        ("GET", f"{ARN}?color=red", b"", "SerializationException"),
        ("GET", ARN, b'{"resourceArn": "b"}', "SerializationException"),
        ("DELETE", f"{ARN}?tagKeys=%ff", b"", "MalformedQueryString"),
        ("DELETE", ARN, b'{"tagKeys": ["a"]}', "SerializationException"),
        ("POST", "/describe-accelerators/", b"{}", "InvalidAction"),
        ("GET", "/describe-accelerator-types/../tags/a", b"", "InvalidAction"),
        ("GET", "/describe-accelerator-types", b"{}x", "SerializationException"),
    ],
)
def test_a_path_that_is_none_of_rest(method: str, target: str, body: bytes, code: str) -> None:
    assert refused("elastic-inference", body, target, method) == code
