"""What RunInstances and launch templates say of an instance, checked and read."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

from elastic_inference.aws import ec2_images, errors, tags
from elastic_inference.aws.ec2_lookup import no_subnet
from elastic_inference.aws.ec2_types import UNLIMITED
from elastic_inference.aws.errors import AwsError
from elastic_inference.compute.base import check_user_data
from elastic_inference.control import names, records
from elastic_inference.control.launch import LaunchRequest
from elastic_inference.control.network_users import DEFAULT_GROUP
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import InstanceProfile, SubnetRecord
from elastic_inference.errors import InvalidRequestError

# What both RunInstances and a launch template's data have and a pool heeds.
HONOURED = (
    "ImageId InstanceType KeyName SecurityGroupIds SecurityGroups UserData"
    " ElasticInferenceAccelerators IamInstanceProfile TagSpecifications"
    " NetworkInterfaces.DeviceIndex NetworkInterfaces.SubnetId NetworkInterfaces.Groups"
    " NetworkInterfaces.AssociatePublicIpAddress NetworkInterfaces.DeleteOnTermination"
    " Placement.AvailabilityZone Placement.Tenancy Monitoring.Enabled EbsOptimized"
    " DisableApiTermination DisableApiStop InstanceInitiatedShutdownBehavior"
    " HibernationOptions.Configured EnclaveOptions.Enabled CreditSpecification.CpuCredits"
    " MetadataOptions.HttpTokens MetadataOptions.HttpPutResponseHopLimit"
    " MetadataOptions.HttpEndpoint MetadataOptions.HttpProtocolIpv6"
    " MetadataOptions.InstanceMetadataTags"
)
# Parameters whose only value here is what they are without being given.
_FIXED: Mapping[tuple[str, str], tuple[Any, str]] = {
    ("Placement", "Tenancy"): ("default", "Instances share the machine of their pool."),
    ("Monitoring", "Enabled"): (False, "Accelerators are measured each minute in any case."),
    ("", "EbsOptimized"): (False, "Instances have no EBS volumes here."),
    ("", "InstanceInitiatedShutdownBehavior"): ("stop", "Instances do not end by themselves."),
    ("HibernationOptions", "Configured"): (False, "A stopped instance keeps its home alone."),
    ("CreditSpecification", "CpuCredits"): (UNLIMITED, "Instances have their cores all the time."),
    ("EnclaveOptions", "Enabled"): (False, "Instances have no enclaves here."),
    ("MetadataOptions", "HttpEndpoint"): ("enabled", "Accelerators are found through metadata."),
    ("MetadataOptions", "HttpProtocolIpv6"): ("disabled", "The metadata service has no IPv6."),
}  # fmt: skip
METADATA_OPTIONS: Mapping[str, Any] = {
    "HttpTokens": "optional",
    "HttpPutResponseHopLimit": 1,
    "HttpEndpoint": "enabled",
    "HttpProtocolIpv6": "disabled",
    "InstanceMetadataTags": "enabled",
}
_PROFILE_ARN = re.compile(r"arn:aws:iam::([0-9]{12}):instance-profile/(?:.*/)?([^/]+)")


def check(data: Mapping[str, Any]) -> None:
    """Refuse values that a pool does not do, without looking at what there is.

    Raises:
        AwsError: naming the parameter.
    """
    for (within, name), (only, why) in _FIXED.items():
        given = (data.get(within) or {} if within else data).get(name, only)
        # Terraform writes what is not given as an empty text.
        if given not in {only, ""}:
            raise errors.unsupported(
                f"{name} can only be {_shown(only)} here, not {_shown(given)}. {why}"
            )
    for each in data.get("NetworkInterfaces", ()):
        if each.get("DeleteOnTermination") is False:
            raise errors.unsupported("A network interface ends with its instance here.")
    for each in data.get("TagSpecifications", ()):
        kind = each.get("ResourceType", "")
        if not kind:
            # Policies decide on tags by what they are for.
            raise errors.missing("ec2", "TagSpecification.ResourceType")
        if kind != "instance":
            raise errors.unsupported(
                f"A {kind} of an instance is nothing of its own here, and has no"
                " tags. Leave these out."
            )
        tags.read(each.get("Tags", ()))
    hops = data.get("MetadataOptions", {}).get("HttpPutResponseHopLimit", 1)
    if not 1 <= hops <= 64:
        raise AwsError("InvalidParameterValue", "HttpPutResponseHopLimit is from 1 to 64.")


def read(
    plane: ControlPlane, account: str, data: Mapping[str, Any]
) -> tuple[LaunchRequest, InstanceProfile | None]:
    """The instance that is wanted, and the profile that gives it its role.

    Raises:
        AwsError: something that it names is not there, or is not done here.
    """
    check(data)
    for name in ("ImageId", "InstanceType"):
        if name not in data:
            raise errors.missing("ec2", name)
    image = ec2_images.find(data["ImageId"])
    check_type(plane, data["InstanceType"])
    profile = _profile(plane, account, data.get("IamInstanceProfile") or {})
    subnet, groups, public = _seat(plane, account, data)
    wanted_tags = instance_tags(data)
    ec2 = {
        "ImageId": image.id,
        "InstanceType": data["InstanceType"],
        "KeyName": _key_name(plane, account, data.get("KeyName")),
        "IamInstanceProfile": profile and {"Name": profile.name, "Id": profile.id},
        "AssociatePublicIpAddress": public,
        "DisableApiTermination": data.get("DisableApiTermination", False),
        "DisableApiStop": data.get("DisableApiStop", False),
        "MetadataOptions": dict(METADATA_OPTIONS) | dict(data.get("MetadataOptions") or {}),
    }
    request = LaunchRequest(
        accelerator_types=accelerator_types(plane, data),
        provider=records.LOCAL,
        account=account,
        name=wanted_tags.get("Name", "")[:128],
        role_name=profile.role_name if profile else "",
        subnet_id=subnet.id,
        group_ids=groups,
        user_data=user_data(plane, data.get("UserData", "")),
        tags=wanted_tags,
        ec2={name: value for name, value in ec2.items() if value},
    )
    return request, profile


def check_type(plane: ControlPlane, name: str) -> None:
    """Refuse an instance type that is not known, or that has what instances here have not.

    Raises:
        AwsError: naming it.
    """
    known = plane.catalog.instance_types.get(name)
    if known is None:
        raise AwsError(
            "InvalidParameterValue",
            f"Invalid value '{name[:64]}' for InstanceType: this pool does not know it. Take one of"
            " aws ec2 describe-instance-type-offerings, or add it to the catalogue (EI_CATALOG).",
        )
    if known.gpu is not None:
        raise AwsError(
            "Unsupported",
            f"An instance of this pool has no GPU of its own, as a {name} has. Launch another type,"
            " with an accelerator (ElasticInferenceAccelerators).",
        )


def accelerator_types(plane: ControlPlane, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The name of the type of each accelerator.

    Raises:
        AwsError: there is no such type, there are too many, or they are of two generations.
    """
    types: list[str] = []
    most = plane.settings.max_accelerators
    for each in data.get("ElasticInferenceAccelerators", ()):
        try:
            name = plane.catalog.get(each.get("Type", "")).name
        except InvalidRequestError as error:
            raise AwsError("InvalidParameterValue", errors.said(error)) from error
        types.extend([name] * min(each.get("Count", 1), most + 1))
    if len(types) > most:
        raise AwsError(
            "InvalidParameterValue",
            f"An instance has up to {most} elastic inference accelerators. Ask for fewer, or let"
            " the pool have another limit (EI_MAX_ACCELERATORS).",
        )
    if len({each.partition(".")[0] for each in types}) > 1:
        raise AwsError(
            "InvalidParameterCombination",
            "Elastic inference accelerators of one instance are of one generation. Ask for those of"
            " one, and attach others when it runs (ei attach).",
        )
    return tuple(types)


