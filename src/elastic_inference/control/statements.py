"""One statement of a policy: read and checked once, then applied to requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from elastic_inference.control import arns
from elastic_inference.control.conditions import Condition, parse_conditions
from elastic_inference.control.json_positions import Node, shown
from elastic_inference.control.principals import Principals, parse_principals
from elastic_inference.control.wildcards import (
    Context,
    Glob,
    Piece,
    Variable,
    compile_pattern,
    split,
)

MAX_VALUES = 500
_ACTION = re.compile(r"(?P<service>[A-Za-z0-9-]{1,64}):(?P<name>[A-Za-z0-9*?_-]{1,128})")
_SID = re.compile(r"[A-Za-z0-9]{0,128}")
_IDENTITY = frozenset(
    {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)
_PRINCIPALS = frozenset({"Principal", "NotPrincipal"})
_TRUST = (_IDENTITY - {"Resource", "NotResource"}) | _PRINCIPALS
_ResourceTest: TypeAlias = Callable[[str, Context], bool]


@dataclass(frozen=True, slots=True)
class Statement:
    """What it says, ready to be applied.

    Attributes:
        label: its Sid, or `Statement[2]` where it has none.
        resources: of which one must match; empty in a trust policy, which has none.
        principals: of a trust policy, or of one that a thing has.
    """

    label: str
    denies: bool
    actions: tuple[Glob, ...]
    not_action: bool
    resources: tuple[_ResourceTest, ...]
    not_resource: bool
    principals: Principals | None
    not_principal: bool
    conditions: tuple[Condition, ...]

    def applies(self, action: str, resource: str, principal: str, context: Context) -> bool:
        """Whether it speaks of such a request; `action` is in lower case."""
        if any(glob(action) for glob in self.actions) is self.not_action:
            return False
        if self.resources and (
            any(test(resource, context) for test in self.resources) is self.not_resource
        ):
            return False
        if self.principals and self.principals.include(principal) is self.not_principal:
            return False
        return all(condition.holds(context) for condition in self.conditions)


def parse_statement(
    node: Node, label: str, *, trust: bool, variables: bool, of_thing: bool = False
) -> Statement:
    """The statement, checked.

    Args:
        trust: it has principals, and no resources.
        of_thing: it has both, as the policy of an endpoint.

    Raises:
        InvalidRequestError: it names the element that is wrong.
    """
    members = node.take(dict)
    elements = _IDENTITY | _PRINCIPALS if of_thing else _TRUST if trust else _IDENTITY
    for name, value in members.items():
        if name not in elements:
            raise _misplaced(name, value, trust)
    denies = _effect(node, members)
    name, action = _one_of(node, members, "Action", "NotAction")
    actions = tuple(_action(item) for item in _values(action))
    resources: tuple[_ResourceTest, ...] = ()
    principals = None
    whom = which = ""
    if trust or of_thing:
        whom, place = _one_of(node, members, "Principal", "NotPrincipal")
        if whom == "NotPrincipal" and not denies:
            raise place.error("It may stand with the Effect Deny only.")
        principals = parse_principals(place, most=MAX_VALUES)
    if not trust:
        which, place = _one_of(node, members, "Resource", "NotResource")
        # An Allow of all but what cannot be told allows nothing.
        unresolved = which == "NotResource" and not denies
        resources = tuple(_resource(item, variables, unresolved) for item in _values(place))
    conditions: tuple[Condition, ...] = ()
    if "Condition" in members:
        conditions = parse_conditions(members["Condition"], variables=variables, most=MAX_VALUES)
    return Statement(
        label=_sid(members) or label,
        denies=denies,
        actions=actions,
        not_action=name == "NotAction",
        resources=resources,
        not_resource=which == "NotResource",
        principals=principals,
        not_principal=whom == "NotPrincipal",
        conditions=conditions,
    )


def _misplaced(name: str, value: Node, trust: bool) -> Exception:
    if name in _TRUST:
        return value.error(
            "A policy of a role or user names no principal.",
            "Attach it to whom it is meant for, and leave that element out.",
        )
    if name in _IDENTITY and trust:
        return value.error("A trust policy names no resource.", "Leave that element out.")
    known = ", ".join(sorted(_TRUST if trust else _IDENTITY))
    return value.error(f"{shown(name)} is no element of a statement.", f"There are {known}.")


def _effect(node: Node, members: dict[str, Node]) -> bool:
    if "Effect" not in members:
        raise node.error("The element Effect is missing.", "Add Allow or Deny.")
    effect = members["Effect"]
    if effect.take(str) not in {"Allow", "Deny"}:
        raise effect.error(f"{shown(effect.take(str))} is neither Allow nor Deny.")
    return effect.value == "Deny"


def _sid(members: dict[str, Node]) -> str:
    if "Sid" not in members:
        return ""
    sid = members["Sid"].take(str)
    if not _SID.fullmatch(sid):
        raise members["Sid"].error(f"{shown(sid)} has more than letters and digits (128 at most).")
    return sid


def _one_of(node: Node, members: dict[str, Node], name: str, other: str) -> tuple[str, Node]:
    if name in members and other in members:
        raise node.error(f"It has both {name} and {other}.", "Leave one of them out.")
    for each in (name, other):
        if each in members:
            return each, members[each]
    raise node.error(f"The element {name} or {other} is missing.")


def _values(place: Node) -> list[Node]:
    items = place.items()
    if not items:
        raise place.error("The list is empty.")
    if len(items) > MAX_VALUES:
        raise place.error(f"It has {len(items)} values; {MAX_VALUES} may be there.")
    return items


def _action(item: Node) -> Glob:
    action = item.take(str)
    if action != "*" and not _ACTION.fullmatch(action):
        raise item.error(
            f"{shown(action)} is no action.",
            "They read service:Name, as elastic-inference:Connect or ec2:Describe*.",
        )
    return Glob(each for each in split(action.lower()) if not isinstance(each, Variable))


def _resource(item: Node, variables: bool, unresolved: bool) -> _ResourceTest:
    resource = item.take(str)
    try:
        pieces = split(resource, variables=variables)
    except ValueError:
        raise item.error(
            f"A ${{ in {shown(resource)} opens no policy variable, such as ${{aws:username}}."
        ) from None
    if why := arns.why_malformed("".join(_written(each) for each in pieces)):
        raise item.error(f"{shown(resource)}: {why}")
    return compile_pattern(pieces, unresolved=unresolved)


def _written(piece: Piece) -> str:
    """A piece as the check of an ARN's form takes it: a variable may stand for anything."""
    if isinstance(piece, str):
        return piece
    return "*" if isinstance(piece, Variable) else piece.mark
