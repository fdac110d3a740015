"""Accelerators' own addresses, with real pools, accelerators and TLS clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from elastic_inference.control import reachable
from elastic_inference.control.client import ControlClient
from elastic_inference.control.listener import listen
from elastic_inference.control.pool import Pool
from elastic_inference.errors import (
    ConfigurationError,
    LimitExceededError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.fleet.base import Health
from tests.pools import PATIENCE, accelerator_pids, gone, held, open_files, spare_port

StartPool = Callable[..., Pool]
_LISTENS = "0A"


@dataclass(frozen=True)
class Access:
    """What a client knows of an accelerator."""

    host: str
    port: int
    token: str
    ca: str
    server_name: str


def launch(pool: Pool) -> tuple[str, str]:
    """A new instance and its one accelerator."""
    instance, (accelerator,), _ = pool.plane.run_instance(["eia1.medium"])
    return instance.id, accelerator.id


def access(pool: Pool, accelerator_id: str) -> Access:
    """Ask for the accelerator's own address."""
    grant = ControlClient(pool.pointer, PATIENCE).call(
        "Connect", {"acceleratorId": accelerator_id, "ownAddress": True}
    )
    own = grant["ownAddress"]
    return Access(own["host"], own["port"], grant["token"], pool.pointer.ca, grant["serverName"])


def context(ca: str, *, names: bool = True) -> ssl.SSLContext:
    """A client's that trusts the pool; without `names` it does not look for whom."""
    made = ssl.create_default_context(cafile=ca)
    made.check_hostname = names
    return made


