"""What groups need, decided without a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from elastic_inference.aws.autoscaling_decisions import (
    IMPAIRED_FOR,
    IN_SERVICE,
    PENDING,
    STANDBY,
    TERMINATING,
    UNHEALTHY,
    Action,
    Condition,
    End,
    Enter,
    Fail,
    Forget,
    Launch,
    Mark,
    Remove,
    Situation,
    decide,
)
from elastic_inference.control.records import ScalingGroup, ScalingMember

NOW = 1_000_000.0
RUNNING = Condition("running", running_since=NOW - 1000)


def group(desired: int, state: Mapping[str, Any] | None = None, **settings: Any) -> ScalingGroup:
    return ScalingGroup(
        account="0" * 12, name="web", id="g", least=0, most=10, desired=desired,
        settings=settings, state=state or {}, tags={}, created_at=0.0,
    )  # fmt: skip


def member(
    number: int,
    lifecycle: str = IN_SERVICE,
    *,
    protected: bool = False,
    health: str = "Healthy",
    version: int = 1,
) -> ScalingMember:
    return ScalingMember(
        instance_id=f"i-{number}", account="0" * 12, group_name="web", lifecycle=lifecycle,
        health=health, protected=protected,
        template={"LaunchTemplateId": "lt-1", "Version": str(version)},
        created_at=NOW - 1000 + number,
    )  # fmt: skip


def decided(
    wanted: ScalingGroup,
    members: Sequence[ScalingMember] = (),
    conditions: Mapping[str, Condition] | None = None,
    launching: Sequence[str] = (),
) -> list[Action]:
    known = {each.instance_id: RUNNING for each in members} | dict(conditions or {})
    return decide(Situation(wanted, members, known, launching, NOW))


def ended(actions: Sequence[Action]) -> list[str]:
    return [each.instance_id for each in actions if isinstance(each, End)]


def launches(actions: Sequence[Action]) -> list[str]:
    return [each.subnet_id for each in actions if isinstance(each, Launch)]


def test_a_group_at_its_size_needs_nothing() -> None:
    assert decided(group(2), [member(1), member(2)]) == []


def test_what_is_missing_is_launched_once() -> None:
    actions = decided(group(3))
    assert launches(actions) == ["", "", ""]
    assert "from 0 to 3" in actions[0].cause  # type: ignore[union-attr]  # a launch
    assert decided(group(3), [member(1, PENDING)], {"i-1": Condition("pending")}, ["", ""]) == []


def test_launches_spread_over_subnets() -> None:
    wanted = group(4, VPCZoneIdentifier="subnet-a, subnet-b")
    there = {"i-1": Condition("running", subnet_id="subnet-a")}
    assert sorted(launches(decided(wanted, [member(1)], there))) == [
        "subnet-a", "subnet-b", "subnet-b",
    ]  # fmt: skip


def test_a_pending_one_enters_once_it_runs() -> None:
    assert decided(group(1), [member(1, PENDING)]) == [Enter("i-1")]


@pytest.mark.parametrize("state", ["terminated", "shutting-down", "stopped", ""])
def test_a_launch_that_failed_is_not_repeated_at_once(state: str) -> None:
    actions = decided(group(1), [member(1, PENDING)], {"i-1": Condition(state, "no room")})
    assert actions == [Fail("i-1", "no room")]
    assert decided(group(1, {"retry_at": NOW + 5})) == []
    assert launches(decided(group(1, {"retry_at": NOW}))) == [""]


@pytest.mark.parametrize("state", ["terminated", "shutting-down", "stopping", "stopped", ""])
def test_one_that_ended_is_replaced(state: str) -> None:
    actions = decided(group(2), [member(1), member(2)], {"i-1": Condition(state)})
    assert ended(actions) == ["i-1"]
    assert launches(actions) == [""]
    assert "unhealthy instance" in actions[1].cause  # type: ignore[union-attr]  # a launch


def test_one_whose_accelerator_ended_is_replaced_after_the_grace() -> None:
    dead = Condition("running", running_since=NOW - 100, died_at=NOW - 50)
    assert ended(decided(group(1), [member(1)], {"i-1": dead})) == ["i-1"]
    grace = group(1, HealthCheckGracePeriod=40)
    assert ended(decided(grace, [member(1)], {"i-1": dead})) == ["i-1"]
    # What happened before is made good by now.
    assert decided(group(1, HealthCheckGracePeriod=60), [member(1)], {"i-1": dead}) == []
    assert decided(group(1, HealthCheckGracePeriod=101), [member(1)], {"i-1": dead}) == []


def test_one_that_is_silent_is_waited_for() -> None:
    silent = Condition("running", running_since=0.0, impaired_since=NOW - IMPAIRED_FOR + 1)
    assert decided(group(1), [member(1)], {"i-1": silent}) == []
    silent = Condition("running", running_since=0.0, impaired_since=NOW - IMPAIRED_FOR)
    assert ended(decided(group(1), [member(1)], {"i-1": silent})) == ["i-1"]


def test_one_that_the_user_calls_unhealthy_is_replaced() -> None:
    actions = decided(group(1), [member(1, health=UNHEALTHY)])
    assert ended(actions) == ["i-1"]
    assert "user health-check" in actions[0].cause  # type: ignore[union-attr]  # an end


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        ("HealthCheck", []),
        ("ReplaceUnhealthy", [Mark("i-1")]),
        ("Terminate", [Mark("i-1")]),
    ],
)
def test_suspended_processes_leave_the_unhealthy(process: str, expected: list[Action]) -> None:
    state = {"suspended": {process: ""}}
    gone = {"i-1": Condition("terminated")}
    assert decided(group(1, state), [member(1)], gone) == expected
    if expected:
        marked = member(1, health=UNHEALTHY)
        assert decided(group(1, state), [marked], gone) == []


def test_suspended_launches_and_ends() -> None:
    assert decided(group(1, {"suspended": {"Launch": ""}})) == []
    assert decided(group(0, {"suspended": {"Terminate": ""}}), [member(1)]) == []


def test_one_too_many_is_the_oldest_that_is_not_protected() -> None:
    members = [member(1, protected=True), member(2), member(3)]
    assert ended(decided(group(1), members)) == ["i-2", "i-3"]
    assert ended(decided(group(2), members)) == ["i-2"]
    assert ended(decided(group(0), [member(1, protected=True)])) == []


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (["Default"], "i-2"),
        (["OldestInstance"], "i-1"),
        (["NewestInstance"], "i-3"),
        (["OldestLaunchTemplate"], "i-2"),
        (["OldestLaunchTemplate", "NewestInstance"], "i-2"),
    ],
)
def test_termination_policies(policies: list[str], expected: str) -> None:
    members = [member(1, version=2), member(2, version=1), member(3, version=2)]
    wanted = group(
        2, TerminationPolicies=policies, LaunchTemplate={"LaunchTemplateId": "lt-1"}
    )  # fmt: skip
    assert ended(decided(wanted, members)) == [expected]


def test_those_of_another_template_end_first() -> None:
    other = group(1, LaunchTemplate={"LaunchTemplateId": "lt-2"})
    new = ScalingMember(
        instance_id="i-0", account="0" * 12, group_name="web", lifecycle=IN_SERVICE,
        health="Healthy", protected=False,
        template={"LaunchTemplateId": "lt-2", "Version": "1"}, created_at=NOW - 2000,
    )  # fmt: skip
    assert ended(decided(other, [new, member(1, version=9)])) == ["i-1"]


def test_ending_ones_are_forgotten_once_they_have_ended() -> None:
    going = [member(1, TERMINATING), member(2)]
    assert decided(group(1), going, {"i-1": Condition("shutting-down")}) == []
    assert decided(group(1), going, {"i-1": Condition("terminated")}) == [Forget("i-1")]
    assert decided(group(1), going, {"i-1": Condition()}) == [Forget("i-1")]


def test_standby_ones_are_not_counted_and_not_checked() -> None:
    impaired = Condition("running", running_since=0.0, impaired_since=0.0)
    aside = [member(1, STANDBY), member(2)]
    assert decided(group(1), aside, {"i-1": impaired}) == []
    assert decided(group(1), aside, {"i-1": Condition("terminated")}) == [Forget("i-1")]


def test_the_old_are_replaced_one_by_one() -> None:
    wanted = group(2, MaxInstanceLifetime=900)
    actions = decided(wanted, [member(1), member(2)])
    assert (ended(actions), len(launches(actions))) == (["i-1"], 1)
    assert decided(wanted, [member(1, TERMINATING), member(2)], launching=[""]) == []


def test_a_group_that_is_deleted_ends_all_and_goes() -> None:
    state = {"deleting": True}
    members = [member(1), member(2, PENDING), member(3, protected=True), member(4, TERMINATING)]
    assert ended(decided(group(4, state), members)) == ["i-1", "i-2", "i-3"]
    over = {"i-4": Condition("terminated")}
    assert decided(group(4, state), [members[3]], over) == [Forget("i-4"), Remove()]
    assert decided(group(4, state), launching=["subnet-a"]) == []
    assert decided(group(4, state)) == [Remove()]
