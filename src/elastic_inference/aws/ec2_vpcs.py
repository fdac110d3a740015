"""EC2's VPCs and their attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elastic_inference.aws import ec2_quotas, tags
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_lookup import Lookup, chosen, in_use, no_vpc
from elastic_inference.aws.errors import AwsError, missing, unsupported
from elastic_inference.aws.filters import Reader, select, truth
from elastic_inference.aws.pages import page
from elastic_inference.control import network_users
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import VpcRecord
from elastic_inference.errors import InvalidRequestError

AVAILABLE = "available"
_TENANCY, _DHCP = "default", "default"
_KIND = "vpc"
# The columns of what can be changed, by the names of its parameters.
_CHANGEABLE = {"EnableDnsSupport": "dns_support", "EnableDnsHostnames": "dns_hostnames"}


class Vpcs:
    """Makes, describes, changes and removes VPCs."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._store = plane.store
        self._lookup = Lookup(plane)
        self.operations: Operations = {
            "CreateVpc": operation(
                self._create,
                "CidrBlock InstanceTenancy AmazonProvidedIpv6CidrBlock TagSpecifications",
                resources=lambda call: [self._lookup.arn(call.account, _KIND)],
            ),
            "DescribeVpcs": operation(self._describe, "VpcIds Filters NextToken MaxResults"),
            "DeleteVpc": operation(self._delete, "VpcId", resources=self._named),
            "DescribeVpcAttribute": operation(
                self._describe_attribute, "VpcId Attribute", resources=self._named
            ),
            "ModifyVpcAttribute": operation(
                self._modify_attribute,
                "VpcId EnableDnsSupport EnableDnsHostnames EnableNetworkAddressUsageMetrics",
                resources=self._named,
            ),
        }

    def _named(self, call: Call) -> Sequence[str]:
        return [self._lookup.arn(call.account, _KIND, call.input["VpcId"])]

    def _create(self, call: Call) -> Document:
        given = call.input
        if given.get("InstanceTenancy", _TENANCY) != _TENANCY:
            raise unsupported("InstanceTenancy must be default: a pool has no other.")
        if given.get("AmazonProvidedIpv6CidrBlock"):
            raise unsupported("AmazonProvidedIpv6CidrBlock must be false: networks are of IPv4.")
        if "CidrBlock" not in given:
            raise missing("ec2", "cidrBlock")
        with self._plane.connections.rechecked():
            ec2_quotas.check(self._store.vpcs, call.account, ec2_quotas.VPCS)
            try:
                made = self._plane.network.create_vpc(call.account, given["CidrBlock"])
            except InvalidRequestError as error:
                raise AwsError(
                    "InvalidVpc.Range",
                    f"The CIDR '{given['CidrBlock'][:64]}' is invalid: {error.message}",
                ) from None
            self._store.vpcs.change(
                self._store.vpcs.columns.id == made.id,
                tags=tags.given(call, _KIND),
                # As in AWS, only the default one has names for its instances at once.
                dns_hostnames=False,
            )
            made = self._lookup.vpc(call.account, made.id)
        return {"Vpc": _shown(made)}

    def _describe(self, call: Call) -> Document:
        columns = self._store.vpcs.columns
        found = chosen(
            self._store.vpcs.where(columns.account == call.account),
            call.input.get("VpcIds", ()),
            lambda each: each.id,
            no_vpc,
        )
        found = select(found, call, _FILTERS, lambda each: each.tags)
        found, token = page(found, call, lambda each: (each.created_at, each.id))
        return {"Vpcs": [_shown(each) for each in found], "NextToken": token}

    def _delete(self, call: Call) -> Document:
        with self._plane.connections.rechecked():
            vpc = self._lookup.vpc(call.account, call.input["VpcId"])
            if users := network_users.users_of_vpc(self._store, vpc.id):
                raise in_use("vpc", vpc.id, users)
            network_users.remove_vpc(self._store, vpc.id)
        return {}

    def _describe_attribute(self, call: Call) -> Document:
        vpc = self._lookup.vpc(call.account, call.input["VpcId"])
        name = call.input["Attribute"]
        values = {
            "enableDnsSupport": vpc.dns_support,
            "enableDnsHostnames": vpc.dns_hostnames,
            "enableNetworkAddressUsageMetrics": False,
        }
        return {"VpcId": vpc.id, f"{name[0].upper()}{name[1:]}": {"Value": values[name]}}

    def _modify_attribute(self, call: Call) -> Document:
        given = {name: each for name, each in call.input.items() if name != "VpcId"}
        if len(given) != 1:
            raise AwsError("InvalidParameterCombination", "One attribute can be changed at a time.")
        ((name, wanted),) = given.items()
        value = bool(wanted.get("Value", False))
        if name not in _CHANGEABLE:
            if value:
                raise unsupported(f"{name} must be false: networks have no such metrics.")
            self._lookup.vpc(call.account, call.input["VpcId"])
            return {}
        with self._plane.connections.rechecked():
            vpc = self._lookup.vpc(call.account, call.input["VpcId"])
            self._store.vpcs.change(
                self._store.vpcs.columns.id == vpc.id, **{_CHANGEABLE[name]: value}
            )
        return {}


def _association_id(vpc: VpcRecord) -> str:
    return f"vpc-cidr-assoc-{vpc.id.partition('-')[2]}"


def _shown(vpc: VpcRecord) -> Document:
    return {
        "VpcId": vpc.id,
        "OwnerId": vpc.account,
        "State": AVAILABLE,
        "CidrBlock": vpc.cidr,
        "CidrBlockAssociationSet": [
            {
                "AssociationId": _association_id(vpc),
                "CidrBlock": vpc.cidr,
                "CidrBlockState": {"State": "associated"},
            }
        ],
        "DhcpOptionsId": _DHCP,
        "InstanceTenancy": _TENANCY,
        "IsDefault": vpc.is_default,
        "Tags": tags.shown(vpc.tags),
    }


_FILTERS: Mapping[str, Reader[VpcRecord]] = {
    "cidr": lambda each: each.cidr,
    "cidr-block": lambda each: each.cidr,
    "cidrBlock": lambda each: each.cidr,
    "cidr-block-association.association-id": _association_id,
    "cidr-block-association.cidr-block": lambda each: each.cidr,
    "cidr-block-association.state": lambda _: "associated",
    "dhcp-options-id": lambda _: _DHCP,
    "dhcpOptionsId": lambda _: _DHCP,
    "is-default": lambda each: truth(each.is_default),
    "isDefault": lambda each: truth(each.is_default),
    "owner-id": lambda each: each.account,
    "state": lambda _: AVAILABLE,
    "vpc-id": lambda each: each.id,
}
