"""The parts of networks by their ids and names, with EC2's errors where there are none."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from elastic_inference.aws.errors import AwsError
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import (
    EndpointRecord,
    GroupRecord,
    SubnetRecord,
    VpcRecord,
)
from elastic_inference.control.tables import Records

T = TypeVar("T")
_Part = TypeVar("_Part", VpcRecord, SubnetRecord, GroupRecord, EndpointRecord)
_GROUP = re.compile(r"sg-[0-9a-f]{8,17}")
_ENDPOINT = re.compile(r"vpce-[0-9a-f]{8,17}")


class Lookup:
    """Finds what is an account's own."""

    def __init__(self, plane: ControlPlane) -> None:
        self._store = plane.store
        self._region = plane.settings.region

    def arn(self, account: str, kind: str, name: str = "*") -> str:
        """As policies name a thing of EC2's, or all of its kind."""
        return names.ec2_arn(self._region, account, kind, name)

    def vpc(self, account: str, vpc_id: str) -> VpcRecord:
        return _own(self._store.vpcs, account, vpc_id, no_vpc)

    def default_vpc(self, account: str) -> VpcRecord:
        columns = self._store.vpcs.columns
        found = self._store.vpcs.first(columns.account == account, columns.is_default)
        if found is None:
            raise AwsError("VPCIdNotSpecified", "No default VPC for this user. Name a VPC.")
        return found

    def subnet(self, account: str, subnet_id: str) -> SubnetRecord:
        return _own(self._store.subnets, account, subnet_id, no_subnet)

    def group(self, account: str, group_id: str) -> GroupRecord:
        return _own(self._store.groups, account, group_id, no_group)

    def group_named(self, account: str, name: str, vpc: VpcRecord) -> GroupRecord:
        columns = self._store.groups.columns
        found = self._store.groups.first(
            columns.account == account, columns.vpc_id == vpc.id, columns.name == name
        )
        if found is None:
            kind = "default VPC" if vpc.is_default else "VPC"
            raise AwsError(
                "InvalidGroup.NotFound",
                f"The security group '{name[:255]}' does not exist in {kind} '{vpc.id}'",
            )
        return found

    def endpoint(self, account: str, endpoint_id: str) -> EndpointRecord:
        return _own(self._store.endpoints, account, endpoint_id, no_endpoint)

    def group_names(self, account: str) -> dict[str, str]:
        """The names of security groups by their ids."""
        groups = self._store.groups.where(self._store.groups.columns.account == account)
        return {each.id: each.name for each in groups}


def _own(
    table: Records[_Part], account: str, part_id: str, missing: Callable[[str], AwsError]
) -> _Part:
    """The account's own one with that id.

    Raises:
        AwsError: there is none.
    """
    found = table.get(part_id)
    if found is None or found.account != account:
        raise missing(part_id)
    return found


def chosen(
    found: Sequence[T],
    wanted: Sequence[str],
    key: Callable[[T], str],
    missing: Callable[[str], AwsError],
) -> list[T]:
    """Those that are wanted, or all where none are named.

    Raises:
        AwsError: one of them is not there.
    """
    if not wanted:
        return list(found)
    known = {key(each): each for each in found}
    for each in wanted:
        if each not in known:
            raise missing(each)
    return [known[each] for each in dict.fromkeys(wanted)]


def no_vpc(vpc_id: str) -> AwsError:
    return AwsError("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id[:64]}' does not exist")


def no_subnet(subnet_id: str) -> AwsError:
    return AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id[:64]}' does not exist")


def no_group(group_id: str) -> AwsError:
    if not _GROUP.fullmatch(group_id):
        return AwsError(
            "InvalidGroupId.Malformed", f'Invalid id: "{group_id[:64]}" (expecting "sg-...")'
        )
    return AwsError("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")


def no_endpoint(endpoint_id: str) -> AwsError:
    if not _ENDPOINT.fullmatch(endpoint_id):
        return AwsError(
            "InvalidVpcEndpointId.Malformed",
            f'Invalid id: "{endpoint_id[:64]}" (expecting "vpce-...")',
        )
    return AwsError(
        "InvalidVpcEndpointId.NotFound", f"The Vpc Endpoint Id '{endpoint_id}' does not exist"
    )


def in_use(what: str, name: str, users: Sequence[str]) -> AwsError:
    """It cannot be deleted before those that use it."""
    more = " and others" if len(users) > 5 else ""
    return AwsError(
        "DependencyViolation",
        f"The {what} '{name}' has dependencies and cannot be deleted: {', '.join(users[:5])}{more}."
        " Delete or change these first.",
    )
