"""Conditions of policy statements: which operators there are, and when they hold.

As AWS documents them: all keys of all operators must hold; of several operands one is enough; a
key that the request lacks fails, but for negated operators and those with `IfExists`.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, TypeVar

from elastic_inference.control import operands
from elastic_inference.control.json_positions import Node, Number, shown
from elastic_inference.control.operands import Order, Test
from elastic_inference.control.wildcards import Context

MAX_KEY = 512
_IF_EXISTS = "IfExists"
T = TypeVar("T")


class Quantifier(Enum):
    """How many of a request's values must meet the operands."""

    PLAIN = ""
    ANY = "ForAnyValue:"
    ALL = "ForAllValues:"


@dataclass(frozen=True, slots=True)
class Clause:
    """One key of one operator.

    Attributes:
        key: in lower case.
        tests: of which one must be met, or none where the operator is negated.
    """

    key: str
    tests: tuple[Test, ...]
    negated: bool
    quantifier: Quantifier
    if_exists: bool

    def holds(self, context: Context) -> bool:
        """Whether the request meets it."""
        values = context.get(self.key)
        if not values:
            return self._without_values()
        if self.quantifier is Quantifier.ANY:
            return any(self._met(value, context) is not self.negated for value in values)
        if self.quantifier is Quantifier.ALL:
            return all(self._met(value, context) is not self.negated for value in values)
        # Of several values without a quantifier one may match, and none under a negation.
        return any(self._met(value, context) for value in values) is not self.negated

    def _without_values(self) -> bool:
        if self.if_exists or self.quantifier is Quantifier.ALL:
            return True
        return self.negated and self.quantifier is Quantifier.PLAIN

    def _met(self, value: str, context: Context) -> bool:
        return any(test(value, context) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Absence:
    """The operator Null: whether the request lacks the key."""

    key: str
    wanted: frozenset[bool]

    def holds(self, context: Context) -> bool:
        """Whether the request meets it."""
        return (not context.get(self.key)) in self.wanted


Condition: TypeAlias = Clause | Absence
# An operand's text, and whether policy variables in it count.
_Maker: TypeAlias = Callable[[str, bool], Test]


def _ordered(make: Callable[[str, Order], Test], order: Order) -> _Maker:
    return lambda operand, _: make(operand, order)


def _plain(make: Callable[[str], Test]) -> _Maker:
    return lambda operand, _: make(operand)


def _orders(kind: str, make: Callable[[str, Order], Test]) -> Mapping[str, tuple[_Maker, bool]]:
    return {
        f"{kind}Equals": (_ordered(make, operator.eq), False),
        f"{kind}NotEquals": (_ordered(make, operator.eq), True),
        f"{kind}LessThan": (_ordered(make, operator.lt), False),
        f"{kind}LessThanEquals": (_ordered(make, operator.le), False),
        f"{kind}GreaterThan": (_ordered(make, operator.gt), False),
        f"{kind}GreaterThanEquals": (_ordered(make, operator.ge), False),
    }


# What makes an operator's test of an operand, and whether the operator is that test's negation.
_OPERATORS: Mapping[str, tuple[_Maker, bool]] = {
    "StringEquals": (operands.text_test, False),
    "StringNotEquals": (operands.text_test, True),
    "StringEqualsIgnoreCase": (operands.folded_test, False),
    "StringNotEqualsIgnoreCase": (operands.folded_test, True),
    "StringLike": (operands.pattern_test, False),
    "StringNotLike": (operands.pattern_test, True),
    **_orders("Numeric", operands.number_test),
    **_orders("Date", operands.date_test),
    "Bool": (_plain(operands.truth_test), False),
    "BinaryEquals": (_plain(operands.binary_test), False),
    "IpAddress": (_plain(operands.address_test), False),
    "NotIpAddress": (_plain(operands.address_test), True),
    "ArnEquals": (operands.arn_test, False),
    "ArnLike": (operands.arn_test, False),
    "ArnNotEquals": (operands.arn_test, True),
    "ArnNotLike": (operands.arn_test, True),
}
OPERATORS = (*_OPERATORS, "Null")
"""The names of all operators, without prefix and suffix."""


def parse_conditions(node: Node, *, variables: bool, most: int) -> tuple[Condition, ...]:
    """The conditions of a statement's `Condition`.

    Args:
        variables: policy variables in operands count.
        most: operands that one key may have.

    Raises:
        InvalidRequestError: it names the operator, key or operand that is wrong.
    """
    found: list[Condition] = []
    for name, keys in node.take(dict).items():
        members = keys.take(dict)
        if not members:
            raise keys.error("It names no context key.")
        for key, values in members.items():
            if ":" not in key or not key.isprintable() or len(key) > MAX_KEY:
                raise values.error(
                    f"{shown(key)} is no context key.", "They have a prefix, as aws:SourceIp."
                )
            found.append(_parse(name, key.lower(), keys, values, variables, most))
    return tuple(found)


def _parse(name: str, key: str, place: Node, values: Node, variables: bool, most: int) -> Condition:
    quantifier = next(
        (each for each in Quantifier if each.value and name.startswith(each.value)),
        Quantifier.PLAIN,
    )
    base = name[len(quantifier.value) :]
    if base == "Null" and quantifier is Quantifier.PLAIN:
        wanted = _each(values, most, lambda operand: operands.truth(operand) == "true")
        return Absence(key, frozenset(wanted))
    if_exists = base.endswith(_IF_EXISTS)
    make, negated = _OPERATORS.get(base.removesuffix(_IF_EXISTS), (None, False))
    if make is None:
        raise _unknown(name, base.removesuffix(_IF_EXISTS), place)
    maker = make
    tests = _each(values, most, lambda operand: maker(operand, variables))
    return Clause(key, tuple(tests), negated, quantifier, if_exists)


def _each(values: Node, most: int, make: Callable[[str], T]) -> list[T]:
    items = values.items()
    if not items:
        raise values.error("The list is empty.")
    if len(items) > most:
        raise values.error(f"It has {len(items)} values; {most} may be there.")
    made = []
    for item in items:
        operand = _text(item)
        try:
            made.append(make(operand))
        except ValueError as error:
            raise item.error(f"{shown(operand)}: {error}") from None
    return made


def _text(item: Node) -> str:
    match item.value:
        case str() as text:
            return text
        case Number(text):
            return text
        case bool() as truth:
            return str(truth).lower()
        case _:
            raise item.error(f"It must be a text, a number, true or false, not {item.kind}.")


def _unknown(name: str, base: str, place: Node) -> Exception:
    if base == "Null":
        return place.error(f"Null takes neither prefix nor suffix; {shown(name)} has one.")
    near = difflib.get_close_matches(base[:MAX_KEY], OPERATORS, 1, 0.7)
    return place.error(
        f"{shown(name)} is no condition operator.", f"Did you mean {near[0]}?" if near else None
    )
