"""Condition operators as AWS documents them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.control.conditions import OPERATORS, parse_conditions
from elastic_inference.control.json_positions import read
from elastic_inference.errors import InvalidRequestError

KEY = "aws:Key"
ABSENT = None
ARN = "arn:aws:elastic-inference:us-east-1:123456789012:elastic-inference-accelerator/eia-1"


def holds(operator: str, operand: Any, values: Any, *, variables: bool = True) -> bool:
    """Whether the condition holds for a request with these values of the key."""
    node = read(json.dumps({operator: {KEY: operand}}), "policy", deepest=8)
    (condition,) = parse_conditions(node, variables=variables, most=20)
    context = {"aws:username": ("Ann",), "aws:star": ("*",)}
    if values is not None:
        context[KEY.lower()] = (values,) if isinstance(values, str) else tuple(values)
    return condition.holds(context)


def refusal(conditions: Any) -> str:
    with pytest.raises(InvalidRequestError) as raised:
        parse_conditions(read(json.dumps(conditions), "policy", deepest=8), variables=True, most=20)
    return str(raised.value)


@pytest.mark.parametrize(
    ("operator", "operand", "value", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", ["b", "a"], "a", True),
        ("StringEquals", "a*", "abc", False),
        ("StringEquals", "a*", "a*", True),
        ("StringEquals", True, "true", True),
        ("StringEquals", 5, "5", True),
        ("StringEquals", "${aws:username}", "Ann", True),
        ("StringEquals", "${aws:username}", "ann", False),
        ("StringEquals", "${aws:nothing}", "", False),
        ("StringNotEquals", "${aws:nothing}", "a", True),
        ("StringEquals", "${aws:nothing, 'x'}", "x", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringEqualsIgnoreCase", "AbC", "aBc", True),
        ("StringEqualsIgnoreCase", "x${aws:username}", "XANN", True),
        ("StringNotEqualsIgnoreCase", "AbC", "aBc", False),
        ("StringLike", "a*c?", "abcd", True),
        ("StringLike", "a*c?", "abc", False),
        ("StringLike", "${*}", "x", False),
        ("StringLike", "${*}", "*", True),
        ("StringLike", "${aws:star}", "x", False),
        ("StringNotLike", "a*", "b", True),
        ("StringNotLike", "a*", "a", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericEquals", 10, "10", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericNotEquals", "10", "ten", True),
        ("NumericLessThan", "10", "9.99", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThan", "10", "nan", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "-1", "0", True),
        ("NumericGreaterThanEquals", ["5", "7"], "6", True),
        ("DateEquals", "2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00", True),
        ("DateEquals", "2026-11-01", "1793491200", True),
        ("DateNotEquals", "2026-11-01", "2026-11-02", True),
        ("DateLessThan", "2026-11-01T00:00:00Z", "2026-10-31T23:59:59.9Z", True),
        ("DateLessThan", "2026-11-01T00:00:00Z", "yesterday", False),
        ("DateLessThanEquals", "2026", "2026-01-01T00:00:00Z", True),
        ("DateGreaterThan", "2026-11", "2026-11-01T00:00:01Z", True),
        ("DateGreaterThanEquals", 1793491200, "2026-11-01T00:00Z", True),
        ("Bool", "true", "true", True),
        ("Bool", True, "True", True),
        ("Bool", "false", "true", False),
        ("Bool", "false", "yes", False),
        ("BinaryEquals", "QmFzZTY0", "QmFzZTY0", True),
        ("BinaryEquals", "QmFzZTY0", "QmFzZTYx", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.7", False),
        ("IpAddress", "203.0.113.7", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "::ffff:203.0.113.7", True),
        ("IpAddress", "2001:db8::/32", "2001:DB8:0::7", True),
        ("IpAddress", "0.0.0.0/0", "2001:db8::7", False),
        ("IpAddress", "0.0.0.0/0", "not an address", False),
        ("NotIpAddress", ["203.0.113.0/24", "10.0.0.0/8"], "10.1.2.3", False),
        ("NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
        ("ArnEquals", ARN, ARN, True),
        ("ArnEquals", ARN[:-1] + "*", ARN, True),
        ("ArnLike", "arn:aws:elastic-inference:*:*:*", ARN, True),
        ("ArnLike", "arn:aws:elastic-inference:*:99*:*", ARN, False),
        ("ArnLike", "arn:aws:elastic-inference:*", ARN, True),
        ("ArnLike", "*", ARN, True),
        ("ArnLike", "*", "no-arn", False),
        ("ArnLike", "arn:aws:iam::123456789012:user/${aws:username}",
         "arn:aws:iam::123456789012:user/Ann", True),
        ("ArnNotEquals", ARN, ARN, False),
        ("ArnNotLike", "arn:aws:iam::*:user/*", ARN, True),
    ],
)  # fmt: skip
def test_a_value_meets_an_operator(operator: str, operand: Any, value: str, expected: bool) -> None:
    assert holds(operator, operand, value) is expected
    assert holds(operator + "IfExists", operand, value) is expected
    assert holds("ForAnyValue:" + operator, operand, [value]) is expected
    assert holds("ForAllValues:" + operator, operand, [value]) is expected


VALID = {
    "Numeric": "1", "Date": "2026-11-01", "Bool": "true", "Binary": "QQ==",
    "IpAddress": "10.0.0.0/8", "NotIpAddress": "10.0.0.0/8", "Arn": ARN, "String": "a",
}  # fmt: skip


@pytest.mark.parametrize("operator", sorted(set(OPERATORS) - {"Null"}))
def test_a_missing_key_fails_but_for_negated_operators_and_if_exists(operator: str) -> None:
    operand = next(value for start, value in VALID.items() if operator.startswith(start))
    negated = "Not" in operator
    absences: tuple[Any, ...] = (ABSENT, [])
    for absent in absences:
        assert holds(operator, operand, absent) is negated
        assert holds(operator + "IfExists", operand, absent)
        assert holds("ForAllValues:" + operator, operand, absent)
        assert not holds("ForAnyValue:" + operator, operand, absent)


@pytest.mark.parametrize(
    ("operator", "operand", "values", "expected"),
    [
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b", "a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "d"], False),
        ("ForAllValues:StringNotEquals", ["a"], ["b", "c"], True),
        ("ForAllValues:StringNotEquals", ["a"], ["b", "a"], False),
        ("ForAnyValue:StringNotEquals", ["a"], ["b", "a"], True),
        ("ForAnyValue:StringNotEquals", ["a"], ["a", "a"], False),
        ("StringEquals", ["a"], ["b", "a"], True),
        ("StringNotEquals", ["a"], ["b", "a"], False),
        ("StringNotEquals", ["a"], ["b", "c"], True),
        ("Null", "true", ABSENT, True),
        ("Null", "true", [], True),
        ("Null", "true", "x", False),
        ("Null", False, "x", True),
        ("Null", ["true", "false"], "x", True),
    ],
)
def test_several_values(operator: str, operand: Any, values: Any, expected: bool) -> None:
    assert holds(operator, operand, values) is expected


@given(
    st.sampled_from(["StringEquals", "StringLike", "StringEqualsIgnoreCase"]),
    st.lists(st.sampled_from(["a", "b", "A*", "?"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["a", "b", "A", "ab"]), min_size=1, max_size=3),
)
def test_negation_is_the_opposite(operator: str, operand: list[str], values: list[str]) -> None:
    negation = operator.replace("String", "StringNot")
    assert holds(operator, operand, values) is not holds(negation, operand, values)
    # Some value is not among them exactly where not all values are.
    some = holds("ForAnyValue:" + negation, operand, values)
    assert some is not holds("ForAllValues:" + operator, operand, values)


def test_variables_count_only_where_they_are_asked_for() -> None:
    assert holds("StringEquals", "${aws:username}", "${aws:username}", variables=False)
    assert not holds("StringEquals", "${aws:username}", "Ann", variables=False)


@pytest.mark.parametrize(
    ("conditions", "where", "why"),
    [
        ([], "(line 1)", "an object, not a list"),
        ({"StringEquals": "a"}, "StringEquals", "an object, not a text"),
        ({"StringEquals": {}}, "StringEquals", "no context key"),
        ({"StringEquals": {"SourceIp": "a"}}, "StringEquals.SourceIp", "aws:SourceIp"),
        ({"StringEquals": {KEY: []}}, "StringEquals.aws:Key", "empty"),
        ({"StringEquals": {KEY: None}}, "StringEquals.aws:Key", "not null"),
        ({"StringEquals": {KEY: ["a", {}]}}, "StringEquals.aws:Key[1]", "not an object"),
        ({"StringEquals": {KEY: "${aws:x"}}, "StringEquals.aws:Key", "policy variable"),
        ({"StringEquals": {KEY: ["a"] * 21}}, "StringEquals.aws:Key", "20 may"),
        ({"stringEquals": {KEY: "a"}}, "stringEquals", "Did you mean StringEquals?"),
        ({"StringEqual": {KEY: "a"}}, "StringEqual", "Did you mean StringEquals?"),
        ({"For:StringEquals": {KEY: "a"}}, "For:StringEquals", "no condition operator"),
        ({"NullIfExists": {KEY: "true"}}, "NullIfExists", "neither prefix nor suffix"),
        ({"ForAllValues:Null": {KEY: "true"}}, "ForAllValues:Null", "neither prefix nor suffix"),
        ({"Null": {KEY: "yes"}}, "Null.aws:Key", "neither true nor false"),
        ({"Bool": {KEY: "1"}}, "Bool.aws:Key", "neither true nor false"),
        ({"NumericEquals": {KEY: "ten"}}, "NumericEquals.aws:Key", "no number"),
        ({"NumericEquals": {KEY: "٣"}}, "NumericEquals.aws:Key", "no number"),
        ({"DateEquals": {KEY: "2026-13-01"}}, "DateEquals.aws:Key", "no date"),
        ({"DateEquals": {KEY: "0000-01-01T00:00:00+99:99"}}, "DateEquals.aws:Key", "no date"),
        ({"BinaryEquals": {KEY: "%"}}, "BinaryEquals.aws:Key", "not Base64"),
        ({"IpAddress": {KEY: "10.0.0.0/33"}}, "IpAddress.aws:Key", "neither an IP address"),
        ({"ArnLike": {KEY: "user/Ann"}}, "ArnLike.aws:Key", "neither * nor an ARN"),
        ({"ArnLike": {KEY: "arn:aws:iam:x"}}, "ArnLike.aws:Key", "six parts"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(conditions: Any, where: str, why: str) -> None:
    message = refusal(conditions)
    assert where in message
    assert why in message
