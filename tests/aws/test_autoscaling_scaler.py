"""The scaler, step by step: what it does, and what a later one takes up."""

from __future__ import annotations

from typing import Any

import pytest

from elastic_inference.aws.autoscaling_launch import Launched, launch
from elastic_inference.aws.autoscaling_scaler import Scaler
from elastic_inference.aws.errors import AwsError
from elastic_inference.control import records
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingActivity, ScalingGroup
from elastic_inference.errors import InsufficientCapacityError
from tests.aws.conftest import Aws, StartAws
from tests.aws.scaling import (
    kept,
    make_group,
    make_template,
    settled,
    stop_clock,
    until,
    write_group,
)


class _KilledError(BaseException):
    """The process ended here."""


class _NoTracker:
    def track(self, group: ScalingGroup) -> None:
        pass


@pytest.fixture
def aws(aws: Aws) -> Aws:
    make_template(aws)
    return aws


def scaler(aws: Aws, launcher: Any = launch) -> Scaler:
    return Scaler(aws.plane, launcher=launcher, tracker=_NoTracker())


def activities(aws: Aws) -> list[ScalingActivity]:
    table = aws.plane.store.scaling_activities
    return table.where(order=(table.columns.created_at,))


def instances(aws: Aws) -> list[records.Instance]:
    return aws.plane.store.instances.where()


def members(aws: Aws) -> list[tuple[str, str]]:
    return [(each.instance_id, each.lifecycle) for each in aws.plane.store.scaling_members.where()]


def running(aws: Aws, scaler: Scaler) -> str:
    """The one instance of a group, once it is in service."""

    def look() -> str | None:
        scaler.step()
        found = members(aws)
        return found[0][0] if [state for _, state in found] == ["InService"] else None

    return until(look)


def test_it_launches_and_ends(aws: Aws) -> None:
    group, mine = write_group(aws), scaler(aws)
    instance = running(aws, mine)
    assert not mine.step()
    assert [each.status for each in activities(aws)] == ["Successful"]
    with aws.plane.store.transaction():
        columns = aws.plane.store.scaling_groups.columns
        aws.plane.store.scaling_groups.change(columns.name == group.name, desired=0)
    until(lambda: None if mine.step() else True)
    assert members(aws) == []
    assert aws.plane.instance(instance).state == records.TERMINATED
    assert [each.status for each in activities(aws)] == ["Successful", "Successful"]


def test_what_was_decided_and_not_begun_is_done_by_the_next(aws: Aws) -> None:
    def killed(*_: Any) -> Launched:
        raise _KilledError

    write_group(aws)
    with pytest.raises(_KilledError):
        scaler(aws, killed).step()
    assert [each.status for each in activities(aws)] == ["WaitingForInstanceId"]
    running(aws, scaler(aws))
    assert len(instances(aws)) == 1
    assert [each.status for each in activities(aws)] == ["Successful"]


def test_what_was_launched_and_not_written_down_is_not_launched_again(aws: Aws) -> None:
    def killed(plane: ControlPlane, group: ScalingGroup, activity: ScalingActivity) -> Launched:
        launch(plane, group, activity)
        raise _KilledError

    write_group(aws)
    with pytest.raises(_KilledError):
        scaler(aws, killed).step()
    (instance,) = instances(aws)
    # Even where it would be launched otherwise by now.
    with aws.plane.store.transaction():
        columns = aws.plane.store.scaling_groups.columns
        tags = {"a": {"value": "b", "propagate": True}}
        aws.plane.store.scaling_groups.change(columns.name == "web", tags=tags)
    assert running(aws, scaler(aws)) == instance.id
    assert len(instances(aws)) == 1


@pytest.mark.parametrize(
    "error",
    [InsufficientCapacityError("No node has room."), AwsError("NoSuch", "No template."), OSError()],
)
def test_what_cannot_be_launched_is_tried_again_later_and_later(aws: Aws, error: Exception) -> None:
    tries = []

    def fails(*_: Any) -> Launched:
        tries.append(1)
        raise error

    clock = stop_clock(aws)
    write_group(aws, desired=2)
    mine = scaler(aws, fails)
    mine.step()
    assert len(tries) == 2, "both of the first attempt"
    assert [each.status for each in activities(aws)] == ["Failed", "Failed"]
    assert "Launching EC2 instance failed." in activities(aws)[0].message
    mine.step()
    assert len(tries) == 2
    pauses = []
    for _ in range(8):
        clock.move(kept(aws).state["retry_at"] - clock.time())
        mine.step()
        pauses.append(kept(aws).state["retry_at"] - clock.time())
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert running(aws_with_room(aws), scaler(aws))
    assert "failures" not in kept(aws).state


