"""IAM policy documents: what they allow, and what they forbid.

A document is read and checked once; deciding on a request then takes microseconds. An explicit
Deny of any statement wins, and what no statement allows is denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from elastic_inference.control import arns
from elastic_inference.control.json_positions import Node, read, shown
from elastic_inference.control.statements import Statement, parse_statement
from elastic_inference.errors import InvalidRequestError

MAX_CHARACTERS = 10_240
MAX_STATEMENTS = 100
# Policy, Statement, statement, Condition, operator, key and its list are seven.
DEEPEST = 8
_OLD, _NEW = "2008-10-17", "2012-10-17"
_ELEMENTS = ("Version", "Id", "Statement")


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked policy.

    Attributes:
        name: what decisions call it.
        text: the document as it was given.
    """

    name: str
    text: str
    statements: tuple[Statement, ...] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be decided.

    Attributes:
        principal_arn: of the user, role or session; or a service's name, as ec2.amazonaws.com.
        action: as `elastic-inference:Connect`.
        resource: its ARN, or `*` where the action has none.
        context: condition keys, in any case, and their values. `aws:PrincipalArn` and
            `aws:PrincipalAccount` are filled in where they are missing.
    """

    principal_arn: str
    action: str
    resource: str
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer.

    Attributes:
        explicit_deny: a statement denies it, whatever others allow.
        statement: what decided, as `policy Readers, statement AllowConnect`; "" where nothing
            allows it.
    """

    allowed: bool
    explicit_deny: bool
    statement: str


def parse(
    text: str,
    name: str = "",
    *,
    trust: bool = False,
    of_thing: bool = False,
    limit: int = MAX_CHARACTERS,
) -> Policy:
    """The policy in a JSON text.

    Args:
        trust: it tells who may take a role: it needs principals, and has no resources.
        of_thing: it tells who may do what through a thing, such as an endpoint: it needs both.
        limit: the most characters it may have.

    Raises:
        InvalidRequestError: it says where the document is wrong, and how.
    """
    noun = "trust policy" if trust else "policy"
    if len(text) > limit:
        raise InvalidRequestError(
            f"The {noun} has {len(text)} characters; {limit} are allowed.",
            next_step="Split it into several policies, or use wildcards.",
        )
    root = read(text, noun, deepest=DEEPEST)
    members = root.take(dict)
    for key, value in members.items():
        if key not in _ELEMENTS:
            raise value.error(
                f"{shown(key)} is no element of a policy.", f"There are {', '.join(_ELEMENTS)}."
            )
    if "Id" in members:
        members["Id"].take(str)
    if "Statement" not in members:
        raise root.error("The element Statement is missing.")
    variables = _version(members) == _NEW
    return Policy(name, text, _statements(members["Statement"], trust, variables, of_thing))


def evaluate(policies: Iterable[Policy], request: Request) -> Decision:
    """Whether the policies, taken together, allow the request."""
    context = _context(request)
    action = request.action.lower()
    allowing = ""
    for policy in policies:
        for statement in policy.statements:
            if not statement.denies and allowing:
                continue
            if statement.applies(action, request.resource, request.principal_arn, context):
                place = _place(policy, statement)
                if statement.denies:
                    return Decision(allowed=False, explicit_deny=True, statement=place)
                allowing = place
    return Decision(allowed=bool(allowing), explicit_deny=False, statement=allowing)


def matching(policies: Iterable[Policy], request: Request) -> list[tuple[Policy, Statement]]:
    """Every statement that speaks of the request, whether it decides or not."""
    context, action = _context(request), request.action.lower()
    return [
        (policy, statement)
        for policy in policies
        for statement in policy.statements
        if statement.applies(action, request.resource, request.principal_arn, context)
    ]


def _version(members: Mapping[str, Node]) -> str:
    if "Version" not in members:
        return _OLD
    version = members["Version"].take(str)
    if version not in {_OLD, _NEW}:
        raise members["Version"].error(f"{shown(version)} is no version.", f"Write {_NEW}.")
    return version


def _statements(place: Node, trust: bool, variables: bool, of_thing: bool) -> tuple[Statement, ...]:
    items = place.items()
    if not items:
        raise place.error("The list is empty.")
    if len(items) > MAX_STATEMENTS:
        raise place.error(f"It has {len(items)} statements; {MAX_STATEMENTS} may be there.")
    found: list[Statement] = []
    labels: set[str] = set()
    for index, item in enumerate(items):
        statement = parse_statement(
            item, f"Statement[{index}]", trust=trust, variables=variables, of_thing=of_thing
        )
        if statement.label in labels:
            raise item.error(f"The Sid {shown(statement.label)} is another statement's too.")
        labels.add(statement.label)
        found.append(statement)
    return tuple(found)


def _context(request: Request) -> dict[str, tuple[str, ...]]:
    context = {
        key.lower(): (value,) if isinstance(value, str) else tuple(value)
        for key, value in request.context.items()
    }
    context.setdefault("aws:principalarn", (arns.role_of(request.principal_arn),))
    if account := arns.account_of(request.principal_arn):
        context.setdefault("aws:principalaccount", (account,))
    return context


def _place(policy: Policy, statement: Statement) -> str:
    named = f"policy {policy.name}, " if policy.name else ""
    return f"{named}statement {statement.label}"
