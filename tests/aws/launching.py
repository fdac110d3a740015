"""Launching instances through boto3, and waiting until they are what they were to become."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from elastic_inference.aws.ec2_images import IMAGES
from tests.aws.conftest import Aws


@lru_cache(maxsize=1)
def client(aws: Aws) -> Any:
    """The owner's client of EC2, which takes a while to make."""
    return aws.client("ec2")


def image() -> str:
    """The id of an image."""
    return IMAGES[0].id


def request(**more: Any) -> dict[str, Any]:
    """The least that RunInstances needs, with `more`."""
    needed = {"ImageId": image(), "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    return needed | more


def run(aws: Aws, **more: Any) -> list[str]:
    """The ids of instances that were launched and run."""
    launched = client(aws).run_instances(**request(**more))["Instances"]
    ids = [each["InstanceId"] for each in launched]
    settle(aws, *ids)
    return ids


def settle(aws: Aws, *ids: str) -> None:
    """Wait until nothing is left to do for instances."""
    for each in ids:
        aws.plane._lifecycle.settle(each)


def one(aws: Aws, instance_id: str) -> dict[str, Any]:
    """An instance as DescribeInstances has it now."""
    (reservation,) = client(aws).describe_instances(InstanceIds=[instance_id])["Reservations"]
    (found,) = reservation["Instances"]
    return dict(found)
