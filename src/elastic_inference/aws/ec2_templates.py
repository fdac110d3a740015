"""Launch templates and their versions."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from elastic_inference.aws import ec2_launch_data, ec2_quotas, tags
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_template_data import (
    DEFAULT,
    LATEST,
    TOKEN,
    find_template,
    find_version,
    own_data,
    template_arns,
)
from elastic_inference.aws.errors import AwsError, used_token
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.iam_profiles import check_pass
from elastic_inference.aws.pages import page
from elastic_inference.aws.times import iso
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import LaunchTemplate, LaunchTemplateVersion

_KIND = "launch-template"
_NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")
_MAX_DESCRIPTION = 255
_PAGE = 200
_VERSIONS = 10_000
_MAX_SIZE = 65_536


class Templates:
    """Makes, changes, describes and deletes launch templates and their versions."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        arns = template_arns(plane)
        which = "LaunchTemplateId LaunchTemplateName"
        data = " ".join(f"LaunchTemplateData.{each}" for each in ec2_launch_data.HONOURED.split())
        self.operations: Operations = {
            "CreateLaunchTemplate": operation(
                self._create,
                f"LaunchTemplateName VersionDescription ClientToken TagSpecifications {data}",
                resources=arns,
            ),
            "CreateLaunchTemplateVersion": operation(
                self._create_version,
                f"{which} SourceVersion VersionDescription ClientToken {data}",
                resources=arns,
            ),
            "ModifyLaunchTemplate": operation(
                self._modify, f"{which} DefaultVersion ClientToken", resources=arns
            ),
            "DeleteLaunchTemplate": operation(self._delete, which, resources=arns),
            "DescribeLaunchTemplates": operation(
                self._describe,
                "LaunchTemplateIds LaunchTemplateNames Filters MaxResults NextToken",
            ),
        }

    def _create(self, call: Call) -> Document:
        name, data = call.input["LaunchTemplateName"], call.input["LaunchTemplateData"]
        if not _NAME.fullmatch(name):
            raise AwsError(
                "InvalidLaunchTemplateName.MalformedException",
                "A launch template name must be between 3 and 128 characters, and may contain"
                " letters, numbers, and the following characters: - ( ) . / _",
            )
        check_data(self._plane, data)
        now, token = self._plane.clock.time(), call.input.get(TOKEN)
        template = LaunchTemplate(
            # The same token makes the same template.
            id=names.derived_id("lt", call.account, token) if token else names.new_id("lt"),
            account=call.account,
            name=name,
            created_by=call.caller.principal.arn,
            tags=tags.given(call, _KIND),
            created_at=now,
        )
        with self._store.transaction():
            known = self._store.templates.get(template.id)
            if known is not None:
                self._check_same(known, name, data)
                return {"LaunchTemplate": describe_template(known)}
            columns = self._store.templates.columns
            if self._store.templates.first(columns.account == call.account, columns.name == name):
                raise AwsError(
                    "InvalidLaunchTemplateName.AlreadyExistsException",
                    "Launch template name already in use.",
                )
            ec2_quotas.check(self._store.templates, call.account, ec2_quotas.TEMPLATES)
            self._store.templates.add(template)
            self._store.template_versions.add(_version(call, template, 1, data, now))
        return {"LaunchTemplate": describe_template(template)}

    def _check_same(self, known: LaunchTemplate, name: str, data: Mapping[str, Any]) -> None:
        columns = self._store.template_versions.columns
        first = self._store.template_versions.first(
            columns.template_id == known.id, columns.version == 1
        )
        if known.name != name or (first is not None and own_data(first) != data):
            raise used_token()

    def _check_pass(
        self, call: Call, template: LaunchTemplate, name: str, data: Mapping[str, Any]
    ) -> None:
        """Refuse to have groups that follow a template pass a role that the caller may not pass."""
        groups = self._store.scaling_groups
        followed = any(
            spec["LaunchTemplateId"] == template.id and spec["Version"] == name
            for each in groups.where(groups.columns.account == call.account)
            if (spec := each.settings.get("LaunchTemplate"))
        )
        if followed and data.get("IamInstanceProfile"):
            with contextlib.suppress(AwsError):
                _, profile = ec2_launch_data.read(self._plane, call.account, data)
                if profile is not None:
                    check_pass(self._plane, call.caller, profile.role_name or "")

    def _check_repeated(
        self, call: Call, template: LaunchTemplate, made: LaunchTemplateVersion
    ) -> None:
        data: Mapping[str, Any] = call.input["LaunchTemplateData"]
        if source := call.input.get("SourceVersion"):
            # The latest one may be the one that was made, and has what it was made of.
            wanted = own_data(made) if source == LATEST else {}
            if not wanted:
                wanted = own_data(find_version(self._plane, template, source))
            data = {**wanted, **data}
        if data != own_data(made):
            raise used_token()

    def _create_version(self, call: Call) -> Document:
        data: Mapping[str, Any] = call.input["LaunchTemplateData"]
        now, token = self._plane.clock.time(), call.input.get(TOKEN)
        with self._store.transaction():
            template = find_template(self._plane, call.account, call.input)
            columns = self._store.template_versions.columns
            for each in self._store.template_versions.where(columns.template_id == template.id):
                if token and each.data.get(TOKEN) == token:
                    self._check_repeated(call, template, each)
                    return {"LaunchTemplateVersion": describe_version(template, each)}
            if source := call.input.get("SourceVersion"):
                data = {**own_data(find_version(self._plane, template, source)), **data}
            check_data(self._plane, data)
            if self._store.template_versions.count(columns.template_id == template.id) >= _VERSIONS:
                raise AwsError(
                    "MaxTemplateVersionLimitExceeded",
                    f"A launch template has up to {_VERSIONS} versions. Delete some of them.",
                )
            self._check_pass(call, template, LATEST, data)
            number = template.latest_version + 1
            made = _version(call, template, number, data, now)
            self._store.template_versions.add(made)
            self._set(template, latest_version=number)
        return {"LaunchTemplateVersion": describe_version(template, made)}

    def _modify(self, call: Call) -> Document:
        with self._store.transaction():
            template = find_template(self._plane, call.account, call.input)
            if version := call.input.get("DefaultVersion"):
                found = find_version(self._plane, template, version)
                self._check_pass(call, template, DEFAULT, own_data(found))
                number = found.version
                self._set(template, default_version=number)
                template = replace(template, default_version=number)
        return {"LaunchTemplate": describe_template(template)}

    def _delete(self, call: Call) -> Document:
        with self._store.transaction():
            template = find_template(self._plane, call.account, call.input)
            versions = self._store.template_versions
            versions.remove(versions.columns.template_id == template.id)
            self._store.templates.remove(self._store.templates.columns.id == template.id)
        return {"LaunchTemplate": describe_template(template)}

    def _describe(self, call: Call) -> Document:
        columns = self._store.templates.columns
        ids = call.input.get("LaunchTemplateIds", ())
        named = call.input.get("LaunchTemplateNames", ())
        if ids or named:
            found = [
                find_template(self._plane, call.account, spec)
                for spec in [
                    *({"LaunchTemplateId": each} for each in dict.fromkeys(ids)),
                    *({"LaunchTemplateName": each} for each in dict.fromkeys(named)),
                ]
            ]
        else:
            found = self._store.templates.where(columns.account == call.account)
        found = select(found, call, _FILTERS, lambda each: each.tags)
        shown, more = page(found, call, lambda each: (each.created_at, each.id), most=_PAGE)
        return {"LaunchTemplates": [describe_template(each) for each in shown], "NextToken": more}

    def _set(self, template: LaunchTemplate, **values: int) -> None:
        self._store.templates.change(self._store.templates.columns.id == template.id, **values)


