"""Hosts that register: their tokens, their keys, and their lives as instances."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.catalog import MIB
from elastic_inference.control.client import ControlClient
from elastic_inference.control.clock import Clock
from elastic_inference.control.pool import Pool
from elastic_inference.control.reachable import elsewhere
from elastic_inference.control.validation import HOST_SILENCE
from elastic_inference.errors import (
    AccessDeniedError,
    AuthenticationError,
    InsufficientCapacityError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from tests.pools import accelerator_pids

StartPool = Callable[..., Pool]
HOST = {"hostname": "cam-7", "boot_id": "b" * 36, "cores": 4, "memory_mib": 8192, "system": "Linux"}
Answer = dict[str, Any]


@pytest.fixture
def pool(start_pool: StartPool) -> Pool:
    return start_pool()


def owner(pool: Pool) -> ControlClient:
    return ControlClient(pool.pointer, 60.0)


def nobody(pool: Pool) -> ControlClient:
    return ControlClient(replace(pool.pointer, access_key_id="", secret_access_key=""), 60.0)


def secret_of(token: str) -> str:
    encoded = token.removeprefix("eij1.")
    document = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return str(document["s"])


def make_token(pool: Pool, *types: str, **more: Any) -> str:
    asked = {"acceleratorTypes": list(types), **more}
    return secret_of(owner(pool).call("CreateJoinToken", asked)["joinToken"])


def register(pool: Pool, secret: str, host: Answer | None = None, name: str = "") -> Answer:
    return nobody(pool).call("RegisterHost", {"secret": secret, "name": name, "host": host or HOST})


def as_host(pool: Pool, answer: Answer) -> ControlClient:
    given = answer["credentials"]
    pointer = replace(
        pool.pointer,
        access_key_id=given["accessKeyId"],
        secret_access_key=given["secretAccessKey"],
    )
    return ControlClient(pointer, 60.0)


def instance(pool: Pool, instance_id: str) -> Answer:
    (found,) = owner(pool).call("DescribeInstances", {"instanceIds": [instance_id]})["instances"]
    return dict(found)


def checks(pool: Pool, instance_id: str) -> dict[str, Answer]:
    answer = owner(pool).call("ValidateInstance", {"instanceId": instance_id})
    return {each["name"]: each for each in answer["checks"]}


def test_a_token_carries_the_authority_s_fingerprint_and_where_the_pool_is(pool: Pool) -> None:
    answer = owner(pool).call("CreateJoinToken", {"acceleratorTypes": ["eia1.medium"]})
    assert answer["joinToken"].startswith("eij1.")
    assert answer["endpoint"] == pool.pointer.endpoint
    assert answer["expires"] > pool.plane.clock.time() + 3500
    stored = pool.plane.store.join_tokens.where()
    assert secret_of(answer["joinToken"]) not in repr(stored)


class TestRegistered:
    def test_a_host_is_an_instance_with_what_its_token_says(self, pool: Pool) -> None:
        secret = make_token(pool, "eia1.medium", name="front", tags={"site": "north"})
        answer = register(pool, secret)
        (attached,) = answer["accelerators"]
        assert attached["acceleratorType"] == "eia1.medium"
        shown = instance(pool, answer["instanceId"])
        assert (shown["provider"], shown["state"], shown["name"]) == ("host", "running", "front")
        assert shown["host"] == HOST
        assert shown["tags"] == {"site": "north"}
        assert shown["lastSeen"] is None
        document = as_host(pool, answer).call("GetInstanceDocument", {})
        assert document["instanceId"] == answer["instanceId"]
        assert list(document["accelerators"]) == [attached["acceleratorId"]]
        assert document["credentials"]["sessionToken"]
        assert instance(pool, answer["instanceId"])["lastSeen"] is not None

    def test_a_name_of_the_host_s_own_wins_and_its_host_name_comes_last(self, pool: Pool) -> None:
        named = register(pool, make_token(pool, name="front"), name="mine")
        assert instance(pool, named["instanceId"])["name"] == "mine"
        unnamed = register(pool, make_token(pool))
        assert instance(pool, unnamed["instanceId"])["name"] == "cam-7"

    def test_its_own_key_is_for_nothing_else(self, pool: Pool) -> None:
        answer = register(pool, make_token(pool, "eia1.medium"))
        other = register(pool, make_token(pool))
        host = as_host(pool, answer)
        for operation, asked in (
            ("Connect", {"acceleratorId": answer["accelerators"][0]["acceleratorId"]}),
            ("DescribeInstances", {}),
            ("CreateJoinToken", {}),
            ("AttachAccelerator", {"instanceId": answer["instanceId"], "acceleratorType": "x"}),
        ):
            with pytest.raises(AccessDeniedError):
                host.call(operation, asked)
        for operation in ("GetInstanceDocument", "TerminateInstance"):
            with pytest.raises(NotFoundError):
                host.call(operation, {"instanceId": other["instanceId"]})

    def test_stopped_and_started_it_has_fresh_accelerators(self, pool: Pool) -> None:
        answer = register(pool, make_token(pool, "eia1.medium"))
        host = as_host(pool, answer)
        owner(pool).call("StopInstance", {"instanceId": answer["instanceId"]})
        document = host.call("GetInstanceDocument", {})
        assert (document["state"], document["accelerators"]) == ("stopped", {})
        owner(pool).call("StartInstance", {"instanceId": answer["instanceId"]})
        document = host.call("GetInstanceDocument", {})
        assert document["state"] == "running"
        ((accelerator, type_),) = document["accelerators"].items()
        assert accelerator != answer["accelerators"][0]["acceleratorId"]
        assert type_ == "eia1.medium"

    def test_its_end_takes_its_keys_tokens_and_accelerators(
        self, pool: Pool, short_path: Path
    ) -> None:
        answer = register(pool, make_token(pool, "eia1.medium"))
        host = as_host(pool, answer)
        role = host.call("GetInstanceDocument", {})["credentials"]
        ended = host.call("TerminateInstance", {"instanceId": answer["instanceId"]})
        assert ended["state"] == "terminated"
        assert accelerator_pids(short_path / "state") == {}
        assert pool.plane.store.rights.where() == []
        with pytest.raises(AuthenticationError, match="key is not known"):
            host.call("GetInstanceDocument", {})
        assert pool.plane.store.keys.get(role["accessKeyId"]) is None

    def test_a_silent_one_keeps_its_accelerators_and_that_it_is_silent_shows(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = register(pool, make_token(pool, "eia1.medium"))
        as_host(pool, answer).call("GetInstanceDocument", {})
        assert checks(pool, answer["instanceId"])["agent"]["ok"]
        later(monkeypatch, 2 * HOST_SILENCE)
        agent = pool_checks(pool, answer["instanceId"])["agent"]
        assert not agent.ok
        assert "silent for 12" in agent.message
        assert len(pool.plane.store.accelerators_of(answer["instanceId"])) == 1

    def test_it_is_the_same_one_after_a_restart_of_the_pool(self, start_pool: StartPool) -> None:
        first = start_pool()
        answer = register(first, make_token(first, "eia1.medium"))
        first.close()
        second = start_pool()
        document = as_host(second, answer).call("GetInstanceDocument", {})
        assert document["instanceId"] == answer["instanceId"]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the pool's clock forward."""
    now = Clock.time
    monkeypatch.setattr(Clock, "time", lambda self: now(self) + seconds)


