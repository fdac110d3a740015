"""`ei join-token`, `ei register` and `ei run` on a host that is an instance, as processes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cli import apps
from tests.pools import EI, Program, accelerator_pids, ei, environment, gone, held, program, up

pytestmark = pytest.mark.slow

Grant = dict[str, Any]


@pytest.fixture
def home(short_path: Path) -> Path:
    """Of the pool's user."""
    return short_path / "home"


@pytest.fixture
def away(short_path: Path) -> Path:
    """Of the other machine's user."""
    return short_path / "away"


def join_token(home: Path, *more: str) -> Grant:
    done = ei(home, "join-token", "-o", "json", *more)
    assert done.returncode == 0, done.stderr
    answer: Grant = json.loads(done.stdout)
    return answer


@contextlib.contextmanager
def agent(away: Path, *words: str, **env: str) -> Iterator[Program]:
    with program([*EI, "register", *words], environment(away, **env)) as running:
        running.wait_for("Ready")
        yield running


def registered(home: Path, away: Path, *more: str) -> contextlib.AbstractContextManager[Program]:
    """The agent of a new host with one accelerator."""
    token = join_token(home, "--accelerator", "eia1.medium", *more)
    return agent(away, token["endpoint"], "--token", token["joinToken"])


def identity(away: Path) -> Grant:
    found: Grant = json.loads((away / "host.json").read_text())
    return found


def instances(home: Path) -> list[Grant]:
    found: list[Grant] = json.loads(ei(home, "describe", "instances", "-o", "json").stdout)[
        "instances"
    ]
    return found


def metadata(url: str, path: str) -> str:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}/latest/meta-data/{path}")
        return connection.getresponse().read().decode()


def test_a_host_joins_by_its_token_alone_and_infers(home: Path, away: Path) -> None:
    model, app = apps.double(home.parent), apps.plain(home.parent)
    with up(home):
        shown = ei(home, "join-token", "--accelerator", "eia1.medium", "--name", "cam")
        assert shown.returncode == 0, shown.stderr
        assert "no other machine reaches" in shown.stderr
        (line,) = (line for line in shown.stdout.splitlines() if "ei register" in line)
        with agent(away, *line.split()[2:]) as running:
            assert stat.S_IMODE((away / "host.json").stat().st_mode) == 0o600
            assert not (away / "current.json").exists()
            done = ei(away, "run", "--", sys.executable, app, model, env={"EI_TRANSPORT": "tls"})
            assert (done.returncode, done.stdout) == (0, f"result {apps.EXPECTED}\n"), done.stderr
            (instance,) = instances(home)
            assert (instance["provider"], instance["name"]) == ("host", "cam")
            assert instance["instanceId"] == identity(away)["instance_id"]
            assert ei(away, "run", "--", "sh", "-c", "exit 7").returncode == 7
            assert ei(away, "run", "--", "nowhere-to-be-found").returncode == 127
            assert running.end(signal.SIGTERM) == 0
        assert [each["state"] for each in instances(home)] == ["running"]
        refused = ei(away, "run", "--", "true")
        assert refused.returncode == 1
        assert "does not run" in refused.stderr


def test_it_is_the_same_host_after_restarts_of_agent_and_pool(home: Path, away: Path) -> None:
    with up(home) as pool:
        with registered(home, away) as first:
            was = identity(away)
            assert first.end(signal.SIGKILL) == -signal.SIGKILL
        with agent(away) as second:
            assert identity(away) == was, "the address of its metadata too"
            ids = metadata(was["metadata_url"], "elastic-inference/associations")
            pool.end(signal.SIGKILL)
            second.wait_for("No pool answers")
            assert metadata(was["metadata_url"], "elastic-inference/associations") == ids
            with up(home):
                second.wait_for("The pool answers again")
                (instance,) = instances(home)
                assert instance["instanceId"] == was["instance_id"]
                assert instance["acceleratorIds"] == ids.split()
            said = [line for line in second.said() if "No pool answers" in line]
            assert len(said) == 1, "the end of the second pool is not waited for"


