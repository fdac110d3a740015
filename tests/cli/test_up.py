"""`ei up`: a pool that commands share, and what becomes of it when it dies."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import ssl
import stat
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

from tests.cli import apps
from tests.pools import EI, accelerator_pids, ei, environment, gone, held, program, up

RUN = ("run", "--accelerator", "eia1.medium")


@pytest.fixture
def home(short_path: Path) -> Path:
    return short_path / "home"


def described(home: Path, what: str = "accelerators") -> list[dict[str, object]]:
    done = ei(home, "describe", what, "-o", "json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, object]] = json.loads(done.stdout)[what]
    return rows


def test_a_command_uses_the_pool_and_gives_back_what_it_had(home: Path) -> None:
    with up(home) as pool:
        assert stat.S_IMODE((home / "current.json").stat().st_mode) == 0o600
        words = [*EI, *RUN, "--name", "mine", "--quiet", "--", "sh", "-c", "echo ready; read x"]
        with program(words, environment(home)) as command:
            assert command.end(0) in (0, 1)
        (instance,) = described(home, "instances")
        assert (instance["name"], instance["state"]) == ("mine", "terminated")
        assert described(home) == []
        assert pool.end(signal.SIGTERM) == 0
    assert not (home / "current.json").exists()


def test_an_application_goes_on_while_the_pool_is_killed_and_comes_back(home: Path) -> None:
    model, app = apps.double(home.parent), apps.twice(home.parent)
    pipe = home.parent / "pipe"
    os.mkfifo(pipe)
    with up(home) as first:
        words = [*EI, *RUN, "--", sys.executable, app, model, str(pipe)]
        with program(words, environment(home)) as command:
            assert apps.EXPECTED in command.wait_for("first")
            before = accelerator_pids(home / "pool")
            (running,) = described(home)
            assert first.end(signal.SIGKILL) == -signal.SIGKILL
            with up(home) as second:
                assert accelerator_pids(home / "pool") == before
                (again,) = described(home)
                assert again["acceleratorId"] == running["acceleratorId"]
                pipe.write_text("go on")
                assert apps.EXPECTED in command.wait_for("second")
                command.wait_for("2 inferences")
                assert command.end(0) == 0
                assert described(home) == []
                assert second.end(signal.SIGINT) == 0
                second.wait_for("no accelerator stays")


def test_a_killed_accelerator_comes_back_with_its_models(home: Path) -> None:
    model, app = apps.double(home.parent), apps.twice(home.parent)
    pipe = home.parent / "pipe"
    os.mkfifo(pipe)
    with up(home) as pool:
        words = [*EI, *RUN, "--quiet", "--", sys.executable, app, model, str(pipe)]
        with program(words, environment(home)) as command:
            command.wait_for("first")
            ((accelerator, pid),) = accelerator_pids(home / "pool").items()
            os.kill(pid, signal.SIGKILL)
            pool.wait_for(f"{accelerator} is impaired")
            pool.wait_for(f"{accelerator} is ok")
            (row,) = described(home)
            assert (row["health"], row["restarts"]) == ("ok", 1)
            pipe.write_text("go on")
            assert apps.EXPECTED in command.wait_for("second")
            assert command.end(0) == 0


def test_a_killed_run_loses_its_accelerators_with_its_lease(home: Path) -> None:
    with up(home) as pool:
        words = [*EI, *RUN, "--quiet", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        env = environment(home, EI_INSTANCE_LEASE="1s", TMPDIR=str(home.parent))
        with program(words, env) as command:
            command.wait_for("ready")
            (pid,) = accelerator_pids(home / "pool").values()
            with held(pid) as process:
                command.end(signal.SIGKILL)
                assert gone(process)
            pool.wait_for("silent for its whole lease")


@pytest.mark.slow
def test_accelerators_without_a_control_plane_end_after_their_grace(home: Path) -> None:
    with up(home, env={"EI_CONTROL_GRACE": "1s"}) as pool:
        words = [*EI, *RUN, "--quiet", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        with program(words, environment(home)) as command:
            command.wait_for("ready")
            (pid,) = accelerator_pids(home / "pool").values()
            with held(pid) as process:
                pool.end(signal.SIGKILL)
                assert gone(process)


def test_it_says_what_stays(home: Path) -> None:
    with up(home) as pool:
        words = [*EI, *RUN, "--quiet", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        with program(words, environment(home)) as command:
            command.wait_for("ready")
            (accelerator,) = accelerator_pids(home / "pool")
            assert pool.end(signal.SIGTERM) == 0
            pool.wait_for("1 accelerator(s) stay")
            assert accelerator in pool.wait_for(accelerator)


@pytest.mark.slow
def test_a_second_pool_on_one_state_is_refused_and_one_beside_it_is_not(home: Path) -> None:
    other = home.parent / "other"
    with up(home), up(other):
        done = ei(home, "up")
        assert done.returncode == 1
        assert "Another control plane uses" in done.stderr
        endpoints = {
            json.loads((each / "current.json").read_text())["endpoint"] for each in (home, other)
        }
        assert len(endpoints) == 2
        for each in (home, other):
            done = ei(each, *RUN, "--quiet", "--", "true")
            assert (done.returncode, done.stderr) == (0, "")
            assert len(described(each, "instances")) == 1


def test_state_may_lie_elsewhere(home: Path) -> None:
    state = home.parent / "state"
    with up(home, "--state", str(state)):
        assert (state / "pool.sqlite").exists()
        assert ei(home, *RUN, "--quiet", "--", "true").returncode == 0
        assert described(home, "instances") != []


def test_token_is_all_that_another_client_needs(home: Path) -> None:
    script = "import time; print('ready', flush=True); time.sleep(1000)"
    with up(home):
        words = [*EI, *RUN, "--quiet", "--", sys.executable, "-c", script]
        with program(words, environment(home)) as command:
            command.wait_for("ready")
            (accelerator,) = accelerator_pids(home / "pool")
            done = ei(home, "token", accelerator, "-o", "json")
            grant = json.loads(done.stdout)
            assert _ready(grant) == b"HTTP/1.1 200 OK"
            assert grant["server_name"] in ei(home, "token", accelerator).stdout
            unknown = ei(home, "token", "eia-0")
            assert unknown.returncode == 1
            assert "There is no accelerator" in unknown.stderr


def _ready(grant: dict[str, str]) -> bytes:
    url = urllib.parse.urlsplit(grant["endpoint"])
    context = ssl.create_default_context(cafile=grant["ca"])
    plain = socket.create_connection((url.hostname, url.port), 60)
    with context.wrap_socket(plain, server_hostname=grant["server_name"]) as tls:
        tls.sendall(
            b"GET /v2/elastic-inference/accelerator HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer " + grant["token"].encode() + b"\r\n\r\n"
        )
        return tls.recv(4096).partition(b"\r\n")[0]


def test_terminate_ends_an_instance(home: Path) -> None:
    with up(home):
        words = [*EI, *RUN, "--quiet", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        with program(words, environment(home)) as command:
            command.wait_for("ready")
            (instance,) = described(home, "instances")
            (pid,) = accelerator_pids(home / "pool").values()
            with held(pid) as process:
                done = ei(home, "terminate", str(instance["instanceId"]))
                assert (done.returncode, done.stderr) == (0, "")
                assert gone(process)
        assert ei(home, "terminate", "i-0").returncode == 1


@pytest.mark.parametrize("listen", ["nowhere", "example.com:1", "127.0.0.1:x"])
def test_an_address_that_is_none_is_refused(home: Path, listen: str) -> None:
    done = ei(home, "up", "--listen", listen)
    assert done.returncode == 2
    assert done.stderr.startswith("ei: Cannot listen on")
    assert len(done.stderr.splitlines()) == 1


def test_a_pool_whose_process_is_gone_counts_as_none(home: Path) -> None:
    with up(home) as pool:
        pool.end(signal.SIGKILL)
        assert (home / "current.json").exists()
        assert described(home) == []
        assert ei(home, *RUN, "--quiet", "--", "true").returncode == 0


def test_what_it_makes_is_this_users_alone(home: Path) -> None:
    with up(home):
        for each in (home, home / "accounts", home / "pool"):
            assert stat.S_IMODE(each.stat().st_mode) == 0o700


@pytest.mark.slow
def test_a_pool_that_was_stopped_ends_nobody_for_its_own_delay(home: Path) -> None:
    """What was silent while it slept could not be heard: neither accelerators nor `ei run`."""
    with up(home, env={"EI_HANG_TIMEOUT": "1s"}) as pool:
        words = [*EI, *RUN, "--quiet", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        with program(words, environment(home, EI_INSTANCE_LEASE="1s")) as command:
            command.wait_for("ready")
            before = accelerator_pids(home / "pool")
            os.kill(pool.pid, signal.SIGSTOP)
            # Longer than both: the fault itself, no wait for anything.
            time.sleep(2.5)
            os.kill(pool.pid, signal.SIGCONT)
            for _ in range(3):
                (row,) = described(home)
                assert (row["health"], row["restarts"]) == ("ok", 0)
            assert accelerator_pids(home / "pool") == before
            assert command.end(signal.SIGTERM) == 143


@pytest.mark.slow
def test_a_pool_that_cannot_write_its_state_refuses_and_catches_up(home: Path) -> None:
    with up(home) as pool:
        words = [*EI, *RUN, "--quiet", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        with program(words, environment(home)) as command:
            command.wait_for("ready")
            (pid,) = accelerator_pids(home / "pool").values()
            before = resource.prlimit(pool.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pool.pid, resource.RLIMIT_FSIZE, (0, before[1]))
            refused = ei(home, *RUN, "--", "true")
            assert refused.returncode == 1
            assert "cannot use its state" in refused.stderr
            assert set(accelerator_pids(home / "pool").values()) == {pid}
            with held(pid) as process:
                assert command.end(signal.SIGTERM) == 143
                command.wait_for("The pool ends i-")
                resource.prlimit(pool.pid, resource.RLIMIT_FSIZE, before)
                assert gone(process)
        assert ei(home, *RUN, "--quiet", "--", "true").returncode == 0


@pytest.mark.slow
def test_a_pool_without_descriptors_watches_on(home: Path) -> None:
    with up(home, env={"EI_HANG_TIMEOUT": "1s"}) as pool:
        words = [*EI, *RUN, "--quiet", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        with program(words, environment(home)) as command:
            command.wait_for("ready")
            ((accelerator, pid),) = accelerator_pids(home / "pool").items()
            before = resource.prlimit(pool.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pool.pid, resource.RLIMIT_NOFILE, (5, before[1]))
            # As often as would take it for dead, were it its own silence.
            for _ in range(8):
                pool.wait_for("cannot be asked how it is")
            resource.prlimit(pool.pid, resource.RLIMIT_NOFILE, before)
            # Meanwhile nothing was known of it.
            pool.wait_for(f"{accelerator} is ok")
            (row,) = described(home)
            assert (row["health"], row["restarts"]) == ("ok", 0)
            os.kill(pid, signal.SIGKILL)
            pool.wait_for(f"{accelerator} is impaired")
            pool.wait_for(f"{accelerator} is ok")
