"""Scaling activities: what groups did, why, and how it went."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_words import GroupArns
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.pages import page
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingActivity, ScalingGroup

# Not begun, on the way, and how it ended.
WAITING, STARTING, ENDING = "WaitingForInstanceId", "PreInService", "InProgress"
SUCCESSFUL, FAILED, CANCELLED = "Successful", "Failed", "Cancelled"
OPEN = (WAITING, STARTING, ENDING)
_PROGRESS = {WAITING: 0, STARTING: 30, ENDING: 50}
_MOST_SAID = 1023
_FILTERS = ("StartTimeLowerBound", "StartTimeUpperBound", "Status")
# As long as AWS keeps them.
KEPT = 42 * 86400.0
# Of one group, with those that are open.
_MOST_KEPT = 5000


class Activities:
    """The table of activities. What changes it is part of a transaction of the caller's."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._table = plane.store.scaling_activities

    def begin(
        self, group: ScalingGroup, status: str, description: str, cause: str, **details: str
    ) -> ScalingActivity:
        """Write down that something is begun; `details` are `instance`, `subnet`, …"""
        now = self._plane.clock.time()
        made = ScalingActivity(
            id=str(uuid.uuid4()),
            account=group.account,
            group_name=group.name,
            status=status,
            description=description,
            cause=cause[:_MOST_SAID],
            message="",
            details={"group": group.id, **{key: text for key, text in details.items() if text}},
            created_at=now,
            ended_at=None if status in OPEN else now,
        )
        self._make_room(group)
        self._table.add(made)
        return made

    def _make_room(self, group: ScalingGroup) -> None:
        """Drop what ended first of a group that has done very much."""
        columns = self._table.columns
        own = (columns.account == group.account, columns.group_name == group.name)
        more = self._table.count(*own) - _MOST_KEPT
        if more < 0:
            return
        ended = self._table.where(
            *own, columns.ended_at.is_not(None), order=(columns.created_at,), limit=more + 100
        )
        self._table.remove(columns.id.in_([each.id for each in ended]))

    def change(self, activity: ScalingActivity, **values: Any) -> None:
        self._table.change(self._table.columns.id == activity.id, **values)

    def end(self, activity: ScalingActivity, status: str, message: str = "") -> None:
        self.change(
            activity,
            status=status, message=message[:_MOST_SAID], ended_at=self._plane.clock.time(),
        )  # fmt: skip

    def end_of(self, group: ScalingGroup, instance_id: str, status: str, message: str = "") -> None:
        """End those of an instance that are open."""
        for each in self.open(group):
            if each.details.get("instance") == instance_id:
                self.end(each, status, message)

    def open(self, group: ScalingGroup) -> list[ScalingActivity]:
        """What a group has begun and not ended."""
        columns = self._table.columns
        return self._table.where(
            columns.account == group.account,
            columns.group_name == group.name,
            columns.status.in_(OPEN),
            order=(columns.created_at, columns.id),
        )

    def forget(self) -> None:
        """Drop what happened long ago."""
        columns = self._table.columns
        before = self._plane.clock.time() - KEPT
        self._table.remove(columns.ended_at < before)


class ActivityOperations:
    """What can be asked of activities."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._arns = GroupArns(plane)
        self.operations: Operations = {
            "DescribeScalingActivities": operation(
                self._describe,
                "AutoScalingGroupName ActivityIds IncludeDeletedGroups MaxRecords NextToken"
                " Filters",
            ),
        }

    def _describe(self, call: Call) -> Document:
        table = self._plane.store.scaling_activities
        columns = table.columns
        conditions = [columns.account == call.account]
        if name := call.input.get("AutoScalingGroupName"):
            conditions.append(columns.group_name == name)
            if not call.input.get("IncludeDeletedGroups"):
                words.group(self._plane, call.account, name)
        if ids := call.input.get("ActivityIds"):
            conditions.append(columns.id.in_(ids))
        groups = self._plane.store.scaling_groups
        there = {each.id: each for each in groups.where(groups.columns.account == call.account)}
        found = [
            each
            for each in _filtered(table.where(*conditions), call)
            if each.details["group"] in there or call.input.get("IncludeDeletedGroups")
        ]
        # The latest one first.
        shown, token = page(
            found, call, lambda each: (-each.created_at, each.id),
            size="MaxRecords", most=100,
        )  # fmt: skip
        return {
            "Activities": [self.shown(each, each.details["group"] in there) for each in shown],
            "NextToken": token,
        }

    def shown(self, activity: ScalingActivity, group_is_there: bool = True) -> Document:
        return show(self._plane, activity, group_is_there=group_is_there)


def show(
    plane: ControlPlane, activity: ScalingActivity, *, group_is_there: bool = True
) -> Document:
    """An activity as the API shows it."""
    details = activity.details
    place = {"Subnet ID": details.get("subnet"), "Availability Zone": plane.network.zone}
    return {
        "ActivityId": activity.id,
        "AutoScalingGroupName": activity.group_name,
        "AutoScalingGroupARN": words.arn(
            plane, activity.account, details["group"], activity.group_name
        ),
        "AutoScalingGroupState": None if group_is_there else "Deleted",
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": activity.created_at,
        "EndTime": activity.ended_at,
        "StatusCode": activity.status,
        "StatusMessage": activity.message or None,
        "Progress": _PROGRESS.get(activity.status, 100),
        "Details": json.dumps({key: text for key, text in place.items() if text}),
    }


def _filtered(found: Sequence[ScalingActivity], call: Call) -> list[ScalingActivity]:
    kept = list(found)
    for each in call.input.get("Filters", ()):
        name, values = each.get("Name", ""), each.get("Values", [])
        if name not in _FILTERS or len(values) != 1:
            raise words.invalid(
                f"Filter {name!r} is not one of {', '.join(_FILTERS)} with one value each."
            )
        kept = [one for one in kept if _meets(one, name, values[0])]
    return kept


def _meets(activity: ScalingActivity, name: str, value: str) -> bool:
    if name == "Status":
        return activity.status == value
    moment = words.moment(value)
    if name == "StartTimeLowerBound":
        return activity.created_at >= moment
    return activity.created_at <= moment
