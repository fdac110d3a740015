"""Amazon Resource Names: their parts, patterns of them, and the role behind a role's session."""

from __future__ import annotations

import re

PARTS = 6
_PARTITION = re.compile(r"aws(?:-[a-z]+){0,3}")
_SERVICE = re.compile(r"[a-z0-9-]{1,64}")
_REGION = re.compile(r"[a-z0-9*?-]{0,64}")
_ACCOUNT = re.compile(r"[a-z0-9*?-]{0,64}")
_SESSION = re.compile(r"arn:([a-z-]+):sts::([0-9]{12}):assumed-role/([^/]+)/.+", re.DOTALL)


def why_malformed(pattern: str) -> str:
    """What is wrong with a pattern of ARNs, or ""; `*` alone is one."""
    if pattern == "*":
        return ""
    parts = pattern.split(":", PARTS - 1)
    if parts[0] != "arn":
        return "It is neither * nor an ARN, which begins with arn:."
    # A star at the end stands for the parts that are not written.
    complete = parts + [""] * (PARTS - len(parts))
    if len(parts) < PARTS and not (len(parts) > 3 and parts[-1].endswith("*")):
        return "An ARN has six parts: arn:partition:service:region:account:resource."
    if not complete[5] and len(parts) == PARTS:
        return "Its resource, the part after the account, is empty."
    checks = ((_PARTITION, "partition"), (_SERVICE, "service"), (_REGION, "region"))
    for part, (form, name) in zip(complete[1:5], (*checks, (_ACCOUNT, "account")), strict=True):
        if not form.fullmatch(part):
            return f"Its {name} is malformed: {part[:64]!r}."
    return ""


def role_of(arn: str) -> str:
    """The role's ARN of a session's; any other ARN as it is.

    A session's ARN lacks the role's path, so the answer does too.
    """
    match = _SESSION.fullmatch(arn)
    return f"arn:{match[1]}:iam::{match[2]}:role/{match[3]}" if match else arn


def account_of(arn: str) -> str:
    """The account in an ARN, or ""."""
    parts = arn.split(":", PARTS - 1)
    return parts[4] if len(parts) == PARTS and parts[0] == "arn" else ""
