"""Operations on one instance that come in the middle of another: each has its whole effect."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from elastic_inference.control import records
from elastic_inference.control.pool import Pool
from elastic_inference.errors import ElasticInferenceError
from tests.pools import PATIENCE

StartPool = Callable[..., Pool]


@pytest.fixture
def pool(start_pool: StartPool) -> Pool:
    return start_pool(outlive=True)


def launch(pool: Pool, *types: str) -> records.Instance:
    instance, _, _ = pool.plane.run_instance(types, provider=records.LOCAL)
    return instance


class Meanwhile:
    """Has something else begin, once, before a method of the fleet goes on.

    Args:
        until: whether that has begun.
    """

    def __init__(
        self,
        pool: Pool,
        monkeypatch: pytest.MonkeyPatch,
        method: str,
        act: Callable[[], Any],
        until: Callable[[], bool],
    ) -> None:
        self._real = getattr(pool.plane.fleet, method)
        self._other: threading.Thread | None = None
        self._act = act
        self._until = until
        self.outcome: Any = None
        monkeypatch.setattr(pool.plane.fleet, method, self._instead)

    def _instead(self, *words: Any) -> Any:
        if self._other is None:
            self._other = threading.Thread(target=self._do)
            self._other.start()
            deadline = time.monotonic() + PATIENCE
            while not self._until():
                assert time.monotonic() < deadline
        return self._real(*words)

    def _do(self) -> None:
        try:
            self.outcome = self._act()
        except ElasticInferenceError as error:
            self.outcome = error

    def join(self) -> Any:
        assert self._other is not None
        self._other.join(PATIENCE)
        return self.outcome


def test_terminated_while_it_stops(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = launch(pool, "eia1.medium")
    meanwhile = Meanwhile(
        pool, monkeypatch, "stop", lambda: pool.plane.terminate(instance.id),
        lambda: pool.plane.instance(instance.id).state == records.SHUTTING_DOWN,
    )  # fmt: skip
    pool.plane.stop_instance(instance.id)
    before, now = meanwhile.join()
    assert (before, now.state) == (records.STOPPING, records.TERMINATED)
    assert pool.plane.instance(instance.id).state == records.TERMINATED
    assert pool.plane.store.keys.where(pool.plane.store.keys.columns.instance_id.is_not(None)) == []


def test_terminated_while_it_starts(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = launch(pool, "eia1.medium")
    pool.plane.stop_instance(instance.id)
    meanwhile = Meanwhile(
        pool, monkeypatch, "start", lambda: pool.plane.terminate(instance.id),
        lambda: pool.plane.instance(instance.id).state == records.SHUTTING_DOWN,
    )  # fmt: skip
    with pytest.raises(ElasticInferenceError, match="was ended while it started"):
        pool.plane.start_instance(instance.id)
    assert meanwhile.join()[1].state == records.TERMINATED
    assert pool.plane.store.accelerators.where() == []
    assert pool.plane.store.usage.count() == 1, "only its first life was used"


def test_stopped_while_another_accelerator_comes(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = launch(pool, "eia1.medium")
    meanwhile = Meanwhile(
        pool, monkeypatch, "start", lambda: pool.plane.stop_instance(instance.id),
        lambda: pool.plane.instance(instance.id).state == records.STOPPING,
    )  # fmt: skip
    with pytest.raises(ElasticInferenceError, match="was ended while"):
        pool.plane.attach(instance.id, "eia1.large")
    assert meanwhile.join()[1].state == records.STOPPED
    used = {each.accelerator_type for each in pool.plane.store.usage.where()}
    assert used == {"eia1.medium"}, "nothing is billed of an instance that stops"
    assert pool.plane.store.accelerators.where() == []
    assert pool.plane.instance(instance.id).accelerator_types == ("eia1.medium",)


def test_detached_while_it_stops(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = launch(pool, "eia1.medium", "eia1.large")
    large = pool.plane.store.accelerators_of(instance.id)[1]
    meanwhile = Meanwhile(
        pool, monkeypatch, "stop", lambda: pool.plane.detach(large.id),
        lambda: pool.plane.accelerator(large.id).state == records.DISASSOCIATING,
    )  # fmt: skip
    pool.plane.stop_instance(instance.id)
    assert meanwhile.join().id == large.id
    assert pool.plane.instance(instance.id).accelerator_types == ("eia1.medium",)


def test_one_that_has_ended_gets_no_credentials(pool: Pool) -> None:
    instance = launch(pool, "eia1.medium")
    pool.plane.terminate(instance.id)
    assert pool.plane.access.session_of(instance) is None
    keys = pool.plane.store.keys
    assert keys.where(keys.columns.instance_id == instance.id) == []
