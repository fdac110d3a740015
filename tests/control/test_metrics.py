"""What is recorded of accelerators and put by users, and what is made of it."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.control import metric_chunks, records, samples
from elastic_inference.control.accelerator_metrics import (
    ACCELERATOR,
    CONNECTIVITY,
    HEALTH,
    INSTANCE,
    MEMORY,
    NAMESPACE,
)
from elastic_inference.control.access import Access
from elastic_inference.control.clock import Clock
from elastic_inference.control.defaults import furnish
from elastic_inference.control.metric_recorder import Recorder
from elastic_inference.control.metric_values import (
    KEPT,
    MOST,
    Datum,
    Metric,
    Point,
    Statistics,
    pack,
    unpack,
)
from elastic_inference.control.metrics import Metrics
from elastic_inference.control.network import Network
from elastic_inference.control.records import ACCOUNT, Accelerator, Instance
from elastic_inference.control.samples import Chunk, Sample
from elastic_inference.control.store import Store
from elastic_inference.errors import LimitExceededError, UnavailableError
from elastic_inference.fleet.base import Health, Status
from elastic_inference.settings import PoolSettings
from tests import postgresql
from tests.control.conftest import StartPool
from tests.pools import PATIENCE, accelerator_pids

# The beginning of a chunk, and of an hour.
BEGIN = samples.LENGTH * 118_000
MINUTE = 60.0
WELL = Status(Health.OK, 0, memory_used=1000)


@dataclass(frozen=True, slots=True)
class HandClock(Clock):
    """A clock that a test moves."""

    now: list[float] = field(default_factory=lambda: [float(BEGIN)])

    def time(self) -> float:
        return self.now[0]

    def passes(self, seconds: float) -> None:
        self.now[0] += seconds


class Fleet:
    """A fleet that says what a test tells it to."""

    def __init__(self) -> None:
        self.known: dict[str, Status] = {}
        self.asked = threading.Event()

    def watch(self, _: object) -> None:
        pass

    def status(self, accelerator_id: str) -> Status:
        self.asked.set()
        return self.known.get(accelerator_id, Status(Health.UNKNOWN, 0))


class World:
    """A store with metrics, whose control plane is started again and again."""

    def __init__(self, directory: Path, url: str | None = None) -> None:
        self.clock = HandClock()
        self.store = Store(directory, url)
        self.settings = PoolSettings()
        self.network = Network(self.store, self.settings, self.clock)
        access = Access(self.store, self.clock, self.settings.region, 3600.0)
        furnish(self.store, access, self.network, self.clock)
        self.fleet: Any = Fleet()
        self.metrics = self.restarted()

    def restarted(self, most: int = 100) -> Metrics:
        self.metrics = Metrics(self.store, self.fleet, self.network, self.clock, most)
        return self.metrics

    def add(self, accelerator: str, instance: str, **fields: Any) -> None:
        seat = self.network.seat(ACCOUNT, None, None)
        if self.store.instances.get(instance) is None:
            self.store.instances.add(
                Instance(
                    id=instance, state=records.RUNNING, role_name="", created_at=BEGIN,
                    accelerator_types=(), subnet_id=seat.subnet_id, group_ids=seat.group_ids,
                    private_ip=seat.private_ip,
                )
            )  # fmt: skip
        values = {"account": ACCOUNT, "state": records.ASSOCIATED} | fields
        self.store.accelerators.add(
            Accelerator(
                id=accelerator, type="eia1.medium", instance_id=instance, token_key=b"",
                association_id=f"of-{accelerator}", placement={}, created_at=BEGIN, **values,
            )
        )  # fmt: skip
        self.fleet.known[accelerator] = WELL

    def record(self, minutes: int = 1) -> int:
        for _ in range(minutes):
            self.clock.passes(MINUTE)
            written = self.metrics.recorder.record()
        return written

    def of(self, name: str, dimensions: Mapping[str, str], period: int = 60) -> list[Statistics]:
        metric = Metric.of(NAMESPACE, name, dimensions)
        return self.metrics.statistics(ACCOUNT, metric, BEGIN, self.clock.time(), period=period)

    def values(self, name: str, accelerator: str = "eia-1") -> list[float]:
        return [each.total for each in self.of(name, {ACCELERATOR: accelerator})]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


class TestPacking:
    @given(
        st.lists(
            st.tuples(
                st.integers(-300, 300), st.booleans(), st.booleans(),
                st.none() | st.integers(0, 1 << 60),
            ),
            max_size=20,
        ),
        st.integers(0, 10),
    )  # fmt: skip
    def test_what_was_added_is_there(
        self, seen: list[tuple[int, bool, bool, int | None]], cut: int
    ) -> None:
        minutes = BEGIN // 60
        wanted = [Sample(minutes + each[0], *each[1:]) for each in seen]
        chunk = Chunk(BEGIN)
        for each in wanted[:cut]:
            chunk.add(each)
        # As after a restart.
        chunk = Chunk(BEGIN, bytes(chunk.points))
        for each in wanted[cut:]:
            chunk.add(each)
        assert list(samples.unpack(BEGIN, bytes(chunk.points))) == wanted

    def test_a_minute_like_the_last_one_is_one_byte(self) -> None:
        chunk = Chunk(BEGIN)
        for minute in range(100):
            chunk.add(Sample(BEGIN // 60 + minute, False, False, 1 << 30))
        assert len(chunk.points) < 106

    @given(st.binary(max_size=100))
    def test_noise_does_no_harm(self, noise: bytes) -> None:
        list(samples.unpack(BEGIN, noise))
        list(unpack(BEGIN, noise))

    def test_points_come_back(self) -> None:
        points = [Point(BEGIN + 3599, 2.0, 5.5, -1e300, 1e300), Point(BEGIN, 1.0, 0.1, 0.1, 0.1)]
        assert list(unpack(BEGIN, pack(BEGIN, points))) == points

    def test_very_many_points_are_merged_by_their_moments(self) -> None:
        points = [Point(BEGIN + each % 2, 1.0, each, each, each) for each in range(MOST + 2)]
        (first, second) = unpack(BEGIN, pack(BEGIN, points))
        assert first == Point(BEGIN, MOST / 2 + 1, sum(range(0, MOST + 2, 2)), 0, MOST)
        assert (second.at, second.weight, second.maximum) == (BEGIN + 1, MOST / 2 + 1, MOST + 1)


class TestRecording:
    def test_each_minute_of_each_accelerator(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.add("eia-2", "i-1")
        assert world.record(3) == 2
        (first, *_) = found = world.of(MEMORY, {ACCELERATOR: "eia-1", INSTANCE: "i-1"})
        assert [each.at for each in found] == [BEGIN, BEGIN + 60, BEGIN + 120]
        assert (first.unit, first.count, first.average) == ("Bytes", 1, 1000)
        assert world.values(HEALTH) == world.values(CONNECTIVITY) == [0, 0, 0]
        assert world.of(HEALTH, {ACCELERATOR: "eia-1"})[0].unit == "Count"

    def test_an_instances_metrics_are_those_of_all_of_its_accelerators(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.add("eia-2", "i-1")
        world.add("eia-3", "i-2")
        world.fleet.known["eia-2"] = Status(Health.OK, 0, memory_used=500)
        world.record(7)
        five, rest = world.of(MEMORY, {INSTANCE: "i-1"}, 300)
        assert (five.at, five.count, five.total) == (BEGIN, 10, 7500)
        assert (five.minimum, five.maximum, five.average) == (500, 1000, 750)
        assert (rest.at, rest.count) == (BEGIN + 300, 4)

    @pytest.mark.parametrize(
        "dimensions",
        [
            {},
            {ACCELERATOR: "eia-9"},
            {ACCELERATOR: "eia-1", INSTANCE: "i-2"},
            {ACCELERATOR: "eia-1", "Other": "x"},
        ],
    )
    def test_of_other_dimensions_there_is_nothing(
        self, world: World, dimensions: dict[str, str]
    ) -> None:
        world.add("eia-1", "i-1")
        world.add("eia-2", "i-2")
        world.record()
        assert world.of(HEALTH, dimensions) == []
        assert world.of("Other", {ACCELERATOR: "eia-1"}) == []
        metric = Metric.of(NAMESPACE, HEALTH, {ACCELERATOR: "eia-1"})
        assert world.metrics.statistics("111111111111", metric, BEGIN, BEGIN + 60) == []
        assert world.metrics.metrics("111111111111") == []

    def test_what_is_ill_and_what_cannot_be_reached(self, world: World) -> None:
        world.add("eia-1", "i-1")
        ill = Status(Health.IMPAIRED, 0, "it computes wrongly", memory_used=7)
        gone = Status(Health.IMPAIRED, 1, "it has ended", reachable=False)
        for each in (WELL, ill, gone, Status(Health.UNKNOWN, 1), WELL):
            world.fleet.known["eia-1"] = each
            world.record()
        assert world.values(HEALTH) == [0, 1, 1, 0]
        assert world.values(CONNECTIVITY) == [0, 0, 1, 0]
        assert world.values(MEMORY) == [1000, 7, 1000]
        assert [each.at - BEGIN for each in world.of(HEALTH, {ACCELERATOR: "eia-1"})] == [
            0, 60, 120, 240,
        ]  # fmt: skip

    def test_what_ends_within_a_minute_is_seen(self, world: World) -> None:
        world.add("eia-1", "i-1")
        recorder = world.metrics.recorder
        recorder.heard("eia-1", Status(Health.IMPAIRED, 0, "it has ended", reachable=False))
        recorder.heard("eia-1", WELL)
        world.record(2)
        assert world.values(HEALTH) == world.values(CONNECTIVITY) == [1, 0]

    def test_an_instance_that_the_network_cuts_off_has_no_connectivity(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record()
        groups = world.store.instances.get("i-1")
        assert groups is not None
        with world.store.transaction():
            columns = world.store.rules.columns
            world.store.rules.remove(columns.group_id.in_(groups.group_ids))
        world.network.changed()
        world.record()
        assert world.values(CONNECTIVITY) == [0, 1]
        assert world.values(HEALTH) == [0, 0]

    def test_only_accelerators_of_running_instances(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.add("eia-2", "i-1", state=records.ASSOCIATING)
        world.add("eia-3", "i-2")
        world.store.set_instance("i-2", state=records.STOPPING)
        assert world.record() == 1

    def test_its_thread_writes_when_a_minute_ends(self, world: World) -> None:
        world.add("eia-1", "i-1")
        asked = threading.Event()
        world.fleet.asked = asked
        recorder = world.metrics.recorder
        world.clock.passes(MINUTE - 0.01)
        recorder.start()
        assert asked.wait(60.0)
        recorder.close()
        assert world.values(HEALTH) == [0]

    def test_a_minute_is_written_once(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record()
        world.clock.passes(1.0)
        assert world.metrics.recorder.record() == 0
        assert world.values(HEALTH) == [0]

    def test_a_clock_that_is_set_loses_nothing(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record(10)
        world.clock.passes(-7 * MINUTE)
        world.record(2)
        world.clock.passes(100 * MINUTE)
        world.record()
        (all_,) = world.of(HEALTH, {ACCELERATOR: "eia-1"}, 86400)
        assert all_.count == 13

    def test_a_restart_goes_on_where_it_was(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record(5)
        world.restarted()
        world.clock.passes(3 * MINUTE)
        world.record(2)
        ats = [each.at - BEGIN for each in world.of(MEMORY, {ACCELERATOR: "eia-1"})]
        assert ats == [0, 60, 120, 180, 240, 480, 540]
        assert set(world.values(MEMORY)) == {1000}

    def test_a_store_that_could_not_be_written_for_a_minute(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.add("eia-1", "i-1")
        world.record()

        def full(*_: object) -> None:
            raise UnavailableError("The disk is full.")

        with monkeypatch.context() as patched:
            patched.setattr(metric_chunks, "replace", full)
            with pytest.raises(UnavailableError):
                world.record()
        world.record()
        assert world.values(HEALTH) == [0, 0, 0]

    def test_over_chunks(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record(samples.LENGTH // 60 + 30)
        (whole,) = world.of(HEALTH, {ACCELERATOR: "eia-1"}, 86400)
        assert whole.count == samples.LENGTH // 60 + 30
        metric = Metric.of(NAMESPACE, HEALTH, {INSTANCE: "i-1"})
        since = BEGIN + samples.LENGTH - 600
        part = world.metrics.statistics(ACCOUNT, metric, since, since + 900)
        assert [(each.at - since, each.count) for each in part] == [(0, 5), (300, 5), (600, 5)]

    def test_two_weeks_are_kept(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record(2)
        world.clock.passes(KEPT - 180.0)
        assert len(world.values(HEALTH)) == 2
        world.clock.passes(120.0)
        assert len(world.values(HEALTH)) == 1
        world.clock.passes(60.0)
        assert world.values(HEALTH) == []
        assert world.metrics.metrics(ACCOUNT) == []
        world.fleet.known.clear()
        world.clock.passes(2 * samples.LENGTH)
        world.record()
        assert world.store.metric_chunks.count() == world.store.metric_series.count() == 0


def test_a_server_keeps_them_too(tmp_path: Path) -> None:
    with postgresql.server() as server:
        world = World(tmp_path, server.new_database())
        try:
            world.add("eia-1", "i-1")
            world.record(3)
            world.restarted()
            world.record(2)
            put(world, "Mine", "Calls", 1.0, Model="a")
            put(world, "Mine", "Calls", 2.0, Model="a")
            (found,) = world.of(MEMORY, {INSTANCE: "i-1"}, 600)
            assert (found.count, found.total) == (5, 5000)
            listed = world.metrics.metrics(ACCOUNT, since=world.clock.time() - 600)
            assert len(listed) == 3 * 3 + 1
            world.clock.passes(KEPT + 2 * samples.LENGTH)
            world.fleet.known.clear()
            world.record()
            assert world.store.metric_chunks.count() == world.store.metric_series.count() == 0
        finally:
            world.store.close()


class TestListing:
    def test_accelerators_have_three_metrics_by_either_dimension_and_by_both(
        self, world: World
    ) -> None:
        world.add("eia-1", "i-1")
        world.add("eia-2", "i-1")
        world.record()
        found = world.metrics.metrics(ACCOUNT, namespace=NAMESPACE)
        assert len(found) == 3 * (2 + 1 + 2)
        assert {each.dimensions for each in found if each.name == MEMORY} == {
            ((INSTANCE, "i-1"),),
            *(((ACCELERATOR, each),) for each in ("eia-1", "eia-2")),
            *(((ACCELERATOR, each), (INSTANCE, "i-1")) for each in ("eia-1", "eia-2")),
        }

    def test_by_names_and_dimensions(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record()
        put(world, "Mine", "Calls", 1.0, Model="a", Zone="x")
        put(world, "Mine", "Calls", 1.0, Model="b")
        put(world, "Other", "Calls", 1.0)
        listed = world.metrics.metrics
        assert {each.namespace for each in listed(ACCOUNT)} == {NAMESPACE, "Mine", "Other"}
        assert len(listed(ACCOUNT, name="Calls")) == 3
        assert len(listed(ACCOUNT, namespace="Mine", dimensions=[("Model", None)])) == 2
        (one,) = listed(ACCOUNT, dimensions=[("Model", "a"), ("Zone", None)])
        assert one == Metric("Mine", "Calls", (("Model", "a"), ("Zone", "x")))
        assert listed(ACCOUNT, dimensions=[("Model", "a"), ("Zone", "y")]) == []
        assert len(listed(ACCOUNT, dimensions=[(ACCELERATOR, "eia-1")])) == 6
        assert len(listed(ACCOUNT, name=HEALTH, dimensions=[(INSTANCE, None)])) == 2

    def test_those_with_values_of_late(self, world: World) -> None:
        world.add("eia-1", "i-1")
        world.record()
        put(world, "Mine", "Old", 1.0)
        world.clock.passes(3 * 3600.0)
        world.add("eia-2", "i-2")
        world.fleet.known.pop("eia-1")
        world.record()
        put(world, "Mine", "New", 1.0)
        found = world.metrics.metrics(ACCOUNT, since=world.clock.time() - 3 * 3600.0)
        assert {each.name for each in found if each.namespace == "Mine"} == {"New"}
        assert {dict(each.dimensions).get(INSTANCE, "i-2") for each in found} == {"i-2"}


def put(world: World, namespace: str, name: str, *values: float, **dimensions: str) -> None:
    at = int(world.clock.time())
    points = [Point(at, 1.0, each, each, each) for each in values]
    world.metrics.put(ACCOUNT, [Datum(Metric.of(namespace, name, dimensions), "Count", points)])


class TestPutting:
    def read(self, world: World, metric: Metric, **asked: Any) -> list[Statistics]:
        return world.metrics.statistics(
            ACCOUNT, metric, BEGIN - 7200, world.clock.time() + 1, **asked
        )

    def test_values_add_up(self, world: World) -> None:
        put(world, "Mine", "Calls", 1.0, 2.0, Model="a")
        put(world, "Mine", "Calls", 6.0, Model="a")
        put(world, "Mine", "Calls", 100.0, Model="b")
        (found,) = self.read(world, Metric.of("Mine", "Calls", {"Model": "a"}))
        assert (found.count, found.total, found.minimum, found.maximum) == (3, 9, 1, 6)
        assert self.read(world, Metric("Mine", "Calls")) == []

    def test_each_unit_is_by_itself(self, world: World) -> None:
        metric = Metric("Mine", "Time")
        for unit, value in (("Seconds", 1.0), ("Milliseconds", 2.0)):
            world.metrics.put(ACCOUNT, [Datum(metric, unit, [Point(BEGIN, 1.0, *[value] * 3)])])
        assert {(each.unit, each.total) for each in self.read(world, metric)} == {
            ("Seconds", 1), ("Milliseconds", 2),
        }  # fmt: skip
        (found,) = self.read(world, metric, unit="Milliseconds")
        assert found.total == 2
        assert self.read(world, metric, unit="Bytes") == []
        assert len(world.metrics.metrics(ACCOUNT)) == 1

    def test_of_the_past_too(self, world: World) -> None:
        metric = Metric("Mine", "Calls")
        points = [Point(BEGIN - 7000 + 1000 * each, 1.0, 1.0, 1.0, 1.0) for each in range(8)]
        world.metrics.put(ACCOUNT, [Datum(metric, "None", points[4:])])
        world.metrics.put(ACCOUNT, [Datum(metric, "None", points[:4])])
        assert sum(each.count for each in self.read(world, metric)) == 8

    def test_percentiles_where_each_value_is_known(self, world: World) -> None:
        put(world, "Mine", "Time", *range(1, 101))
        (found,) = self.read(world, Metric("Mine", "Time"), period=3600 * 4)
        assert [found.percentile(each) for each in (0, 50, 99, 100)] == [1, 50, 99, 100]
        world.metrics.put(
            ACCOUNT, [Datum(Metric("Mine", "Time"), "Count", [Point(BEGIN, 2.0, 9.0, 4.0, 5.0)])]
        )
        (found,) = self.read(world, Metric("Mine", "Time"), period=3600 * 4)
        assert found.percentile(50) is None

    def test_an_account_has_so_many_metrics_and_no_more(self, world: World) -> None:
        metrics = world.restarted(most=2)
        put(world, "Mine", "A", 1.0)
        put(world, "Mine", "B", 1.0)
        put(world, "Mine", "A", 1.0)
        with pytest.raises(LimitExceededError, match="EI_MAX_METRICS"):
            put(world, "Mine", "C", 1.0)
        assert len(metrics.metrics(ACCOUNT)) == 2
        world.clock.passes(KEPT + 7200.0)
        put(world, "Mine", "C", 1.0)

    def test_all_of_a_call_or_nothing(self, world: World) -> None:
        world.restarted(most=1)
        data = [
            Datum(Metric("Mine", each), "None", [Point(BEGIN, 1.0, 1.0, 1.0, 1.0)]) for each in "AB"
        ]
        with pytest.raises(LimitExceededError):
            world.metrics.put(ACCOUNT, data)
        assert world.metrics.metrics(ACCOUNT) == []


class TestPools:
    def test_what_was_killed_is_recorded_as_ill_though_it_is_well_again(
        self, start_pool: StartPool, short_path: Path
    ) -> None:
        plane = start_pool(outlive=True).plane
        plane.metrics.recorder.close()
        recorder = Recorder(plane.store, plane.fleet, plane.network, plane.clock)
        _, (accelerator,), _ = plane.run_instance(["eia1.medium"])
        changes: queue.Queue[Status] = queue.Queue()
        plane.fleet.watch(recorder.heard)
        plane.fleet.watch(lambda _, status: changes.put(status))
        os.kill(accelerator_pids(short_path / "state")[accelerator.id], signal.SIGKILL)
        gone, back = changes.get(timeout=PATIENCE), changes.get(timeout=PATIENCE)
        assert (gone.health, gone.reachable) == (Health.IMPAIRED, False)
        assert (back.health, back.reachable) == (Health.OK, True)
        assert recorder.record() == 1
        now = plane.clock.time()
        for name in (HEALTH, CONNECTIVITY):
            metric = Metric.of(NAMESPACE, name, {ACCELERATOR: accelerator.id})
            (found,) = plane.metrics.statistics(ACCOUNT, metric, now - 300, now, period=600)
            assert (found.count, found.maximum) == (1, 1)

    def test_the_pool_of_one_command_records_nothing(self, start_pool: StartPool) -> None:
        plane = start_pool().plane
        assert "metrics" not in vars(plane)
        assert "metrics" not in {each.name for each in threading.enumerate()}
