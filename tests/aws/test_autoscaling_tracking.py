"""Target tracking: what a metric asks for, and what the group then wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from elastic_inference.aws.autoscaling_tracking import TRACKING, Tracker, wanted
from elastic_inference.control.metric_values import Datum, Metric, Point
from elastic_inference.control.records import ScalingMember, ScalingPolicy
from tests.aws.conftest import Aws
from tests.aws.scaling import HandClock, kept, make_template, stop_clock, write_group

HIGH, LOW = 90.0, 10.0


@pytest.mark.parametrize(
    ("values", "capacity", "expected"),
    [
        ([], 2, 2),
        ([HIGH, HIGH], 2, 2),
        ([HIGH, None, HIGH], 2, 2),
        ([HIGH, 50.0, HIGH], 2, 2),
        ([HIGH, HIGH, HIGH], 2, 4),
        ([75.0, 100.0, 125.0], 2, 4),
        ([LOW, HIGH, HIGH, HIGH], 2, 4),
        ([HIGH, HIGH, HIGH], 0, 2),
        ([LOW] * 14, 2, 2),
        ([LOW] * 15, 2, 1),
        ([LOW] * 14 + [46.0], 2, 2),
        ([0.0] * 15, 2, 0),
        ([48.0] * 15, 2, 2),
        ([LOW] * 14 + [None], 2, 2),
    ],
)
def test_what_a_metric_asks_for(
    values: Sequence[float | None], capacity: int, expected: int
) -> None:
    assert wanted(50.0, values, capacity, 2, below=15) == expected


def test_one_may_not_shrink() -> None:
    assert wanted(50.0, [LOW] * 15, 2, 2, below=15, may_shrink=False) == 2


def test_growing_never_takes_what_is_on_its_way() -> None:
    # With one of three in service the metric asks for two: the others come already.
    assert wanted(50.0, [HIGH] * 3, 1, 3, below=15) == 3


@pytest.fixture
def clock(aws: Aws) -> HandClock:
    make_template(aws)
    clock = stop_clock(aws)
    write_group(aws, desired=2, DefaultCooldown=300)
    with aws.plane.store.transaction():
        for number in range(2):
            aws.plane.store.scaling_members.add(
                ScalingMember(
                    instance_id=f"i-{number}", account=aws.account, group_name="web",
                    lifecycle="InService", health="Healthy", protected=False, template={},
                    created_at=clock.time(),
                )
            )  # fmt: skip
    clock.move(3600)
    return clock


def follow(aws: Aws, name: str = "load", **config: Any) -> None:
    metric = {"Namespace": "Web", "MetricName": name, "Statistic": "Average"}
    settings = {
        "PolicyType": TRACKING,
        "TargetTrackingConfiguration": {
            "TargetValue": 50.0, "CustomizedMetricSpecification": metric, **config,
        },
    }  # fmt: skip
    with aws.plane.store.transaction():
        aws.plane.store.scaling_policies.add(
            ScalingPolicy(
                account=aws.account, group_name="web", name=name, id=name, settings=settings,
                state={}, created_at=0.0,
            )
        )  # fmt: skip


def measure(aws: Aws, value: float, minutes: int, name: str = "load") -> None:
    """The metric was so high for the last minutes."""
    now = int(aws.plane.clock.time() // 60 * 60)
    points = [Point(now - 60 * ago, 1, value, value, value) for ago in range(1, minutes + 1)]
    aws.plane.metrics.put(aws.account, [Datum(Metric.of("Web", name, {}), "None", points)])


def look(aws: Aws) -> int:
    Tracker(aws.plane).look(kept(aws))
    return kept(aws).desired


def test_a_group_grows_with_its_metric_and_waits_for_that_to_show(
    aws: Aws, clock: HandClock
) -> None:
    follow(aws)
    assert look(aws) == 2, "nothing was measured"
    measure(aws, HIGH, 3)
    assert look(aws) == 4
    assert "above its target 50, changed the desired capacity from 2 to 4" in str(
        kept(aws).state["cause"]
    )
    # What was measured before says nothing of the group as it is now.
    assert look(aws) == 4
    clock.move(120)
    measure(aws, HIGH, 2)
    assert look(aws) == 4


def test_no_more_than_the_most_and_no_fewer_than_the_least(aws: Aws, clock: HandClock) -> None:
    del clock
    follow(aws)
    measure(aws, 1000.0, 3)
    assert look(aws) == 5


def test_a_group_shrinks_when_all_are_warm(aws: Aws, clock: HandClock) -> None:
    follow(aws)
    measure(aws, LOW, 15)
    with aws.plane.store.transaction():
        columns = aws.plane.store.scaling_members.columns
        aws.plane.store.scaling_members.change(
            columns.instance_id == "i-1", created_at=clock.time() - 10
        )
    assert look(aws) == 2
    with aws.plane.store.transaction():
        aws.plane.store.scaling_members.change(columns.instance_id == "i-1", created_at=0.0)
    assert look(aws) == 1


def test_one_that_may_not_shrink_stays(aws: Aws, clock: HandClock) -> None:
    del clock
    follow(aws, DisableScaleIn=True)
    measure(aws, LOW, 15)
    assert look(aws) == 2


def test_the_policy_that_needs_most_decides(aws: Aws, clock: HandClock) -> None:
    del clock
    follow(aws)
    follow(aws, "queue")
    measure(aws, LOW, 15)
    assert look(aws) == 2, "the other one has not been measured"
    measure(aws, HIGH, 3, "queue")
    assert look(aws) == 4


@pytest.mark.parametrize("change", [{"suspended": {"AlarmNotification": ""}}, {"deleting": True}])
def test_suspended_or_deleted_it_stays(
    aws: Aws, clock: HandClock, change: Mapping[str, Any]
) -> None:
    del clock
    follow(aws)
    measure(aws, HIGH, 3)
    with aws.plane.store.transaction():
        columns = aws.plane.store.scaling_groups.columns
        aws.plane.store.scaling_groups.change(columns.name == "web", state=change)
    assert look(aws) == 2


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("Average", 2), ("Maximum", 4), ("Minimum", 2), ("Sum", 5), ("SampleCount", 2)],
)
def test_statistics(aws: Aws, clock: HandClock, statistic: str, expected: int) -> None:
    del clock
    metric = {"Namespace": " Web ", "MetricName": "load", "Statistic": statistic}
    follow(aws, CustomizedMetricSpecification={**metric, "Period": 60})
    now = int(aws.plane.clock.time() // 60 * 60)
    points = [Point(now - 60 * ago, 3, 135.0, 10.0, 85.0) for ago in range(1, 4)]
    aws.plane.metrics.put(aws.account, [Datum(Metric.of("Web", "load", {}), "None", points)])
    assert look(aws) == expected
