"""Instances as EC2's API describes them."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws import tags
from elastic_inference.aws.call import Document
from elastic_inference.aws.ec2_images import ROOT_DEVICES
from elastic_inference.aws.ec2_launch_data import METADATA_OPTIONS
from elastic_inference.compute.document import mac_address
from elastic_inference.control import names, records
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Accelerator, Instance

STATE_CODES: Mapping[str, int] = {
    records.PENDING: 0,
    records.RUNNING: 16,
    records.SHUTTING_DOWN: 32,
    records.TERMINATED: 48,
    records.STOPPING: 64,
    records.STOPPED: 80,
}
_UP = (records.PENDING, records.RUNNING)
USER_INITIATED = "Client.UserInitiatedShutdown"
_FAILED = "Server.InternalError"


def state(name: str) -> Document:
    return {"Code": STATE_CODES[name], "Name": name}


def reservation_of(instance: Instance) -> str:
    """The reservation that an instance is of; whoever launched otherwise has one of its own."""
    return instance.ec2.get("ReservationId") or f"r-{instance.id.removeprefix('i-')}"


def state_reason(instance: Instance) -> tuple[str, str] | None:
    """Code and message of why an instance does not run; None where it does."""
    if instance.state in _UP:
        return None
    if instance.state_reason:
        return _FAILED, f"{_FAILED}: {instance.state_reason}"
    return USER_INITIATED, f"{USER_INITIATED}: User initiated shutdown"


class InstanceDocuments:
    """Describes instances with what was read once for all of them.

    Args:
        host: the address that the pool was reached at.
    """

    def __init__(self, plane: ControlPlane, account: str, host: str) -> None:
        self._plane = plane
        self._account = account
        self._host = host
        store = plane.store
        subnets, groups = store.subnets.columns, store.groups.columns
        self._vpcs = {
            each.id: each.vpc_id for each in store.subnets.where(subnets.account == account)
        }
        self._groups = {
            each.id: each.name for each in store.groups.where(groups.account == account)
        }
        profiles = store.profiles.columns
        self._profiles = {
            each.name: each
            for each in store.profiles.where(
                profiles.account == account, order=(profiles.created_at.desc(),)
            )
        }
        self._profile_of_role = {each.role_name: each for each in self._profiles.values()}

    def reservations(self, instances: Sequence[Instance]) -> list[Document]:
        """Instances in their reservations."""
        attached = self._plane.store.accelerators_by_instance([each.id for each in instances])
        found: dict[str, list[Document]] = {}
        for each in instances:
            document = self.describe(each, attached[each.id])
            found.setdefault(reservation_of(each), []).append(document)
        return [
            {"ReservationId": name, "OwnerId": self._account, "Groups": [], "Instances": members}
            for name, members in found.items()
        ]

    def describe(self, instance: Instance, accelerators: Sequence[Accelerator]) -> Document:
        """One instance."""
        ec2 = instance.ec2
        reason = state_reason(instance)
        document: dict[str, Any] = {
            "AmiLaunchIndex": ec2.get("AmiLaunchIndex", 0),
            "ImageId": ec2.get("ImageId"),
            "InstanceId": instance.id,
            "InstanceType": ec2.get("InstanceType"),
            "KeyName": ec2.get("KeyName"),
            "ClientToken": ec2.get("ClientToken", ""),
            "LaunchTime": instance.launched_at or instance.created_at,
            "Monitoring": {"State": "disabled"},
            "Placement": {"AvailabilityZone": self._plane.network.zone, "GroupName": "",
                          "Tenancy": "default"},
            "ProductCodes": [],
            "State": state(instance.state),
            "StateReason": reason and {"Code": reason[0], "Message": reason[1]},
            "StateTransitionReason": _transition(instance),
            "PrivateDnsName": "",
            "PublicDnsName": "",
            "Architecture": "x86_64",
            "BlockDeviceMappings": [],
            "EbsOptimized": False,
            "Hypervisor": "xen",
            "ElasticInferenceAcceleratorAssociations": self._associations(accelerators),
            "RootDeviceName": ROOT_DEVICES.get(ec2.get("ImageId", "")),
            "RootDeviceType": "ebs",
            "Tags": tags.shown(instance.tags),
            "VirtualizationType": "hvm",
            "MetadataOptions": metadata_options(instance),
            "PlatformDetails": "Linux/UNIX",
            "UsageOperation": "RunInstances",
        }  # fmt: skip
        if instance.state != records.TERMINATED:
            document |= self._network(instance)
            document["IamInstanceProfile"] = self.profile(instance)
        return document

    def vpc_of(self, instance: Instance) -> str | None:
        return self._vpcs.get(instance.subnet_id)

    def groups_of(self, instance: Instance) -> list[Document]:
        return [
            {"GroupId": each, "GroupName": self._groups.get(each, "")}
            for each in instance.group_ids
        ]

    def profile(self, instance: Instance) -> Document | None:
        """The instance profile that gives an instance its role."""
        given = instance.ec2.get("IamInstanceProfile")
        if given is None:
            found = instance.role_name and self._profile_of_role.get(instance.role_name)
            if not found:
                return None
            given = {"Name": found.name, "Id": found.id}
        arn = names.profile_arn(self._account, given["Name"])
        return {"Arn": arn, "Id": given["Id"]}

    def public_address(self, instance: Instance) -> str:
        """Where the machine is reached that a public instance runs on; "" for others."""
        public = instance.ec2.get("AssociatePublicIpAddress", False)
        return self._host if public and instance.state in _UP else ""

    def _network(self, instance: Instance) -> Document:
        groups, public = self.groups_of(instance), self.public_address(instance)
        vpc_id, public_ip = self.vpc_of(instance), public if is_ipv4(public) else None
        association = public and {
            "IpOwnerId": "amazon",
            "PublicDnsName": public,
            "PublicIp": public_ip,
        }
        interface = describe_interface(instance, vpc_id, groups, association or None)
        return {
            "NetworkInterfaces": [interface],
            "PrivateIpAddress": instance.private_ip,
            "PublicDnsName": public,
            "PublicIpAddress": public_ip,
            "SecurityGroups": groups,
            "SourceDestCheck": True,
            "SubnetId": instance.subnet_id,
            "VpcId": vpc_id,
        }

    def _associations(self, accelerators: Sequence[Accelerator]) -> list[Document] | None:
        region = self._plane.settings.region
        return [
            {
                "ElasticInferenceAcceleratorArn": names.accelerator_arn(
                    region, self._account, each.id
                ),
                "ElasticInferenceAcceleratorAssociationId": each.association_id,
                "ElasticInferenceAcceleratorAssociationState": each.state,
                "ElasticInferenceAcceleratorAssociationTime": each.created_at,
            }
            for each in accelerators
        ] or None


def describe_interface(
    instance: Instance,
    vpc_id: str | None,
    groups: Sequence[Document],
    association: Document | None,
) -> dict[str, Any]:
    """An instance's network interface, as all that shows it has it."""
    address = instance.private_ip
    return {
        "Association": association,
        "Attachment": {
            "AttachTime": instance.created_at,
            "AttachmentId": names.attachment_id(instance.id),
            "DeleteOnTermination": True,
            "DeviceIndex": 0,
            "Status": "attached",
            "NetworkCardIndex": 0,
        },
        "Description": "",
        "Groups": groups,
        "InterfaceType": "interface",
        "Ipv6Addresses": [],
        "MacAddress": mac_address(instance.id),
        "NetworkInterfaceId": names.interface_id(instance.id),
        "OwnerId": instance.account,
        "PrivateIpAddress": address,
        "PrivateIpAddresses": [
            {"Primary": True, "PrivateIpAddress": address, "Association": association}
        ],
        "SourceDestCheck": True,
        "Status": "in-use",
        "SubnetId": instance.subnet_id,
        "VpcId": vpc_id,
    }


def metadata_options(instance: Instance) -> Document:
    return {"State": "applied", **METADATA_OPTIONS, **instance.ec2.get("MetadataOptions", {})}


def _transition(instance: Instance) -> str:
    if instance.state in _UP or instance.state_reason:
        return ""
    if instance.ended_at is None:
        return "User initiated"
    return time.strftime("User initiated (%Y-%m-%d %H:%M:%S GMT)", time.gmtime(instance.ended_at))


def is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False
