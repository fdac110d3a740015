"""Tags of groups, and the processes of groups that are suspended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws import autoscaling_input as given
from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_scaler import scaler_of
from elastic_inference.aws.autoscaling_shown import show_tag
from elastic_inference.aws.autoscaling_state import Groups
from elastic_inference.aws.autoscaling_words import GroupArns
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.filters import truth
from elastic_inference.aws.pages import page
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingGroup

_TAG = "Tags.ResourceId Tags.ResourceType Tags.Key Tags.Value"
# All that AWS knows. Some never happen here, suspended or not.
PROCESSES = (
    "AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck", "InstanceRefresh",
    "Launch", "ReplaceUnhealthy", "ScheduledActions", "Terminate",
)  # fmt: skip


class TagOperations:
    """Create, update, delete and describe tags."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._groups = Groups(plane)
        tagged = GroupArns(plane).tagged
        self.operations: Operations = {
            "CreateOrUpdateTags": operation(
                self._put, f"{_TAG} Tags.PropagateAtLaunch", resources=tagged
            ),
            "DeleteTags": operation(
                self._delete, f"{_TAG} Tags.PropagateAtLaunch", resources=tagged
            ),
            "DescribeTags": operation(self._describe, "Filters MaxRecords NextToken"),
        }

    def _put(self, call: Call) -> Document:
        with self._plane.store.transaction():
            for group, tags in self._by_group(call):
                merged = {**group.tags, **given.tags(tags, group.name)}
                given.check_number(merged)
                self._groups.change(group, tags=merged)
        return {}

    def _delete(self, call: Call) -> Document:
        with self._plane.store.transaction():
            for group, tags in self._by_group(call):
                gone = {each["Key"] for each in tags if _is_same(group.tags.get(each["Key"]), each)}
                kept = {key: each for key, each in group.tags.items() if key not in gone}
                self._groups.change(group, tags=kept)
        return {}

    def _by_group(self, call: Call) -> list[tuple[ScalingGroup, list[Mapping[str, Any]]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for each in call.input["Tags"]:
            if not each.get("ResourceId"):
                raise words.invalid("The ResourceId of a tag is the name of its group.")
            if each.get("ResourceType", given.GROUP) != given.GROUP:
                raise words.invalid(f"The ResourceType of tags is {given.GROUP}.")
            found.setdefault(each["ResourceId"], []).append(each)
        return [
            (words.changeable(self._plane, call.account, name), tags)
            for name, tags in found.items()
        ]

    def _describe(self, call: Call) -> Document:
        table = self._plane.store.scaling_groups
        found = [
            show_tag(group.name, key, tag)
            for group in table.where(table.columns.account == call.account)
            for key, tag in group.tags.items()
        ]
        for each in call.input.get("Filters", ()):
            found = _filtered(found, each.get("Name", ""), each.get("Values", ()))
        shown, token = page(
            found, call, lambda each: (each["ResourceId"], each["Key"]),
            size="MaxRecords", most=100, usual=50,
        )  # fmt: skip
        return {"Tags": shown, "NextToken": token}


def _filtered(tags: Sequence[Document], name: str, values: Sequence[str]) -> list[Document]:
    members = {"auto-scaling-group": "ResourceId", "key": "Key", "value": "Value"}
    if name == "propagate-at-launch":
        wanted = {each.lower() for each in values}
        return [each for each in tags if truth(each["PropagateAtLaunch"]) in wanted]
    if name not in members:
        raise words.invalid(
            f"Filter type {name[:64]} is not correct. Allowed Filter types are:"
            " auto-scaling-group key value propagate-at-launch"
        )
    return [each for each in tags if each[members[name]] in values]


def _is_same(tag: Mapping[str, Any] | None, given_tag: Mapping[str, Any]) -> bool:
    # With a value only that one is deleted.
    return tag is not None and given_tag.get("Value", tag["value"]) == tag["value"]


class ProcessOperations:
    """Suspend and resume what groups do by themselves; what there is to choose from."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._groups = Groups(plane)
        named = GroupArns(plane).named
        words_of_it = "AutoScalingGroupName ScalingProcesses"
        self.operations: Operations = {
            "SuspendProcesses": operation(self._suspend, words_of_it, resources=named),
            "ResumeProcesses": operation(self._resume, words_of_it, resources=named),
            "DescribeScalingProcessTypes": operation(
                lambda _: {"Processes": [{"ProcessName": each} for each in PROCESSES]}
            ),
            "DescribeTerminationPolicyTypes": operation(
                lambda _: {"TerminationPolicyTypes": list(given.POLICIES)}
            ),
        }

    def _suspend(self, call: Call) -> Document:
        return self._change(call, suspend=True)

    def _resume(self, call: Call) -> Document:
        return self._change(call, suspend=False)

    def _change(self, call: Call, *, suspend: bool) -> Document:
        chosen = call.input.get("ScalingProcesses") or PROCESSES
        for each in chosen:
            if each not in PROCESSES:
                raise words.invalid(
                    f"{each[:64]!r} is no process. There are {', '.join(PROCESSES)}."
                )
        name = call.input["AutoScalingGroupName"]
        with self._plane.store.transaction():
            group = words.changeable(self._plane, call.account, name)
            suspended = dict(group.state.get("suspended", {}))
            for each in chosen:
                if suspend:
                    suspended.setdefault(each, f"User suspended at {words.now(self._plane)}")
                else:
                    suspended.pop(each, None)
            self._groups.remember(group, suspended=suspended or None)
        scaler_of(self._plane).wake()
        return {}
