"""EC2's network interfaces: each instance has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_instance_documents import (
    InstanceDocuments,
    describe_interface,
    is_ipv4,
)
from elastic_inference.aws.ec2_lookup import chosen
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select, truth
from elastic_inference.aws.pages import page
from elastic_inference.compute.document import mac_address
from elastic_inference.control import names, records
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance, SubnetRecord

_PREFIX = "eni-"


class Interfaces:
    """Describes network interfaces."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.operations: Operations = {
            "DescribeNetworkInterfaces": operation(
                self._describe,
                "NetworkInterfaceIds Filters NextToken MaxResults",
            ),
        }

    def _describe(self, call: Call) -> Document:
        ids = call.input.get("NetworkInterfaceIds", ())
        found = chosen(self._found(call), ids, lambda each: each.id, _missing)
        found = select(found, call, _FILTERS, lambda _: {})
        found, token = page(found, call, lambda each: (each.instance.created_at, each.id))
        return {"NetworkInterfaces": [_shown(each) for each in found], "NextToken": token}

    def _found(self, call: Call) -> list[_Interface]:
        store, account = self._plane.store, call.account
        documents = InstanceDocuments(self._plane, account, call.caller.host)
        subnets = {each.id: each for each in store.subnets.where()}
        groups = {each.id: each.name for each in store.groups.where()}
        columns = store.instances.columns
        instances = store.instances.where(
            columns.account == account, columns.state != records.TERMINATED
        )
        return [
            _Interface(
                each,
                subnets[each.subnet_id],
                {group: groups[group] for group in each.group_ids if group in groups},
                documents.public_address(each),
            )
            for each in instances
            if each.subnet_id in subnets
        ]


@dataclass(frozen=True, slots=True)
class _Interface:
    """An instance's interface.

    Attributes:
        groups: names by ids.
        public: where the instance is reached from elsewhere; "" where it is not.
    """

    instance: Instance
    subnet: SubnetRecord
    groups: Mapping[str, str]
    public: str

    @property
    def id(self) -> str:
        return names.interface_id(self.instance.id)


def _shown(interface: _Interface) -> Document:
    instance, subnet = interface.instance, interface.subnet
    groups = [{"GroupId": key, "GroupName": name} for key, name in interface.groups.items()]
    association = _association(interface.public)
    shown = describe_interface(instance, subnet.vpc_id, groups, association)
    owned = {"InstanceId": instance.id, "InstanceOwnerId": instance.account}
    return shown | {
        "AvailabilityZone": subnet.zone,
        "RequesterManaged": False,
        "Attachment": shown["Attachment"] | owned,
        "TagSet": [],
    }


def _association(public: str) -> Document | None:
    if not public:
        return None
    return {"PublicIp": public} if is_ipv4(public) else {"PublicDnsName": public}


def _address(interface: _Interface) -> str:
    return interface.instance.private_ip


def _group_names(interface: _Interface) -> Sequence[str]:
    return list(interface.groups.values())


_FILTERS: Mapping[str, Reader[_Interface]] = {
    "addresses.primary": lambda _: truth(True),
    "addresses.private-ip-address": _address,
    "association.public-dns-name": lambda each: (
        each.public if each.public and not is_ipv4(each.public) else None
    ),
    "association.public-ip": lambda each: each.public if is_ipv4(each.public) else None,
    "attachment.attachment-id": lambda each: names.attachment_id(each.instance.id),
    "attachment.delete-on-termination": lambda _: truth(True),
    "attachment.device-index": lambda _: "0",
    "attachment.instance-id": lambda each: each.instance.id,
    "attachment.instance-owner-id": lambda each: each.instance.account,
    "attachment.status": lambda _: "attached",
    "availability-zone": lambda each: each.subnet.zone,
    "description": lambda _: "",
    "group-id": lambda each: list(each.groups),
    "group-name": _group_names,
    "interface-type": lambda _: "interface",
    "mac-address": lambda each: mac_address(each.instance.id),
    "network-interface-id": lambda each: each.id,
    "owner-id": lambda each: each.instance.account,
    "private-ip-address": _address,
    "requester-managed": lambda _: truth(False),
    "source-dest-check": lambda _: truth(True),
    "status": lambda _: "in-use",
    "subnet-id": lambda each: each.subnet.id,
    "vpc-id": lambda each: each.subnet.vpc_id,
}


def _missing(interface_id: str) -> AwsError:
    if not interface_id.startswith(_PREFIX):
        return AwsError(
            "InvalidNetworkInterfaceId.Malformed",
            f'Invalid id: "{interface_id[:64]}" (expecting "eni-...")',
        )
    return AwsError(
        "InvalidNetworkInterfaceID.NotFound",
        f"The networkInterface ID '{interface_id[:64]}' does not exist",
    )
