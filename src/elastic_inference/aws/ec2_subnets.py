"""EC2's subnets."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping

from sqlalchemy import func
from sqlalchemy import select as select_columns

from elastic_inference.aws import ec2_quotas, tags
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_lookup import Lookup, chosen, in_use, no_subnet
from elastic_inference.aws.errors import AwsError, missing, unsupported
from elastic_inference.aws.filters import Reader, select, truth
from elastic_inference.aws.pages import page
from elastic_inference.control import names, network_users, records
from elastic_inference.control.network import FIRST_HOST
from elastic_inference.control.network_input import parse_vpc_cidr
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import SubnetRecord
from elastic_inference.errors import InvalidRequestError

_AVAILABLE = "available"
_KIND = "subnet"
# What no subnet does, and what to do.
_NEVER: Mapping[str, str] = {
    "MapPublicIpOnLaunch": "Launch with AssociatePublicIpAddress to have an instance that is"
    " reached where its machine is.",
    "AssignIpv6AddressOnCreation": "Networks are of IPv4.",
}


class Subnets:
    """Makes, describes, changes and removes subnets."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._lookup = Lookup(plane)
        self._zone_id = names.zone_id(plane.settings.region)
        self.operations: Operations = {
            "CreateSubnet": operation(
                self._create,
                "VpcId CidrBlock AvailabilityZone AvailabilityZoneId Ipv6Native TagSpecifications",
                resources=lambda call: [
                    self._lookup.arn(call.account, _KIND),
                    self._lookup.arn(call.account, "vpc", call.input["VpcId"]),
                ],
            ),
            "DescribeSubnets": operation(self._describe, "SubnetIds Filters NextToken MaxResults"),
            "ModifySubnetAttribute": operation(
                self._modify,
                "SubnetId MapPublicIpOnLaunch AssignIpv6AddressOnCreation",
                resources=lambda call: [
                    self._lookup.arn(call.account, _KIND, call.input["SubnetId"])
                ],
            ),
            "DeleteSubnet": operation(
                self._delete,
                "SubnetId",
                resources=lambda call: [
                    self._lookup.arn(call.account, _KIND, call.input["SubnetId"])
                ],
            ),
        }

    def _create(self, call: Call) -> Document:
        given = call.input
        self._check_place(given)
        if given.get("Ipv6Native"):
            raise unsupported("Ipv6Native must be false: networks are of IPv4.")
        if "CidrBlock" not in given:
            raise missing("ec2", "cidrBlock")
        with self._plane.connections.rechecked():
            vpc = self._lookup.vpc(call.account, given["VpcId"])
            table = self._store.subnets
            in_vpc = table.columns.vpc_id == vpc.id
            ec2_quotas.check(table, call.account, ec2_quotas.SUBNETS, in_vpc)
            try:
                made = self._plane.network.create_subnet(
                    call.account, vpc.id, given["CidrBlock"], None
                )
            except InvalidRequestError as error:
                raise _bad_range(given["CidrBlock"], vpc.cidr, error) from None
            self._store.subnets.change(
                self._store.subnets.columns.id == made.id, tags=tags.given(call, _KIND)
            )
            made = self._lookup.subnet(call.account, made.id)
        return {"Subnet": self._shown(made, 0)}

    def _check_place(self, given: Document) -> None:
        for name, own in (
            ("AvailabilityZone", self._plane.network.zone),
            ("AvailabilityZoneId", self._zone_id),
        ):
            if given.get(name, own) != own:
                raise AwsError(
                    "InvalidParameterValue",
                    f"Value ({given[name][:64]}) for parameter {name[0].lower()}{name[1:]} is"
                    " invalid. Subnets can currently only be created in the following availability"
                    f" zones: {own}.",
                )

    def _describe(self, call: Call) -> Document:
        columns = self._store.subnets.columns
        found = chosen(
            self._store.subnets.where(columns.account == call.account),
            call.input.get("SubnetIds", ()),
            lambda each: each.id,
            no_subnet,
        )
        taken = self._taken(call.account)
        found = select(found, call, self._filters(taken), lambda each: each.tags)
        found, token = page(found, call, lambda each: (each.created_at, each.id))
        return {
            "Subnets": [self._shown(each, taken[each.id]) for each in found],
            "NextToken": token,
        }

    def _modify(self, call: Call) -> Document:
        self._lookup.subnet(call.account, call.input["SubnetId"])
        for name, why in _NEVER.items():
            if call.input.get(name, {}).get("Value"):
                raise unsupported(f"{name} can only be false here. {why}")
        return {}

    def _delete(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            subnet = self._lookup.subnet(call.account, call.input["SubnetId"])
            if users := network_users.users_of_subnet(self._store, subnet.id):
                raise in_use("subnet", subnet.id, users)
            self._store.subnets.remove(self._store.subnets.columns.id == subnet.id)
        return {}

    def _taken(self, account: str) -> Counter[str]:
        """How many addresses of each subnet are in use."""
        columns = self._store.instances.columns
        query = (
            select_columns(columns.subnet_id, func.count())
            .where(columns.account == account, columns.state != records.TERMINATED)
            .group_by(columns.subnet_id)
        )
        return Counter(
            {str(name): int(count) for name, count in map(tuple, self._store.rows(query))}
        )

    def _shown(self, subnet: SubnetRecord, taken: int) -> Document:
        return {
            "SubnetId": subnet.id,
            "SubnetArn": self._lookup.arn(subnet.account, _KIND, subnet.id),
            "VpcId": subnet.vpc_id,
            "OwnerId": subnet.account,
            "State": _AVAILABLE,
            "CidrBlock": subnet.cidr,
            "AvailableIpAddressCount": _usable(subnet) - taken,
            "AvailabilityZone": subnet.zone,
            "AvailabilityZoneId": self._zone_id_of(subnet),
            "DefaultForAz": subnet.is_default,
            "MapPublicIpOnLaunch": False,
            "AssignIpv6AddressOnCreation": False,
            "Ipv6Native": False,
            "Tags": tags.shown(subnet.tags),
        }

    def _zone_id_of(self, subnet: SubnetRecord) -> str | None:
        return self._zone_id if subnet.zone == self._plane.network.zone else None

    def _filters(self, taken: Mapping[str, int]) -> Mapping[str, Reader[SubnetRecord]]:
        readers: dict[str, Reader[SubnetRecord]] = {
            "availability-zone": lambda each: each.zone,
            "availability-zone-id": self._zone_id_of,
            "available-ip-address-count": lambda each: str(_usable(each) - taken[each.id]),
            "cidr-block": lambda each: each.cidr,
            "default-for-az": lambda each: truth(each.is_default),
            "ipv6-native": lambda _: truth(False),
            "map-public-ip-on-launch": lambda _: truth(False),
            "owner-id": lambda each: each.account,
            "state": lambda _: _AVAILABLE,
            "subnet-arn": lambda each: self._lookup.arn(each.account, _KIND, each.id),
            "subnet-id": lambda each: each.id,
            "vpc-id": lambda each: each.vpc_id,
        }
        other_names = {
            "availabilityZone": "availability-zone",
            "availabilityZoneId": "availability-zone-id",
            "cidr": "cidr-block",
            "cidrBlock": "cidr-block",
            "defaultForAz": "default-for-az",
        }
        return readers | {name: readers[usual] for name, usual in other_names.items()}


def _usable(subnet: SubnetRecord) -> int:
    return ipaddress.ip_network(subnet.cidr).num_addresses - FIRST_HOST - 1


def _bad_range(cidr: str, whole: str, error: InvalidRequestError) -> AwsError:
    try:
        network = ipaddress.IPv4Network(parse_vpc_cidr(cidr))
    except InvalidRequestError:
        inside = False
    else:
        inside = network.subnet_of(ipaddress.IPv4Network(whole))
    if inside:
        return AwsError(
            "InvalidSubnet.Conflict",
            f"The CIDR '{cidr[:64]}' conflicts with another subnet: {error.message}",
        )
    return AwsError("InvalidSubnet.Range", f"The CIDR '{cidr[:64]}' is invalid: {error.message}")