def instance_tags(data: Mapping[str, Any]) -> dict[str, str]:
    """The tags that `TagSpecifications` gives instances."""
    found: dict[str, str] = {}
    for each in data.get("TagSpecifications", ()):
        if each.get("ResourceType") == "instance":
            found |= tags.read(each.get("Tags", ()))
    return found


def user_data(plane: ControlPlane, encoded: str) -> str:
    """The script that user data is.

    Raises:
        AwsError: it is none, or this pool runs none.
    """
    if not encoded:
        return ""
    try:
        text = base64.b64decode("".join(encoded.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise AwsError(
            "InvalidParameterValue",
            "UserData must be a script in UTF-8, encoded in Base64. What is compressed or in many"
            " parts needs cloud-init, which is not here.",
        ) from None
    check_user_data(text)
    if text and plane.compute is not None and not plane.compute.isolated:
        raise errors.unsupported(
            f"This pool runs no user data, since {plane.compute.why_not}. Launch without it, and"
            " run commands with ei exec."
        )
    return text


def group_ids(
    plane: ControlPlane, vpc_id: str, ids: Sequence[str], group_names: Sequence[str] = ()
) -> list[str]:
    """The ids of security groups of a network.

    Raises:
        AwsError: there is no such group in it.
    """
    columns = plane.store.groups.columns
    found = []
    for each in ids:
        group = plane.store.groups.get(each)
        if group is None:
            raise AwsError(
                "InvalidGroup.NotFound", f"The security group '{each[:64]}' does not exist"
            )
        if group.vpc_id != vpc_id:
            raise AwsError(
                "InvalidParameter",
                f"Security group {each} and the subnet belong to different networks.",
            )
        found.append(each)
    for each in group_names:
        group = plane.store.groups.first(columns.vpc_id == vpc_id, columns.name == each)
        if group is None:
            raise AwsError(
                "InvalidGroup.NotFound",
                f"The security group '{each[:64]}' does not exist in default VPC '{vpc_id}'",
            )
        found.append(group.id)
    return list(dict.fromkeys(found))


def _profile(plane: ControlPlane, account: str, spec: Mapping[str, Any]) -> InstanceProfile | None:
    name, arn = spec.get("Name"), spec.get("Arn")
    if name and arn:
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter 'iamInstanceProfile.name' may not be used in combination with"
            " 'iamInstanceProfile.arn'",
        )
    if not name and not arn:
        return None
    if arn:
        match = _PROFILE_ARN.fullmatch(arn)
        name = match[2] if match and match[1] == account else ""
    found = plane.store.profiles.get(account, name) if name else None
    if found is None:
        kind, value = ("arn", arn) if arn else ("name", name)
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({value}) for parameter iamInstanceProfile.{kind} is invalid. Invalid IAM"
            f" Instance Profile {'ARN' if arn else 'name'}",
        )
    if not found.role_name:
        raise AwsError(
            "InvalidParameterValue",
            f'IAM Instance Profile "{names.profile_arn(account, found.name)}" has no associated IAM'
            " Roles",
        )
    return found


