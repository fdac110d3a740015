"""Stop, start, reboot, attach, detach: with real accelerators, and what each is billed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.catalog import MIB
from elastic_inference.compute.local import processes_of
from elastic_inference.control import records
from elastic_inference.control.client import ControlClient
from elastic_inference.control.pool import Pool
from elastic_inference.errors import (
    ConflictError,
    ElasticInferenceError,
    InsufficientCapacityError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
)
from elastic_inference.isolation import users
from tests.pools import PATIENCE, accelerator_pids, gone, held

StartPool = Callable[..., Pool]


def launch(pool: Pool, *types: str, **wanted: object) -> records.Instance:
    instance, _, _ = pool.plane.run_instance(types, provider=records.LOCAL, **wanted)
    return instance


def ids(pool: Pool, instance: records.Instance) -> list[str]:
    return [each.id for each in pool.plane.store.accelerators_of(instance.id)]


def billed(pool: Pool) -> set[str]:
    return pool.plane.meter.billed()


@pytest.fixture
def pool(start_pool: StartPool) -> Pool:
    return start_pool(outlive=True)


def test_stop_and_start_give_fresh_accelerators_of_the_same_types(pool: Pool) -> None:
    instance = launch(pool, "eia1.medium", "eia1.large")
    first = ids(pool, instance)
    assert billed(pool) == set(first)
    before, stopped = pool.plane.stop_instance(instance.id)
    assert (before, stopped.state) == ("running", "stopped")
    assert ids(pool, instance) == []
    assert billed(pool) == set()
    assert pool.plane.stop_instance(instance.id)[0] == "stopped", "again does no harm"
    before, started = pool.plane.start_instance(instance.id)
    assert (before, started.state) == ("stopped", "running")
    assert not set(ids(pool, instance)) & set(first)
    types = [each.type for each in pool.plane.store.accelerators_of(instance.id)]
    assert types == ["eia1.medium", "eia1.large"]
    assert billed(pool) == set(ids(pool, instance))
    assert started.private_ip == instance.private_ip
    assert pool.plane.start_instance(instance.id)[0] == "running", "again does no harm"


def test_attached_and_detached_while_it_runs(pool: Pool, short_path: Path) -> None:
    instance = launch(pool)
    one = pool.plane.attach(instance.id, "eia.medium")
    other = pool.plane.attach(instance.id, "eia1.large")
    assert (one.type, one.state) == ("eia1.medium", "associated")
    assert ids(pool, instance) == [one.id, other.id]
    assert set(accelerator_pids(short_path / "state")) == billed(pool) == {one.id, other.id}
    pool.plane.detach(one.id)
    assert set(accelerator_pids(short_path / "state")) == billed(pool) == {other.id}
    with pytest.raises(NotFoundError):
        pool.plane.detach(one.id)
    # What it has now is what it starts with the next time.
    pool.plane.stop_instance(instance.id)
    pool.plane.start_instance(instance.id)
    types = [each.type for each in pool.plane.store.accelerators_of(instance.id)]
    assert types == ["eia1.large"]


def test_no_more_than_it_may_have(start_pool: StartPool) -> None:
    pool = start_pool(outlive=True, max_accelerators=2)
    instance = launch(pool, "eia1.medium", "eia1.medium")
    with pytest.raises(LimitExceededError, match="has 2 accelerators already"):
        pool.plane.attach(instance.id, "eia1.medium")
    with pytest.raises(InvalidRequestError, match="from 0 to 2"):
        launch(pool, *["eia1.medium"] * 3)


def test_what_does_not_fit_is_told_with_what_is_free(start_pool: StartPool) -> None:
    pool = start_pool(outlive=True, node_memory=3 * 1024 * MIB)
    instance = launch(pool, "eia1.medium")
    with pytest.raises(InsufficientCapacityError, match="2048 MiB"):
        pool.plane.attach(instance.id, "eia1.xlarge")
    assert len(ids(pool, instance)) == 1
    pool.plane.stop_instance(instance.id)
    other = launch(pool, "eia1.large")
    pool.plane.attach(other.id, "eia1.medium")
    with pytest.raises(InsufficientCapacityError):
        pool.plane.start_instance(instance.id)
    assert pool.plane.instance(instance.id).state == "stopped"
    pool.plane.terminate(other.id)
    assert pool.plane.start_instance(instance.id)[1].state == "running"


def test_reboot_keeps_the_accelerators(pool: Pool, short_path: Path) -> None:
    instance = launch(pool, "eia1.medium")
    before = accelerator_pids(short_path / "state")
    assert pool.plane.reboot_instance(instance.id).state == "running"
    assert accelerator_pids(short_path / "state") == before


def test_the_wrong_state_is_named(pool: Pool) -> None:
    command, _, _ = pool.plane.run_instance(["eia1.medium"])
    with pytest.raises(InvalidRequestError, match="ei run"):
        pool.plane.stop_instance(command.id)
    with pytest.raises(ConflictError, match="rebooted where"):
        pool.plane.reboot_instance(command.id)
    pool.plane.terminate(command.id)
    for attempt in (pool.plane.start_instance, pool.plane.stop_instance):
        with pytest.raises(ElasticInferenceError, match=r"is terminated|which ends with"):
            attempt(command.id)
    with pytest.raises(NotFoundError, match="i-none"):
        pool.plane.start_instance("i-none")


def test_health_is_what_is_billed(pool: Pool, short_path: Path) -> None:
    instance = launch(pool, "eia1.medium")
    (accelerator_id,) = ids(pool, instance)
    os.kill(accelerator_pids(short_path / "state")[accelerator_id], signal.SIGKILL)
    rows = pool.plane.store.usage
    heard, deadline = False, time.monotonic() + PATIENCE
    while not heard:
        assert time.monotonic() < deadline
        # Its first interval ends when that is seen, and another begins when it serves again.
        heard = rows.count(rows.columns.accelerator_id == accelerator_id) == 2
    first, second = rows.where(order=(rows.columns.id,))
    assert (first.open, second.open) == (False, True)
    assert second.began_at >= first.began_at + first.seconds


def test_what_died_while_nobody_watched_is_billed_to_its_end(
    start_pool: StartPool, short_path: Path
) -> None:
    first = start_pool(outlive=True)
    instance = launch(first, "eia1.medium")
    (accelerator_id,) = ids(first, instance)
    pid = accelerator_pids(short_path / "state")[accelerator_id]
    first.close()
    with held(pid) as process:
        os.kill(pid, signal.SIGKILL)
        assert gone(process)
    second = start_pool(outlive=True)
    rows = second.plane.store.usage
    ended = rows.where(~rows.columns.open)
    assert [each.accelerator_id for each in ended] == [accelerator_id]


@pytest.mark.parametrize("state", [records.STOPPING, records.SHUTTING_DOWN, records.PENDING])
def test_a_promise_is_kept_by_the_next_control_plane(
    start_pool: StartPool, short_path: Path, state: str
) -> None:
    first = start_pool(outlive=True)
    instance = launch(first, "eia1.medium")
    (accelerator_id,) = ids(first, instance)
    first.plane.store.set_instance(instance.id, state=state)
    first.plane.store.set_accelerator(accelerator_id, state=records.ASSOCIATING)
    first.close()
    second = start_pool(outlive=True)
    now = second.plane.instance(instance.id)
    final = {"stopping": "stopped", "shutting-down": "terminated", "pending": "running"}[state]
    assert now.state == final
    left = set(accelerator_pids(short_path / "state"))
    assert left == set(ids(second, instance)) == billed(second)
    assert bool(left) is (final == "running")


@pytest.mark.parametrize("state", [records.ASSOCIATING, records.DISASSOCIATING])
def test_an_attachment_is_finished_by_the_next_control_plane(
    start_pool: StartPool, short_path: Path, state: str
) -> None:
    first = start_pool(outlive=True)
    instance = launch(first, "eia1.medium")
    (accelerator_id,) = ids(first, instance)
    first.plane.store.set_accelerator(accelerator_id, state=state)
    first.close()
    second = start_pool(outlive=True)
    left = list(accelerator_pids(short_path / "state"))
    assert left == ids(second, instance) == list(billed(second))
    assert left == ([accelerator_id] if state == records.ASSOCIATING else [])


def test_tags_are_billed_from_then_on(pool: Pool) -> None:
    instance = launch(pool, "eia1.medium", tags={"team": "one"})
    (accelerator_id,) = ids(pool, instance)
    pool.plane.tag(instance.id, {"team": "two"})
    keys = {row.key for row in pool.plane.billing.bill(records.ACCOUNT, by="tag", tag="team")}
    assert keys == {"one", "two"}
    assert billed(pool) == {accelerator_id}
    pool.plane.tag(accelerator_id, {}, ["team"])
    assert pool.plane.accelerator(accelerator_id).tags == {}
    assert pool.plane.instance(instance.id).tags == {"team": "two"}
    with pytest.raises(InvalidRequestError):
        pool.plane.tag(instance.id, {"k" * 200: "v"})


def test_user_data_is_refused_where_it_cannot_run(pool: Pool) -> None:
    with pytest.raises(InvalidRequestError, match="user data"):
        pool.plane.run_instance(["eia1.medium"], user_data="echo hello")
    with pytest.raises(InvalidRequestError, match="User data"):
        launch(pool, user_data="#cloud-config\n")
    assert pool.plane.store.instances.where() == []


@pytest.mark.root
@pytest.mark.skipif(not users.separation().possible, reason=users.separation().why_not)
def test_what_runs_in_an_instance_ends_with_a_stop_that_was_begun(start_pool: StartPool) -> None:
    first = start_pool(outlive=True)
    instance = launch(first, user_data="exec sleep 1000")
    compute = first.plane.compute
    assert compute is not None
    deadline = time.monotonic() + PATIENCE
    while not compute.processes(instance.id):
        assert time.monotonic() < deadline
    uid = int(first.plane.instance(instance.id).place["uid"])
    # The control plane dies after its promise and before it ended anything.
    first.plane.store.set_instance(instance.id, state=records.STOPPING)
    first.close()
    assert processes_of(uid)
    second = start_pool(outlive=True)
    assert second.plane.instance(instance.id).state == "stopped"
    assert not processes_of(uid)
    assert second.plane.start_instance(instance.id)[1].place["uid"] == uid


@pytest.mark.root
@pytest.mark.skipif(not users.separation().possible, reason=users.separation().why_not)
def test_commands_have_a_bound_of_their_own(start_pool: StartPool) -> None:
    pool = start_pool(outlive=True, max_commands=1, max_control_connections=2)
    instance = launch(pool)
    client = ControlClient(pool.pointer, PATIENCE)
    wanted = {"instanceId": instance.id, "command": ["sleep", "1000"]}
    with client.converse("Exec", wanted):
        with pytest.raises(LimitExceededError, match="EI_MAX_COMMANDS"):
            client.converse("Exec", wanted)
        # A command that runs holds no connection of the API's.
        for _ in range(3):
            assert client.call("DescribeInstances", {})["instances"]
