"""RunInstances and DescribeInstances."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws import ec2_images, ec2_launch_data
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.ec2_instance_documents import (
    STATE_CODES,
    InstanceDocuments,
    reservation_of,
    state_reason,
)
from elastic_inference.aws.ec2_launch import launch, rehearse
from elastic_inference.aws.ec2_lookup import Lookup
from elastic_inference.aws.ec2_owned import owned
from elastic_inference.aws.ec2_template_data import find_template
from elastic_inference.aws.errors import AwsError
from elastic_inference.aws.filters import Reader, select
from elastic_inference.aws.pages import page
from elastic_inference.aws.times import iso
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import Instance


class Instances:
    """Runs and describes instances."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._lookup = Lookup(plane)
        self.operations: Operations = {
            "RunInstances": operation(
                self._run,
                f"{ec2_launch_data.HONOURED} MinCount MaxCount SubnetId LaunchTemplate ClientToken",
                resources=self._needed,
                rehearse=lambda call: rehearse(plane, call.account, call.input, call.caller),
            ),
            "DescribeInstances": operation(
                self._describe, "InstanceIds Filters MaxResults NextToken"
            ),
        }

    def _run(self, call: Call) -> Document:
        instances = launch(
            self._plane,
            call.account,
            call.input,
            client_token=call.input.get("ClientToken"),
            caller=call.caller,
        )
        (reservation,) = self._documents(call).reservations(instances)
        return reservation

    def _describe(self, call: Call) -> Document:
        columns = self._plane.store.instances.columns
        if call.input.get("InstanceIds"):
            found = owned(self._plane, call.account, call.input["InstanceIds"])
        else:
            found = self._plane.store.instances.where(columns.account == call.account)
        documents = self._documents(call)
        readers = filters(self._plane, documents)
        found = select(found, call, readers, lambda each: each.tags)
        shown, more = page(found, call, lambda each: (each.created_at, each.id))
        return {"Reservations": documents.reservations(shown), "NextToken": more}

    def _documents(self, call: Call) -> InstanceDocuments:
        return InstanceDocuments(self._plane, call.account, call.caller.host)

    def _needed(self, call: Call) -> Sequence[str]:
        """The things that a launch uses; who asks has put in what the template says."""
        region, account, given = self._plane.settings.region, call.account, call.input
        named: list[tuple[str, Sequence[str]]] = []
        if spec := given.get("LaunchTemplate"):
            # One that is not there is refused after this, to who may launch at all.
            with contextlib.suppress(AwsError):
                template = find_template(self._plane, account, spec)
                named = [("launch-template", [template.id])]
        named.append(("key-pair", [given["KeyName"]] if "KeyName" in given else []))
        with contextlib.suppress(AwsError):
            subnet_id, group_ids = ec2_launch_data.place(self._plane, account, given)
            named += [("subnet", [subnet_id]), ("security-group", group_ids)]
        named += [(kind, ids) for kind, ids in _written(given).items()]
        image = given.get("ImageId")
        return [
            names.instance_arn(region, account, "*"),
            *([ec2_images.image_arn(region, image)] if image else []),
            *dict.fromkeys(
                self._lookup.arn(account, kind, each) for kind, ids in named for each in ids
            ),
        ]


def _written(given: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """What a launch names, whether there is such a thing or not."""
    interfaces = given.get("NetworkInterfaces", ())
    subnets = [each["SubnetId"] for each in (given, *interfaces) if each.get("SubnetId")]
    groups = [*given.get("SecurityGroupIds", ())]
    for each in interfaces:
        groups += each.get("Groups", ())
    return {"subnet": subnets, "security-group": groups}


def filters(plane: ControlPlane, documents: InstanceDocuments) -> Mapping[str, Reader[Instance]]:
    """What DescribeInstances can ask of an instance."""

    def ec2(name: str) -> Reader[Instance]:
        return lambda each: each.ec2.get(name)

    def profile(name: str) -> Reader[Instance]:
        return lambda each: (documents.profile(each) or {}).get(name)

    def reason(each: Instance) -> str | None:
        found = state_reason(each)
        return found[0] if found else None

    return {
        "architecture": lambda _: "x86_64",
        "availability-zone": lambda _: plane.network.zone,
        "client-token": ec2("ClientToken"),
        "dns-name": documents.public_address,
        "group-id": lambda each: each.group_ids,
        "hypervisor": lambda _: "xen",
        "iam-instance-profile.arn": profile("Arn"),
        "iam-instance-profile.id": profile("Id"),
        "image-id": ec2("ImageId"),
        "instance-id": lambda each: each.id,
        "instance-state-code": lambda each: str(STATE_CODES[each.state]),
        "instance-state-name": lambda each: each.state,
        "instance-type": ec2("InstanceType"),
        "instance.group-id": lambda each: each.group_ids,
        "instance.group-name": lambda each: [
            group["GroupName"] for group in documents.groups_of(each)
        ],
        "ip-address": documents.public_address,
        "key-name": ec2("KeyName"),
        "launch-index": lambda each: str(each.ec2.get("AmiLaunchIndex", 0)),
        "launch-time": lambda each: iso(each.launched_at or each.created_at),
        "monitoring-state": lambda _: "disabled",
        "network-interface.network-interface-id": lambda each: names.interface_id(each.id),
        "network-interface.subnet-id": lambda each: each.subnet_id,
        "network-interface.vpc-id": documents.vpc_of,
        "network-interface.group-id": lambda each: each.group_ids,
        "owner-id": lambda each: each.account,
        "placement-group-name": lambda _: None,
        "platform": lambda _: None,
        "private-ip-address": lambda each: each.private_ip,
        "requester-id": lambda _: None,
        "reservation-id": reservation_of,
        "root-device-type": lambda _: "ebs",
        "state-reason-code": reason,
        "subnet-id": lambda each: each.subnet_id,
        "tenancy": lambda _: "default",
        "virtualization-type": lambda _: "hvm",
        "vpc-id": documents.vpc_of,
    }
