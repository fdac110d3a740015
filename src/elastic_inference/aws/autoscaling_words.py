"""What all of Auto Scaling's operations say alike: groups that are there, ARNs, errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from elastic_inference.aws import times
from elastic_inference.aws.autoscaling_decisions import stamp
from elastic_inference.aws.call import Call
from elastic_inference.aws.errors import AwsError
from elastic_inference.control.names import PARTITION
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import ScalingGroup, ScalingMember

IN_PROGRESS = "ScalingActivityInProgress"
_POLICY = re.compile(r"arn:[^:]*:autoscaling:[^:]*:[^:]*:scalingPolicy:([^:]+):")


def invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def moment(text: str) -> float:
    """A time in a filter.

    Raises:
        AwsError: it is none.
    """
    try:
        return times.parse(text)
    except ValueError:
        raise invalid(f"{text[:64]!r} is not a time in ISO 8601.") from None


def arn(plane: ControlPlane, account: str, group_id: str, name: str) -> str:
    """A group's ARN."""
    return (
        f"arn:{PARTITION}:autoscaling:{plane.settings.region}:{account}"
        f":autoScalingGroup:{group_id}:autoScalingGroupName/{name}"
    )


def group(plane: ControlPlane, account: str, name: str) -> ScalingGroup:
    """The group of that name.

    Raises:
        AwsError: there is none.
    """
    found = plane.store.scaling_groups.get(account, name)
    if found is None:
        raise invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return found


def changeable(plane: ControlPlane, account: str, name: str) -> ScalingGroup:
    """The group of that name, unless it is being deleted.

    Raises:
        AwsError: there is none, or it is.
    """
    found = group(plane, account, name)
    if found.state.get("deleting"):
        raise AwsError(IN_PROGRESS, f"The AutoScalingGroup '{name}' is being deleted.")
    return found


def members(plane: ControlPlane, found: ScalingGroup) -> list[ScalingMember]:
    """A group's members, the oldest first."""
    table = plane.store.scaling_members
    columns = table.columns
    return table.where(
        columns.account == found.account,
        columns.group_name == found.name,
        order=(columns.created_at, columns.instance_id),
    )


def member(plane: ControlPlane, account: str, instance_id: str) -> ScalingMember:
    """The member that an instance is.

    Raises:
        AwsError: it is none of a group.
    """
    found = plane.store.scaling_members.get(instance_id)
    if found is None or found.account != account:
        raise invalid(
            f"Instance Id not found - No managed instance found for instance ID: {instance_id[:64]}"
        )
    return found


class GroupArns:
    """What policies must allow calls on."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def named(self, call: Call) -> Sequence[str]:
        """The group that a call names."""
        name = call.input.get("AutoScalingGroupName")
        return (self._of(call.account, name),) if name else ("*",)

    def of_policy(self, call: Call) -> Sequence[str]:
        """The group of the policy that a call names, which an ARN alone may do."""
        match = _POLICY.match(call.input.get("PolicyName", ""))
        if call.input.get("AutoScalingGroupName") or match is None:
            return self.named(call)
        table = self._plane.store.scaling_policies
        found = table.first(table.columns.account == call.account, table.columns.id == match[1])
        return (self._of(call.account, found.group_name),) if found else ("*",)

    def tagged(self, call: Call) -> Sequence[str]:
        """The groups whose tags a call changes."""
        found = {each.get("ResourceId", "") for each in call.input.get("Tags", ())}
        return [self._of(call.account, name) for name in sorted(found)] or ("*",)

    def of_instance(self, call: Call) -> Sequence[str]:
        """The groups of the instances that a call names."""
        ids = [*call.input.get("InstanceIds", ()), call.input.get("InstanceId", "")]
        table = self._plane.store.scaling_members
        found = table.where(
            table.columns.account == call.account, table.columns.instance_id.in_(ids)
        )
        names = {each.group_name for each in found}
        if name := call.input.get("AutoScalingGroupName"):
            names.add(name)
        return [self._of(call.account, name) for name in sorted(names)] or ("*",)

    def _of(self, account: str, name: str) -> str:
        found = self._plane.store.scaling_groups.get(account, name)
        return arn(self._plane, account, "*" if found is None else found.id, name)


def check_cooldown(plane: ControlPlane, found: ScalingGroup, cooldown: float) -> None:
    """Refuse to change what a group wants while it cools down.

    Raises:
        AwsError: it does.
    """
    since = max(found.state.get("scaled_at", 0.0), found.state.get("resized_at", 0.0))
    if plane.clock.time() < since + cooldown:
        raise AwsError(
            IN_PROGRESS,
            f"Scaling activity of the AutoScalingGroup '{found.name}' is in progress and blocks"
            " this action: its cooldown has not passed.",
        )


def now(plane: ControlPlane) -> str:
    """The time, as texts say it."""
    return stamp(plane.clock.time())
