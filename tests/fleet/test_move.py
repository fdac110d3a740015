"""Accelerators that get another place."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable

from elastic_inference.errors import UnavailableError
from elastic_inference.fleet.base import Health, Placement
from tests.fleet.watched import Watched
from tests.pools import PATIENCE, gone, held

Make = Callable[..., Watched]


def free(fleet: Watched) -> list[tuple[int, float | None]]:
    return [
        (each.memory_free, each.tflops_free)
        for node in fleet.fleet.nodes()
        for each in node.devices
    ]


def test_it_serves_in_the_new_place_and_nothing_of_the_old_one_is_left(make: Make) -> None:
    fleet = make()
    order = dataclasses.replace(fleet.order(), revoked=("one",))
    fleet.fleet.start(order)
    before = free(fleet)
    with held(fleet.pid(order)) as process:
        new = fleet.fleet.move(order)
        assert gone(process)
    assert new is not None
    assert new.place != order.placement.place
    assert fleet.moves.get(timeout=PATIENCE) == (order.accelerator_id, new)
    fleet.until(order, Health.IMPAIRED)
    fleet.until(order, Health.OK)
    assert fleet.ask(order)["accelerator_id"] == order.accelerator_id
    assert [each.name for each in (fleet.state / "run").iterdir()] == [new.place]
    assert free(fleet) == before
    try:
        fleet.ask(order, right="one")
    except UnavailableError as error:
        assert "401" in error.message  # noqa: PT017 - a right may be served nowhere
    else:
        raise AssertionError("a revoked right is served in the new place")
    fleet.fleet.stop([order.accelerator_id], PATIENCE)
    assert free(fleet) != before


def test_it_stays_where_nobody_can_take_note_of_the_new_place(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    before = free(fleet)

    def refuse(_: str, __: Placement) -> None:
        raise OSError("the disk is full")

    fleet.fleet.watch_moves(refuse)
    pid = fleet.pid(order)
    assert fleet.fleet.move(order) is None
    assert free(fleet) == before
    assert [each.name for each in (fleet.state / "run").iterdir()] == [order.placement.place]
    fleet.until(order, Health.OK)
    assert fleet.pid(order) == pid


def test_one_that_the_fleet_does_not_run_is_not_moved(make: Make) -> None:
    fleet = make()
    assert fleet.fleet.move(fleet.order()) is None


def test_one_that_does_not_start_in_its_place_is_moved_by_the_fleet(make: Make) -> None:
    fleet = make(move_after=1)
    order = fleet.order()
    fleet.fleet.start(order)
    fleet.until(order, Health.OK)
    lock = fleet.state / "run" / order.placement.place / "lock"
    with held(fleet.pid(order)) as process:
        lock.unlink()
        # No process can own this place.
        lock.mkdir()
        signal.pidfd_send_signal(process, signal.SIGKILL)
        assert gone(process)
    accelerator_id, placement = fleet.moves.get(timeout=PATIENCE)
    assert accelerator_id == order.accelerator_id
    fleet.until(order, Health.OK)
    assert fleet.ask(order)["accelerator_id"] == order.accelerator_id
    assert [each.name for each in (fleet.state / "run").iterdir()] == [placement.place]
