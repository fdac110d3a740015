"""EC2's filters."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.aws import filters
from elastic_inference.aws.call import Call
from elastic_inference.aws.errors import AwsError
from tests.aws.values import seeded

THINGS: tuple[dict[str, Any], ...] = (
    {"id": "i-1", "groups": ["sg-1", "sg-2"], "tags": {"Name": "web*1", "Team": "a"}},
    {"id": "i-2", "groups": ["sg-2"], "tags": {"Name": "web-2"}},
    {"id": "i-30", "groups": [], "tags": {}, "zone": None},
)


def select(*wanted: tuple[str, list[str]]) -> list[str]:
    given = {"Filters": [{"Name": name, "Values": values} for name, values in wanted]}
    call = Call("DescribeThings", given, None, "")  # type: ignore[arg-type]  # nobody asks who calls
    readers: dict[str, filters.Reader[dict[str, Any]]] = {
        "id": lambda each: each["id"],
        "group": lambda each: each["groups"],
        "zone": lambda each: each.get("zone"),
    }
    return [each["id"] for each in filters.select(THINGS, call, readers, lambda each: each["tags"])]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((), ["i-1", "i-2", "i-30"]),
        ((("id", ["i-?"]),), ["i-1", "i-2"]),
        ((("id", ["i-*0", "i-2"]),), ["i-2", "i-30"]),
        ((("group", ["sg-2"]),), ["i-1", "i-2"]),
        ((("group", ["sg-1"]), ("group", ["sg-2"])), ["i-1"]),
        ((("zone", ["*"]),), []),
        ((("tag:Name", [r"web\*1"]),), ["i-1"]),
        ((("tag:Name", ["web*"]),), ["i-1", "i-2"]),
        ((("tag-key", ["Team"]),), ["i-1"]),
        ((("tag-value", ["a"]),), ["i-1"]),
        ((("tag:name", ["*"]),), []),
    ],
)
def test_items_meet_all_filters_each_in_one_value(
    wanted: tuple[tuple[str, list[str]], ...], found: list[str]
) -> None:
    assert select(*wanted) == found


@pytest.mark.parametrize("name", ["color", "Id", "", "tags:Name"])
def test_a_filter_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(AwsError, match=f"The filter '{name}' is invalid") as failed:
        select((name, ["a"]))
    assert failed.value.code == "InvalidParameterValue"


def test_a_filter_needs_values_and_there_are_not_too_many() -> None:
    with pytest.raises(AwsError, match="needs 1 to 200 values"):
        select(("id", []))
    with pytest.raises(AwsError, match="needs 1 to 200 values"):
        select(("id", ["a"] * 201))
    with pytest.raises(AwsError) as failed:
        select(*[("id", ["a"])] * 51)
    assert failed.value.code == "FilterLimitExceeded"


def pattern(value: str) -> str:
    """The regular expression that a filter's value stands for."""
    parts = re.findall(r"\\[*?\\]|[*?]|\\|[^*?\\]+", value, re.DOTALL)
    wild = {"*": ".*", "?": ".", "\\": r"\\"}
    return "".join(wild.get(each) or re.escape(each.removeprefix("\\")) for each in parts)


@given(st.text("ab*?\\", max_size=6), st.text("ab*?\\", max_size=6))
def test_wildcards_are_as_regular_expressions_have_them(value: str, text: str) -> None:
    assert filters._glob(value)(text) is bool(re.fullmatch(pattern(value), text, re.DOTALL))


def test_wildcards_take_no_time_that_grows_with_their_number() -> None:
    # A regular expression would go on for years here, and the test's time would be over.
    hard = "a*" * 100 + "b"
    chance: random.Random = seeded("stars")
    assert not filters._glob(hard)("a" * 255)
    assert filters._glob(hard)("a" * 200 + "".join(chance.choices("ac", k=54)) + "b")
