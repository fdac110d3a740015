"""The control API over its real endpoint: who may do what, and what bad input gets."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from elastic_inference.control.certificates import Authority
from elastic_inference.control.client import ControlClient
from elastic_inference.control.pointer import Pointer
from elastic_inference.control.pool import Pool
from elastic_inference.errors import (
    AccessDeniedError,
    AuthenticationError,
    ElasticInferenceError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.protocol import sigv4, tokens

StartPool = Callable[..., Pool]
COMMAND = {"provider": "command"}
TARGET = "ElasticInferenceControl_20261101."


@pytest.fixture
def pool(start_pool: StartPool) -> Pool:
    return start_pool()


def client(pool: Pool, credentials: Mapping[str, str] | None = None) -> ControlClient:
    pointer = pool.pointer
    if credentials is not None:
        pointer = replace(
            pointer,
            access_key_id=credentials["accessKeyId"],
            secret_access_key=credentials["secretAccessKey"],
            session_token=credentials["sessionToken"],
        )
    return ControlClient(pointer, 60.0)


def post(
    pointer: Pointer, body: bytes, headers: Mapping[str, str], *, sign: bool = True
) -> tuple[int, dict[str, Any]]:
    """One request as it stands; the status and the answer."""
    url = urlsplit(pointer.endpoint)
    context = ssl.create_default_context(cafile=pointer.ca)
    connection = http.client.HTTPSConnection(
        url.hostname or "", url.port, timeout=60, context=context
    )
    if sign:
        headers = sigv4.sign(
            "POST", pointer.endpoint + "/", headers, body,
            pointer.access_key_id, pointer.secret_access_key,
        )  # fmt: skip
    try:
        connection.request("POST", "/", body, dict(headers))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_an_instance_from_run_to_terminate(pool: Pool) -> None:
    account = client(pool)
    started = account.call(
        "RunInstance",
        {**COMMAND, "acceleratorTypes": ["eia1.medium"], "leaseSeconds": 60, "name": "app"},
    )
    (attached,) = started["accelerators"]
    account.call("KeepAlive", {"instanceId": started["instanceId"]})
    (described,) = account.call("DescribeAccelerators", {})["accelerators"]
    assert described["acceleratorId"] == attached["acceleratorId"]
    assert described["health"] == "ok"
    assert described["instanceId"] == started["instanceId"]
    assert described["memoryLimit"] == 1 << 30
    assert 0 <= described["memoryUsed"] < 1 << 30
    assert described["usage"]["requests"] == 0
    (instance,) = account.call("DescribeInstances", {})["instances"]
    assert (instance["name"], instance["state"]) == ("app", "running")
    account.call("TerminateInstance", {"instanceId": started["instanceId"]})
    assert account.call("DescribeAccelerators", {}) == {"accelerators": []}
    with pytest.raises(NotFoundError):
        account.call("KeepAlive", {"instanceId": started["instanceId"]})


def test_connect_gives_a_token_for_that_accelerator_alone(pool: Pool) -> None:
    account = client(pool)
    started = account.call(
        "RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium", "eia1.medium"]}
    )
    one, other = (each["acceleratorId"] for each in started["accelerators"])
    grant = client(pool, started["credentials"]).call("Connect", {"acceleratorId": one})
    assert grant["serverName"].startswith(one)
    assert f"https://{grant['host']}:{grant['port']}" == pool.pointer.endpoint
    key = pool.plane.accelerator(one).token_key
    claims = tokens.verify(key, grant["token"].encode(), one, time.time())
    assert (claims.instance_id, claims.expires) == (started["instanceId"], grant["expires"])
    with pytest.raises(UnavailableError):
        pool.plane.fleet.ask(other, "/v2/elastic-inference/accelerator", grant["token"])


def test_a_token_may_be_asked_to_last(start_pool: StartPool) -> None:
    pool = start_pool(max_token_lifetime=7200.0)
    account = client(pool)
    started = account.call("RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium"]})
    accelerator_id = started["accelerators"][0]["acceleratorId"]
    before = time.time()
    grant = account.call("Connect", {"acceleratorId": accelerator_id, "expiresIn": 7200})
    assert before + 7200 <= grant["expires"] <= time.time() + 7200
    key = pool.plane.accelerator(accelerator_id).token_key
    claims = tokens.verify(key, grant["token"].encode(), accelerator_id, time.time())
    assert claims.expires == grant["expires"]
    with pytest.raises(InvalidRequestError, match="up to 7200 s"):
        account.call("Connect", {"acceleratorId": accelerator_id, "expiresIn": 7201})


def test_an_instance_reaches_only_what_is_its_own(pool: Pool) -> None:
    account = client(pool)
    mine = account.call("RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium"]})
    theirs = account.call("RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium"]})
    foreign = theirs["accelerators"][0]["acceleratorId"]
    me = client(pool, mine["credentials"])
    with pytest.raises(AccessDeniedError, match="another instance"):
        me.call("Connect", {"acceleratorId": foreign})
    with pytest.raises(AccessDeniedError, match="another instance"):
        me.call("Connect", {"acceleratorId": foreign, "ownAddress": True})
    assert pool.plane.accelerator(foreign).own_port is None
    with pytest.raises(AccessDeniedError, match="another instance"):
        me.call("DescribeAccelerators", {"acceleratorIds": [foreign]})
    seen = [each["acceleratorId"] for each in me.call("DescribeAccelerators", {})["accelerators"]]
    assert seen == [mine["accelerators"][0]["acceleratorId"]]
    for operation in ("RunInstance", "TerminateInstance", "KeepAlive", "DescribeInstances"):
        with pytest.raises(AccessDeniedError, match=operation):
            me.call(operation, {"instanceId": theirs["instanceId"]})
    account.call("TerminateInstance", {"instanceId": mine["instanceId"]})
    with pytest.raises(AuthenticationError, match="not known"):
        me.call("DescribeAccelerators", {})


@pytest.mark.parametrize(
    ("operation", "document", "error"),
    [
        ("Explode", {}, InvalidRequestError),
        ("RunInstance", {**COMMAND}, InvalidRequestError),
        ("RunInstance", {**COMMAND, "acceleratorTypes": "eia1.medium"}, InvalidRequestError),
        ("RunInstance", {**COMMAND, "acceleratorTypes": ["x" * 10000]}, InvalidRequestError),
        ("RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium"], "leaseSeconds": -1},
         InvalidRequestError),
        ("RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium"], "leaseSeconds": "1"},
         InvalidRequestError),
        ("RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium"], "name": "a\nb"},
         InvalidRequestError),
        ("RunInstance", {**COMMAND, "acceleratorTypes": ["eia1.medium"], "clientToken": 7},
         InvalidRequestError),
        ("TerminateInstance", {}, InvalidRequestError),
        ("TerminateInstance", {"instanceId": "i-none"}, NotFoundError),
        ("Connect", {"acceleratorId": "eia-none"}, NotFoundError),
        ("Connect", {"acceleratorId": "eia-none", "ownAddress": True}, NotFoundError),
        ("Connect", {"acceleratorId": "eia-none", "ownAddress": "yes"}, InvalidRequestError),
        ("Connect", {"acceleratorId": "eia-none", "expiresIn": 0}, InvalidRequestError),
        ("Connect", {"acceleratorId": "eia-none", "expiresIn": True}, InvalidRequestError),
        ("Connect", {"acceleratorId": "eia-none", "expiresIn": 1e30}, InvalidRequestError),
        ("DescribeAccelerators", {"acceleratorIds": "eia-none"}, InvalidRequestError),
        ("DescribeAccelerators", {"acceleratorIds": ["eia-none"]}, NotFoundError),
    ],
)  # fmt: skip
def test_wrong_documents_are_refused_by_name(
    pool: Pool, operation: str, document: dict[str, Any], error: type[ElasticInferenceError]
) -> None:
    with pytest.raises(error):
        client(pool).call(operation, document)
    assert pool.plane.store.instances.where() == []


def test_what_is_not_signed_with_the_pools_credentials_is_refused(pool: Pool) -> None:
    target = {"X-Amz-Target": TARGET + "DescribeInstances"}
    status, answer = post(pool.pointer, b"{}", target, sign=False)
    assert (status, answer["__type"], answer["kind"]) == (401, "Unauthenticated", "unauthenticated")
    for pointer in (
        replace(pool.pointer, secret_access_key="wrong"),
        replace(pool.pointer, access_key_id="EIAKUNKNOWN"),
    ):
        status, answer = post(pointer, b"{}", target)
        assert (status, answer["kind"]) == (401, "unauthenticated")
        assert answer["message"] == answer["error"]


@pytest.mark.parametrize(
    ("body", "target", "status", "why"),
    [
        (b"{", TARGET + "DescribeInstances", 400, "JSON object"),
        (b"[]", TARGET + "DescribeInstances", 400, "JSON object"),
        (b"[" * 60000, TARGET + "DescribeInstances", 400, "JSON object"),
        (b"\xff\xfe", TARGET + "DescribeInstances", 400, "JSON object"),
        (b"{}", "Other_2020.DescribeInstances", 400, "X-Amz-Target"),
        (b" " * 65537, TARGET + "DescribeInstances", 413, "larger than"),
    ],
)
def test_malformed_bodies_are_answered(
    pool: Pool, body: bytes, target: str, status: int, why: str
) -> None:
    answered, answer = post(pool.pointer, body, {"X-Amz-Target": target})
    assert answered == status
    assert why in answer["error"]


def test_a_client_of_accelerators_is_told_that_this_is_the_pool(pool: Pool) -> None:
    url = urlsplit(pool.pointer.endpoint)
    context = ssl.create_default_context(cafile=pool.pointer.ca)
    for method in ("GET", "HEAD"):
        connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context)
        connection.request(method, "/v2/health/live")
        response = connection.getresponse()
        body = response.read()
        assert response.status == 404
        assert method == "HEAD" or "ei token" in json.loads(body)["next_step"]
        connection.close()


def test_a_pool_that_cannot_be_trusted_is_told_apart(pool: Pool, tmp_path: Path) -> None:
    missing = replace(pool.pointer, ca=str(tmp_path / "no.pem"))
    with pytest.raises(UnavailableError, match=r"cannot be read from .*no\.pem"):
        ControlClient(missing, 5.0).call("DescribeInstances", {})
    another = Authority.open(tmp_path)
    with pytest.raises(UnavailableError, match="no certificate of the pool's authority"):
        ControlClient(replace(pool.pointer, ca=str(another.path)), 5.0).call("X", {})


def test_many_requests_on_one_connection(pool: Pool) -> None:
    url = urlsplit(pool.pointer.endpoint)
    context = ssl.create_default_context(cafile=pool.pointer.ca)
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context)
    for _ in range(3):
        headers = sigv4.sign(
            "POST", pool.pointer.endpoint + "/",
            {"X-Amz-Target": TARGET + "DescribeAcceleratorTypes"}, b"{}",
            pool.pointer.access_key_id, pool.pointer.secret_access_key,
        )  # fmt: skip
        connection.request("POST", "/", b"{}", headers)
        types = json.loads(connection.getresponse().read())["acceleratorTypes"]
        assert types[0]["acceleratorTypeName"] == "eia1.medium"
        assert types[0]["pricePerHour"] == 0.13
    connection.close()


def test_a_pool_that_is_not_there_is_unavailable(pool: Pool) -> None:
    pointer = replace(pool.pointer, endpoint="https://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="No pool answers"):
        ControlClient(pointer, 5.0).call("DescribeInstances", {})
