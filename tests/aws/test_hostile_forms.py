"""Forms that are none of EC2's, nor of the query protocol."""

from __future__ import annotations

import pytest

from tests.aws.wires import parse, refused

RUN = b"Action=RunInstances&Version=2016-11-15&"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MissingAction"),
        (b"<DescribeVpcs/>", "MissingAction"),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
         "MissingAction"),
        (b'{"Action": "DescribeVpcs"}', "MissingAction"),
        (b"Action=&Version=2016-11-15", "MissingAction"),
        (b"Action=Nothing", "InvalidAction"),
        (b"Action=describeVpcs", "InvalidAction"),
        (b"Action=__class__", "InvalidAction"),
        (b"Action=DescribeVpcs&Version=2999-01-01", "NoSuchVersion"),
        (b"Action=DescribeVpcs&Version=latest", "NoSuchVersion"),
        (b"Action=DescribeVpcs&Action=DeleteVpc", "MalformedQueryString"),
        (b"Action=DescribeVpcs&VpcId.1=a&VpcId.1=b", "MalformedQueryString"),
        (b"Action=DescribeVpcs&VpcId.1=%ff%fe", "MalformedQueryString"),
        (b"Action=DescribeVpcs&VpcId.1=%ed%a0%80", "MalformedQueryString"),
        (b"\xff\xfe\x00", "MalformedQueryString"),
        ("Action=DescribeVpcs&VpcId.1=é".encode(), "MalformedQueryString"),
        (b"Action=DescribeVpcs" + b"&a=b" * 10_000, "MalformedQueryString"),
        (RUN + b"a" + b".a" * 30 + b"=1", "MalformedQueryString"),
        (RUN + b"A.1" * 5 + b"=1", "UnknownParameter"),
        (RUN + b"Nothing=1", "UnknownParameter"),
        (RUN + b"Placement.Nothing=1", "UnknownParameter"),
        (RUN + b"SecurityGroupId.member.1=1", "UnknownParameter"),
        (RUN + b"SecurityGroupId.-1=1", "UnknownParameter"),
        (RUN + b"=1", "UnknownParameter"),
        (RUN + b"SecurityGroupId.0=1", "InvalidParameterValue"),
        (RUN + b"SecurityGroupId.01=1", "InvalidParameterValue"),
        (RUN + b"SecurityGroupId.99999999999999999999=1", "InvalidParameterValue"),
        (RUN + b"SecurityGroupId.%EF%BC%91=1", "InvalidParameterValue"),
        (RUN + b"SecurityGroupId=sg-1", "InvalidParameterValue"),
        (RUN + b"SecurityGroupId.1=a&SecurityGroupId.1.b=c", "InvalidParameterValue"),
        (RUN + b"Placement=a", "InvalidParameterValue"),
        (RUN + b"ImageId.1=a", "InvalidParameterValue"),
        (RUN + b"MinCount=", "InvalidParameterValue"),
        (RUN + b"MinCount=one", "InvalidParameterValue"),
        (RUN + b"MinCount=1_0", "InvalidParameterValue"),
        (RUN + b"MinCount=+1", "InvalidParameterValue"),
        (RUN + b"MinCount=1.0", "InvalidParameterValue"),
        (RUN + b"MinCount=2147483648", "InvalidParameterValue"),
        (RUN + b"MinCount=" + b"9" * 5000, "InvalidParameterValue"),
        (RUN + b"MinCount=%D9%A3", "InvalidParameterValue"),
        (RUN + b"EbsOptimized=yes", "InvalidParameterValue"),
        (RUN + b"EbsOptimized=1", "InvalidParameterValue"),
    ],
)  # fmt: skip
def test_a_form_that_is_none_of_ec2_s(body: bytes, code: str) -> None:
    assert refused("ec2", body) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=CreateUser&UserName=a&UserName.b=c", "MalformedInput"),
        (b"Action=CreateUser&Tags.Tag.1.Key=a", "ValidationError"),
        (b"Action=CreateUser&Tags=a", "MalformedInput"),
        (b"Action=ListUsers&MaxItems=1e3", "MalformedInput"),
        (b"Action=ListUsers&Color=red", "ValidationError"),
        (b"Action=CreateUser&Tags.member.0.Key=a", "MalformedInput"),
    ],
)
def test_a_form_that_is_none_of_the_query_protocol(body: bytes, code: str) -> None:
    assert refused("iam", body) == code


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "-Infinity", "1e400", "0x10", "1__0", " 1", "", "1,5", "1" * 1000],
)
def test_a_form_s_numbers_are_finite_and_plain(value: str) -> None:
    body = "Action=PutMetricData&Namespace=n&MetricData.member.1.MetricName=m"
    assert refused("monitoring", f"{body}&MetricData.member.1.Value={value}".encode()) == (
        "MalformedInput"
    )


@pytest.mark.parametrize(
    "value",
    ["yesterday", "", "2026-13-01T00:00:00Z", "99999999999999", "1e300", "nan", "1_0",
     "0001-01-01T00:00:00%2B14:00", "2026-01-01T00:00:00%2B99:00", "2026-01-01" + "0" * 100,
     "Mon, 32 Nov 2026 00:00:00 GMT"],
)  # fmt: skip
def test_a_form_s_times_can_be_written_again(value: str) -> None:
    body = "Action=PutMetricData&MetricData.member.1.Timestamp="
    assert refused("monitoring", (body + value).encode()) == "MalformedInput"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-28T10:00:00Z", 1795860000.0),
        ("2026-11-28T11:00:00.5%2B01:00", 1795860000.5),
        ("2026-11-28T10:00:00", 1795860000.0),
        ("20261128T100000Z", 1795860000.0),
        ("Sat, 28 Nov 2026 10:00:00 GMT", 1795860000.0),
        ("1795860000", 1795860000.0),
    ],
)
def test_times_are_read_in_every_form_that_aws_reads(text: str, seconds: float) -> None:
    body = f"Action=PutMetricData&MetricData.member.1.Timestamp={text}"
    assert parse("monitoring", body.encode()).input == {"MetricData": [{"Timestamp": seconds}]}


def test_items_may_come_in_any_order_and_with_gaps() -> None:
    body = RUN + b"SecurityGroupId.10=c&SecurityGroupId.2=b&SecurityGroupId.1=a"
    assert parse("ec2", body).input == {"SecurityGroupIds": ["a", "b", "c"]}


def test_parameters_may_be_in_the_url_and_are_read_once() -> None:
    target = "/?Action=DescribeVpcs&Version=2016-11-15"
    assert parse("ec2", b"", f"{target}&VpcId.1=a", "GET").input == {"VpcIds": ["a"]}
    assert parse("ec2", b"VpcId.1=a", target).input == {"VpcIds": ["a"]}
    assert refused("ec2", b"Action=DeleteVpc", target) == "MalformedQueryString"
    assert refused("ec2", b"", target, "DELETE") == "InvalidAction"