def get(
    given: Access, path: str, token: str | None, name: str | None = None
) -> tuple[int, dict[str, Any]]:
    """GET as a client that verifies the address, or, with `name`, sends another server name."""
    tls = context(given.ca, names=name is None)
    plain = socket.create_connection((given.host, given.port), PATIENCE)
    with tls.wrap_socket(plain, server_hostname=name or given.host) as secured:
        connection = http.client.HTTPConnection(given.host)
        connection.sock = secured
        headers = {"Connection": "close"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")


def owner(given: Access, name: str | None = None) -> str:
    """The id of the accelerator that answers there."""
    status, answer = get(given, "/v2/elastic-inference/accelerator", given.token, name)
    assert status == 200, answer
    return str(answer["accelerator_id"])


def refused(given: Access) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection((given.host, given.port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def listeners_of(pid: int) -> set[str]:
    """The inodes of the TCP sockets of a process that listen."""
    table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    listening = {line.split()[9] for line in table if line.split()[3] == _LISTENS}
    links = open_files(pid)
    return {inode for inode in listening if f"socket:[{inode}]" in links}


def test_it_leads_to_its_accelerator_without_a_server_name(start_pool: StartPool) -> None:
    pool = start_pool()
    first, second = (launch(pool)[1] for _ in range(2))
    ways = {each: access(pool, each) for each in (first, second)}
    assert len({given.port for given in ways.values()}) == 2
    for accelerator_id, given in ways.items():
        # Python sends no server name where it connects to an IP address, and verifies that.
        assert owner(given) == accelerator_id
        assert access(pool, accelerator_id).port == given.port


@pytest.mark.parametrize(
    "name", ["localhost", "www.example.org", "runtime.elastic-inference.internal"]
)
def test_any_server_name_leads_there(start_pool: StartPool, name: str) -> None:
    pool = start_pool()
    (_, mine), (_, other) = launch(pool), launch(pool)
    given = access(pool, mine)
    assert owner(given, name) == mine
    assert owner(given, access(pool, other).server_name) == mine


def test_grpcs_own_client_verifies_it(start_pool: StartPool) -> None:
    pool = start_pool()
    given = access(pool, launch(pool)[1])
    trust = grpc.ssl_channel_credentials(Path(given.ca).read_bytes())
    with grpc.secure_channel(f"{given.host}:{given.port}", trust) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        # A message of one field: status, SERVING.
        assert check(b"", timeout=PATIENCE) == b"\x08\x01"


def test_it_grants_nothing(start_pool: StartPool) -> None:
    pool = start_pool()
    (_, mine), (_, other) = launch(pool), launch(pool)
    given, foreign = access(pool, mine), access(pool, other)
    for token in (None, foreign.token, given.token[:-2] + "xx"):
        status, answer = get(given, "/v2/elastic-inference/accelerator", token)
        assert (status, answer["kind"]) == (401, "unauthenticated")
    assert get(given, "/v2/health/live", None)[0] == 200


def test_what_is_not_tls_never_reaches_the_accelerator(start_pool: StartPool) -> None:
    pool = start_pool()
    given = access(pool, launch(pool)[1])
    with socket.create_connection((given.host, given.port), PATIENCE) as plain:
        plain.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: plain.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"This port speaks TLS: use https://, or TLS with gRPC.\n")
    with socket.create_connection((given.host, given.port), PATIENCE) as plain:
        plain.sendall(b"\x00" * 64)
        with contextlib.suppress(ConnectionResetError):
            assert plain.recv(1) == b""
    assert get(given, "/v2/health/live", None)[0] == 200


def test_only_one_with_an_own_address_may_speak_for_the_machine(start_pool: StartPool) -> None:
    pool = start_pool()
    _, accelerator_id = launch(pool)
    name = f"{accelerator_id}.elastic-inference.internal"
    host, _, port = pool.pointer.endpoint.removeprefix("https://").rpartition(":")

    def names() -> set[str]:
        plain = socket.create_connection((host, int(port)), PATIENCE)
        with context(pool.pointer.ca).wrap_socket(plain, server_hostname=name) as secured:
            certificate = secured.getpeercert()
        assert certificate is not None
        return {str(each[1]) for each in certificate["subjectAltName"]}

    assert names() == {name}
    access(pool, accelerator_id)
    assert names() == {name, "localhost", "127.0.0.1"}


def test_it_is_described_where_there_is_one(start_pool: StartPool) -> None:
    pool = start_pool()
    account = ControlClient(pool.pointer, PATIENCE)
    _, accelerator_id = launch(pool)
    (before,) = account.call("DescribeAccelerators", {})["accelerators"]
    assert before["ownAddress"] is None
    given = access(pool, accelerator_id)
    (after,) = account.call("DescribeAccelerators", {})["accelerators"]
    assert after["ownAddress"] == {"host": given.host, "port": given.port}


def test_many_who_ask_at_one_time_get_the_same(start_pool: StartPool) -> None:
    pool = start_pool()
    _, accelerator_id = launch(pool)
    with ThreadPoolExecutor(8) as asking:
        given = list(asking.map(lambda _: access(pool, accelerator_id), range(16)))
    assert len({each.port for each in given}) == 1
    assert owner(given[0]) == accelerator_id


def test_a_restarted_pool_has_it_again(start_pool: StartPool) -> None:
    first = start_pool(outlive=True)
    _, accelerator_id = launch(first)
    _, without = launch(first)
    given = access(first, accelerator_id)
    first.close()
    assert refused(given)
    second = start_pool(outlive=True)
    assert owner(given) == accelerator_id
    assert access(second, accelerator_id).port == given.port
    assert second.plane.accelerator(without).own_port is None


def test_it_outlives_the_process_of_its_accelerator(
    start_pool: StartPool, short_path: Path
) -> None:
    pool = start_pool()
    _, accelerator_id = launch(pool)
    given = access(pool, accelerator_id)
    healths: queue.Queue[Health] = queue.Queue()
    pool.plane.fleet.watch(lambda _, status: healths.put(status.health))
    pid = accelerator_pids(short_path / "state")[accelerator_id]
    with held(pid) as process:
        os.kill(pid, signal.SIGKILL)
        assert gone(process)
    while healths.get(timeout=PATIENCE) is not Health.OK:
        pass
    assert owner(given) == accelerator_id
    # It was started while the pool listened: nothing of that came down to it.
    again = accelerator_pids(short_path / "state")[accelerator_id]
    assert listeners_of(again) == set()
    assert len(listeners_of(os.getpid())) >= 2


def test_it_ends_with_its_accelerator_and_its_port_is_free(start_pool: StartPool) -> None:
    port = spare_port()
    pool = start_pool(own_ports=(port, port))
    instance_id, first = launch(pool)
    _, second = launch(pool)
    given = access(pool, first)
    assert given.port == port
    with pytest.raises(LimitExceededError, match=f"No port from {port} to {port}.*EI_OWN_PORTS"):
        access(pool, second)
    with socket.create_connection((given.host, given.port), PATIENCE):
        pool.plane.terminate(instance_id)
    assert refused(given)
    with pytest.raises(NotFoundError):
        access(pool, first)
    again = access(pool, second)
    assert again.port == port
    assert owner(again) == second


def test_they_are_bounded(start_pool: StartPool) -> None:
    pool = start_pool(max_own_addresses=1)
    _, first = launch(pool)
    _, second = launch(pool)
    access(pool, first)
    with pytest.raises(LimitExceededError, match="EI_MAX_OWN_ADDRESSES"):
        access(pool, second)
    assert owner(access(pool, first)) == first


def test_one_whose_port_is_taken_meanwhile_gets_another(
    start_pool: StartPool, caplog: pytest.LogCaptureFixture
) -> None:
    first = start_pool(outlive=True)
    _, accelerator_id = launch(first)
    given = access(first, accelerator_id)
    first.close()
    with listen(f"{given.host}:{given.port}"):
        second = start_pool(outlive=True)
        assert f"cannot have port {given.port} of last time again" in caplog.text
        moved = access(second, accelerator_id)
        assert moved.port != given.port
        assert f"port {moved.port} now" in caplog.text
        assert owner(moved) == accelerator_id
        assert second.plane.accelerator(accelerator_id).own_port == moved.port


def test_it_moves_into_a_range_that_is_new(start_pool: StartPool) -> None:
    first = start_pool(outlive=True)
    _, accelerator_id = launch(first)
    given = access(first, accelerator_id)
    first.close()
    port = spare_port()
    start_pool(outlive=True, own_ports=(port, port))
    assert refused(given)
    assert owner(Access(given.host, port, given.token, given.ca, "")) == accelerator_id


def test_one_that_can_have_no_port_goes_on_without(
    start_pool: StartPool, caplog: pytest.LogCaptureFixture
) -> None:
    first = start_pool(outlive=True)
    _, accelerator_id = launch(first)
    access(first, accelerator_id)
    first.close()
    port = spare_port()
    with listen(f"127.0.0.1:{port}"):
        second = start_pool(outlive=True, own_ports=(port, port))
        assert "and no other" in caplog.text
        assert second.plane.accelerator(accelerator_id).own_port is None
    assert access(second, accelerator_id).port == port


def test_one_that_runs_on_gets_a_certificate_for_a_new_address(start_pool: StartPool) -> None:
    first = start_pool(outlive=True)
    _, accelerator_id = launch(first)
    assert access(first, accelerator_id).host == "127.0.0.1"
    first.close()
    second = start_pool(outlive=True, listen_on="127.0.0.2:0")
    given = access(second, accelerator_id)
    assert given.host == "127.0.0.2"
    assert owner(given) == accelerator_id


def test_it_may_be_on_ipv6(start_pool: StartPool) -> None:
    try:
        listen("[::1]:0").close()
    except ConfigurationError:
        pytest.skip("this machine has no IPv6 loopback address")
    pool = start_pool(listen_on="[::1]:0")
    _, accelerator_id = launch(pool)
    given = access(pool, accelerator_id)
    assert given.host == "::1"
    assert owner(given) == accelerator_id


@pytest.mark.slow
def test_terminating_while_it_is_asked_for_leaves_nothing_open(start_pool: StartPool) -> None:
    pool = start_pool()
    for _ in range(3):
        instance_id, accelerator_id = launch(pool)
        answers: list[Access] = []

        def ask(wanted: str = accelerator_id, into: list[Access] = answers) -> None:
            with contextlib.suppress(NotFoundError, UnavailableError):
                into.append(access(pool, wanted))

        asking = threading.Thread(target=ask)
        asking.start()
        pool.plane.terminate(instance_id)
        asking.join(PATIENCE)
        assert all(refused(given) for given in answers)
        assert pool.plane.store.accelerators.where() == []


def test_what_an_address_stands_for() -> None:
    assert reachable.names_of("127.0.0.1") == ["127.0.0.1", "localhost"]
    assert reachable.names_of("127.0.0.2") == ["127.0.0.2"]
    assert reachable.names_of("::1") == ["::1", "localhost"]
    assert reachable.names_of("10.1.2.3") == ["10.1.2.3", socket.gethostname()]
    everywhere = reachable.names_of("0.0.0.0")
    assert {"127.0.0.1", "localhost"} <= set(everywhere)
    assert "::1" not in everywhere
    assert {"127.0.0.1", "::1", "localhost"} <= set(reachable.names_of("::"))
    assert reachable.without_mapping("::ffff:10.1.2.3") == "10.1.2.3"
    assert reachable.without_mapping("fe80::1%eth0") == "fe80::1%eth0"
    assert reachable.without_mapping("10.1.2.3") == "10.1.2.3"
