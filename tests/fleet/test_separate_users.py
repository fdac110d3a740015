"""Accelerators as users of their own: what they cannot reach, and that all goes on as before."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elastic_inference.client import Accelerator, Address, connect
from elastic_inference.client.connection import Connection
from elastic_inference.client.model import Model
from elastic_inference.errors import UnavailableError
from elastic_inference.fleet import mps
from elastic_inference.fleet.base import Health, Order, Placement
from elastic_inference.fleet.control_connection import ControlConnection
from elastic_inference.isolation import users
from elastic_inference.isolation.launcher import command
from elastic_inference.protocol import tokens
from elastic_inference.settings import ClientSettings
from tests.client.models import scaled
from tests.fleet.watched import ACCOUNT, KEY, Watched
from tests.pools import PATIENCE, gone, held

pytestmark = [pytest.mark.root, pytest.mark.slow]
Make = Callable[..., Watched]

# What each statement that follows comes to: "done", or the name of the error.
_TRY = """
import json, os, socket, sys
results = []
for statement in json.loads(sys.argv[1]):
    try:
        exec(statement)
        results.append("done")
    except OSError as error:
        results.append(type(error).__name__)
print(json.dumps(results))
"""


@pytest.fixture(autouse=True)
def _as_root() -> None:
    separation = users.separation()
    if not separation.possible:
        pytest.skip(f"no users of their own: {separation.why_not}")


@pytest.fixture
def two(make: Make) -> tuple[Watched, Order, Order]:
    """A fleet and two accelerators of it."""
    fleet = make(outlive=True)
    orders = fleet.order(number=1), fleet.order(number=2)
    for order in orders:
        fleet.fleet.start(order)
    return fleet, *orders


def directory(fleet: Watched, order: Order) -> Path:
    return fleet.state / "run" / order.placement.place


def uid_of(order: Order) -> int:
    assert order.placement.uid is not None
    return order.placement.uid


def group_of(fleet: Watched) -> int:
    return (fleet.state / "accounts" / ACCOUNT).stat().st_gid


def attempts(statements: list[str], *, uid: int, **how: Any) -> list[str]:
    """What comes of each of the `statements` where an accelerator's user tries them."""
    argv = [sys.executable, "-I", "-S", "-c", _TRY, json.dumps(statements)]
    done = subprocess.run(command(argv, uid=uid, **how), capture_output=True, text=True, check=True)
    results: list[str] = json.loads(done.stdout)
    return results


@contextlib.contextmanager
def client(fleet: Watched, order: Order, transport: str = "shm") -> Iterator[Accelerator]:
    claims = tokens.Claims(order.accelerator_id, "i-1", ACCOUNT, 1e12)
    local = fleet.fleet.local_address(order.accelerator_id)
    assert local is not None
    with connect(
        settings=ClientSettings(transport=transport, timeout=30.0, banner="off"),
        address=Address(socket_path=local["socket"], socket_owner=local["uid"]),
        token=tokens.mint(KEY, claims),
    ) as accelerator:
        yield accelerator


def answer(model: Model, x: Any) -> list[float]:
    y, *_ = model.run({"x": x})
    return list(np.asarray(y).tolist())


def test_each_has_a_user_of_its_own(two: tuple[Watched, Order, Order]) -> None:
    fleet, first, second = two
    assert uid_of(first) != uid_of(second)
    for order in (first, second):
        assert users.owns(uid_of(order))
        assert users.is_of(fleet.pid(order), uid_of(order))
        status = Path(f"/proc/{fleet.pid(order)}/status").read_text()
        assert f"Groups:\t{group_of(fleet)}" in status
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status


def test_one_reaches_nothing_of_another_nor_of_the_pool(
    two: tuple[Watched, Order, Order],
) -> None:
    fleet, first, second = two
    (fleet.state / "pool.sqlite").write_bytes(b"state")
    (fleet.state / "pool.sqlite").chmod(0o600)
    own, other = directory(fleet, first), directory(fleet, second)
    statements = [
        f"open({str(own / 'config.json')!r}).read()",
        f"os.listdir({str(own)!r})",
        f"os.listdir({str(other)!r})",
        f"open({str(other / 'config.json')!r}).read()",
        f"open({str(other / 'journal.sqlite')!r}).read()",
        f"open({str(other / 'server.key')!r}).read()",
        f"open({str(other / 'new')!r}, 'w')",
        f"socket.socket(socket.AF_UNIX).connect({str(other / 'data.sock')!r})",
        f"os.kill({fleet.pid(second)}, 9)",
        f"open('/proc/{fleet.pid(second)}/environ').read()",
        f"open('/proc/{fleet.pid(second)}/mem').read()",
        f"os.kill({os.getpid()}, 0)",
        f"open({str(fleet.state / 'pool.sqlite')!r}).read()",
        f"open({str(fleet.state / 'ca.key')!r}).read()",
    ]
    wanted = ["done", "done", *["PermissionError"] * (len(statements) - 2)]
    # Even if its view had all that in it.
    paths = [fleet.state, fleet.state / "run", own, other]
    paths += [fleet.state / "ca.key", fleet.state / "pool.sqlite"]
    rights: dict[str, Any] = {"uid": uid_of(first), "groups": (group_of(fleet),)}
    assert attempts(statements, **rights, expose=paths) == wanted
    # In the view that it has there is none of it.
    seen = attempts(statements, **rights, expose=[own])
    assert seen[:2] == ["done", "done"]
    assert set(seen[2:8] + seen[12:14]) == {"FileNotFoundError"}
    assert set(seen[8:12]) == {"PermissionError"}


