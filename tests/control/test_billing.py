"""What is billed: by the second, whatever clocks and restarts do, at the price of its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.catalog import Catalog
from elastic_inference.control.billing import NO_TAG, Billing, Prices
from elastic_inference.control.clock import Clock
from elastic_inference.control.metering import Meter
from elastic_inference.control.records import ACCOUNT, Accelerator, Price
from elastic_inference.control.store import Store
from elastic_inference.errors import InvalidRequestError

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class HandClock(Clock):
    """Clocks that a test moves."""

    def time(self) -> float:
        return NOW["time"]

    def monotonic(self) -> float:
        return NOW["monotonic"]


NOW: dict[str, float] = {}


def passes(seconds: float) -> None:
    NOW["time"] += seconds
    NOW["monotonic"] += seconds


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    NOW.update(time=1_000_000.0, monotonic=50.0)
    opened = Store(tmp_path)
    yield opened
    opened.close()


def accelerator(number: int = 1, type_: str = "eia1.medium", **tags: str) -> Accelerator:
    return Accelerator(
        id=f"eia-{number}", type=type_, account=ACCOUNT, instance_id=f"i-{number}",
        association_id=f"a-{number}", token_key=b"", placement={}, tags=tags, created_at=0.0,
    )  # fmt: skip


def both(store: Store, boot: str = "boot") -> tuple[Meter, Billing]:
    clock = HandClock(boot)
    return Meter(store, clock), Billing(store, Catalog(), clock)


def seconds(billing: Billing) -> float:
    return sum(each.seconds for each in billing.bill(ACCOUNT))


def test_from_begin_to_end_and_no_longer(store: Store) -> None:
    meter, billing = both(store)
    meter.begin(accelerator())
    passes(90.5)
    (row,) = billing.bill(ACCOUNT)
    assert (row.seconds, row.running) == (90.5, True)
    meter.end(["eia-1"])
    passes(1000)
    (row,) = billing.bill(ACCOUNT)
    assert (row.key, row.seconds, row.running) == ("eia-1", 90.5, False)
    assert row.cost == pytest.approx(0.13 * 90.5 / HOUR)
    assert row.types == {"eia1.medium"}


def test_beginning_twice_and_ending_twice_count_once(store: Store) -> None:
    meter, billing = both(store)
    for _ in range(2):
        meter.begin(accelerator())
        passes(10)
    for _ in range(2):
        meter.end(["eia-1"])
        passes(10)
    assert seconds(billing) == 20
    meter.begin(accelerator())
    passes(5)
    meter.end(["eia-1"])
    assert seconds(billing) == 25


def test_clocks_that_are_set_change_nothing(store: Store) -> None:
    meter, billing = both(store)
    meter.begin(accelerator())
    passes(10)
    NOW["time"] -= 7200
    meter.note()
    passes(10)
    NOW["time"] += 86400
    meter.note()
    passes(10)
    meter.end(["eia-1"])
    assert seconds(billing) == 30


def test_a_restart_of_the_control_plane_loses_nothing(store: Store) -> None:
    first, _ = both(store)
    first.begin(accelerator())
    passes(10)
    first.note()
    passes(7)
    second, billing = both(store)
    assert seconds(billing) == 17
    passes(3)
    second.end(["eia-1"])
    assert seconds(billing) == 20


def test_what_died_unseen_is_billed_to_its_end(store: Store) -> None:
    meter, billing = both(store)
    meter.begin(accelerator())
    passes(10)
    died = NOW["monotonic"]
    passes(30)
    meter.note()
    meter.end(["eia-1"], at=died)
    assert seconds(billing) == 10
    meter.begin(accelerator(2))
    died = NOW["monotonic"] - 5
    meter.end(["eia-2"], at=died)
    assert seconds(billing) == 10, "never less than nothing"


def test_after_a_boot_only_what_was_noted_counts(store: Store) -> None:
    first, _ = both(store, "one boot")
    first.begin(accelerator())
    passes(10)
    first.note()
    passes(4)
    NOW["monotonic"] = 3.0
    second, billing = both(store, "another boot")
    assert seconds(billing) == 10
    second.note()
    passes(100)
    second.end(["eia-1"])
    assert seconds(billing) == 10


def test_where_nobody_knows_when_it_ended(store: Store) -> None:
    meter, billing = both(store)
    meter.begin(accelerator())
    passes(10)
    meter.note()
    passes(10)
    meter.freeze(["eia-1"])
    passes(10)
    assert seconds(billing) == 10


def test_by_accelerator_instance_type_and_tag(store: Store) -> None:
    meter, billing = both(store)
    meter.begin(accelerator(1, "eia1.medium", team="vision"))
    meter.begin(accelerator(2, "eia1.large", team="vision"))
    meter.begin(accelerator(3, "eia1.large"))
    passes(HOUR)
    rows = {
        by: {row.key: round(row.cost, 6) for row in billing.bill(ACCOUNT, by=by, tag=tag)}
        for by, tag in (("accelerator", ""), ("instance", ""), ("type", ""), ("tag", "team"))
    }
    assert rows["accelerator"] == {"eia-1": 0.13, "eia-2": 0.26, "eia-3": 0.26}
    assert rows["instance"] == {"i-1": 0.13, "i-2": 0.26, "i-3": 0.26}
    assert rows["type"] == {"eia1.medium": 0.13, "eia1.large": 0.52}
    assert rows["tag"] == {"vision": 0.39, NO_TAG: 0.26}
    keys = [row.key for row in billing.bill(ACCOUNT, by="type")]
    assert keys == ["eia1.large", "eia1.medium"], "the most expensive first"
    assert billing.bill("111111111111") == []


def test_a_part_of_the_time(store: Store) -> None:
    meter, billing = both(store)
    begin = NOW["time"]
    meter.begin(accelerator())
    passes(100)
    meter.end(["eia-1"])
    for since, until, expected in (
        (begin - 50, begin + 30, 30),
        (begin + 30, begin + 50, 20),
        (begin + 90, None, 10),
        (None, begin + 1, 1),
    ):
        (row,) = billing.bill(ACCOUNT, begin=since, end=until)
        assert row.seconds == pytest.approx(expected)
    passes(100)
    assert billing.bill(ACCOUNT, begin=begin + 150) == []


def test_prices_change_from_a_date_on(store: Store) -> None:
    meter, billing = both(store)
    begin = NOW["time"]
    meter.begin(accelerator())
    passes(2 * HOUR)
    meter.end(["eia-1"])
    billing.set_price("eia1.medium", 1.13, begin + HOUR)
    billing.set_price("eia.medium", 5.0, begin + 9 * HOUR)
    (row,) = billing.bill(ACCOUNT)
    assert row.cost == pytest.approx(0.13 + 1.13)
    billing.set_price("eia1.medium", 0.5, begin + HOUR)
    (row,) = billing.bill(ACCOUNT)
    assert row.cost == pytest.approx(0.13 + 0.5), "the same date: in its place"
    prices = billing.prices()
    assert [prices.at("eia1.medium", begin + hours * HOUR) for hours in (0, 1, 9)] == [0.13, 0.5, 5]
    assert prices.at("gone.type", begin) == 0


@pytest.mark.parametrize(
    "wanted",
    [{"by": "nothing"}, {"by": "tag"}, {"begin": 9.0, "end": 3.0}],
)
def test_a_bill_of_nothing_sensible(store: Store, wanted: dict[str, object]) -> None:
    _, billing = both(store)
    with pytest.raises(InvalidRequestError):
        billing.bill(ACCOUNT, **wanted)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(("type_", "price"), [("eia9.huge", 1.0), ("eia1.medium", -1.0)])
def test_a_price_that_is_none(store: Store, type_: str, price: float) -> None:
    _, billing = both(store)
    with pytest.raises(InvalidRequestError):
        billing.set_price(type_, price, None)


@given(
    changes=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), max_size=6),
    cuts=st.lists(st.floats(0, 1e6), min_size=3, max_size=3).map(sorted),
)
def test_the_cost_of_two_parts_is_that_of_the_whole(
    changes: list[tuple[float, float]], cuts: list[float]
) -> None:
    prices = Prices(
        Catalog(),
        [
            Price(accelerator_type="eia1.medium", effective_from=since, price_per_hour=price)
            for since, price in changes
        ],
    )
    begin, middle, end = cuts
    whole = prices.cost("eia1.medium", begin, end)
    parts = prices.cost("eia1.medium", begin, middle) + prices.cost("eia1.medium", middle, end)
    assert parts == pytest.approx(whole, abs=1e-6)
