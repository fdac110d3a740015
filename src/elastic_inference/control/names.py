"""Names of this pool's things as AWS writes them, and new ids."""

from __future__ import annotations

import hashlib
import re
import secrets

from elastic_inference.errors import InvalidRequestError

PARTITION = "aws"
DOMAIN = "elastic-inference.internal"
# The TLS server name of a pool, wherever it is reached.
POOL_NAME = f"runtime.{DOMAIN}"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
# How long the names of policies and instance profiles may be; those of users and roles half of it.
LONG = 128
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]+")
_COMPASS = re.compile(r"north|south|east|west|central")


def checked(name: str, what: str, most: int = 64) -> str:
    """A name as IAM has them.

    Raises:
        InvalidRequestError: it is none; `what` says of what.
    """
    if not _NAME.fullmatch(name) or len(name) > most:
        raise InvalidRequestError(
            f"{name[:64]!r} is no name of a {what}: letters, digits and _+=,.@- are."
        )
    return name


def accelerator_arn(region: str, account: str, accelerator_id: str) -> str:
    return (
        f"arn:{PARTITION}:elastic-inference:{region}:{account}"
        f":elastic-inference-accelerator/{accelerator_id}"
    )


def instance_arn(region: str, account: str, instance_id: str) -> str:
    return ec2_arn(region, account, "instance", instance_id)


def ec2_arn(region: str, account: str, kind: str, name: str = "*") -> str:
    """As policies name a thing of EC2's, or all of its kind."""
    return f"arn:{PARTITION}:ec2:{region}:{account}:{kind}/{name}"


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


def derived_id(prefix: str, *words: str) -> str:
    """An id as `new_id` makes them, but the same for the same words."""
    return f"{prefix}-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:17]}"


def interface_id(instance_id: str) -> str:
    """The id of an instance's one network interface."""
    return derived_id("eni", "interface", instance_id)


def attachment_id(instance_id: str) -> str:
    """The id of that interface's attachment."""
    return derived_id("eni-attach", "attachment", instance_id)


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
