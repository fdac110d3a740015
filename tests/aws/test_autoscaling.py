"""Auto Scaling groups by boto3, with real instances and accelerators."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import boto3
import pytest

from elastic_inference.control import records
from elastic_inference.control.pointer import Pointer
from tests.aws.conftest import Aws
from tests.aws.scaling import (
    make_group,
    make_template,
    settled,
    until,
)
from tests.pools import accelerator_pids, ei, up


def _accelerators(aws: Aws, instance_ids: list[str]) -> dict[str, str]:
    """The one accelerator of each instance, by the instance's id."""
    found = aws.plane.store.accelerators_by_instance(instance_ids)
    return {instance: each.id for instance, (each,) in found.items()}


@pytest.mark.slow
def test_one_of_three_is_killed_and_replaced(aws: Aws, short_path: Path) -> None:
    scaling = aws.client("autoscaling")
    template = make_template(aws, "web", "eia1.medium")
    make_group(aws, MinSize=3, MaxSize=3)
    before = settled(aws, 3)
    accelerators = _accelerators(aws, before)
    assert aws.plane.meter.billed() == set(accelerators.values())
    for each in before:
        tags = aws.plane.instance(each).tags
        assert tags["aws:autoscaling:groupName"] == "web"
        assert tags["aws:ec2launchtemplate:id"] == template
        assert tags["aws:ec2launchtemplate:version"] == "1"

    victim = before[0]
    os.kill(accelerator_pids(short_path / "state")[accelerators[victim]], signal.SIGKILL)
    after = until(lambda: _without(aws, victim))

    assert set(before[1:]) < set(after)
    assert aws.plane.instance(victim).state == records.TERMINATED
    now = _accelerators(aws, after)
    (new,) = set(after) - set(before)
    assert now[new] not in accelerators.values()
    # Those that stayed were billed without a break, the killed one until its end.
    assert aws.plane.meter.billed() == set(now.values())
    usage = aws.plane.store.usage.where()
    assert {each.accelerator_id for each in usage} == {*accelerators.values(), *now.values()}
    still = [each.accelerator_id for each in usage if each.open]
    assert sorted(still) == sorted(now.values())
    others = [each for each in usage if each.accelerator_id != accelerators[victim]]
    assert len(others) == len(now), "each of them in one piece"
    assert set(accelerator_pids(short_path / "state")) == set(now.values())

    activities = scaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    assert [each["StatusCode"] for each in activities] == ["Successful"] * 5
    causes = " ".join(each["Cause"] for each in activities)
    assert "status checks failure: its accelerator has ended" in causes
    assert "in response to an unhealthy instance needing to be replaced" in causes
    assert "from 0 to 3" in causes


def _without(aws: Aws, victim: str) -> list[str] | None:
    found = settled(aws, 3)
    return None if victim in found else found


@pytest.mark.slow
def test_killed_with_the_pool_it_is_replaced_once(short_path: Path) -> None:
    with up(short_path) as first:
        ec2, scaling = _client(short_path, "ec2"), _client(short_path, "autoscaling")
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        ec2.create_launch_template(
            LaunchTemplateName="web",
            LaunchTemplateData={
                "ImageId": image, "InstanceType": "m5.large",
                "ElasticInferenceAccelerators": [{"Type": "eia1.medium", "Count": 1}],
            },
        )  # fmt: skip
        scaling.create_auto_scaling_group(
            AutoScalingGroupName="web", LaunchTemplate={"LaunchTemplateName": "web"},
            MinSize=3, MaxSize=3, AvailabilityZones=["us-east-1a"],
        )  # fmt: skip
        before = until(lambda: _serving(scaling, 3))
        pids = accelerator_pids(short_path / "pool")
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        first.end(signal.SIGKILL)
        with up(short_path):
            scaling = _client(short_path, "autoscaling")
            after = until(lambda: _serving(scaling, 3, set(before)))
            assert len(set(before) & set(after)) == 2
            states = [
                instance["State"]["Name"]
                for each in _client(short_path, "ec2").describe_instances()["Reservations"]
                for instance in each["Instances"]
            ]
            assert sorted(states) == ["running"] * 3 + ["terminated"]
            bill = json.loads(ei(short_path, "bill", "-o", "json").stdout)
            running = [each for each in bill["rows"] if each["running"]]
            assert (len(bill["rows"]), len(running)) == (4, 3)
            scaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
            until(
                lambda: None if scaling.describe_auto_scaling_groups()["AutoScalingGroups"] else 1
            )
            assert accelerator_pids(short_path / "pool") == {}


def _client(home: Path, service: str) -> Any:
    pointer = Pointer.load(home)
    assert pointer is not None
    return boto3.client(
        service, "us-east-1", endpoint_url=pointer.endpoint, verify=pointer.ca,
        aws_access_key_id=pointer.access_key_id, aws_secret_access_key=pointer.secret_access_key,
    )  # fmt: skip


def _serving(scaling: Any, count: int, not_just: set[str] | None = None) -> list[str] | None:
    """The instances of all groups, once so many are in service, and others than were."""
    found = scaling.describe_auto_scaling_instances()["AutoScalingInstances"]
    ids = [each["InstanceId"] for each in found if each["LifecycleState"] == "InService"]
    fine = len(found) == len(ids) == count and set(ids) != not_just
    return ids if fine else None