def test_the_view_of_a_running_one_hides_the_pool(two: tuple[Watched, Order, Order]) -> None:
    fleet, first, _ = two
    root = Path(f"/proc/{fleet.pid(first)}/root")
    inside = root / fleet.state.relative_to("/")
    assert sorted(each.name for each in inside.iterdir()) == ["accounts", "run"]
    assert [each.name for each in (inside / "run").iterdir()] == [first.placement.place]
    assert [each.name for each in (inside / "accounts").iterdir()] == [ACCOUNT]


def test_what_one_uploaded_and_prepared_serves_the_other(
    two: tuple[Watched, Order, Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, first, second = two
    model = scaled(7, size=4_000_000)
    x = np.arange(4, dtype=np.float32)
    with client(fleet, first) as accelerator, accelerator.load(model) as loaded:
        assert answer(loaded, x) == (x * 7).tolist()
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "put", lambda *_: pytest.fail("it was uploaded again"))
        with client(fleet, second) as accelerator, accelerator.load(model) as loaded:
            assert answer(loaded, x) == (x * 7).tolist()
    store = fleet.state / "accounts" / ACCOUNT
    assert (store / "blobs" / hashlib.sha256(model).hexdigest()).stat().st_uid == uid_of(first)
    for path in store.rglob("*"):
        seen = path.lstat()
        assert seen.st_gid == group_of(fleet)
        assert seen.st_mode & 0o007 == 0
    other = users.new_uid()
    listing = [f"os.listdir({str(store)!r})"]
    assert attempts(listing, uid=other, expose=[store]) == ["PermissionError"]


def test_an_upload_that_one_began_goes_on_with_the_other(
    two: tuple[Watched, Order, Order],
) -> None:
    fleet, first, second = two
    model = scaled(9, size=1_000_000)
    digest = hashlib.sha256(model).hexdigest()
    path = f"/v2/elastic-inference/blobs/{digest}"
    half = len(model) // 2
    parts = ((first, 0, half), (second, half, len(model)))
    for order, start, end in parts:
        body = model[start:end]
        address = f"bytes {start}-{end - 1}/{len(model)}"
        with client(fleet, order, "unix") as accelerator:
            connection = accelerator._link._open()
            connection.put(
                path, len(body), iter([memoryview(body)]), f"Content-Range: {address}\r\n"
            )
            connection.close()
    with client(fleet, second) as accelerator, accelerator.load(model) as loaded:
        assert answer(loaded, np.ones(2, np.float32)) == [9.0, 9.0]


def test_large_tensors_go_through_shared_memory(two: tuple[Watched, Order, Order]) -> None:
    fleet, first, _ = two
    x = np.arange(100_000, dtype=np.float32)
    with client(fleet, first, "auto") as accelerator, accelerator.load(scaled(3)) as loaded:
        assert accelerator._link.shares_memory
        assert answer(loaded, x) == (x * 3).tolist()
        statistics: Any = accelerator.info()
        assert statistics["accelerator_id"] == first.accelerator_id


def test_a_token_is_not_sent_to_a_socket_of_somebody_else(
    two: tuple[Watched, Order, Order],
) -> None:
    fleet, first, second = two
    one, other = (fleet.fleet.local_address(each.accelerator_id) for each in (first, second))
    assert one is not None
    assert other is not None
    address = Address(
        host="127.0.0.1", port=1, socket_path=one["socket"], socket_owner=other["uid"]
    )
    with pytest.raises(UnavailableError):
        connect(
            settings=ClientSettings(recovery_timeout=0.0, banner="off"), address=address, token="t"
        )


def test_one_that_is_started_again_keeps_its_user_and_its_models(
    two: tuple[Watched, Order, Order],
) -> None:
    fleet, first, _ = two
    pid = fleet.pid(first)
    with client(fleet, first) as accelerator, accelerator.load(scaled(5)) as loaded:
        os.kill(pid, signal.SIGKILL)
        fleet.until(first, Health.IMPAIRED)
        fleet.until(first, Health.OK)
        assert answer(loaded, np.ones(2, np.float32)) == [5.0, 5.0]
    assert fleet.pid(first) != pid
    assert users.is_of(fleet.pid(first), uid_of(first))


def test_one_that_is_moved_keeps_its_user(two: tuple[Watched, Order, Order]) -> None:
    fleet, first, _ = two
    placement = fleet.fleet.move(first)
    assert placement is not None
    assert placement.uid == first.placement.uid
    moved = dataclasses.replace(first, placement=placement)
    fleet.until(first, Health.IMPAIRED)
    fleet.until(first, Health.OK)
    assert users.is_of(fleet.pid(moved), uid_of(moved))
    assert not directory(fleet, first).exists()


def test_the_next_fleet_adopts_it_with_its_user(
    two: tuple[Watched, Order, Order], make: Make
) -> None:
    fleet, first, second = two
    pid = fleet.pid(first)
    fleet.fleet.close()
    later = make(outlive=True)
    # As it comes from the pool's state.
    kept = json.loads(json.dumps(first.placement.to_dict()))
    order = dataclasses.replace(first, placement=Placement.from_dict(kept))
    assert later.fleet.adopt(order)
    assert later.ask(order)["accelerator_id"] == order.accelerator_id
    with held(later.pid(second)) as process:
        later.fleet.sweep()
        assert gone(process)
    assert [each.name for each in (later.state / "run").iterdir()] == [order.placement.place]
    os.kill(pid, signal.SIGKILL)
    later.until(order, Health.IMPAIRED)
    later.until(order, Health.OK)
    assert users.is_of(later.pid(order), uid_of(order))


def test_all_of_its_users_processes_end_with_it(two: tuple[Watched, Order, Order]) -> None:
    fleet, first, second = two
    child = subprocess.Popen(command(["sleep", "600"], uid=uid_of(first), cwd="/"))
    fleet.fleet.stop([first.accelerator_id], PATIENCE)
    assert child.wait(PATIENCE) == -signal.SIGKILL
    assert not directory(fleet, first).exists()
    assert fleet.ask(second)["accelerator_id"] == second.accelerator_id


def test_those_tied_to_the_fleet_end_with_it(make: Make) -> None:
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    with held(fleet.pid(order)) as process:
        fleet.fleet.close()
        assert gone(process)


def test_a_tied_one_ends_with_a_fleet_that_is_killed(short_path: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from tests.fleet.watched import Watched
        fleet = Watched(Path({str(short_path)!r}))
        order = fleet.order()
        fleet.fleet.start(order)
        print(fleet.pid(order), order.placement.uid, flush=True)
        sys.stdin.read()
    """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid, uid = map(int, owner.stdout.readline().split())
        assert users.owns(uid)
        with held(pid) as process:
            owner.kill()
            assert gone(process)


def test_clients_of_other_users_reach_the_socket_and_nothing_else(make: Make) -> None:
    fleet = make()
    guest, stranger = users.new_uid(), users.new_uid()
    order = dataclasses.replace(fleet.order(), clients=(guest,))
    fleet.fleet.start(order)
    run, own = fleet.state / "run", directory(fleet, order)
    assert stat.S_IMODE(run.stat().st_mode) == 0o711
    ask = (
        "s = socket.socket(socket.AF_UNIX); s.connect({!r});"
        "s.sendall(b'GET /v2/health/live HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n');"
        "s.recv(9) == b'HTTP/1.1 ' or os.stat('/no/answer')"
    ).format(str(own / "data.sock"))
    statements = [
        ask,
        f"socket.socket(socket.AF_UNIX, 5).connect({str(own / 'handover.sock')!r})",
        f"open({str(own / 'config.json')!r}).read()",
        f"os.listdir({str(own)!r})",
        f"os.listdir({str(run)!r})",
        f"os.unlink({str(own / 'data.sock')!r})",
    ]
    assert attempts(statements, uid=guest, expose=[run]) == ["done", *["PermissionError"] * 5]
    assert attempts([ask], uid=stranger, expose=[run])[0] in (
        "FileNotFoundError",
        "ConnectionResetError",
        "BrokenPipeError",
    )


_GUEST = """
import json, sys
import numpy as np
from elastic_inference.client import Address, connect
from elastic_inference.errors import ElasticInferenceError
from elastic_inference.settings import ClientSettings
path, owner, token, model = sys.argv[1:]
with connect(
    settings=ClientSettings(timeout=30.0, banner="off"),
    address=Address(socket_path=path, socket_owner=int(owner)),
    token=token,
) as accelerator:
    x = np.arange(100_000, dtype=np.float32)
    with accelerator.load(model) as loaded:
        y, *_ = loaded.run({"x": x})
    try:
        accelerator._link.request(
            "POST", "/v2/systemsharedmemory/region/r/register", {"key": "/any", "byte_size": 1}
        )
        said = "taken"
    except ElasticInferenceError as error:
        said = error.message
    print(json.dumps([accelerator._link.shares_memory, bool((y == x * 3).all()), said]))
"""


def test_a_client_of_another_user_shares_what_it_passes_and_names_nothing(make: Make) -> None:
    fleet = make()
    guest = users.new_uid()
    order = dataclasses.replace(fleet.order(), clients=(guest,))
    fleet.fleet.start(order)
    model = fleet.state / "model.onnx"
    model.write_bytes(scaled(3))
    local = fleet.fleet.local_address(order.accelerator_id)
    assert local is not None
    token = tokens.mint(KEY, tokens.Claims(order.accelerator_id, "i-1", ACCOUNT, 1e12))
    argv = [sys.executable, "-c", _GUEST, local["socket"], str(local["uid"]), token, str(model)]
    words = command(argv, uid=guest, expose=[fleet.state / "run", model])
    environ = {**os.environ, "HOME": "/", "EI_BANNER": "off"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    shares, right, said = json.loads(done.stdout)
    assert (shares, right) == (True, True)
    assert said == "Shared memory is for callers on the accelerator's host."


def test_what_an_accelerator_puts_in_its_directory_does_not_lead_root_astray(make: Make) -> None:
    """It may be taken over, and what root writes there must not land elsewhere."""
    fleet = make()
    order = fleet.order()
    fleet.fleet.start(order)
    victim = fleet.state / "victim"
    victim.write_text("precious")
    own = directory(fleet, order)
    names = ("server.pem", "server.key", "config.json.new", "alive")
    for name in names:
        (own / name).unlink(missing_ok=True)
        (own / name).symlink_to(victim)
    (own / "lock").write_text(str(os.getpid()))
    fleet.fleet.renew(order)
    os.kill(fleet.pid(order), signal.SIGKILL)
    fleet.until(order, Health.IMPAIRED)
    fleet.until(order, Health.OK)
    assert victim.read_text() == "precious"


def test_nobody_elses_socket_is_taken_for_the_accelerators(make: Make) -> None:
    fleet = make()
    first, second = fleet.order(number=1), fleet.order(number=2)
    fleet.fleet.start(first)
    fleet.fleet.start(second)
    path = directory(fleet, first) / "handover.sock"
    with pytest.raises(UnavailableError, match="is of user"):
        ControlConnection.open(path, first.accelerator_id, PATIENCE, uid=uid_of(second))


def test_it_can_be_turned_off(make: Make) -> None:
    fleet = make(separate_users="off")
    order = fleet.order()
    assert order.placement.uid is None
    fleet.fleet.start(order)
    assert users.is_of(fleet.pid(order), os.geteuid())
    address = fleet.fleet.local_address(order.accelerator_id)
    assert address is not None
    assert address["uid"] == os.geteuid()


def test_where_it_cannot_be_one_line_says_why(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(users, "separation", lambda: users.Separation(False, "no mounts here"))
    with caplog.at_level(logging.WARNING):
        fleet = make()
        orders = [fleet.order(number=number) for number in (1, 2)]
    assert [order.placement.uid for order in orders] == [None, None]
    assert [record.getMessage() for record in caplog.records] == [
        "Accelerators run with root's rights: no mounts here"
    ]


def test_a_placement_of_before_is_read(make: Make) -> None:
    fields = make(separate_users="off").order().placement.to_dict()
    del fields["uid"]
    assert Placement.from_dict(fields).uid is None


def test_users_take_turns_at_a_gpu_unless_mps_was_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = tmp_path / "17"
    process.mkdir()
    assert not mps.serves_many_users(tmp_path)
    (process / "comm").write_text("nvidia-cuda-mps\n")
    (process / "cmdline").write_bytes(b"nvidia-cuda-mps-control\0-d\0")
    assert not mps.serves_many_users(tmp_path)
    (process / "cmdline").write_bytes(b"nvidia-cuda-mps-control\0-d\0-multiuser-server\0")
    assert mps.serves_many_users(tmp_path)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not mps.is_running()
    (tmp_path / "control").touch()
    assert mps.is_running()
