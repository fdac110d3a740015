"""Instances, leases and restarts of the control plane, with real accelerators."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from elastic_inference.catalog import MIB
from elastic_inference.control.pool import Pool
from elastic_inference.errors import (
    ConflictError,
    ElasticInferenceError,
    InsufficientCapacityError,
    InvalidRequestError,
    NotFoundError,
)
from elastic_inference.fleet.base import Health
from tests.pools import PATIENCE, accelerator_pids, gone, held

StartPool = Callable[..., Pool]


def info(pool: Pool, accelerator_id: str) -> dict[str, object]:
    token = pool.plane.connections.own_token(pool.plane.accelerator(accelerator_id))
    return pool.plane.fleet.ask(accelerator_id, "/v2/elastic-inference/accelerator", token)


def test_an_instance_has_its_accelerators_until_it_is_terminated(
    start_pool: StartPool, short_path: Path
) -> None:
    plane = start_pool().plane
    instance, accelerators, key = plane.run_instance(["eia.medium", "eia1.large"], name="app")
    assert [each.type for each in accelerators] == ["eia1.medium", "eia1.large"]
    assert key is not None
    assert key.instance_id == instance.id
    pids = accelerator_pids(short_path / "state")
    assert set(pids) == {each.id for each in accelerators}
    with held(pids[accelerators[0].id]) as first, held(pids[accelerators[1].id]) as second:
        plane.terminate(instance.id)
        assert gone(first)
        assert gone(second)
    plane.terminate(instance.id)
    assert plane.store.accelerators.where() == []
    assert plane.store.keys.get(key.id) is None
    with pytest.raises(NotFoundError):
        plane.accelerator(accelerators[0].id)


def test_ids_look_like_the_originals(start_pool: StartPool) -> None:
    instance, (accelerator,), _ = start_pool().plane.run_instance(["eia1.medium"])
    assert len(accelerator.id) == len("eia-") + 32
    assert int(accelerator.id.removeprefix("eia-"), 16) >= 0
    assert int(accelerator.association_id.removeprefix("eia-assoc-"), 16) >= 0
    assert len(instance.id) == len("i-") + 17


@pytest.mark.parametrize("types", [[], ["eia1.medium"] * 6, ["eia9.huge"]])
def test_wrong_requests_make_nothing(start_pool: StartPool, types: list[str]) -> None:
    plane = start_pool().plane
    with pytest.raises(InvalidRequestError):
        plane.run_instance(types)
    assert plane.store.instances.where() == []


def test_where_one_does_not_fit_none_stays(start_pool: StartPool) -> None:
    plane = start_pool(node_memory=3 * 1024 * MIB).plane
    with pytest.raises(InsufficientCapacityError):
        plane.run_instance(["eia1.large", "eia1.large"])
    assert plane.store.accelerators.where() == []
    _, accelerators, _ = plane.run_instance(["eia1.large", "eia1.medium"])
    assert len(accelerators) == 2


def test_a_repeated_request_gives_the_same_instance(start_pool: StartPool) -> None:
    plane = start_pool().plane
    outcomes = []

    def launch() -> None:
        outcomes.append(plane.run_instance(["eia1.medium"], client_token="one"))

    both = [threading.Thread(target=launch) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert outcomes[0][:2] == outcomes[1][:2]
    assert len(plane.store.accelerators.where()) == 1
    for _, _, key in outcomes:
        assert key is not None
        assert plane.store.keys.get(key.id) == key
        assert key.instance_id == outcomes[0][0].id
    with pytest.raises(ConflictError, match="other accelerator types"):
        plane.run_instance(["eia1.large"], client_token="one")
    plane.terminate(outcomes[0][0].id)
    with pytest.raises(ConflictError, match="is terminated"):
        plane.run_instance(["eia1.medium"], client_token="one")


def test_a_silent_instance_ends_with_its_lease(start_pool: StartPool, short_path: Path) -> None:
    plane = start_pool().plane
    instance, (accelerator,), _ = plane.run_instance(["eia1.medium"], lease_seconds=0.5)
    plane.keep_alive(instance.id)
    with held(accelerator_pids(short_path / "state")[accelerator.id]) as process:
        assert gone(process)
    # It answers once whoever ends it has finished.
    plane.terminate(instance.id)
    with pytest.raises(NotFoundError):
        plane.keep_alive(instance.id)


def test_a_restarted_control_plane_adopts_what_runs(
    start_pool: StartPool, short_path: Path
) -> None:
    first = start_pool(outlive=True)
    _, (accelerator,), key = first.plane.run_instance(["eia1.medium"])
    pids = accelerator_pids(short_path / "state")
    first.close()
    assert key is not None
    second = start_pool(outlive=True)
    assert second.pointer == first.pointer
    assert accelerator_pids(short_path / "state") == pids
    assert info(second, accelerator.id)["accelerator_id"] == accelerator.id
    assert second.plane.store.keys.get(key.id) == key


def test_what_died_meanwhile_is_started_again(start_pool: StartPool, short_path: Path) -> None:
    first = start_pool(outlive=True)
    _, (accelerator,), _ = first.plane.run_instance(["eia1.medium"])
    pid = accelerator_pids(short_path / "state")[accelerator.id]
    first.close()
    with held(pid) as process:
        os.kill(pid, signal.SIGKILL)
        assert gone(process)
    second = start_pool(outlive=True)
    healths: queue.Queue[str] = queue.Queue()
    second.plane.fleet.watch(lambda _, status: healths.put(status.health.value))
    if second.plane.fleet.status(accelerator.id).health is not Health.OK:
        assert healths.get(timeout=PATIENCE) == "ok"
    assert info(second, accelerator.id)["accelerator_id"] == accelerator.id
    assert accelerator_pids(short_path / "state")[accelerator.id] != pid


@pytest.mark.parametrize("state", ["pending", "shutting-down"])
def test_what_was_begun_and_not_finished_is_cleaned_up(
    start_pool: StartPool, short_path: Path, state: str
) -> None:
    first = start_pool(outlive=True)
    instance, (accelerator,), _ = first.plane.run_instance(["eia1.medium"])
    first.plane.store.set_instance(instance.id, state=state)
    first.close()
    with held(accelerator_pids(short_path / "state")[accelerator.id]) as process:
        second = start_pool(outlive=True)
        assert gone(process)
    assert second.plane.store.accelerators.where() == []
    assert list((short_path / "state" / "run").iterdir()) == []


def test_one_whose_type_left_the_catalogue_does_not_stop_the_others(
    start_pool: StartPool, short_path: Path
) -> None:
    catalog = short_path / "types.toml"
    catalog.write_text('[types."own.small"]\nmemory_mib = 512\ntflops_fp32 = 1\ntflops_fp16 = 1\n')
    first = start_pool(outlive=True, catalog=catalog)
    first.plane.run_instance(["own.small"])
    _, (accelerator,), _ = first.plane.run_instance(["eia1.medium"])
    first.close()
    second = start_pool(outlive=True)
    assert info(second, accelerator.id)["accelerator_id"] == accelerator.id


def test_two_control_planes_on_one_state_are_refused(start_pool: StartPool) -> None:
    start_pool()
    with pytest.raises(ElasticInferenceError, match="Another control plane"):
        start_pool()
