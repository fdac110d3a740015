"""EC2's security groups."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from elastic_inference.aws import ec2_quotas, tags
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_lookup import Lookup, chosen, in_use, no_group
from elastic_inference.aws.ec2_permissions import permissions_of
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.control import network_users
from elastic_inference.control.network_rules import ALL
from elastic_inference.control.network_users import DEFAULT_GROUP
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import GroupRecord, RuleRecord, VpcRecord

_KIND = "security-group"
_TEXT = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")


class Groups:
    """Makes, describes and removes security groups."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._lookup = Lookup(plane)
        self.operations: Operations = {
            "CreateSecurityGroup": operation(
                self._create, "GroupName Description VpcId TagSpecifications",
                resources=self._to_create,
            ),
            "DescribeSecurityGroups": operation(
                self._describe, "GroupIds GroupNames Filters NextToken MaxResults"
            ),
            "DeleteSecurityGroup": operation(
                self._delete, "GroupId GroupName", resources=GroupOf(plane).resources
            ),
        }  # fmt: skip

    def _to_create(self, call: Call) -> Sequence[str]:
        arn, vpc_id = self._lookup.arn, call.input.get("VpcId", "*")
        with contextlib.suppress(AwsError):
            vpc_id = self._vpc(call).id
        return [arn(call.account, _KIND), arn(call.account, "vpc", vpc_id)]

    def _create(self, call: Call) -> Document:
        given = call.input
        name = _text("GroupName", given["GroupName"])
        _text("GroupDescription", given["Description"])
        if name.startswith("sg-"):
            raise AwsError(
                "InvalidParameterValue",
                f"Value ({name[:64]}) for parameter GroupName is invalid. A name may not begin"
                " with sg-.",
            )
        if name == DEFAULT_GROUP:
            raise AwsError(
                "InvalidParameterValue", "Cannot use reserved security group name: default"
            )
        with self._plane.connections.rechecked():
            vpc = self._vpc(call)
            columns = self._store.groups.columns
            if self._store.groups.first(columns.vpc_id == vpc.id, columns.name == name):
                raise AwsError(
                    "InvalidGroup.Duplicate",
                    f"The security group '{name}' already exists for VPC '{vpc.id}'",
                )
            ec2_quotas.check(self._store.groups, call.account, ec2_quotas.GROUPS)
            made = self._plane.network.create_group(
                call.account, vpc.id, name, given["Description"]
            )
            labels = tags.given(call, _KIND)
            self._store.groups.change(columns.id == made.id, tags=labels)
        return {
            "GroupId": made.id,
            "SecurityGroupArn": self._lookup.arn(call.account, _KIND, made.id),
            "Tags": tags.shown(labels),
        }

    def _vpc(self, call: Call) -> VpcRecord:
        if "VpcId" in call.input:
            return self._lookup.vpc(call.account, call.input["VpcId"])
        return self._lookup.default_vpc(call.account)

    def _describe(self, call: Call) -> Document:
        columns = self._store.groups.columns
        groups = self._store.groups.where(columns.account == call.account)
        names = {each.id: each.name for each in groups}
        ids = list(call.input.get("GroupIds", ()))
        for name in call.input.get("GroupNames", ()):
            vpc = self._lookup.default_vpc(call.account)
            ids.append(self._lookup.group_named(call.account, name, vpc).id)
        wanted = self._with_rules(chosen(groups, ids, lambda each: each.id, no_group))
        found = select(wanted, call, _filters(names), lambda each: each.record.tags)
        found, token = page(found, call, lambda each: (each.record.created_at, each.record.id))
        return {
            "SecurityGroups": [self._shown(each, names) for each in found],
            "NextToken": token,
        }

    def _with_rules(self, groups: Sequence[GroupRecord]) -> list[_Group]:
        rules: dict[str, list[RuleRecord]] = {each.id: [] for each in groups}
        for rule in self._store.rules.where():
            if rule.group_id in rules:
                rules[rule.group_id].append(rule)
        return [_Group(each, rules[each.id]) for each in groups]

    def _shown(self, group: _Group, names: Mapping[str, str]) -> Document:
        record = group.record

        def permissions(direction: str) -> list[Document]:
            return permissions_of(group.of(direction), record.account, names, record.vpc_id)

        return {
            "GroupId": record.id,
            "GroupName": record.name,
            "SecurityGroupArn": self._lookup.arn(record.account, _KIND, record.id),
            "Description": record.description,
            "OwnerId": record.account,
            "VpcId": record.vpc_id,
            "IpPermissions": permissions("ingress"),
            "IpPermissionsEgress": permissions("egress"),
            "Tags": tags.shown(record.tags),
        }

    def _delete(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            group = GroupOf(self._plane).of(call)
            if group.name == DEFAULT_GROUP:
                raise AwsError(
                    "CannotDelete",
                    f'the specified group: "{group.id}" name: "default" cannot be deleted by a'
                    " user",
                )
            if users := network_users.users_of_group(self._store, group.id):
                error = in_use("security group", group.id, users)
                raise AwsError(error.code, f"resource {group.id} has a dependent object. {error}")
            network_users.remove_group(self._store, group.id)
        return {"Return": True, "GroupId": group.id}


class GroupOf:
    """The security group that a call names by `GroupId`, or by `GroupName` in the default VPC."""

    def __init__(self, plane: ControlPlane) -> None:
        self._lookup = Lookup(plane)

    def resources(self, call: Call) -> Sequence[str]:
        """The group as policies name it."""
        try:
            name = self.of(call).id
        except AwsError:
            # Who may not do it to any is not told whether it is there.
            name = "*"
        return [self._lookup.arn(call.account, _KIND, name)]

    def of(self, call: Call) -> GroupRecord:
        """The group.

        Raises:
            AwsError: there is none, or none is named, or two are.
        """
        group_id, name = call.input.get("GroupId"), call.input.get("GroupName")
        if group_id is None and name is None:
            raise AwsError("MissingParameter", "The request must contain the parameter groupId")
        if group_id is None:
            vpc = self._lookup.default_vpc(call.account)
            return self._lookup.group_named(call.account, name or "", vpc)
        found = self._lookup.group(call.account, group_id)
        if name not in (None, found.name):
            raise AwsError(
                "InvalidParameterCombination",
                f"The security group {group_id} has another name than '{(name or '')[:64]}'.",
            )
        return found


@dataclass(frozen=True, slots=True)
class _Group:
    record: GroupRecord
    rules: Sequence[RuleRecord]

    def of(self, direction: str) -> list[RuleRecord]:
        return [each for each in self.rules if each.direction == direction]


_RuleReader: TypeAlias = "Callable[[RuleRecord], str | None]"


def _filters(names: Mapping[str, str]) -> Mapping[str, Reader[_Group]]:
    readers: dict[str, Reader[_Group]] = {
        "description": lambda each: each.record.description,
        "group-id": lambda each: each.record.id,
        "group-name": lambda each: each.record.name,
        "owner-id": lambda each: each.record.account,
        "vpc-id": lambda each: each.record.vpc_id,
    }
    of_rules: dict[str, _RuleReader] = {
        "cidr": lambda rule: None if ":" in rule.cidr else rule.cidr or None,
        "from-port": lambda rule: None if rule.protocol == ALL else str(rule.from_port),
        "group-id": lambda rule: rule.source_group or None,
        "group-name": lambda rule: names.get(rule.source_group),
        "ipv6-cidr": lambda rule: rule.cidr if ":" in rule.cidr else None,
        "prefix-list-id": lambda _: None,
        "protocol": lambda rule: rule.protocol,
        "to-port": lambda rule: None if rule.protocol == ALL else str(rule.to_port),
    }
    for name, reader in of_rules.items():
        readers[f"ip-permission.{name}"] = _any_of("ingress", reader)
        readers[f"egress.ip-permission.{name}"] = _any_of("egress", reader)
    for prefix, direction in (("", "ingress"), ("egress.", "egress")):
        readers[f"{prefix}ip-permission.user-id"] = _owners(direction)
    return readers


def _any_of(direction: str, reader: _RuleReader) -> Reader[_Group]:
    def read(group: _Group) -> list[str]:
        return [found for rule in group.of(direction) if (found := reader(rule)) is not None]

    return read


def _owners(direction: str) -> Reader[_Group]:
    def read(group: _Group) -> str | None:
        return group.record.account if any(r.source_group for r in group.of(direction)) else None

    return read


def _text(name: str, value: str) -> str:
    if not _TEXT.fullmatch(value):
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({value[:64]}) for parameter {name} is invalid. It has 1 to 255 characters,"
            " which are letters, digits, blanks and ._-:/()#,@[]+=&;{}!$*.",
        )
    return value
