"""Who may connect, with what words it is refused, and how soon a right ends."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.control import records
from elastic_inference.control.access import principal_of
from elastic_inference.control.client import ControlClient
from elastic_inference.control.network_rules import Obstacle
from elastic_inference.control.pool import Pool
from elastic_inference.control.records import Instance
from elastic_inference.errors import (
    AccessDeniedError,
    AuthenticationError,
    ElasticInferenceError,
    InvalidRequestError,
    UnavailableError,
)

StartPool = Callable[..., Pool]
CONNECT = "elastic-inference:Connect"


@pytest.fixture
def pool(start_pool: StartPool) -> Pool:
    return start_pool()


def owner(pool: Pool) -> ControlClient:
    return ControlClient(pool.pointer, 60.0)


def holder(pool: Pool, credentials: Mapping[str, Any]) -> ControlClient:
    pointer = replace(
        pool.pointer,
        access_key_id=credentials["accessKeyId"],
        secret_access_key=credentials["secretAccessKey"],
        session_token=credentials.get("sessionToken") or "",
    )
    return ControlClient(pointer, 60.0)


def policy(effect: str, action: str = CONNECT, resource: str = "*", **more: Any) -> str:
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def run(pool: Pool, **wanted: Any) -> tuple[str, str, ControlClient]:
    """An instance with one accelerator: their ids, and a caller with its credentials."""
    started = owner(pool).call(
        "RunInstance", {"acceleratorTypes": ["eia1.medium"], "provider": "command", **wanted}
    )
    accelerator = started["accelerators"][0]["acceleratorId"]
    return started["instanceId"], accelerator, holder(pool, started["credentials"])


def answers(pool: Pool, accelerator_id: str, token: str) -> bool:
    """Whether the accelerator's data plane takes a token."""
    try:
        pool.plane.fleet.ask(accelerator_id, "/v2/elastic-inference/accelerator", token)
    except UnavailableError as error:
        if "status 401" not in error.message:
            raise
        return False
    return True


def refuses(pool: Pool, accelerator_id: str, token: str) -> bool:
    """Whether the accelerator refuses a token, once it has heard that that was withdrawn."""
    deadline = time.monotonic() + 10.0
    while answers(pool, accelerator_id, token):
        if time.monotonic() > deadline:
            return False
    return True


