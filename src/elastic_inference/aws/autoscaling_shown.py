"""Groups and their members as the API shows them."""

from __future__ import annotations

from typing import Any

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws.autoscaling_input import GROUP
from elastic_inference.aws.call import Document
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance, ScalingGroup, ScalingMember

_AS_GIVEN = (
    "LaunchTemplate", "DefaultCooldown", "AvailabilityZones", "HealthCheckType",
    "HealthCheckGracePeriod", "VPCZoneIdentifier", "TerminationPolicies",
    "NewInstancesProtectedFromScaleIn", "MaxInstanceLifetime", "DefaultInstanceWarmup",
    "DeletionProtection",
)  # fmt: skip


def show_group(plane: ControlPlane, group: ScalingGroup, *, with_instances: bool) -> Document:
    """A group, with its members unless these are not wanted."""
    state, settings = group.state, group.settings
    return {
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": words.arn(plane, group.account, group.id, group.name),
        "MinSize": group.least,
        "MaxSize": group.most,
        "DesiredCapacity": group.desired,
        **{name: settings.get(name) for name in _AS_GIVEN},
        "CapacityRebalance": False,
        "LoadBalancerNames": [],
        "TargetGroupARNs": [],
        "TrafficSources": [],
        "EnabledMetrics": [],
        "CreatedTime": group.created_at,
        "Instances": _instances(plane, group) if with_instances else None,
        "SuspendedProcesses": [
            {"ProcessName": name, "SuspensionReason": why}
            for name, why in sorted(state.get("suspended", {}).items())
        ],
        "Status": "Delete in progress" if state.get("deleting") else None,
        "Tags": [show_tag(group.name, key, each) for key, each in sorted(group.tags.items())],
    }


def show_tag(group_name: str, key: str, tag: Document) -> Document:
    """A group's tag."""
    return {
        "ResourceId": group_name,
        "ResourceType": GROUP,
        "Key": key,
        "Value": tag["value"],
        "PropagateAtLaunch": tag["propagate"],
    }


def show_member(plane: ControlPlane, member: ScalingMember, instance: Instance | None) -> Document:
    """A member."""
    ec2 = instance.ec2 if instance is not None else {}
    return {
        "InstanceId": member.instance_id,
        "InstanceType": ec2.get("InstanceType"),
        "ImageId": ec2.get("ImageId"),
        "AvailabilityZone": plane.network.zone,
        "LifecycleState": member.lifecycle,
        "HealthStatus": member.health,
        "LaunchTemplate": member.template or None,
        "ProtectedFromScaleIn": member.protected,
    }


def _instances(plane: ControlPlane, group: ScalingGroup) -> list[Any]:
    members = words.members(plane, group)
    found = instances_of(plane, [each.instance_id for each in members])
    return [show_member(plane, each, found.get(each.instance_id)) for each in members]


def instances_of(plane: ControlPlane, ids: list[str]) -> dict[str, Instance]:
    """The instances of such ids that there are."""
    table = plane.store.instances
    return {each.id: each for each in table.where(table.columns.id.in_(ids))} if ids else {}
