"""Target tracking: groups that grow and shrink with a metric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_decisions import ALARM, IN_SERVICE, STANDBY, stamp
from elastic_inference.aws.autoscaling_state import Groups
from elastic_inference.control.metric_values import Metric, Statistics
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingGroup, ScalingMember, ScalingPolicy

TRACKING = "TargetTrackingScaling"
USUAL_PERIOD = 60
USUAL_COOLDOWN = 300
# A group grows after so many periods above the target, and shrinks after so many seconds well
# below it: as AWS does.
_ABOVE = 3
_BELOW = 900.0
_WELL_BELOW = 0.9
# Between two looks at the metrics of a group, in seconds.
_PAUSE = 5.0

_STATISTICS: Mapping[str, Callable[[Statistics], float]] = {
    "Average": lambda each: each.average,
    "Minimum": lambda each: each.minimum,
    "Maximum": lambda each: each.maximum,
    "Sum": lambda each: each.total,
    "SampleCount": lambda each: each.count,
}
# The values of a metric from a time on, one for each period; None where nothing was measured.
Reader = Callable[[str, Mapping[str, Any], float, float], Sequence[float | None]]


def wanted(
    target: float,
    values: Sequence[float | None],
    capacity: int,
    desired: int,
    *,
    below: int,
    may_shrink: bool = True,
) -> int:
    """How many instances a metric asks for; `desired` where it asks for no change.

    Args:
        values: the latest last, one for each period.
        capacity: the instances that the metric was measured with.
        below: so many values below the target make it shrink.
    """
    latest = _known(values, _ABOVE)
    if latest and min(latest) > target:
        return max(desired, math.ceil(max(1, capacity) * _mean(latest) / target))
    calm = _known(values, below)
    if may_shrink and calm and max(calm) < _WELL_BELOW * target:
        return min(desired, math.ceil(capacity * max(calm) / target))
    return desired


def _known(values: Sequence[float | None], count: int) -> list[float]:
    """The last `count` values; none where one is missing."""
    found = [each for each in values[-count:] if each is not None]
    return found if len(found) == count else []


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


class Tracker:
    """Follows the metrics of groups' policies."""

    def __init__(self, plane: ControlPlane, read: Reader | None = None) -> None:
        self._plane = plane
        self._groups = Groups(plane)
        self._read = read or _reader(plane)
        self._next: dict[str, float] = {}

    def track(self, group: ScalingGroup) -> None:
        """Change what a group wants, if its metrics ask for that."""
        if time.monotonic() < self._next.get(group.id, 0.0):
            return
        self._next[group.id] = time.monotonic() + _PAUSE
        self.look(group)

    def look(self, group: ScalingGroup) -> None:
        """As `track`, now."""
        if ALARM in group.state.get("suspended", {}):
            return
        wishes = [(each, self._wish(group, each)) for each in self._policies(group)]
        if not wishes:
            return
        # Who needs most decides, so that one policy does not take what another needs.
        policy, wish = max(wishes, key=lambda each: each[1])
        wish = min(max(wish, group.least), group.most)
        if wish != group.desired:
            self._scale(group, policy, wish)

    def _policies(self, group: ScalingGroup) -> list[ScalingPolicy]:
        table = self._plane.store.scaling_policies
        found = table.where(
            table.columns.account == group.account, table.columns.group_name == group.name
        )
        return [
            each
            for each in found
            if each.settings["PolicyType"] == TRACKING and each.settings.get("Enabled", True)
        ]

    def _wish(self, group: ScalingGroup, policy: ScalingPolicy) -> int:
        config = policy.settings["TargetTrackingConfiguration"]
        spec = config["CustomizedMetricSpecification"]
        period = spec.get("Period", USUAL_PERIOD)
        below = max(_ABOVE, math.ceil(_BELOW / period))
        now = self._plane.clock.time()
        end = now // period * period
        # What was measured before the group last changed says nothing of what it is now.
        changed = max(group.state.get("scaled_at", 0.0), group.state.get("resized_at", 0.0))
        start = end - below * period
        while start < changed:
            start += period
        members = words.members(self._plane, group)
        counted = [each for each in members if each.lifecycle != STANDBY]
        warm = [each for each in counted if self._is_warm(group, policy, each, now)]
        if start >= end:
            return group.desired
        return wanted(
            config["TargetValue"],
            self._read(group.account, spec, start, end),
            len(warm),
            group.desired,
            below=below,
            may_shrink=len(warm) == len(counted) and not config.get("DisableScaleIn", False),
        )

    @staticmethod
    def _is_warm(
        group: ScalingGroup, policy: ScalingPolicy, member: ScalingMember, now: float
    ) -> bool:
        warmup = policy.settings.get(
            "EstimatedInstanceWarmup",
            group.settings.get(
                "DefaultInstanceWarmup", group.settings.get("DefaultCooldown", USUAL_COOLDOWN)
            ),
        )
        return member.lifecycle == IN_SERVICE and now >= member.created_at + warmup

    def _scale(self, group: ScalingGroup, policy: ScalingPolicy, wish: int) -> None:
        now = self._plane.clock.time()
        target = policy.settings["TargetTrackingConfiguration"]["TargetValue"]
        side = "above" if wish > group.desired else "below"
        cause = (
            f"At {stamp(now)} the metric of policy {policy.name}, {side} its target {target:g},"
            f" changed the desired capacity from {group.desired} to {wish}."
        )
        with self._plane.store.transaction():
            found = self._plane.store.scaling_groups.get(group.account, group.name)
            if found is None or found.desired != group.desired or found.state.get("deleting"):
                return
            wish = min(max(wish, found.least), found.most)
            self._groups.change(found, desired=wish)
            self._groups.remember(found, cause=cause, resized_at=now)


def _reader(plane: ControlPlane) -> Reader:
    def read(
        account: str, spec: Mapping[str, Any], start: float, end: float
    ) -> Sequence[float | None]:
        period = spec.get("Period", USUAL_PERIOD)
        dimensions = {each["Name"]: each["Value"] for each in spec.get("Dimensions", ())}
        metric = Metric.of(spec["Namespace"].strip(), spec["MetricName"], dimensions)
        found = plane.metrics.statistics(
            account, metric, start, end, period=period, unit=spec.get("Unit")
        )
        value = _STATISTICS[spec.get("Statistic", "Average")]
        known = {round((each.at - start) / period): value(each) for each in found}
        return [known.get(index) for index in range(round((end - start) / period))]

    return read
