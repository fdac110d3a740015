"""Attributes of instances: told one by one, and changed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws import ec2_launch_data
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_images import ROOT_DEVICES
from elastic_inference.aws.ec2_instance_documents import InstanceDocuments, metadata_options
from elastic_inference.aws.ec2_launch_data import METADATA_OPTIONS
from elastic_inference.aws.ec2_owned import arns, one_owned, owned
from elastic_inference.aws.ec2_types import UNLIMITED, is_burstable
from elastic_inference.aws.errors import AwsError, unsupported
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.control import names, records
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance

# By the attribute's name, the parameter that changes it.
_CHANGED: Mapping[str, str] = {
    "disableApiStop": "DisableApiStop",
    "disableApiTermination": "DisableApiTermination",
    "instanceType": "InstanceType",
}
_FLAGS = {"true": True, "false": False}


class InstanceAttributes:
    """Attributes, metadata options and credits of instances."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        named = arns(plane)
        self.operations: Operations = {
            "DescribeInstanceAttribute": operation(
                self._describe, "InstanceId Attribute", resources=named
            ),
            "DescribeInstanceCreditSpecifications": operation(
                self._credits, "InstanceIds Filters NextToken MaxResults"
            ),
            "ModifyInstanceAttribute": operation(
                self._modify,
                "InstanceId Attribute Value DisableApiStop DisableApiTermination InstanceType"
                " UserData Groups",
                resources=self._to_modify,
            ),
            "ModifyInstanceMetadataOptions": operation(
                self._modify_metadata, f"InstanceId {' '.join(METADATA_OPTIONS)}", resources=named
            ),
        }

    def _describe(self, call: Call) -> Document:
        instance = one_owned(self._plane, call)
        ec2 = instance.ec2
        documents = InstanceDocuments(self._plane, call.account, call.caller.host)
        script = base64.b64encode(instance.user_data.encode()).decode()
        root = ROOT_DEVICES.get(ec2.get("ImageId", ""))
        attributes: Mapping[str, tuple[str, Any]] = {
            "blockDeviceMapping": ("BlockDeviceMappings", []),
            "disableApiStop": ("DisableApiStop", {"Value": ec2.get("DisableApiStop", False)}),
            "disableApiTermination": (
                "DisableApiTermination", {"Value": ec2.get("DisableApiTermination", False)},
            ),
            "ebsOptimized": ("EbsOptimized", {"Value": False}),
            "groupSet": ("Groups", documents.groups_of(instance)),
            "instanceInitiatedShutdownBehavior": (
                "InstanceInitiatedShutdownBehavior", {"Value": "stop"},
            ),
            "instanceType": ("InstanceType", {"Value": ec2.get("InstanceType")}),
            "kernel": ("KernelId", {}),
            "productCodes": ("ProductCodes", []),
            "ramdisk": ("RamdiskId", {}),
            "rootDeviceName": ("RootDeviceName", {"Value": root}),
            "sourceDestCheck": ("SourceDestCheck", {"Value": True}),
            "userData": ("UserData", {"Value": script} if script else {}),
        }  # fmt: skip
        wanted = call.input["Attribute"]
        if wanted not in attributes:
            raise unsupported(f"Instances have no attribute {wanted} here.")
        name, value = attributes[wanted]
        return {"InstanceId": instance.id, name: value}

    def _to_modify(self, call: Call) -> Sequence[str]:
        """The instance, and the security groups that it is to have."""
        groups, region = call.input.get("Groups", ()), self._plane.settings.region
        return [
            *arns(self._plane)(call),
            *(names.ec2_arn(region, call.account, "security-group", each) for each in groups),
        ]

    def _credits(self, call: Call) -> Document:
        """Those of types that have credits on AWS; here they have their cores all the time."""
        ids = call.input.get("InstanceIds")
        columns = self._plane.store.instances.columns
        known = (
            owned(self._plane, call.account, ids)
            if ids
            else self._plane.store.instances.where(columns.account == call.account)
        )
        types = self._plane.catalog.instance_types
        bursting = [
            each.id
            for each in known
            if (type_ := types.get(each.ec2.get("InstanceType", ""))) and is_burstable(type_)
        ]
        readers: Mapping[str, Reader[str]] = {"instance-id": lambda each: each}
        found, token = page(select(bursting, call, readers), call, lambda each: each)
        return {
            "InstanceCreditSpecifications": [
                {"InstanceId": each, "CpuCredits": UNLIMITED} for each in found
            ],
            "NextToken": token,
        }

    def _modify(self, call: Call) -> Document:
        name, value = _change(call.input)
        with self._plane.connections.rechecked(), self._plane.store.transaction():
            instance = one_owned(self._plane, call)
            if instance.state in {records.SHUTTING_DOWN, records.TERMINATED}:
                raise AwsError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is {instance.state}; it cannot be changed.",
                )
            self._set(instance, name, value)
        return {}

    def _set(self, instance: Instance, name: str, value: Any) -> None:
        if name == "Groups":
            subnet = self._plane.store.subnets.get(instance.subnet_id)
            groups = ec2_launch_data.group_ids(self._plane, subnet.vpc_id if subnet else "", value)
            self._plane.store.set_instance(instance.id, group_ids=groups)
        elif name == "UserData":
            _check_stopped(instance, "user data")
            script = ec2_launch_data.user_data(self._plane, base64.b64encode(value).decode())
            self._plane.store.set_instance(instance.id, user_data=script)
        else:
            if name == "InstanceType":
                _check_stopped(instance, "instance type")
                ec2_launch_data.check_type(self._plane, value)
            self._plane.store.set_instance(instance.id, ec2={**instance.ec2, name: value})

    def _modify_metadata(self, call: Call) -> Document:
        options = {name: each for name, each in call.input.items() if name in METADATA_OPTIONS}
        ec2_launch_data.check({"MetadataOptions": options})
        with self._plane.store.transaction():
            instance = one_owned(self._plane, call)
            known = instance.ec2.get("MetadataOptions", {})
            ec2 = {**instance.ec2, "MetadataOptions": {**known, **options}}
            self._plane.store.set_instance(instance.id, ec2=ec2)
        return {
            "InstanceId": instance.id,
            "InstanceMetadataOptions": metadata_options(self._plane.instance(instance.id)),
        }


def _change(given: Mapping[str, Any]) -> tuple[str, Any]:
    """The one attribute that a call changes, by its parameter's name, and its new value."""
    changes: dict[str, Any] = {
        name: given[name].get("Value") for name in (*_CHANGED.values(), "UserData") if name in given
    }
    if "Groups" in given:
        changes["Groups"] = given["Groups"]
    if attribute := given.get("Attribute"):
        if attribute not in _CHANGED:
            raise unsupported(f"The attribute {attribute} cannot be changed by its name here.")
        text = given.get("Value", "")
        name = _CHANGED[attribute]
        changes[name] = text if name == "InstanceType" else _FLAGS.get(text.lower())
    if len(changes) != 1:
        raise AwsError(
            "InvalidParameterCombination" if changes else "MissingParameter",
            "Specify exactly one attribute to change.",
        )
    ((name, value),) = changes.items()
    if value is None:
        raise AwsError("InvalidParameterValue", f"The value for {name} is none of its.")
    return name, value


def _check_stopped(instance: Instance, what: str) -> None:
    if instance.state != records.STOPPED:
        raise AwsError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is {instance.state}. Stop it to change its {what}.",
        )
