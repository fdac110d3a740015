"""What an instance is told of itself: by its metadata service, wherever that runs."""

from __future__ import annotations

from elastic_inference.control.documents import Document
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import AccessKey, Instance

# A registered host asks again after so many seconds, and is heard of by that.
REFRESH = 10.0


def credentials(key: AccessKey | None) -> Document | None:
    """Credentials as the API has them."""
    if key is None:
        return None
    return {
        "accessKeyId": key.id,
        "secretAccessKey": key.secret,
        "sessionToken": key.session_token,
        "expiration": key.expires_at,
    }


def document_of(plane: ControlPlane, instance: Instance) -> Document:
    """An instance's document for who serves it elsewhere."""
    subnet = plane.store.subnets.get(instance.subnet_id)
    return {
        "instanceId": instance.id,
        "name": instance.name,
        "state": instance.state,
        "accelerators": {each.id: each.type for each in plane.store.accelerators_of(instance.id)},
        "region": plane.settings.region,
        "zone": plane.network.zone,
        "privateIp": instance.private_ip,
        "subnetId": instance.subnet_id,
        "account": instance.account,
        "vpcId": subnet.vpc_id if subnet else "",
        "securityGroupIds": list(instance.group_ids),
        "securityGroupNames": [_group_name(plane, each) for each in instance.group_ids],
        "tags": dict(instance.tags),
        "roleName": instance.role_name,
        "launchTime": instance.launched_at or instance.created_at,
        "credentials": credentials(plane.access.session_of(instance)),
        "refreshSeconds": REFRESH,
        "ec2": _ec2(plane, instance),
    }


def _ec2(plane: ControlPlane, instance: Instance) -> Document:
    """What it was launched with through EC2's API."""
    ec2 = instance.ec2
    profile = ec2.get("IamInstanceProfile") or {}
    options = ec2.get("MetadataOptions", {})
    found: Document = {
        "imageId": ec2.get("ImageId"),
        "instanceType": ec2.get("InstanceType"),
        "launchIndex": ec2.get("AmiLaunchIndex"),
        "reservationId": ec2.get("ReservationId"),
        "profileName": profile.get("Name"),
        "profileId": profile.get("Id"),
        "publicKey": _public_key(plane, instance.account, ec2.get("KeyName")),
        "tokensRequired": options.get("HttpTokens") == "required",
        "tagsHidden": options.get("InstanceMetadataTags") == "disabled",
    }
    return {name: value for name, value in found.items() if value not in (None, False)}


def _public_key(plane: ControlPlane, account: str, name: str | None) -> str | None:
    """The public key of a key pair with the pair's name behind it; None where there is none."""
    columns = plane.store.key_pairs.columns
    pair = name and plane.store.key_pairs.first(columns.account == account, columns.name == name)
    return f"{pair.public_key} {pair.name}" if pair else None


def _group_name(plane: ControlPlane, group_id: str) -> str:
    group = plane.store.groups.get(group_id)
    return group.name if group else group_id
