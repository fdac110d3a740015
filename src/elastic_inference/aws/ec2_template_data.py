"""Finding launch templates, their versions, and what these say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elastic_inference.aws.call import Call
from elastic_inference.aws.errors import AwsError
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import LaunchTemplate, LaunchTemplateVersion

_ID = re.compile(r"lt-[0-9a-f]{8,17}")
LATEST, DEFAULT = "$Latest", "$Default"
# What a version's data has beside EC2's own: the token that it was made with.
TOKEN = "ClientToken"  # noqa: S105 - a parameter's name


def template_data(
    plane: ControlPlane, account: str, spec: Mapping[str, Any]
) -> tuple[LaunchTemplate, int, Mapping[str, Any]]:
    """A launch template, the number of the version that is meant, and that version's data.

    Args:
        spec: LaunchTemplateId or LaunchTemplateName, and Version; without it the default one.

    Raises:
        AwsError: there is no such template or version.
    """
    template = find_template(plane, account, spec)
    version = find_version(plane, template, spec.get("Version") or DEFAULT)
    return template, version.version, own_data(version)


def own_data(version: LaunchTemplateVersion) -> Mapping[str, Any]:
    """EC2's own of a version's data."""
    return {name: value for name, value in version.data.items() if name != TOKEN}


def template_arns(plane: ControlPlane) -> Callable[[Call], Sequence[str]]:
    """What policies must allow a call on that names a template."""

    def resources(call: Call) -> Sequence[str]:
        template_id = call.input.get("LaunchTemplateId")
        if template_id is None and call.operation != "CreateLaunchTemplate":
            columns = plane.store.templates.columns
            found = plane.store.templates.first(
                columns.account == call.account,
                columns.name == call.input.get("LaunchTemplateName", ""),
            )
            template_id = found and found.id
        region = plane.settings.region
        return [names.ec2_arn(region, call.account, "launch-template", template_id or "*")]

    return resources


def find_template(plane: ControlPlane, account: str, spec: Mapping[str, Any]) -> LaunchTemplate:
    """The template that a specification names by its id or its name.

    Raises:
        AwsError: there is none, or not exactly one of the two is given.
    """
    template_id, name = spec.get("LaunchTemplateId"), spec.get("LaunchTemplateName")
    if (template_id is None) == (name is None):
        raise AwsError(
            "MissingParameter" if name is None else "InvalidParameterCombination",
            "Either a launch template's ID or its name must be specified, and not both.",
        )
    columns = plane.store.templates.columns
    if template_id is not None:
        if not _ID.fullmatch(template_id):
            raise AwsError(
                "InvalidLaunchTemplateId.Malformed",
                f"The launch template ID '{template_id[:64]}' is malformed.",
            )
        found = plane.store.templates.first(columns.account == account, columns.id == template_id)
        if found is None:
            raise AwsError(
                "InvalidLaunchTemplateId.NotFound",
                f"The specified launch template, with template ID {template_id}, does not exist.",
            )
        return found
    found = plane.store.templates.first(columns.account == account, columns.name == name)
    if found is None:
        raise AwsError(
            "InvalidLaunchTemplateName.NotFoundException",
            f"The specified launch template, with template name {name}, does not exist.",
        )
    return found


def find_version(
    plane: ControlPlane, template: LaunchTemplate, version: str
) -> LaunchTemplateVersion:
    """The version of that number, `$Latest` or `$Default`.

    Raises:
        AwsError: there is none.
    """
    columns = plane.store.template_versions.columns
    number = number_of(template, version)
    found = plane.store.template_versions.first(
        columns.template_id == template.id, columns.version == number
    )
    if found is None:
        raise AwsError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find the specified version {number} for the launch template with ID"
            f" {template.id}.",
        )
    return found


def number_of(template: LaunchTemplate, version: str) -> int:
    """The number that a version's name means, whether there is one or not.

    Raises:
        AwsError: it is no version's name.
    """
    if version == LATEST:
        return template.latest_version
    if version == DEFAULT:
        return template.default_version
    if not re.fullmatch(r"[0-9]{1,9}", version):
        raise AwsError(
            "InvalidParameterValue",
            f"Invalid version '{version[:64]}': it is a number, {LATEST} or {DEFAULT}.",
        )
    return int(version)
