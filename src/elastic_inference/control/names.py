"""Names of this pool's things as AWS writes them, and new ids."""

from __future__ import annotations

import hashlib
import re
import secrets

PARTITION = "aws"
DOMAIN = "elastic-inference.internal"
# The TLS server name of a pool, wherever it is reached.
POOL_NAME = f"runtime.{DOMAIN}"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_COMPASS = re.compile(r"north|south|east|west|central")


def accelerator_arn(region: str, account: str, accelerator_id: str) -> str:
    return (
        f"arn:{PARTITION}:elastic-inference:{region}:{account}"
        f":elastic-inference-accelerator/{accelerator_id}"
    )


def instance_arn(region: str, account: str, instance_id: str) -> str:
    return f"arn:{PARTITION}:ec2:{region}:{account}:instance/{instance_id}"


def owner_arn(account: str) -> str:
    return f"arn:{PARTITION}:iam::{account}:root"


def user_arn(account: str, name: str) -> str:
    return f"arn:{PARTITION}:iam::{account}:user/{name}"


def role_arn(account: str, name: str) -> str:
    return f"arn:{PARTITION}:iam::{account}:role/{name}"


def session_arn(account: str, role: str, session: str) -> str:
    return f"arn:{PARTITION}:sts::{account}:assumed-role/{role}/{session}"


def policy_arn(account: str, name: str) -> str:
    return f"arn:{PARTITION}:iam::{account}:policy/{name}"


def profile_arn(account: str, name: str) -> str:
    return f"arn:{PARTITION}:iam::{account}:instance-profile/{name}"


def new_id(prefix: str) -> str:
    """An id as EC2 has them: a prefix and 17 hexadecimal digits."""
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


def interface_id(instance_id: str) -> str:
    """The id of an instance's one network interface."""
    return f"eni-{_digest(instance_id, 'interface')}"


def attachment_id(instance_id: str) -> str:
    """The id of that interface's attachment."""
    return f"eni-attach-{_digest(instance_id, 'attachment')}"


def mac_address(instance_id: str) -> str:
    """The address of that interface: locally administered, the same whenever it is asked for."""
    digest = hashlib.sha256(instance_id.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (2, *digest[:5]))


def _digest(instance_id: str, what: str) -> str:
    return hashlib.sha256(f"{what} {instance_id}".encode()).hexdigest()[:17]


def new_accelerator_id() -> str:
    return f"eia-{secrets.token_hex(16)}"


def new_unique_id(prefix: str) -> str:
    """An id as IAM has them: four letters and 17 more letters and digits."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(17))


def zone_id(region: str) -> str:
    """The id of a region's first zone, as use1-az1 of us-east-1."""
    area, *middle, number = region.split("-")
    short = (_COMPASS.sub(lambda word: word[0][0], each) for each in middle)
    return f"{area}{''.join(word if len(word) < 3 else word[0] for word in short)}{number}-az1"
