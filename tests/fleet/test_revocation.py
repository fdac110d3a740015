"""Rights that are withdrawn, whatever their accelerator is doing just then."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable

import pytest

from elastic_inference.errors import UnavailableError
from elastic_inference.fleet.base import Health, Order
from tests.fleet.watched import Watched

Make = Callable[..., Watched]


def revoke(fleet: Watched, order: Order, *rights: str) -> None:
    fleet.fleet.revoke(dataclasses.replace(order, revoked=rights))


def is_refused(fleet: Watched, order: Order, right: str) -> bool:
    try:
        fleet.ask(order, right=right)
    except UnavailableError as error:
        assert "401" in error.message  # noqa: PT017 - other ways to be unavailable are not meant
        return True
    return False


def wait_until_refused(fleet: Watched, order: Order, right: str) -> None:
    """What was said is heard a moment later."""
    while not is_refused(fleet, order, right):
        pass


def test_a_running_one_refuses_it_and_still_does_after_a_restart(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    assert not is_refused(fleet, order, "one")
    revoke(fleet, order, "one")
    wait_until_refused(fleet, order, "one")
    assert not is_refused(fleet, order, "two")
    os.kill(fleet.pid(order), signal.SIGKILL)
    fleet.until(order, Health.IMPAIRED)
    fleet.until(order, Health.OK)
    assert is_refused(fleet, order, "one")
    assert not is_refused(fleet, order, "two")


def test_one_that_is_not_there_yet_begins_with_it(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    revoke(fleet, order, "one")
    fleet.fleet.start(order)
    assert is_refused(fleet, order, "one")
    other = dataclasses.replace(fleet.order(number=2), revoked=("two",))
    fleet.fleet.start(other)
    assert is_refused(fleet, other, "two")
    assert not is_refused(fleet, other, "one")


def test_one_that_is_being_started_is_told_when_it_serves(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    starting = threading.Thread(target=fleet.fleet.start, args=(order,))
    starting.start()
    config = fleet.state / "run" / order.placement.place / "config.json"
    while not config.exists():
        pass
    revoke(fleet, order, "one")
    starting.join()
    wait_until_refused(fleet, order, "one")


def test_one_that_is_adopted_is_told_what_it_missed(make: Make) -> None:
    first = make(outlive=True)
    order = first.order()
    first.fleet.start(order)
    first.fleet.close()
    second = make(outlive=True)
    assert second.fleet.adopt(dataclasses.replace(order, revoked=("one",)))
    wait_until_refused(second, order, "one")


def test_a_new_certificate_brings_no_older_list_back(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    revoke(fleet, order, "one")
    wait_until_refused(fleet, order, "one")
    fleet.fleet.renew(order)
    os.kill(fleet.pid(order), signal.SIGKILL)
    fleet.until(order, Health.IMPAIRED)
    fleet.until(order, Health.OK)
    assert is_refused(fleet, order, "one")


@pytest.mark.parametrize("number", [1000])
def test_a_long_list_is_heard_whole(make: Make, number: int) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    revoke(fleet, order, *(f"right-{each:032x}" for each in range(number)))
    wait_until_refused(fleet, order, f"right-{number - 1:032x}")