class TestRefused:
    def test_a_role_without_connect_is_told_the_missing_action(self, pool: Pool) -> None:
        owner(pool).call("CreateRole", {"roleName": "idle"})
        _, accelerator, instance = run(pool, roleName="idle")
        with pytest.raises(AccessDeniedError) as refused:
            instance.call("Connect", {"acceleratorId": accelerator})
        assert refused.value.ei_code == (3, 16, 8)
        assert refused.value.accelerator_id == accelerator
        text = str(refused.value)
        assert text.startswith("Unable to authenticate with accelerator: ")
        assert f"assumed-role/idle/{instance_id_of(refused.value.message)}" in text
        assert f"may not do {CONNECT} on arn:aws:elastic-inference:us-east-1:" in text
        assert "no policy allows it" in text
        assert "EI Error Code: [3, 16, 8]" in text
        assert "ei access policy put" in refused.value.next_step

    def test_a_deny_is_named(self, pool: Pool) -> None:
        account = owner(pool)
        account.call("PutPolicy", {"policyName": "Never", "document": policy("Deny")})
        account.call("AttachPolicy", {"policyName": "Never", "roleName": "elastic-inference"})
        _, accelerator, instance = run(pool)
        with pytest.raises(AccessDeniedError, match=r"policy Never.* denies it"):
            instance.call("Connect", {"acceleratorId": accelerator})

    def test_a_policy_for_one_accelerator_is_for_no_other(self, pool: Pool) -> None:
        account = owner(pool)
        account.call("CreateRole", {"roleName": "narrow"})
        started = account.call(
            "RunInstance",
            {
                "acceleratorTypes": ["eia1.medium", "eia1.medium"],
                "provider": "command",
                "roleName": "narrow",
            },
        )
        one, other = (each["acceleratorId"] for each in started["accelerators"])
        arn = f"arn:aws:elastic-inference:*:*:elastic-inference-accelerator/{one}"
        account.call("PutPolicy", {"policyName": "One", "document": policy("Allow", resource=arn)})
        account.call("AttachPolicy", {"policyName": "One", "roleName": "narrow"})
        instance = holder(pool, started["credentials"])
        assert instance.call("Connect", {"acceleratorId": one})["acceleratorId"] == one
        with pytest.raises(AccessDeniedError, match=other):
            instance.call("Connect", {"acceleratorId": other})

    def test_the_source_address_counts(self, pool: Pool) -> None:
        account = owner(pool)
        elsewhere = policy("Deny", Condition={"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
        account.call("PutPolicy", {"policyName": "Inside", "document": elsewhere})
        account.call("AttachPolicy", {"policyName": "Inside", "roleName": "elastic-inference"})
        _, accelerator, instance = run(pool)
        with pytest.raises(AccessDeniedError, match="policy Inside"):
            instance.call("Connect", {"acceleratorId": accelerator})

    def test_a_request_is_taken_once(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        _, accelerator, instance = run(pool)
        monkeypatch.setattr(secrets, "token_urlsafe", lambda _=None: "always-the-same-nonce")
        instance.call("Connect", {"acceleratorId": accelerator})
        with pytest.raises(AuthenticationError, match="was used before"):
            instance.call("Connect", {"acceleratorId": accelerator})
        for _ in range(2):
            instance.call("DescribeAccelerators", {})

    def test_a_request_without_a_nonce_is_none(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, accelerator, instance = run(pool)
        monkeypatch.setattr(secrets, "token_urlsafe", lambda _=None: "short")
        with pytest.raises(AuthenticationError, match="X-Amz-Ei-Nonce"):
            instance.call("Connect", {"acceleratorId": accelerator})

    def test_session_tokens_belong_to_their_keys(self, pool: Pool) -> None:
        _, accelerator, instance = run(pool)
        for wrong in ("", "another", None):
            pointer = replace(instance.pointer, session_token=wrong or "")
            with pytest.raises(AuthenticationError, match="session token"):
                ControlClient(pointer, 60.0).call("Connect", {"acceleratorId": accelerator})

    def test_another_instance_s_accelerator(self, pool: Pool) -> None:
        _, mine, _ = run(pool)
        _, _, other = run(pool)
        with pytest.raises(AccessDeniedError, match="belongs to another instance"):
            other.call("Connect", {"acceleratorId": mine})

    def test_an_instance_ends_nobody(self, pool: Pool) -> None:
        instance_id, _, instance = run(pool)
        with pytest.raises(AccessDeniedError, match="elastic-inference:TerminateInstance"):
            instance.call("TerminateInstance", {"instanceId": instance_id})

    def test_expired_credentials(self, start_pool: StartPool) -> None:
        pool = start_pool()
        _, accelerator, instance = run(pool)
        keys = pool.plane.store.keys
        keys.change(keys.columns.id == instance.pointer.access_key_id, expires_at=1.0)
        with pytest.raises(AuthenticationError, match="have expired"):
            instance.call("Connect", {"acceleratorId": accelerator})


def instance_id_of(message: str) -> str:
    return message.split("assumed-role/idle/")[1].split(" ", 1)[0]


class TestWithdrawn:
    def connected(self, pool: Pool) -> tuple[str, str, ControlClient, str]:
        instance_id, accelerator, instance = run(pool)
        token = instance.call("Connect", {"acceleratorId": accelerator})["token"]
        assert answers(pool, accelerator, token)
        return instance_id, accelerator, instance, token

    def test_when_a_policy_is_detached(self, pool: Pool) -> None:
        _, accelerator, instance, token = self.connected(pool)
        account = owner(pool)
        own = account.call("Connect", {"acceleratorId": accelerator})["token"]
        account.call(
            "DetachPolicy",
            {"policyName": "ElasticInferenceDefault", "roleName": "elastic-inference"},
        )
        assert refuses(pool, accelerator, token)
        assert answers(pool, accelerator, own), "the right of another is another"
        with pytest.raises(AccessDeniedError):
            instance.call("Connect", {"acceleratorId": accelerator})
        account.call(
            "AttachPolicy",
            {"policyName": "ElasticInferenceDefault", "roleName": "elastic-inference"},
        )
        again = instance.call("Connect", {"acceleratorId": accelerator})["token"]
        assert answers(pool, accelerator, again)
        assert refuses(pool, accelerator, token)

    def test_while_the_policy_is_looked_at(self, pool: Pool) -> None:
        _, accelerator, instance = run(pool)
        detach = threading.Thread(
            target=owner(pool).call,
            args=(
                "DetachPolicy",
                {"policyName": "ElasticInferenceDefault", "roleName": "elastic-inference"},
            ),
        )
        look = pool.plane.network.obstacles

        def look_slowly(of: Instance) -> list[Obstacle]:
            if not detach.ident:
                detach.start()
                # It has all the time that it could need, if it need not wait.
                detach.join(2.0)
            return look(of)

        pool.plane.network.obstacles = look_slowly  # type: ignore[method-assign, assignment]  # to be slow
        token = instance.call("Connect", {"acceleratorId": accelerator})["token"]
        detach.join()
        assert refuses(pool, accelerator, token)

    def test_when_a_policy_changes(self, pool: Pool) -> None:
        _, accelerator, _, token = self.connected(pool)
        owner(pool).call(
            "PutPolicy", {"policyName": "ElasticInferenceDefault", "document": policy("Deny")}
        )
        assert refuses(pool, accelerator, token)

    def test_when_a_user_s_key_is_disabled(self, pool: Pool) -> None:
        _, accelerator, _ = run(pool)
        account = owner(pool)
        account.call("CreateUser", {"userName": "ann"})
        account.call("PutPolicy", {"policyName": "Use", "document": policy("Allow")})
        account.call("AttachPolicy", {"policyName": "Use", "userName": "ann"})
        key = account.call("CreateAccessKey", {"userName": "ann"})
        ann = holder(pool, key)
        token = ann.call("Connect", {"acceleratorId": accelerator})["token"]
        assert answers(pool, accelerator, token)
        status = {"accessKeyId": key["accessKeyId"], "status": "Inactive"}
        account.call("UpdateAccessKey", status)
        assert refuses(pool, accelerator, token)
        with pytest.raises(AuthenticationError, match="is disabled"):
            ann.call("Connect", {"acceleratorId": accelerator})
        account.call("UpdateAccessKey", status | {"status": "Active"})
        assert answers(
            pool, accelerator, ann.call("Connect", {"acceleratorId": accelerator})["token"]
        )

    def test_when_the_endpoint_has_another_policy(self, pool: Pool) -> None:
        instance_id, accelerator, instance, token = self.connected(pool)
        store, plane = pool.plane.store, pool.plane
        endpoint = store.endpoints.columns

        def set_policy(text: str | None) -> None:
            with plane.connections.rechecked():
                store.endpoints.change(endpoint.account != "", policy=text)

        set_policy(policy("Allow", Principal={"AWS": "arn:aws:iam::000000000000:role/other"}))
        assert refuses(pool, accelerator, token)
        with pytest.raises(AccessDeniedError, match="policy of the endpoint vpce-") as refused:
            instance.call("Connect", {"acceleratorId": accelerator})
        assert "aws ec2 modify-vpc-endpoint --vpc-endpoint-id vpce-" in refused.value.next_step
        checks = owner(pool).call("ValidateInstance", {"instanceId": instance_id})["checks"]
        (wrong,) = [each for each in checks if not each["ok"]]
        assert "policy of the endpoint" in wrong["message"]
        # Who is no instance does not come through the endpoint.
        owner(pool).call("Connect", {"acceleratorId": accelerator})
        role = "arn:aws:iam::000000000000:role/elastic-inference"
        for text in (policy("Allow", Principal={"AWS": role}), None):
            set_policy(text)
            again = instance.call("Connect", {"acceleratorId": accelerator})["token"]
            assert answers(pool, accelerator, again)

    def test_when_the_network_closes(self, pool: Pool) -> None:
        instance_id, accelerator, instance, token = self.connected(pool)
        account = owner(pool)
        network = account.call("DescribeNetwork", {})
        (endpoint,) = network["endpoints"]
        (rule,) = [
            rule["ruleId"]
            for group in network["securityGroups"]
            for rule in group["rules"]
            if group["groupId"] in endpoint["securityGroupIds"] and rule["direction"] == "ingress"
        ]
        account.call("RevokeRule", {"ruleId": rule})
        assert refuses(pool, accelerator, token)
        with pytest.raises(AccessDeniedError, match="lets TCP port 443 in") as refused:
            instance.call("Connect", {"acceleratorId": accelerator})
        assert "ei network allow" in refused.value.next_step
        checks = account.call("ValidateInstance", {"instanceId": instance_id})["checks"]
        wrong = [each for each in checks if not each["ok"]]
        assert [each["name"] for each in wrong] == ["network: endpoint-ingress"]
        group = endpoint["securityGroupIds"][0]
        account.call(
            "AuthorizeRule",
            {
                "groupId": group,
                "direction": "ingress",
                "protocol": "tcp",
                "fromPort": 443,
                "toPort": 443,
                "cidr": "0.0.0.0/0",
            },
        )
        assert answers(
            pool, accelerator, instance.call("Connect", {"acceleratorId": accelerator})["token"]
        )

    def test_when_the_endpoint_is_deleted(self, pool: Pool) -> None:
        _, accelerator, instance, token = self.connected(pool)
        account = owner(pool)
        (endpoint,) = account.call("DescribeNetwork", {})["endpoints"]
        account.call("DeleteEndpoint", {"endpointId": endpoint["endpointId"]})
        assert refuses(pool, accelerator, token)
        with pytest.raises(AccessDeniedError, match="has no endpoint"):
            instance.call("Connect", {"acceleratorId": accelerator})

    def test_whoever_else_reads_of_the_network_meanwhile(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        instance_id, accelerator, _, token = self.connected(pool)
        plane, network = pool.plane, pool.plane.network
        instance, endpoints = plane.instance(instance_id), plane.store.endpoints
        withdraw, read = plane.connections._withdraw, network._read

        def obstacles() -> list[str]:
            with ThreadPoolExecutor(1) as other:
                found = other.submit(network.obstacles, instance).result(60)
            return [each.code for each in found]

        def read_before() -> set[str]:
            assert obstacles() == []
            return withdraw()

        def change_after() -> Any:
            found = read()
            monkeypatch.setattr(network, "_read", read)
            with plane.connections.rechecked():
                endpoints.remove(endpoints.columns.account == instance.account)
            return found

        monkeypatch.setattr(network, "_read", change_after)
        monkeypatch.setattr(plane.connections, "_withdraw", read_before)
        network.changed()
        assert obstacles() == []
        assert refuses(pool, accelerator, token)
        assert obstacles() == ["no-endpoint"]

    def test_even_where_the_control_plane_died_before_it_told(
        self, start_pool: StartPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = start_pool(outlive=True)
        started = owner(first).call(
            "RunInstance", {"acceleratorTypes": ["eia1.medium"], "provider": "command"}
        )
        accelerator = started["accelerators"][0]["acceleratorId"]
        instance = holder(first, started["credentials"])
        token = instance.call("Connect", {"acceleratorId": accelerator})["token"]
        # It dies after the transaction and before the accelerator hears of it.
        monkeypatch.setattr(first.plane.connections, "tell", lambda _: None)
        owner(first).call(
            "DetachPolicy",
            {"policyName": "ElasticInferenceDefault", "roleName": "elastic-inference"},
        )
        assert answers(first, accelerator, token)
        first.close()
        second = start_pool(outlive=True)
        assert refuses(second, accelerator, token)


class TestCredentials:
    def test_an_instance_s_are_renewed_before_they_expire(self, start_pool: StartPool) -> None:
        pool = start_pool()
        instance_id, _, instance = run(pool)
        document = {"instanceId": instance_id}
        first = owner(pool).call("GetInstanceDocument", document)["credentials"]
        assert first["accessKeyId"] == instance.pointer.access_key_id
        assert instance.call("GetInstanceDocument", {})["credentials"] == first
        keys = pool.plane.store.keys
        # Half of their time is over.
        keys.change(
            keys.columns.id == first["accessKeyId"],
            expires_at=first["expiration"] - 0.51 * pool.plane.settings.credentials_lifetime,
        )
        second = owner(pool).call("GetInstanceDocument", document)["credentials"]
        assert second["accessKeyId"] != first["accessKeyId"]
        instance.call("DescribeAccelerators", {})

    def test_they_end_with_the_instance(self, pool: Pool) -> None:
        instance_id, _, instance = run(pool)
        owner(pool).call("TerminateInstance", {"instanceId": instance_id})
        with pytest.raises(AuthenticationError, match="is not known"):
            instance.call("DescribeAccelerators", {})

    def test_a_role_that_is_assumed(self, pool: Pool) -> None:
        answer = owner(pool).call("AssumeRole", {"roleName": "elastic-inference"})
        session = holder(pool, answer["credentials"])
        _, accelerator, _ = run(pool)
        assert session.call("Connect", {"acceleratorId": accelerator})["token"]
        with pytest.raises(AccessDeniedError):
            session.call("ListRoles", {})


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "line 1"),
        ('{"Version": "2012-10-17", "Statement": [{"Effect": "Maybe"}]}', r"Statement\[0\]"),
        ("[]", "policy"),
    ],
)
def test_a_policy_with_an_error_is_refused_by_its_position(
    pool: Pool, document: str, why: str
) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        owner(pool).call("PutPolicy", {"policyName": "Broken", "document": document})
    names = [each["policyName"] for each in owner(pool).call("ListPolicies", {})["policies"]]
    assert "Broken" not in names


def test_the_owner_s_key_stays(pool: Pool) -> None:
    key = pool.pointer.access_key_id
    for operation, more in (("DeleteAccessKey", {}), ("UpdateAccessKey", {"status": "Inactive"})):
        with pytest.raises(ElasticInferenceError, match="account's own key"):
            owner(pool).call(operation, {"accessKeyId": key, **more})


def test_users_do_what_their_policies_say(pool: Pool) -> None:
    account = owner(pool)
    account.call("CreateUser", {"userName": "reader"})
    document = policy("Allow", "elastic-inference:Describe*")
    account.call("PutPolicy", {"policyName": "Read", "document": document})
    account.call("AttachPolicy", {"policyName": "Read", "userName": "reader"})
    reader = holder(pool, account.call("CreateAccessKey", {"userName": "reader"}))
    assert reader.call("DescribeInstances", {}) == {"instances": []}
    with pytest.raises(AccessDeniedError, match="elastic-inference:RunInstance"):
        reader.call("RunInstance", {"acceleratorTypes": ["eia1.medium"]})
    account.call("DeleteUser", {"userName": "reader"})
    with pytest.raises(AuthenticationError):
        reader.call("DescribeInstances", {})


def test_a_principal_s_arn_is_as_aws_writes_it() -> None:
    key = records.AccessKey(id="k", secret="s", kind=records.ROLE, name="r", session="i-1")
    assert principal_of(key).arn == "arn:aws:sts::000000000000:assumed-role/r/i-1"
    user = records.AccessKey(id="k", secret="s", kind=records.USER, name="ann")
    assert principal_of(user).arn == "arn:aws:iam::000000000000:user/ann"


def test_every_operation_is_documented(pool: Pool) -> None:
    text = (Path(__file__).parents[2] / "docs" / "control-api.md").read_text(encoding="utf-8")
    assert "RunInstance" in pool.operations.names
    assert [each for each in pool.operations.names if f"`{each}`" not in text] == []
