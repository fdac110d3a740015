"""What Auto Scaling groups are made with: checked, and kept in the API's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from elastic_inference.aws import autoscaling_words as words
from elastic_inference.aws import ec2_launch, ec2_launch_data
from elastic_inference.aws.authorization import Authorization
from elastic_inference.aws.autoscaling_decisions import stamp, subnets_in
from elastic_inference.aws.call import Call
from elastic_inference.aws.ec2_instances import Instances
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.iam_profiles import check_pass
from elastic_inference.control.plane import ControlPlane
from elastic_inference.errors import InvalidRequestError

GROUP = "auto-scaling-group"
POLICIES = ("Default", "OldestInstance", "NewestInstance", "OldestLaunchTemplate")
MAX_TAGS = 50
_KEPT = (
    "DefaultCooldown", "HealthCheckType", "HealthCheckGracePeriod", "VPCZoneIdentifier",
    "AvailabilityZones", "TerminationPolicies", "NewInstancesProtectedFromScaleIn",
    "MaxInstanceLifetime", "DefaultInstanceWarmup", "DeletionProtection",
)  # fmt: skip
USUAL: Mapping[str, Any] = {
    "DefaultCooldown": 300,
    "HealthCheckType": "EC2",
    "HealthCheckGracePeriod": 0,
    "TerminationPolicies": ["Default"],
    "NewInstancesProtectedFromScaleIn": False,
    "DeletionProtection": "none",
}
# What `settings` reads, as operations name what they honour.
HONOURED = (
    "AutoScalingGroupName MinSize MaxSize DesiredCapacity LaunchTemplate CapacityRebalance"
    " DesiredCapacityType AvailabilityZoneDistribution.CapacityDistributionStrategy "
    + " ".join(_KEPT)
)
_SHORTEST_LIFETIME = 86400
_WORDS: Mapping[str, tuple[Any, str]] = {
    "HealthCheckType": ("EC2", "there are no load balancers"),
    "CapacityRebalance": (False, "there are no Spot Instances"),
    "DesiredCapacityType": ("units", "capacity is counted in instances"),
    "AvailabilityZoneDistribution": (
        {"CapacityDistributionStrategy": "balanced-best-effort"}, "there is one zone",
    ),
}  # fmt: skip


def settings(plane: ControlPlane, call: Call, known: Mapping[str, Any]) -> dict[str, Any]:
    """A group's settings after a call, given those of before.

    Raises:
        AwsError: one is not honoured, or names what is not there.
    """
    given = call.input
    for name, (only, why) in _WORDS.items():
        if (given.get(name) or only) != only:
            shown = only["CapacityDistributionStrategy"] if isinstance(only, dict) else only
            raise words.invalid(f"{name} can only be {shown} here, since {why}.")
    found = {**USUAL, **known, **{name: given[name] for name in _KEPT if name in given}}
    _check_numbers(found)
    for policy in found["TerminationPolicies"]:
        if policy not in POLICIES:
            raise words.invalid(
                f"The termination policy {policy[:64]!r} is none of {', '.join(POLICIES)}."
            )
    if found.get("DefaultInstanceWarmup", 0) < 0:
        del found["DefaultInstanceWarmup"]
    role = ""
    if "LaunchTemplate" in given:
        found["LaunchTemplate"], role = _template(plane, call, given["LaunchTemplate"])
    if not found.get("LaunchTemplate"):
        raise words.invalid("A group needs a LaunchTemplate.")
    _check_places(plane, call, found)
    if "LaunchTemplate" in given or "VPCZoneIdentifier" in given:
        _check_may_launch(plane, call, found)
    if role:
        check_pass(plane, call.caller, role)
    return found


def _check_numbers(found: Mapping[str, Any]) -> None:
    for name in ("DefaultCooldown", "HealthCheckGracePeriod"):
        if found[name] < 0:
            raise words.invalid(f"{name} must be 0 or more.")
    lifetime = found.get("MaxInstanceLifetime", 0)
    if lifetime and lifetime < _SHORTEST_LIFETIME:
        raise words.invalid(
            f"MaxInstanceLifetime must be 0, or {_SHORTEST_LIFETIME} seconds or more."
        )


def _template(
    plane: ControlPlane, call: Call, spec: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """What a group keeps of its template, and the role that the template gives."""
    if ("LaunchTemplateId" in spec) == ("LaunchTemplateName" in spec):
        raise words.invalid(
            "Valid requests must contain either launchTemplateId or LaunchTemplateName"
        )
    try:
        template, _, data = ec2_launch.template_data(plane, call.account, spec)
        _, profile = ec2_launch_data.read(plane, call.account, data)
    except (AwsError, InvalidRequestError) as error:
        raise words.invalid(
            f"You must use a valid fully-formed launch template. {error.message}"
        ) from None
    made = {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "Version": spec.get("Version", "$Default"),
    }
    return made, (profile.role_name or "") if profile else ""


def _check_may_launch(plane: ControlPlane, call: Call, found: Mapping[str, Any]) -> None:
    """Refuse a group that would launch for who makes it what this one could not launch."""
    spec = {
        name: each for name, each in found["LaunchTemplate"].items() if name != "LaunchTemplateName"
    }
    wanted = Instances(plane).operations["RunInstances"]
    for subnet_id in subnets_in(found["VPCZoneIdentifier"]) or ("",):
        place = {"SubnetId": subnet_id} if subnet_id else {}
        launching = replace(call, operation="RunInstances", input={"LaunchTemplate": spec, **place})
        Authorization(plane).check("ec2", wanted, launching)


def _check_places(plane: ControlPlane, call: Call, found: dict[str, Any]) -> None:
    zone = plane.network.zone
    for each in found.get("AvailabilityZones", ()):
        if each != zone:
            raise words.invalid(f"Invalid availability zones: [{each[:64]}]. There is {zone}.")
    subnets = subnets_in(found.get("VPCZoneIdentifier", ""))
    for each in subnets:
        subnet = plane.store.subnets.get(each)
        if subnet is None or subnet.account != call.account:
            raise words.invalid(f"The subnet ID '{each[:64]}' does not exist")
    if not subnets and not found.get("AvailabilityZones"):
        raise words.invalid("At least one Availability Zone or VPC Subnet is required.")
    found["VPCZoneIdentifier"] = ",".join(dict.fromkeys(subnets))
    found["AvailabilityZones"] = [zone]


def sizes(given: Mapping[str, Any], least: int, most: int, desired: int | None) -> tuple[int, ...]:
    """Minimum, maximum and desired capacity.

    Args:
        least, most, desired: those of before; desired is None where it follows the minimum.

    Raises:
        AwsError: they contradict each other.
    """
    least, most = given.get("MinSize", least), given.get("MaxSize", most)
    if min(least, most) < 0:
        raise words.invalid("MinSize and MaxSize must be 0 or more.")
    if least > most:
        raise words.invalid(
            f"Max bound, {most}, must be greater than or equal to min bound, {least}"
        )
    if "DesiredCapacity" not in given:
        return least, most, min(max(least if desired is None else desired, least), most)
    wanted: int = given["DesiredCapacity"]
    if not least <= wanted <= most:
        raise words.invalid(
            f"Desired capacity:{wanted} must be between the specified min size:{least}"
            f" and max size:{most}"
        )
    return least, most, wanted


def cause(plane: ControlPlane, what: str, before: int, after: int) -> str | None:
    """Who changed the desired capacity, for the activities that follow; None where nobody did."""
    if before == after:
        return None
    return (
        f"At {stamp(plane.clock.time())} {what} changing the desired capacity"
        f" from {before} to {after}."
    )


def tags(given: list[Mapping[str, Any]], group_name: str | None = None) -> dict[str, Any]:
    """Tags as groups keep them, by their keys.

    Raises:
        AwsError: they are none, or another group's than the one that is named.
    """
    found: dict[str, Any] = {}
    for each in given:
        key = each["Key"]
        if each.get("ResourceType", GROUP) != GROUP:
            raise words.invalid(f"The ResourceType of tags is {GROUP}.")
        if group_name and each.get("ResourceId", group_name) != group_name:
            raise words.invalid("The ResourceId of a group's tags is the group's name.")
        if key.lower().startswith("aws:"):
            raise words.invalid("Tag keys starting with 'aws:' are reserved for internal use.")
        if key in found:
            raise words.invalid(f"Duplicate tag key {key!r}.")
        found[key] = {
            "value": each.get("Value", ""),
            "propagate": each.get("PropagateAtLaunch", False),
        }
    check_number(found)
    return found


def check_number(found: Mapping[str, Any]) -> None:
    """Refuse more tags than a group may have."""
    if len(found) > MAX_TAGS:
        raise AwsError("LimitExceeded", f"A group has up to {MAX_TAGS} tags.")
