"""Policies, and what is made of them."""

from __future__ import annotations

import json
from typing import Any

EC2 = {"Service": "ec2.amazonaws.com"}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, on: str | list[str] = "*", when: Any = None) -> dict[str, Any]:
    return _statement("Allow", actions, on, when)


def deny(*actions: str, on: str | list[str] = "*", when: Any = None) -> dict[str, Any]:
    return _statement("Deny", actions, on, when)


def _statement(effect: str, actions: tuple[str, ...], on: Any, when: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": effect, "Action": list(actions), "Resource": on}
    return made | ({"Condition": when} if when else {})


def trust(principal: Any = EC2, when: Any = None) -> str:
    """A trust policy."""
    made = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return document(made | ({"Condition": when} if when else {}))


CONNECT = document(allow("elastic-inference:Connect", "iam:List*", "iam:Get*", "ec2:Describe*"))