def pool_checks(pool: Pool, instance_id: str) -> dict[str, Any]:
    """What ValidateInstance answers, where a signature of now would be too old."""
    from elastic_inference.control.validation import validate

    return {each.name: each for each in validate(pool.plane, pool.plane.instance(instance_id))}


class TestTokens:
    def test_who_has_not_heard_the_answer_asks_again(self, pool: Pool) -> None:
        secret = make_token(pool, "eia1.medium")
        first, again = register(pool, secret), register(pool, secret, name="other")
        assert again["instanceId"] == first["instanceId"]
        assert again["accelerators"] == first["accelerators"]
        with pytest.raises(AuthenticationError):
            as_host(pool, first).call("GetInstanceDocument", {})
        as_host(pool, again).call("GetInstanceDocument", {})

    def test_once_its_host_was_heard_of_it_is_used_up(self, pool: Pool) -> None:
        secret = make_token(pool)
        answer = register(pool, secret)
        as_host(pool, answer).call("GetInstanceDocument", {})
        with pytest.raises(AuthenticationError, match=f"it was used, for {answer['instanceId']}"):
            register(pool, secret)
        as_host(pool, answer).call("GetInstanceDocument", {})

    @pytest.mark.parametrize("changed", [{"boot_id": "c" * 36}, {"hostname": "x"}])
    def test_another_host_cannot_use_it_again(self, pool: Pool, changed: Answer) -> None:
        secret = make_token(pool)
        answer = register(pool, secret)
        with pytest.raises(AuthenticationError, match="it was used"):
            register(pool, secret, HOST | changed)
        as_host(pool, answer).call("GetInstanceDocument", {})

    def test_a_host_that_cannot_be_recognised_has_one_try(self, pool: Pool) -> None:
        secret, host = make_token(pool), HOST | {"boot_id": ""}
        register(pool, secret, host)
        with pytest.raises(AuthenticationError, match="it was used"):
            register(pool, secret, host)

    def test_it_does_not_outlive_what_came_of_it(self, pool: Pool) -> None:
        secret = make_token(pool)
        answer = register(pool, secret)
        owner(pool).call("TerminateInstance", {"instanceId": answer["instanceId"]})
        with pytest.raises(AuthenticationError, match="has ended"):
            register(pool, secret)
        pool.plane.store.instances.remove()
        with pytest.raises(AuthenticationError, match="has ended"):
            register(pool, secret)

    @pytest.mark.parametrize(
        "secret", ["unknown" * 6, "short", "with spaces in between it", "é" * 30]
    )
    def test_unknown_ones_are_refused(self, pool: Pool, secret: str) -> None:
        with pytest.raises((AuthenticationError, InvalidRequestError)):
            register(pool, secret)
        assert pool.plane.store.instances.where() == []

    def test_expired_ones_are_refused(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        secret = make_token(pool, expiresIn=60)
        later(monkeypatch, 61)
        with pytest.raises(AuthenticationError, match="it has expired"):
            register(pool, secret)

    @pytest.mark.parametrize(
        "asked",
        [
            {"acceleratorTypes": ["eia9.huge"]},
            {"acceleratorTypes": ["eia1.medium"] * 6},
            {"expiresIn": 0},
            {"expiresIn": 1e9},
            {"roleName": "nobody"},
            {"subnetId": "subnet-0"},
            {"tags": {"": "x"}},
        ],
    )
    def test_what_would_not_work_later_is_told_at_once(self, pool: Pool, asked: Answer) -> None:
        with pytest.raises((InvalidRequestError, NotFoundError)):
            owner(pool).call("CreateJoinToken", asked)

    @pytest.mark.parametrize(
        "host",
        [
            {"hostname": 1},
            {"hostname": "x" * 129},
            {"hostname": "a\nb"},
            {"cores": "4"},
            {"cores": True},
            {"memory_mib": -1},
            {"boot_id": {}},
        ],
    )
    def test_facts_that_are_none_are_refused(self, pool: Pool, host: Answer) -> None:
        secret = make_token(pool)
        with pytest.raises(InvalidRequestError):
            register(pool, secret, HOST | host)
        register(pool, secret)

    def test_without_room_it_stays_usable_and_what_is_free_is_told(
        self, start_pool: StartPool
    ) -> None:
        pool = start_pool(node_memory=3 * 1024 * MIB)
        secret = make_token(pool, "eia1.large")
        other = owner(pool).call(
            "RunInstance", {"acceleratorTypes": ["eia1.large"], "provider": "command"}
        )
        with pytest.raises(InsufficientCapacityError, match="1024 MiB"):
            register(pool, secret)
        owner(pool).call("TerminateInstance", {"instanceId": other["instanceId"]})
        assert len(register(pool, secret)["accelerators"]) == 1

    def test_where_an_accelerator_does_not_start_it_stays_usable(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = make_token(pool, "eia1.medium")
        with monkeypatch.context() as broken:
            broken.setattr(pool.plane.fleet, "start", _refuse)
            with pytest.raises(UnavailableError, match="out of order"):
                register(pool, secret)
        assert len(register(pool, secret)["accelerators"]) == 1


def _refuse(order: object) -> None:
    del order
    raise UnavailableError("It is out of order.")


class TestElsewhere:
    def test_the_address_that_was_reached_is_one(self) -> None:
        assert elsewhere("0.0.0.0", "10.0.0.5") == "10.0.0.5"

    def test_over_loopback_it_is_the_listener_s_own(self) -> None:
        assert elsewhere("10.0.0.5", "127.0.0.1") == "10.0.0.5"
        assert elsewhere("127.0.0.1", "127.0.0.1") == "127.0.0.1"

    def test_a_listener_on_all_addresses_has_one_that_is_not_loopback(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from elastic_inference.control import reachable

        monkeypatch.setattr(reachable, "_outgoing", lambda _: "")
        monkeypatch.setattr(reachable, "names_of", lambda _: ["127.0.0.1", "here", "10.0.0.7"])
        assert elsewhere("0.0.0.0", "127.0.0.1") == "10.0.0.7"
        monkeypatch.setattr(reachable, "names_of", lambda _: ["127.0.0.1", "localhost"])
        assert elsewhere("0.0.0.0", "127.0.0.1") == "127.0.0.1"
