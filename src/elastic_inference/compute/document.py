"""What an instance is told of itself, as EC2's instance metadata lays it out."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

ROLE = "elastic-inference"
# The type of an instance that was not launched as one of EC2's types.
INSTANCE_TYPE = "local"
# EC2 shows a tag in metadata only where its key can be part of a path.
_TAG_KEY = re.compile(r"[A-Za-z0-9+\-=.,_:@]{1,128}")
_ASSOCIATIONS = "meta-data/elastic-inference/associations"
_CREDENTIALS = "meta-data/iam/security-credentials"
_MACS = "meta-data/network/interfaces/macs"
_KEYS = "meta-data/public-keys"
_KEY = f"{_KEYS}/0/openssh-key"
_DOMAIN = "amazonaws.com"


@dataclass(frozen=True, slots=True)
class RoleCredentials:
    """An access key of the instance's role.

    Attributes:
        expiration: Unix time.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expiration: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDocument:
    """What an instance is told of itself.

    Attributes:
        accelerators: type of each accelerator by its id, in the order of attachment.
        credentials: of the role; None: the instance has none now.
        zone: "": the region's first.
        launch_time: Unix time.
        user_data: None: there is none.
        profile: what gives it its role; "": what is called as the role.
        public_key: of its key pair, with the pair's name at the end.
        tokens_required: only IMDSv2 is answered.
        tags_hidden: its tags are not shown to it.
    """

    instance_id: str
    accelerators: Mapping[str, str]
    region: str
    credentials: RoleCredentials | None = None
    role: str = ROLE
    zone: str = ""
    account: str = "000000000000"
    instance_type: str = INSTANCE_TYPE
    image_id: str = ""
    launch_index: int = 0
    reservation_id: str = ""
    private_ip: str = "127.0.0.1"
    hostname: str = ""
    launch_time: float = 0.0
    user_data: str | None = None
    profile: str = ""
    profile_id: str = ""
    public_key: str = ""
    tokens_required: bool = False
    tags_hidden: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    vpc_id: str = ""
    subnet_id: str = ""
    security_groups: Mapping[str, str] = field(default_factory=dict)

    def items(self) -> dict[str, str]:
        """The text at each path below `latest/`."""
        zone = self.zone or self.region + "a"
        hostname = self.hostname or self.instance_id
        items = {
            "meta-data/hostname": hostname,
            "meta-data/instance-id": self.instance_id,
            "meta-data/instance-life-cycle": "on-demand",
            "meta-data/instance-type": self.instance_type,
            "meta-data/local-hostname": hostname,
            "meta-data/local-ipv4": self.private_ip,
            "meta-data/placement/availability-zone": zone,
            "meta-data/placement/region": self.region,
            "meta-data/services/domain": _DOMAIN,
            "meta-data/services/partition": "aws",
            "dynamic/instance-identity/document": self._identity(zone),
        }
        items |= self._interface(hostname)
        items |= self._access()
        items |= self._launch()
        for key, value in () if self.tags_hidden else self.tags.items():
            if _TAG_KEY.fullmatch(key) and key not in {".", ".."}:
                items[f"meta-data/tags/instance/{key}"] = value
        for accelerator_id, type_ in self.accelerators.items():
            association = {
                "elastic-inference-accelerator-id": accelerator_id,
                "elastic-inference-accelerator-type": type_,
            }
            items[f"{_ASSOCIATIONS}/{accelerator_id}"] = json.dumps(
                {"version_2018_04_12": association}
            )
        if self.user_data is not None:
            items["user-data"] = self.user_data
        return items

    def _launch(self) -> dict[str, str]:
        """What it was launched with, as far as that was through EC2's API."""
        if not self.image_id:
            return {}
        items = {
            "meta-data/ami-id": self.image_id,
            "meta-data/ami-launch-index": str(self.launch_index),
            "meta-data/reservation-id": self.reservation_id,
            _KEY: self.public_key,
        }
        return {path: text for path, text in items.items() if text}

    def _identity(self, zone: str) -> str:
        identity = {
            "accountId": self.account,
            "availabilityZone": zone,
            "instanceId": self.instance_id,
            "instanceType": self.instance_type,
            "pendingTime": _stamp(self.launch_time),
            "privateIp": self.private_ip,
            "region": self.region,
            "version": "2017-09-30",
        }
        if self.image_id:
            identity["imageId"] = self.image_id
        return json.dumps(identity, indent=2)

    def _interface(self, hostname: str) -> dict[str, str]:
        mac = mac_address(self.instance_id)
        interface = {
            "device-number": "0",
            "local-hostname": hostname,
            "local-ipv4s": self.private_ip,
            "mac": mac,
            "owner-id": self.account,
            "security-group-ids": "\n".join(self.security_groups),
            "security-groups": "\n".join(self.security_groups.values()),
            "subnet-id": self.subnet_id,
            "vpc-id": self.vpc_id,
        }
        items = {f"{_MACS}/{mac}/{name}": text for name, text in interface.items() if text}
        items["meta-data/mac"] = mac
        if self.security_groups:
            items["meta-data/security-groups"] = interface["security-groups"]
        return items

    def _access(self) -> dict[str, str]:
        if self.credentials is None:
            return {}
        now = _stamp(time.time())
        credentials = {
            "Code": "Success",
            "LastUpdated": now,
            "Type": "AWS-HMAC",
            "AccessKeyId": self.credentials.access_key_id,
            "SecretAccessKey": self.credentials.secret_access_key,
            "Token": self.credentials.session_token,
            "Expiration": _stamp(self.credentials.expiration),
        }
        profile = f"arn:aws:iam::{self.account}:instance-profile/{self.profile or self.role}"
        info = {"Code": "Success", "LastUpdated": now, "InstanceProfileArn": profile}
        if self.profile_id:
            info["InstanceProfileId"] = self.profile_id
        return {
            "meta-data/iam/info": json.dumps(info),
            f"{_CREDENTIALS}/{self.role}": json.dumps(credentials),
        }


def mac_address(instance_id: str) -> str:
    """Of an instance's interface: locally administered, the same whenever it is asked for."""
    digest = hashlib.sha256(instance_id.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (2, *digest[:5]))


def listing(items: Mapping[str, str], path: str) -> str | None:
    """The names below `path`, one a line, a folder's with a slash; None where there are none.

    At the top no slash is shown, as on EC2. Public keys have their names beside their numbers.
    """
    if path == _KEYS and _KEY in items:
        return f"0={items[_KEY].split(' ', 2)[-1]}"
    prefix = f"{path}/" if path else ""
    names: dict[str, None] = {}
    for each in items:
        if each.startswith(prefix):
            name, slash, _ = each.removeprefix(prefix).partition("/")
            names[name + slash if path else name] = None
    # Accelerators keep the order of their attachment; that is their numbering.
    ordered = names if path == _ASSOCIATIONS else sorted(names)
    return "\n".join(ordered) or None


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