def test_its_pool_may_move_to_another_address(home: Path, away: Path) -> None:
    with up(home), registered(home, away):
        was = identity(away)
        done = ei(away, "validate")
        assert done.returncode == 0, done.stdout + done.stderr
        assert was["instance_id"] in done.stdout
        assert "Its agent was heard of" in done.stdout
    with up(home, "--listen", "127.0.0.2:0"):
        endpoint = json.loads((home / "current.json").read_text())["endpoint"]
        with agent(away, endpoint):
            now = identity(away)
            assert (now["endpoint"], now["instance_id"]) == (endpoint, was["instance_id"])
            assert metadata(now["metadata_url"], "instance-id") == was["instance_id"]


def test_what_is_attached_while_it_runs_is_there_at_once(home: Path, away: Path) -> None:
    with up(home), registered(home, away):
        was = identity(away)
        path = "elastic-inference/associations"
        first = metadata(was["metadata_url"], path).split()
        attach(home, was["instance_id"])
        seen = metadata(was["metadata_url"], path).split()
        while len(seen) == 1:
            # Within a second of the last look it may be what it was.
            seen = metadata(was["metadata_url"], path).split()
        assert seen[:1] == first
        assert set(accelerator_pids(home / "pool")) == set(seen)


def attach(home: Path, instance_id: str) -> None:
    from elastic_inference.control.client import ControlClient
    from elastic_inference.control.pointer import Pointer

    pointer = Pointer.load(home)
    assert pointer is not None
    asked = {"instanceId": instance_id, "acceleratorType": "eia1.medium"}
    ControlClient(pointer, 60.0).call("AttachAccelerator", asked)


def test_an_agent_whose_instance_was_terminated_ends(home: Path, away: Path) -> None:
    with up(home), registered(home, away) as running:
        was = identity(away)
        assert ei(home, "terminate", was["instance_id"]).returncode == 0
        with contextlib.suppress(OSError):
            # Whoever looks makes it ask.
            metadata(was["metadata_url"], "instance-id")
        running.wait_for(f"has no instance {was['instance_id']} any more")
        assert running.end(0) == 1
        again = ei(away, "register")
        assert again.returncode == 1
        assert "--forget" in again.stderr
        assert len(again.stderr.splitlines()) == 1
        assert ei(away, "register", "--forget").returncode == 0
        with registered(home, away):
            assert identity(away)["instance_id"] != was["instance_id"]


def test_one_agent_at_a_time(home: Path, away: Path) -> None:
    with up(home), registered(home, away) as running:
        token = join_token(home)
        for words in ((), (token["endpoint"], "--token", token["joinToken"])):
            done = ei(away, "register", *words)
            assert done.returncode == 1
            assert f"process {running.pid}" in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_detached_it_goes_on_and_forgotten_it_ends(home: Path, away: Path) -> None:
    with up(home):
        token = join_token(home, "--accelerator", "eia1.medium")
        words = ("register", token["endpoint"], "--token", token["joinToken"], "--detach")
        done = ei(away, *words)
        assert done.returncode == 0, done.stderr
        pid = int((away / "host" / "lock").read_text())
        try:
            log = away / "host" / "agent.log"
            assert "Ready" in log.read_text()
            assert stat.S_IMODE(log.stat().st_mode) == 0o600
            assert ei(away, "run", "--", "true").returncode == 0
            (accelerator,) = accelerator_pids(home / "pool").values()
            with held(pid) as process, held(accelerator) as other:
                done = ei(away, "register", "--forget")
                assert done.returncode == 0, done.stderr
                assert gone(process)
                assert gone(other)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not (away / "host.json").exists()
        assert [each["state"] for each in instances(home)] == ["terminated"]
        done = ei(away, "register", "--forget")
        assert (done.returncode, done.stderr) == (0, "ei: this host is not registered.\n")


def test_what_cannot_be_detached_says_why(home: Path, away: Path) -> None:
    with up(home):
        with registered(home, away):
            was = identity(away)
        assert ei(home, "terminate", was["instance_id"]).returncode == 0
        done = ei(away, "register", "--detach")
        assert done.returncode == 1
        assert f"has no instance {was['instance_id']} any more" in done.stderr