def check_data(plane: ControlPlane, data: Mapping[str, Any]) -> None:
    """Refuse a template that could never be launched here."""
    size = len(json.dumps(data, default=repr))
    if size > _MAX_SIZE:
        raise AwsError(
            "InvalidParameterValue",
            f"A launch template's data has {size} characters; {_MAX_SIZE} are allowed.",
        )
    ec2_launch_data.check(data)
    ec2_launch_data.accelerator_types(plane, data)
    ec2_launch_data.user_data(plane, data.get("UserData", ""))
    if "InstanceType" in data:
        ec2_launch_data.check_type(plane, data["InstanceType"])


def describe_template(template: LaunchTemplate) -> Document:
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "CreateTime": template.created_at,
        "CreatedBy": template.created_by,
        "DefaultVersionNumber": template.default_version,
        "LatestVersionNumber": template.latest_version,
        "Tags": tags.shown(template.tags),
    }


def describe_version(template: LaunchTemplate, version: LaunchTemplateVersion) -> Document:
    data = dict(own_data(version))
    if wanted := data.get("ElasticInferenceAccelerators"):
        data["ElasticInferenceAccelerators"] = [{"Count": 1, **each} for each in wanted]
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionNumber": version.version,
        "VersionDescription": version.description or None,
        "CreateTime": version.created_at,
        "CreatedBy": version.created_by,
        "DefaultVersion": version.version == template.default_version,
        "LaunchTemplateData": data,
    }


def _version(
    call: Call, template: LaunchTemplate, number: int, data: Mapping[str, Any], now: float
) -> LaunchTemplateVersion:
    description = call.input.get("VersionDescription", "")
    if len(description) > _MAX_DESCRIPTION:
        raise AwsError(
            "InvalidParameterValue",
            f"A version's description has up to {_MAX_DESCRIPTION} characters.",
        )
    token = call.input.get(TOKEN)
    return LaunchTemplateVersion(
        template_id=template.id,
        version=number,
        description=description,
        created_by=call.caller.principal.arn,
        data={**data, **({TOKEN: token} if token else {})},
        created_at=now,
    )


_FILTERS: Mapping[str, Reader[LaunchTemplate]] = {
    "create-time": lambda each: iso(each.created_at),
    "launch-template-name": lambda each: each.name,
}
