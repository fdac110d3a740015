"""Describing and deleting versions of launch templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_template_data import (
    DEFAULT,
    LATEST,
    find_template,
    find_version,
    number_of,
    own_data,
    template_arns,
)
from elastic_inference.aws.ec2_templates import describe_version
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select, truth
from elastic_inference.aws.pages import page
from elastic_inference.aws.times import iso
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import LaunchTemplate, LaunchTemplateVersion

_PAGE = 200
_Pair: TypeAlias = tuple[LaunchTemplate, LaunchTemplateVersion]


class TemplateVersions:
    """Describes and deletes versions."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        which = "LaunchTemplateId LaunchTemplateName"
        self.operations: Operations = {
            "DescribeLaunchTemplateVersions": operation(
                self._describe,
                f"{which} Versions MinVersion MaxVersion Filters MaxResults NextToken",
            ),
            "DeleteLaunchTemplateVersions": operation(
                self._delete, f"{which} Versions", resources=template_arns(plane)
            ),
        }

    def _describe(self, call: Call) -> Document:
        found = select(self._wanted(call), call, _FILTERS)
        # The newest come first.
        shown, more = page(found, call, lambda each: (each[0].id, -each[1].version), most=_PAGE)
        return {
            "LaunchTemplateVersions": [describe_version(*each) for each in shown],
            "NextToken": more,
        }

    def _wanted(self, call: Call) -> list[_Pair]:
        given, wanted = call.input, call.input.get("Versions", ())
        if "LaunchTemplateId" not in given and "LaunchTemplateName" not in given:
            if not wanted or set(wanted) - {LATEST, DEFAULT}:
                raise AwsError(
                    "MissingParameter",
                    "Either a launch template's ID or its name must be specified, or the versions"
                    f" {LATEST} and {DEFAULT} of all of them.",
                )
            columns = self._store.templates.columns
            templates = self._store.templates.where(columns.account == call.account)
        else:
            templates = [find_template(self._plane, call.account, given)]
        found: dict[tuple[str, int], _Pair] = {}
        for template in templates:
            for version in self._versions(template, given):
                found[template.id, version.version] = (template, version)
        return list(found.values())

    def _versions(
        self, template: LaunchTemplate, given: Mapping[str, Any]
    ) -> list[LaunchTemplateVersion]:
        if given.get("Versions"):
            return [find_version(self._plane, template, each) for each in given["Versions"]]
        columns = self._store.template_versions.columns
        conditions = [columns.template_id == template.id]
        if least := given.get("MinVersion"):
            conditions.append(columns.version >= number_of(template, least))
        if most := given.get("MaxVersion"):
            conditions.append(columns.version <= number_of(template, most))
        return self._store.template_versions.where(*conditions)

    def _delete(self, call: Call) -> Document:
        done: list[Document] = []
        failed: list[Document] = []
        with self._store.transaction():
            template = find_template(self._plane, call.account, call.input)
            for each in dict.fromkeys(call.input["Versions"]):
                number = _number(each)
                item = {
                    "LaunchTemplateId": template.id,
                    "LaunchTemplateName": template.name,
                    "VersionNumber": number,
                }
                if error := self._remove(template, number):
                    failed.append(item | {"ResponseError": error})
                else:
                    done.append(item)
        return {
            "SuccessfullyDeletedLaunchTemplateVersions": done,
            "UnsuccessfullyDeletedLaunchTemplateVersions": failed,
        }

    def _remove(self, template: LaunchTemplate, number: int) -> Document | None:
        if number == template.default_version:
            message = f"Cannot delete the default launch template version: {number}"
            return {"Code": "unexpectedError", "Message": message}
        columns = self._store.template_versions.columns
        if not self._store.template_versions.remove(
            columns.template_id == template.id, columns.version == number
        ):
            message = f"The specified version {number} does not exist."
            return {"Code": "launchTemplateVersionDoesNotExist", "Message": message}
        return None


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise AwsError(
            "InvalidParameterValue", f"Invalid version '{version[:64]}': name it by its number."
        )
    return int(version)


def _data(name: str) -> Reader[_Pair]:
    return lambda each: own_data(each[1]).get(name)


def _profile(each: _Pair) -> list[str]:
    return list(own_data(each[1]).get("IamInstanceProfile", {}).values())


_FILTERS: Mapping[str, Reader[_Pair]] = {
    "create-time": lambda each: iso(each[1].created_at),
    "ebs-optimized": lambda _: truth(False),
    "iam-instance-profile": _profile,
    "image-id": _data("ImageId"),
    "instance-type": _data("InstanceType"),
    "is-default-version": lambda each: truth(each[1].version == each[0].default_version),
    "kernel-id": lambda _: None,
    "ram-disk-id": lambda _: None,
}
