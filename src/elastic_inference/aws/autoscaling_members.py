"""Instances of groups: told of, ended, protected, marked, attached, detached, put aside."""

from __future__ import annotations

from collections.abc import Sequence

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_activities import SUCCESSFUL, show
from elastic_inference.aws.autoscaling_decisions import (
    HEALTHY,
    IN_SERVICE,
    STANDBY,
    TERMINATING,
    UNHEALTHY,
    stamp,
)
from elastic_inference.aws.autoscaling_scaler import scaler_of
from elastic_inference.aws.autoscaling_shown import instances_of, show_member
from elastic_inference.aws.autoscaling_state import Groups
from elastic_inference.aws.autoscaling_words import GroupArns
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.pages import page
from elastic_inference.control import records
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingActivity, ScalingGroup, ScalingMember

_MOST_AT_ONCE = 20


class MemberOperations:
    """What is asked of and done to single instances of groups."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._groups = Groups(plane)
        of_instance = GroupArns(plane).of_instance
        named = GroupArns(plane).named
        some = "AutoScalingGroupName InstanceIds"
        self.operations: Operations = {
            "DescribeAutoScalingInstances": operation(
                self._describe, "InstanceIds MaxRecords NextToken"
            ),
            "TerminateInstanceInAutoScalingGroup": operation(
                self._terminate,
                "InstanceId ShouldDecrementDesiredCapacity", resources=of_instance,
            ),
            "SetInstanceHealth": operation(
                self._set_health,
                "InstanceId HealthStatus ShouldRespectGracePeriod", resources=of_instance,
            ),
            "SetInstanceProtection": operation(
                self._protect, f"{some} ProtectedFromScaleIn", resources=named
            ),
            "AttachInstances": operation(self._attach, some, resources=named),
            "DetachInstances": operation(
                self._detach, f"{some} ShouldDecrementDesiredCapacity", resources=named
            ),
            "EnterStandby": operation(
                self._enter_standby, f"{some} ShouldDecrementDesiredCapacity", resources=named
            ),
            "ExitStandby": operation(self._exit_standby, some, resources=named),
        }  # fmt: skip

    def _describe(self, call: Call) -> Document:
        table = self._store.scaling_members
        conditions = [table.columns.account == call.account]
        if ids := call.input.get("InstanceIds"):
            conditions.append(table.columns.instance_id.in_(ids))
        shown, token = page(
            table.where(*conditions), call, lambda each: each.instance_id,
            size="MaxRecords", most=50,
        )  # fmt: skip
        found = instances_of(self._plane, [each.instance_id for each in shown])
        return {
            "AutoScalingInstances": [
                {
                    "AutoScalingGroupName": each.group_name,
                    **show_member(self._plane, each, found.get(each.instance_id)),
                    # As AWS writes it here, and only here.
                    "HealthStatus": each.health.upper(),
                }
                for each in shown
            ],
            "NextToken": token,
        }

    def _terminate(self, call: Call) -> Document:
        instance_id = call.input.get("InstanceId")
        if not instance_id:
            raise words.invalid("The parameter InstanceId is missing.")
        fewer = call.input["ShouldDecrementDesiredCapacity"]
        with self._store.transaction():
            member = words.member(self._plane, call.account, instance_id)
            group = words.changeable(self._plane, call.account, member.group_name)
            if member.lifecycle == TERMINATING:
                raise words.invalid(f"The instance {instance_id} is being terminated already.")
            counted = fewer and member.lifecycle != STANDBY
            less = self._decrement(group, 1 if counted else 0, "Terminating")
            cause = (
                f"At {self._now()} instance {instance_id} was taken out of service in response to"
                f" a user request{less}."
            )
            activity = self._groups.end_member(group, instance_id, cause)
        self._wake()
        return {"Activity": show(self._plane, activity)}

    def _set_health(self, call: Call) -> Document:
        status = call.input["HealthStatus"]
        if status not in {HEALTHY, UNHEALTHY}:
            raise words.invalid(f"Valid instance health states are: [{HEALTHY}, {UNHEALTHY}]")
        with self._store.transaction():
            member = words.member(self._plane, call.account, call.input["InstanceId"])
            group = words.changeable(self._plane, call.account, member.group_name)
            if member.lifecycle == TERMINATING:
                raise words.invalid(
                    f"The instance {member.instance_id} is being terminated already."
                )
            respects = call.input.get("ShouldRespectGracePeriod", True)
            if not (respects and status == UNHEALTHY and self._in_grace(group, member)):
                self._change(member, health=status)
        self._wake()
        return {}

    def _in_grace(self, group: ScalingGroup, member: ScalingMember) -> bool:
        instance = self._store.instances.get(member.instance_id)
        since = instance.launched_at if instance else None
        grace: float = group.settings.get("HealthCheckGracePeriod", 0)
        return self._plane.clock.time() < (since or member.created_at) + grace

    def _protect(self, call: Call) -> Document:
        protected = call.input["ProtectedFromScaleIn"]
        with self._store.transaction():
            for member in self._members(call)[1]:
                if member.lifecycle not in {IN_SERVICE, STANDBY}:
                    raise words.invalid(
                        f"The instance {member.instance_id} is not in InService or Standby."
                    )
                self._change(member, protected=protected)
        self._wake()
        return {}

    def _attach(self, call: Call) -> Document:
        ids = self._ids(call)
        with self._store.transaction():
            group = self._group(call)
            wanted = group.desired + len(ids)
            if wanted > group.most:
                raise words.invalid(
                    f"AutoScalingGroup {group.name}: attaching {len(ids)} instances would make the"
                    f" desired capacity {wanted}, above its max size {group.most}."
                )
            self._groups.change(group, desired=wanted)
            for number, each in enumerate(ids):
                self._attach_one(group, each, group.desired + number)
        self._wake()
        return {}

    def _attach_one(self, group: ScalingGroup, instance_id: str, before: int) -> None:
        instance = self._store.instances.get(instance_id)
        if (
            instance is None
            or instance.account != group.account
            or instance.provider != records.LOCAL
        ):
            raise words.invalid(f"Invalid Instance ID(s): [{instance_id[:64]}].")
        if instance.state != records.RUNNING:
            raise words.invalid(f"The instance {instance_id} is {instance.state}, not running.")
        if known := self._store.scaling_members.get(instance_id):
            raise words.invalid(
                f"Instance {instance_id} is already part of AutoScalingGroup:{known.group_name}."
            )
        self._store.scaling_members.add(
            ScalingMember(
                instance_id=instance_id,
                account=group.account,
                group_name=group.name,
                lifecycle=IN_SERVICE,
                health=HEALTHY,
                protected=group.settings["NewInstancesProtectedFromScaleIn"],
                template={},
                created_at=instance.created_at,
            )
        )
        self._groups.activities.begin(
            group, SUCCESSFUL, f"Attaching an existing EC2 instance: {instance_id}",
            f"At {self._now()} an instance was attached in response to a user request,"
            f" increasing the capacity from {before} to {before + 1}.",
            instance=instance_id, subnet=instance.subnet_id,
        )  # fmt: skip

    def _detach(self, call: Call) -> Document:
        with self._store.transaction():
            group, members = self._members(call)
            self._check_movable(members, (IN_SERVICE, STANDBY))
            counted = sum(each.lifecycle == IN_SERVICE for each in members)
            fewer = call.input["ShouldDecrementDesiredCapacity"]
            less = self._decrement(group, counted if fewer else 0, "Detaching")
            columns = self._store.scaling_members.columns
            done = []
            for each in members:
                self._store.scaling_members.remove(columns.instance_id == each.instance_id)
                cause = (
                    f"At {self._now()} instance {each.instance_id} was detached in response to a"
                    f" user request{less}."
                )
                what = f"Detaching EC2 instance: {each.instance_id}"
                done.append(self._did(group, what, cause, each))
        self._wake()
        return {"Activities": [show(self._plane, each) for each in done]}

    def _enter_standby(self, call: Call) -> Document:
        with self._store.transaction():
            group, members = self._members(call)
            self._check_movable(members, (IN_SERVICE,))
            fewer = call.input["ShouldDecrementDesiredCapacity"]
            less = self._decrement(group, len(members) if fewer else 0, "Entering standby for")
            done = []
            for each in members:
                self._change(each, lifecycle=STANDBY)
                cause = (
                    f"At {self._now()} instance {each.instance_id} was moved to standby in response"
                    f" to a user request{less}."
                )
                what = f"Moving EC2 instance to Standby: {each.instance_id}"
                done.append(self._did(group, what, cause, each))
        self._wake()
        return {"Activities": [show(self._plane, each) for each in done]}

    def _exit_standby(self, call: Call) -> Document:
        with self._store.transaction():
            group, members = self._members(call)
            self._check_movable(members, (STANDBY,))
            wanted = group.desired + len(members)
            if wanted > group.most:
                raise words.invalid(
                    f"The desired capacity would be {wanted}, above the max size {group.most} of"
                    f" AutoScalingGroup {group.name}."
                )
            self._groups.change(group, desired=wanted)
            done = []
            for each in members:
                self._change(each, lifecycle=IN_SERVICE)
                cause = (
                    f"At {self._now()} instance {each.instance_id} was moved out of standby in"
                    " response to a user request, increasing the capacity from"
                    f" {group.desired} to {wanted}."
                )
                what = f"Moving EC2 instance out of Standby: {each.instance_id}"
                done.append(self._did(group, what, cause, each))
        self._wake()
        return {"Activities": [show(self._plane, each) for each in done]}

    # -- what these have in common ----------------------------------------------------------------

    def _decrement(self, group: ScalingGroup, by: int, what: str) -> str:
        """Have a group want fewer; what the causes of activities say of that."""
        if not by:
            return ""
        wanted = group.desired - by
        if wanted < group.least:
            raise words.invalid(
                f"Currently, desiredSize equals {group.desired} and minSize {group.least}. {what}"
                f" {by} without replacement will violate group's min size constraint. Either set"
                " shouldDecrementDesiredCapacity flag to false or lower group's min size."
            )
        self._groups.change(group, desired=wanted)
        return f", shrinking the capacity from {group.desired} to {wanted}"

    @staticmethod
    def _check_movable(members: Sequence[ScalingMember], allowed: Sequence[str]) -> None:
        for each in members:
            if each.lifecycle not in allowed:
                raise words.invalid(
                    f"The instance {each.instance_id} is not in {' or '.join(allowed)}:"
                    f" it is {each.lifecycle}."
                )

    def _ids(self, call: Call) -> list[str]:
        ids = list(dict.fromkeys(call.input.get("InstanceIds", ())))
        if not 1 <= len(ids) <= _MOST_AT_ONCE:
            raise words.invalid(f"InstanceIds are 1 to {_MOST_AT_ONCE}.")
        return ids

    def _group(self, call: Call) -> ScalingGroup:
        name = call.input["AutoScalingGroupName"]
        return words.changeable(self._plane, call.account, name)

    def _members(self, call: Call) -> tuple[ScalingGroup, list[ScalingMember]]:
        """The group and the instances of it that a call names."""
        ids, group = self._ids(call), self._group(call)
        found = {each.instance_id: each for each in words.members(self._plane, group)}
        for each in ids:
            if each not in found:
                raise words.invalid(
                    f"The instance {each[:64]} is not part of Auto Scaling group {group.name}."
                )
        return group, [found[each] for each in ids]

    def _did(
        self, group: ScalingGroup, what: str, cause: str, member: ScalingMember
    ) -> ScalingActivity:
        return self._groups.activities.begin(
            group, SUCCESSFUL, what, cause, instance=member.instance_id
        )

    def _change(self, member: ScalingMember, **values: object) -> None:
        columns = self._store.scaling_members.columns
        self._store.scaling_members.change(columns.instance_id == member.instance_id, **values)

    def _now(self) -> str:
        return stamp(self._plane.clock.time())

    def _wake(self) -> None:
        scaler_of(self._plane).wake()
