"""Whom a trust policy speaks of: its `Principal` or `NotPrincipal`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from elastic_inference.control import arns
from elastic_inference.control.json_positions import Node, shown

_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:aws(?:-[a-z]+){0,3}:(?:iam|sts)::([0-9]{12}):([!-~]{1,2048})")
_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_FEDERATED = re.compile(r"[!-~]{1,2048}")
_KINDS = ("AWS", "Service", "Federated")
_FORMS = "*, an account's 12 digits, or the ARN of a user, role or session"


@dataclass(frozen=True, slots=True)
class Principals:
    """Who is meant.

    Attributes:
        everyone: all, whoever else is named.
        accounts: everyone of these accounts.
        names: ARNs, and names of services and identity providers.
    """

    everyone: bool
    accounts: frozenset[str]
    names: frozenset[str]

    def include(self, principal: str) -> bool:
        """Whether the ARN, or a service's name, is one of them; a session is its role too."""
        return self.everyone or self.name(principal) or arns.account_of(principal) in self.accounts

    def name(self, principal: str) -> bool:
        """Whether it is named itself, or its role is."""
        return principal in self.names or _without_path(arns.role_of(principal)) in self.names


def parse_principals(node: Node, *, most: int) -> Principals:
    """What a `Principal` says.

    Raises:
        InvalidRequestError: it names the entry that is wrong.
    """
    if node.value == "*":
        return Principals(True, frozenset(), frozenset())
    if isinstance(node.value, str):
        raise node.error('It is "*" or an object, such as {"Service": "ec2.amazonaws.com"}.')
    everyone = False
    accounts: set[str] = set()
    names: set[str] = set()
    kinds = node.take(dict)
    if not kinds:
        raise node.error("It names nobody.")
    for kind, values in kinds.items():
        if kind not in _KINDS:
            raise values.error(f"{shown(kind)} is none of {', '.join(_KINDS)}.")
        items = values.items()
        if not 0 < len(items) <= most:
            raise values.error(f"It has {len(items)} entries; 1 to {most} are needed.")
        for item in items:
            name = item.take(str)
            if kind == "AWS" and name == "*":
                everyone = True
            elif kind == "AWS" and (account := _account(name)):
                accounts.add(account)
            else:
                _check(kind, name, item)
                names.add(_without_path(name))
    return Principals(everyone, frozenset(accounts), frozenset(names))


def _account(name: str) -> str:
    if _ACCOUNT.fullmatch(name):
        return name
    match = _ARN.fullmatch(name)
    return match[1] if match and match[2] == "root" else ""


def _check(kind: str, name: str, item: Node) -> None:
    if kind == "AWS" and (not _ARN.fullmatch(name) or "*" in name or "?" in name):
        raise item.error(f"{shown(name)} is none of {_FORMS}; wildcards cannot be part of one.")
    if kind == "Service" and not _SERVICE.fullmatch(name):
        raise item.error(f"{shown(name)} is no service's name, such as ec2.amazonaws.com.")
    if kind == "Federated" and not _FEDERATED.fullmatch(name):
        raise item.error(f"{shown(name)} is no identity provider.")


def _without_path(name: str) -> str:
    """A role's ARN as that of its sessions tells it: roles' names are unique in an account."""
    head, mark, rest = name.partition(":role/")
    return f"{head}{mark}{rest.rpartition('/')[2]}" if mark else name
