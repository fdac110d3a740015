"""The instance that a group launches: of its template, with the group's tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elastic_inference.aws import ec2_launch
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance, ScalingActivity, ScalingGroup

GROUP_TAG = "aws:autoscaling:groupName"


@dataclass(frozen=True, slots=True)
class Launched:
    """An instance that is pending, and the template and version that it came of."""

    instance: Instance
    template: Mapping[str, str]


def launch(plane: ControlPlane, group: ScalingGroup, activity: ScalingActivity) -> Launched:
    """Launch the instance of an activity; repeated, it is the same instance.

    Raises:
        AwsError, ElasticInferenceError: it cannot be launched.
    """
    # By what was sent alone nobody knows it again, once the group's tags have changed.
    known = launched(plane, group, activity)
    if known is not None:
        return known
    spec = group.settings["LaunchTemplate"]
    named = {"LaunchTemplateId": spec["LaunchTemplateId"], "Version": spec["Version"]}
    instance = ec2_launch.launch(
        plane, group.account, {"LaunchTemplate": named},
        client_token=activity.id,
        tags=_tags(group),
        subnet_id=activity.details.get("subnet") or None,
    )[0]  # fmt: skip
    return _of(group, instance)


def launched(
    plane: ControlPlane, group: ScalingGroup, activity: ScalingActivity
) -> Launched | None:
    """What an earlier `launch` made, if it came so far."""
    instance = ec2_launch.launched(plane, group.account, activity.id)
    return None if instance is None else _of(group, instance)


def _of(group: ScalingGroup, instance: Instance) -> Launched:
    spec = group.settings["LaunchTemplate"]
    template = {
        "LaunchTemplateId": spec["LaunchTemplateId"],
        "LaunchTemplateName": spec["LaunchTemplateName"],
        "Version": instance.tags.get(ec2_launch.TEMPLATE_VERSION, ""),
    }
    return Launched(instance, template)


def _tags(group: ScalingGroup) -> dict[str, str]:
    found = {key: each["value"] for key, each in group.tags.items() if each["propagate"]}
    return {**found, GROUP_TAG: group.name}