def aws_with_room(aws: Aws) -> Aws:
    with aws.plane.store.transaction():
        columns = aws.plane.store.scaling_groups.columns
        state = {key: each for key, each in kept(aws).state.items() if key != "retry_at"}
        aws.plane.store.scaling_groups.change(columns.name == "web", state=state, desired=1)
    return aws


def test_a_launch_that_ends_while_it_starts_has_failed(aws: Aws) -> None:
    write_group(aws)
    mine = scaler(aws)
    mine.step()
    (instance,) = instances(aws)
    aws.plane.terminate(instance.id)
    mine.step()
    assert members(aws) == []
    assert [each.status for each in activities(aws)] == ["Failed"]
    assert kept(aws).state["failures"] == 1


def test_a_group_that_is_deleted_meanwhile_launches_nothing(aws: Aws) -> None:
    def killed(*_: Any) -> Launched:
        raise _KilledError

    write_group(aws)
    with pytest.raises(_KilledError):
        scaler(aws, killed).step()
    with aws.plane.store.transaction():
        columns = aws.plane.store.scaling_groups.columns
        aws.plane.store.scaling_groups.change(columns.name == "web", state={"deleting": True})
    mine = scaler(aws)
    mine.step()
    mine.step()
    assert instances(aws) == []
    assert aws.plane.store.scaling_groups.count() == 0
    assert [each.status for each in activities(aws)] == ["Cancelled"]


def test_what_was_launched_for_a_group_that_is_deleted_meanwhile_is_ended(aws: Aws) -> None:
    def killed(plane: ControlPlane, group: ScalingGroup, activity: ScalingActivity) -> Launched:
        launch(plane, group, activity)
        raise _KilledError

    write_group(aws)
    with pytest.raises(_KilledError):
        scaler(aws, killed).step()
    (instance,) = instances(aws)
    with aws.plane.store.transaction():
        columns = aws.plane.store.scaling_groups.columns
        aws.plane.store.scaling_groups.change(columns.name == "web", state={"deleting": True})
    mine = scaler(aws)

    def gone() -> bool | None:
        mine.step()
        return aws.plane.store.scaling_groups.count() == 0 or None

    until(gone)
    assert aws.plane.instance(instance.id).state == records.TERMINATED
    assert aws.plane.store.scaling_members.count() == 0


def test_what_a_failure_says_is_one_line(aws: Aws, caplog: pytest.LogCaptureFixture) -> None:
    def fails(*_: Any) -> Launched:
        raise AwsError("InvalidSubnetID.NotFound", "The subnet ID 'a\r\nb' does not exist")

    write_group(aws)
    scaler(aws, fails).step()
    (said,) = [each.getMessage() for each in caplog.records if "could not launch" in each.msg]
    assert said.isprintable()
    (activity,) = activities(aws)
    assert activity.message.isprintable()


def test_one_groups_trouble_is_not_the_others(aws: Aws) -> None:
    write_group(aws, "bad", desired=1, VPCZoneIdentifier=7)
    write_group(aws, "web")
    running(aws, scaler(aws))


def test_old_activities_are_dropped(aws: Aws) -> None:
    clock = stop_clock(aws)
    write_group(aws, desired=0)
    mine = scaler(aws)
    group = kept(aws)
    with aws.plane.store.transaction():
        mine._groups.activities.begin(group, "Successful", "old", "why")
        clock.move(43 * 86400.0)
        mine._groups.activities.begin(group, "Successful", "new", "why")
        mine._groups.activities.forget()
    assert [each.description for each in activities(aws)] == ["new"]


@pytest.mark.slow
def test_groups_go_on_after_a_restart(start_aws: StartAws) -> None:
    first = start_aws()
    make_template(first)
    make_group(first, DesiredCapacity=2)
    before = settled(first, 2)
    first.pool.close()
    second = start_aws()
    assert settled(second, 2) == before
    second.plane.terminate(before[0])
    after = until(lambda: None if before[0] in (found := settled(second, 2)) else found)
    assert before[1] in after
    second.client("autoscaling").delete_auto_scaling_group(
        AutoScalingGroupName="web", ForceDelete=True
    )
    until(lambda: True if second.plane.store.scaling_groups.count() == 0 else None)
    assert all(each.state == records.TERMINATED for each in second.plane.store.instances.where())
