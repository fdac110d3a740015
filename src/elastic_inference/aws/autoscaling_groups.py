"""Auto Scaling groups: made, changed, told of and deleted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

from elastic_inference.aws import autoscaling_input as given
from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_decisions import TERMINATING
from elastic_inference.aws.autoscaling_scaler import scaler_of
from elastic_inference.aws.autoscaling_shown import show_group
from elastic_inference.aws.autoscaling_state import Groups
from elastic_inference.aws.autoscaling_words import GroupArns
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import select
from elastic_inference.aws.pages import page
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingGroup

_MOST_GROUPS = 500
_NAME = re.compile("[!-9;-~]+")


class GroupOperations:
    """Create, update, delete and describe groups, and say how many instances they want."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._groups = Groups(plane)
        named = GroupArns(plane).named
        self.operations: Operations = {
            "CreateAutoScalingGroup": operation(
                self._create, f"{given.HONOURED} Tags", resources=named
            ),
            "UpdateAutoScalingGroup": operation(self._update, given.HONOURED, resources=named),
            "DeleteAutoScalingGroup": operation(
                self._delete, "AutoScalingGroupName ForceDelete", resources=named
            ),
            "SetDesiredCapacity": operation(
                self._set_desired,
                "AutoScalingGroupName DesiredCapacity HonorCooldown", resources=named,
            ),
            "DescribeAutoScalingGroups": operation(
                self._describe,
                "AutoScalingGroupNames IncludeInstances MaxRecords NextToken"
                " Filters",
            ),
            "DescribeAccountLimits": operation(self._limits),
        }  # fmt: skip

    def _create(self, call: Call) -> Document:
        name = call.input["AutoScalingGroupName"]
        if not _NAME.fullmatch(name):
            raise words.invalid(
                "The name of a group has ASCII's letters, digits and signs but the colon, and no"
                " blanks."
            )
        least, most, desired = given.sizes(call.input, 0, 0, None)
        settings = given.settings(self._plane, call, {})
        tags = given.tags(call.input.get("Tags", []), name)
        why = given.cause(self._plane, "a user request created an AutoScalingGroup", 0, desired)
        now = self._plane.clock.time()
        table = self._store.scaling_groups
        with self._store.transaction():
            if table.get(call.account, name) is not None:
                raise AwsError(
                    "AlreadyExists",
                    f"AutoScalingGroup by this name already exists - A group with the name {name}"
                    " already exists",
                )
            if table.count(table.columns.account == call.account) >= _MOST_GROUPS:
                raise AwsError("LimitExceeded", f"There may be {_MOST_GROUPS} groups.")
            table.add(
                ScalingGroup(
                    account=call.account,
                    name=name,
                    id=str(uuid.uuid4()),
                    least=least,
                    most=most,
                    desired=desired,
                    settings=settings,
                    state={"cause": why} if why else {},
                    tags=tags,
                    created_at=now,
                )
            )
        self._go()
        return {}

    def _update(self, call: Call) -> Document:
        name = call.input["AutoScalingGroupName"]
        known = words.changeable(self._plane, call.account, name)
        # What it refers to is looked up before, so that others do not wait for that.
        settings = given.settings(self._plane, call, known.settings)
        changed = {key: each for key, each in settings.items() if each != known.settings.get(key)}
        gone = set(known.settings) - set(settings)
        with self._store.transaction():
            group = words.changeable(self._plane, call.account, name)
            least, most, desired = given.sizes(call.input, group.least, group.most, group.desired)
            kept = {key: each for key, each in group.settings.items() if key not in gone}
            self._groups.change(
                group, least=least, most=most, desired=desired, settings={**kept, **changed}
            )
            what = (
                "a user request update of AutoScalingGroup constraints to"
                f" min: {least}, max: {most}, desired: {desired}"
            )
            self._note(group, what, desired)
        self._go()
        return {}

    def _set_desired(self, call: Call) -> Document:
        wanted = call.input["DesiredCapacity"]
        with self._store.transaction():
            group = words.changeable(self._plane, call.account, call.input["AutoScalingGroupName"])
            if wanted > group.most:
                raise words.invalid(
                    f"New SetDesiredCapacity value {wanted} is above max value {group.most}"
                    " for the AutoScalingGroup."
                )
            if wanted < group.least:
                raise words.invalid(
                    f"New SetDesiredCapacity value {wanted} is below min value {group.least}"
                    " for the AutoScalingGroup."
                )
            if call.input.get("HonorCooldown"):
                words.check_cooldown(self._plane, group, group.settings["DefaultCooldown"])
            self._groups.change(group, desired=wanted)
            self._note(group, "a user request explicitly set group desired capacity", wanted)
        self._go()
        return {}

    def _note(self, group: ScalingGroup, what: str, desired: int) -> None:
        why = given.cause(self._plane, what, group.desired, desired)
        if why:
            self._groups.remember(group, cause=why, resized_at=self._plane.clock.time())

    def _delete(self, call: Call) -> Document:
        name, force = call.input["AutoScalingGroupName"], call.input.get("ForceDelete", False)
        with self._store.transaction():
            group = words.changeable(self._plane, call.account, name)
            protection = group.settings.get("DeletionProtection")
            if protection == "prevent-all-deletion" or (
                force and protection == "prevent-force-deletion"
            ):
                raise words.invalid(
                    f"The AutoScalingGroup '{name}' has the deletion protection {protection}."
                    " Set it to none first (UpdateAutoScalingGroup)."
                )
            members = words.members(self._plane, group)
            begun = self._groups.activities.open(group)
            if force:
                self._groups.remember(group, deleting=True)
            elif any(each.lifecycle != TERMINATING for each in members):
                raise AwsError(
                    "ResourceInUse",
                    "You cannot delete an AutoScalingGroup while there are instances or pending"
                    " Spot instance request(s) still in the group.",
                )
            elif members or begun:
                raise AwsError(
                    words.IN_PROGRESS,
                    "You cannot delete an AutoScalingGroup while there are scaling activities in"
                    " progress for that group.",
                )
            else:
                self._groups.remove(group)
        self._go()
        return {}

    def _describe(self, call: Call) -> Document:
        table = self._store.scaling_groups
        conditions = [table.columns.account == call.account]
        if names := call.input.get("AutoScalingGroupNames"):
            conditions.append(table.columns.name.in_(names))
        found = select(table.where(*conditions), call, {"tag-value": _tag_values}, _tags)
        shown, token = page(
            found, call, lambda each: each.name, size="MaxRecords", most=100, usual=50
        )
        whole = call.input.get("IncludeInstances", True)
        return {
            "AutoScalingGroups": [
                show_group(self._plane, each, with_instances=whole) for each in shown
            ],
            "NextToken": token,
        }

    def _limits(self, call: Call) -> Document:
        table = self._store.scaling_groups
        return {
            "MaxNumberOfAutoScalingGroups": _MOST_GROUPS,
            "MaxNumberOfLaunchConfigurations": 0,
            "NumberOfAutoScalingGroups": table.count(table.columns.account == call.account),
            "NumberOfLaunchConfigurations": 0,
        }

    def _go(self) -> None:
        scaler = scaler_of(self._plane)
        scaler.start()
        scaler.wake()


def _tags(group: ScalingGroup) -> dict[str, str]:
    return {key: each["value"] for key, each in group.tags.items()}


def _tag_values(group: ScalingGroup) -> Sequence[Any]:
    return list(_tags(group).values())
