"""`ei bill` and `ei price` at the command line."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator

import pytest

from elastic_inference.cli import arguments
from elastic_inference.errors import InvalidRequestError
from tests.cli.pool import Shell, shared


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with shared() as made:
        yield made


@pytest.fixture(scope="module")
def instance(shell: Shell) -> str:
    """An instance that has been used for a while."""
    made = shell.launch("--accelerator", "eia1.medium:2", "--tag", "team=vision")
    while not shell.document("bill")["totalSeconds"] > 0:
        pass
    return made


def test_a_bill_has_a_row_for_each_accelerator_and_a_total(shell: Shell, instance: str) -> None:
    known = shell.document("describe", "accelerators", "--instance", instance)["accelerators"]
    lines = shell.ok("bill").splitlines()
    assert lines[0].startswith("From the beginning to ")
    assert lines[0].endswith(", in USD")
    assert lines[1].split() == ["ACCELERATOR", "TYPES", "TIME", "COST", "RUNNING"]
    assert {line.split()[0] for line in lines[2:]} == {
        "TOTAL",
        *(each["acceleratorId"] for each in known),
    }


@pytest.mark.parametrize(
    ("by", "key"), [("type", "eia1.medium"), ("tag:team", "vision"), ("tag:other", "(none)")]
)
def test_bills_are_by_what_is_asked_for(shell: Shell, instance: str, by: str, key: str) -> None:
    assert instance
    answer = shell.document("bill", "--by", by)
    assert [row["key"] for row in answer["rows"]] == [key]
    assert answer["totalSeconds"] == pytest.approx(answer["rows"][0]["seconds"])


def test_a_bill_as_csv(shell: Shell, instance: str) -> None:
    rows = list(csv.DictReader(io.StringIO(shell.ok("bill", "--by", "instance", "-o", "csv"))))
    assert [(row["key"], row["types"], row["running"]) for row in rows] == [
        (instance, "eia1.medium", "true")
    ]
    cost = float(rows[0]["seconds"]) * 0.13 / 3600
    assert float(rows[0]["cost"]) == pytest.approx(cost, abs=1e-6)


def test_a_bill_of_before_is_empty(shell: Shell, instance: str) -> None:
    assert instance
    answer = shell.document("bill", "--from", "2020-01-01", "--to", "2020-01-02T10:00")
    assert (answer["rows"], answer["totalCost"]) == ([], 0)


def test_prices_change_from_a_time_on(shell: Shell) -> None:
    assert "eia2.large costs $0.5 an hour from" in shell.ok("price", "set", "eia2.large", "0.5")
    shell.ok("price", "set", "eia2.large", "0.75", "--from", "2030-01-01T00:00:00Z")
    rows = shell.document("price", "list")["prices"]
    own = [row for row in rows if row["acceleratorType"] == "eia2.large"]
    assert [row["pricePerHour"] for row in own] == [0.24, 0.5, 0.75]
    assert own[2]["effectiveFrom"] == 1893456000
    types = shell.document("describe", "types")["acceleratorTypes"]
    now = {each["acceleratorTypeName"]: each["pricePerHour"] for each in types}
    assert now["eia2.large"] == 0.5
    lines = [line.split() for line in shell.ok("price", "list").splitlines()]
    assert ["eia2.large", "0.24", "(catalogue)"] in lines


@pytest.mark.parametrize(
    ("text", "ago"), [("2h", 7200), ("30min", 1800), ("7d", 604800), ("now", 0), ("1.5h", 5400)]
)
def test_times_ago(text: str, ago: float) -> None:
    before = time.time()
    found = arguments.moment(text, "--from")
    assert found is not None
    assert before - ago <= found <= time.time() - ago


def test_times_of_the_calendar() -> None:
    assert arguments.moment("1793491200", "--from") == 1793491200
    assert arguments.moment("2026-11-01T00:00Z", "--from") == 1793491200
    local = time.mktime((2026, 11, 1, 10, 30, 0, 0, 0, -1))
    assert arguments.moment("2026-11-01T10:30", "--from") == local
    assert arguments.moment("2026-11-01 10:30", "--from") == local
    assert arguments.moment(None, "--from") is None


@pytest.mark.parametrize(
    "text", ["", "2026", "2h ago", "2026-13-01", "1e9", "tomorrow", "-1", "7x"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="--from"):
        arguments.moment(text, "--from")


WRONG = [
    (("bill", "--by", "colour"), "tag:KEY"),
    (("bill", "--by", "tag:"), "tag:KEY"),
    (("bill", "--from", "yesterday"), "--from"),
    (("bill", "--to", "2026-02-30"), "--to"),
    (("bill", "--from", "1h", "--to", "2h"), "--to is before --from"),
    (("bill", "-o", "xml"), "xml"),
    (("bill", "--watch", "--interval", "0"), "--interval"),
    (("price",), "COMMAND"),
    (("price", "set", "eia1.medium"), "USD_PER_HOUR"),
    (("price", "set", "eia1.medium", "much"), "much"),
    (("price", "set", "eia1.medium", "nan"), "nan is no price"),
    (("price", "set", "eia1.medium", "-1"), "is no price"),
    (("price", "set", "eia9.huge", "1"), "eia9.huge"),
    (("price", "set", "eia1.medium", "1", "--from", "soon"), "--from"),
]


def test_wrong_usage_is_told_in_a_line(shell: Shell) -> None:
    for words, why in WRONG:
        status, line = shell.fails(*words)
        assert status == 2
        assert why in line, (words, line)