def _seat(
    plane: ControlPlane, account: str, data: Mapping[str, Any]
) -> tuple[SubnetRecord, Sequence[str] | None, bool]:
    """The subnet, the groups (None: the network's default one), and whether it is public."""
    zone = (data.get("Placement") or {}).get("AvailabilityZone") or plane.network.zone
    if zone != plane.network.zone:
        raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{zone[:64]}]")
    subnet_id, by_id = data.get("SubnetId"), data.get("SecurityGroupIds", ())
    by_name, public = data.get("SecurityGroups", ()), False
    if data.get("NetworkInterfaces"):
        interface = _interface(data)
        subnet_id, by_id = interface.get("SubnetId"), interface.get("Groups", ())
        public = interface.get("AssociatePublicIpAddress", False)
    elif subnet_id and by_name:
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter groupName cannot be used with the parameter subnet",
        )
    subnet = _subnet(plane, account, subnet_id)
    groups = group_ids(plane, subnet.vpc_id, by_id, by_name)
    return subnet, groups or None, public


def place(plane: ControlPlane, account: str, data: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """The subnet and the security groups that an instance would have, those by default too.

    Raises:
        AwsError: one of them is not there.
    """
    subnet, ids, _ = _seat(plane, account, data)
    if ids is None:
        columns = plane.store.groups.columns
        usual = plane.store.groups.first(
            columns.vpc_id == subnet.vpc_id, columns.name == DEFAULT_GROUP
        )
        ids = [usual.id] if usual else []
    return subnet.id, ids


def _interface(data: Mapping[str, Any]) -> Mapping[str, Any]:
    interfaces = data["NetworkInterfaces"]
    for name, what in (
        ("SubnetId", "an instance-level subnet ID"),
        ("SecurityGroupIds", "instance-level security groups"),
        ("SecurityGroups", "instance-level security groups"),
    ):
        if data.get(name):
            raise AwsError(
                "InvalidParameterCombination",
                f"Network interfaces and {what} may not be specified on the same request",
            )
    if len(interfaces) > 1 or interfaces[0].get("DeviceIndex", 0) != 0:
        raise errors.unsupported("An instance has one network interface here, of DeviceIndex 0.")
    found: Mapping[str, Any] = interfaces[0]
    return found


def _subnet(plane: ControlPlane, account: str, subnet_id: str | None) -> SubnetRecord:
    columns = plane.store.subnets.columns
    if not subnet_id:
        found = plane.store.subnets.first(columns.account == account, columns.is_default)
        if found is None:
            raise AwsError(
                "VPCIdNotSpecified", "No default VPC for this user. Specify a subnet (SubnetId)."
            )
        return found
    found = plane.store.subnets.first(columns.account == account, columns.id == subnet_id)
    if found is None:
        raise no_subnet(subnet_id)
    return found


def _key_name(plane: ControlPlane, account: str, name: str | None) -> str | None:
    columns = plane.store.key_pairs.columns
    if name and plane.store.key_pairs.first(columns.account == account, columns.name == name):
        return name
    if name:
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{name[:255]}' does not exist")
    return None


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
