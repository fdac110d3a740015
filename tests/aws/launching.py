"""Launching instances through boto3, and waiting until they are what they were to become."""

from __future__ import annotations

from typing import Any

from tests.aws.conftest import Aws


def image(aws: Aws) -> str:
    """The id of an image."""
    found = aws.client("ec2").describe_images(Owners=["amazon"])["Images"]
    return str(found[0]["ImageId"])


def request(aws: Aws, **more: Any) -> dict[str, Any]:
    """The least that RunInstances needs, with `more`."""
    needed = {"ImageId": image(aws), "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    return needed | more


def run(aws: Aws, **more: Any) -> list[str]:
    """The ids of instances that were launched and run."""
    launched = aws.client("ec2").run_instances(**request(aws, **more))["Instances"]
    ids = [each["InstanceId"] for each in launched]
    settle(aws, *ids)
    return ids


def settle(aws: Aws, *ids: str) -> None:
    """Wait until nothing is left to do for instances."""
    for each in ids:
        aws.plane._lifecycle.settle(each)


def one(aws: Aws, instance_id: str) -> dict[str, Any]:
    """An instance as DescribeInstances has it now."""
    (reservation,) = aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
    (found,) = reservation["Instances"]
    return dict(found)
