"""Auto Scaling groups by boto3, with real instances and accelerators."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from elastic_inference.control import records
from tests.aws.conftest import Aws
from tests.aws.scaling import (
    make_group,
    make_template,
    settled,
    until,
)
from tests.pools import accelerator_pids


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
