"""What boto3's clients do by themselves: compression, protocols, classes of errors."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError

from elastic_inference.aws.models import protocols, service_model
from tests.aws import wires
from tests.aws.conftest import Aws
from tests.aws.raw import call


def test_large_requests_come_compressed_and_are_read(aws: Aws) -> None:
    client = aws.client("cloudwatch")
    codings: list[Any] = []

    def see(request: AWSPreparedRequest, **_: object) -> None:
        codings.append(request.headers.get("Content-Encoding"))

    client.meta.events.register("before-send", see)
    data = [
        {
            "MetricName": f"m{number}",
            "Value": 1.0,
            "Dimensions": [{"Name": "d", "Value": "x" * 200}],
        }
        for number in range(100)
    ]
    client.put_metric_data(Namespace="n", MetricData=data)
    client.put_metric_data(Namespace="n", MetricData=data[:1])
    assert [each.decode() if isinstance(each, bytes) else each for each in codings] == [
        "gzip",
        None,
    ]
    found = client.list_metrics(Namespace="n")["Metrics"]
    assert {each["MetricName"] for each in found} == {f"m{number}" for number in range(100)}


def test_every_protocol_of_a_service_says_the_same(aws: Aws) -> None:
    given = {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1.5, "Unit": "Count"}]}
    answers = []
    for protocol in protocols("monitoring"):
        assert call(aws, "monitoring", protocol, "PutMetricData", given).send(aws).status == 200
        answer = call(aws, "monitoring", protocol, "ListMetrics", {"Namespace": "n"}).send(aws)
        shape = service_model("monitoring").operation_model("ListMetrics").output_shape
        found = wires.read_reply(protocol, shape, answer.status, answer.headers, answer.body)
        assert found.pop("ResponseMetadata")["RequestId"] == answer.headers["x-amzn-requestid"]
        answers.append(found)
    assert answers == [answers[0]] * 3
    assert answers[0]["Metrics"] == [{"Namespace": "n", "MetricName": "m", "Dimensions": []}]


def test_errors_are_of_the_client_s_classes(aws: Aws) -> None:
    iam, cloudwatch = aws.client("iam"), aws.client("cloudwatch")
    with pytest.raises(iam.exceptions.NoSuchEntityException) as failed:
        iam.get_role(RoleName="nobody")
    assert failed.value.response["Error"]["Type"] == "Sender"
    # In CBOR the shape of the error is sent, and its code beside it.
    with pytest.raises(cloudwatch.exceptions.InvalidParameterValueException) as wrong:
        cloudwatch.list_metrics(NextToken="none")
    assert wrong.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert wrong.value.response["ResponseMetadata"]["RequestId"]


def test_what_a_dry_run_would_do_is_told_and_not_done(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    before = ec2.describe_vpcs()["Vpcs"]
    with pytest.raises(ClientError) as failed:
        ec2.create_vpc(CidrBlock="10.9.0.0/16", DryRun=True)
    assert failed.value.response["Error"]["Code"] == "DryRunOperation"
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    nobody = aws.client("ec2", aws.user("nobody"))
    with pytest.raises(ClientError) as denied:
        nobody.create_vpc(CidrBlock="10.9.0.0/16", DryRun=True)
    assert denied.value.response["Error"]["Code"] == "UnauthorizedOperation"
    assert ec2.describe_vpcs()["Vpcs"] == before