def test_nothing_is_given_up_where_the_pool_cannot_hear_of_it(home: Path, away: Path) -> None:
    with up(home), registered(home, away):
        was = identity(away)
    done = ei(away, "register", "--forget")
    assert done.returncode == 1
    assert was["instance_id"] in done.stderr
    assert identity(away) == was


def test_an_impostor_hears_nothing(home: Path, away: Path, short_path: Path) -> None:
    """One pool's token at another pool: the answer there is not its authority's."""
    with up(home), up(short_path / "other") as other:
        token = join_token(home)
        endpoint = json.loads((short_path / "other" / "current.json").read_text())["endpoint"]
        done = ei(away, "register", endpoint, "--token", token["joinToken"])
        assert done.returncode == 1
        assert "is not the pool that the join token is of" in done.stderr
        assert not (away / "host.json").exists()
        assert not (away / "host" / "ca.pem").exists()
        assert not any("join token" in line for line in other.said())
        with agent(away, token["endpoint"], "--token", token["joinToken"]):
            pass


@pytest.mark.parametrize(
    "token",
    [
        "",
        "eij1.",
        "eij1.x",
        "eij1.é",
        "eij2.e30",
        "eij1." + base64.urlsafe_b64encode(b'{"s": "x", "f": "y"}').decode(),
        "eij1." + base64.urlsafe_b64encode(b'{"s": 1, "f": 2}').decode(),
        "eij1." + base64.urlsafe_b64encode(b"[]").decode(),
    ],
)
def test_what_is_no_token_is_refused(away: Path, token: str) -> None:
    done = ei(away, "register", "https://127.0.0.1:1", "--token", token)
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        ["ei: That is no join token. Copy all of what ei join-token printed, from eij1. on."],
    )


@pytest.mark.parametrize("endpoint", ["http://x:1", "https://", "https://x:y", "https://x/y", "::"])
def test_what_is_no_endpoint_is_refused(away: Path, endpoint: str) -> None:
    done = ei(away, "register", endpoint, "--token", "eij1.x")
    assert done.returncode == 2
    assert "is no endpoint of a pool" in done.stderr


def test_nobody_there(away: Path) -> None:
    document = json.dumps({"s": "x" * 32, "f": "0" * 64}).encode()
    token = "eij1." + base64.urlsafe_b64encode(document).decode()
    done = ei(away, "register", "https://127.0.0.1:1", "--token", token)
    assert done.returncode == 1
    assert done.stderr.startswith("ei: No pool answers at https://127.0.0.1:1")


def test_where_nothing_is_registered(away: Path) -> None:
    done = ei(away, "register")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "ei join-token" in done.stderr
    done = ei(away, "run", "--", "true")
    assert done.returncode == 2
    assert "ei run needs --accelerator TYPE" in done.stderr


def test_a_token_may_come_by_standard_input(home: Path, away: Path) -> None:
    with up(home):
        token = join_token(home)
        running = subprocess.Popen(
            [*EI, "register", token["endpoint"], "--token", "-"],
            env=environment(away),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stdin is not None
        assert running.stderr is not None
        with running:
            running.stdin.write(token["joinToken"] + "\n")
            running.stdin.flush()
            for line in running.stderr:
                if "Ready" in line:
                    break
            running.send_signal(signal.SIGTERM)
        assert running.returncode == 0


def test_a_pool_known_by_another_name_than_its_own(home: Path, away: Path) -> None:
    """127.0.0.2 leads to it, and its certificate says nothing of that, as behind a router."""
    model, app = apps.double(home.parent), apps.plain(home.parent)
    with up(home, "--listen", "0.0.0.0:0"):
        token = join_token(home, "--accelerator", "eia1.medium")
        port = token["endpoint"].rpartition(":")[2]
        with agent(away, f"127.0.0.2:{port}", "--token", token["joinToken"]):
            assert identity(away)["endpoint"] == f"https://127.0.0.2:{port}"
            done = ei(away, "run", "--", sys.executable, app, model, env={"EI_TRANSPORT": "tls"})
            assert done.stdout == f"result {apps.EXPECTED}\n", done.stderr
            for words in (("run", "--", *EI, "token"), ("token",)):
                done = ei(away, *words, "-o", "json")
                assert done.returncode == 0, done.stderr
                assert json.loads(done.stdout)["token"]
