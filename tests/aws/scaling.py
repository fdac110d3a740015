"""What tests of Auto Scaling share."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError

from elastic_inference.aws import ec2_images
from elastic_inference.aws.autoscaling_input import USUAL
from elastic_inference.control.clock import Clock
from elastic_inference.control.records import ScalingGroup
from tests.aws.conftest import Aws
from tests.pools import PATIENCE

T = TypeVar("T")


@lru_cache(maxsize=1)
def client(aws: Aws) -> Any:
    """The owner's client of Auto Scaling, which takes a while to make."""
    return aws.client("autoscaling")


@contextmanager
def refused(code: str, saying: str = "") -> Iterator[None]:
    """What is done within is refused with such a code and message."""
    with pytest.raises(ClientError) as failed:
        yield
    error = failed.value.response["Error"]
    assert error["Code"] == code, error
    assert saying in error["Message"]


def make_template(aws: Aws, name: str = "web", *accelerators: str, **data: Any) -> str:
    """A launch template for instances with such accelerators; its id."""
    found: dict[str, Any] = {"ImageId": ec2_images.IMAGES[0].id, "InstanceType": "m5.large", **data}
    if accelerators:
        found["ElasticInferenceAccelerators"] = [
            {"Type": each, "Count": 1} for each in accelerators
        ]
    made = aws.client("ec2").create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData=found
    )
    template_id: str = made["LaunchTemplate"]["LaunchTemplateId"]
    return template_id


def make_group(aws: Aws, name: str = "web", **wanted: Any) -> None:
    """A group of the template `web`."""
    given = {
        "LaunchTemplate": {"LaunchTemplateName": "web"},
        "MinSize": 0,
        "MaxSize": 5,
        "AvailabilityZones": [aws.plane.network.zone],
    }
    client(aws).create_auto_scaling_group(AutoScalingGroupName=name, **(given | wanted))


def group_of(aws: Aws, name: str = "web") -> dict[str, Any]:
    """A group as it is described."""
    found = client(aws).describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    (group,) = found["AutoScalingGroups"]
    shown: dict[str, Any] = group
    return shown


def in_service(aws: Aws, name: str = "web") -> list[str] | None:
    """The ids of a group's instances; None: not all of them are healthy and in service."""
    instances = group_of(aws, name)["Instances"]
    fine = all(
        (each["LifecycleState"], each["HealthStatus"]) == ("InService", "Healthy")
        for each in instances
    )
    return sorted(each["InstanceId"] for each in instances) if fine else None


def settled(aws: Aws, count: int, name: str = "web") -> list[str]:
    """A group's instances, once it has so many, all of them in service."""

    def look() -> list[str] | None:
        found = in_service(aws, name)
        return found if found is not None and len(found) == count else None

    return until(look)


def until(look: Callable[[], T | None]) -> T:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.01)
    return found


def write_group(aws: Aws, name: str = "web", *, desired: int = 1, **settings: Any) -> ScalingGroup:
    """A group of the template `web` in the store, that no scaler was told of."""
    table = aws.plane.store.templates
    template = table.first(table.columns.name == "web")
    assert template is not None
    spec = {"LaunchTemplateId": template.id, "LaunchTemplateName": "web", "Version": "$Latest"}
    group = ScalingGroup(
        account=aws.account, name=name, id=str(uuid.uuid4()), least=0, most=5, desired=desired,
        settings={**USUAL, "LaunchTemplate": spec, "AvailabilityZones": ["zone"], **settings},
        state={}, tags={}, created_at=aws.plane.clock.time(),
    )  # fmt: skip
    with aws.plane.store.transaction():
        aws.plane.store.scaling_groups.add(group)
    return group


def kept(aws: Aws, name: str = "web") -> ScalingGroup:
    """A group as the store has it."""
    found = aws.plane.store.scaling_groups.get(aws.account, name)
    assert found is not None
    return found


class HandClock(Clock):
    """A clock of the control plane that stands still until it is moved."""

    def __init__(self, at: float) -> None:
        super().__init__()
        object.__setattr__(self, "at", at)

    at: float

    def time(self) -> float:
        return self.at

    def move(self, seconds: float) -> None:
        object.__setattr__(self, "at", self.at + seconds)


def stop_clock(aws: Aws) -> HandClock:
    """Let the time of day pass by hand."""
    clock = HandClock(aws.plane.clock.time())
    aws.plane.clock = clock
    return clock
