"""`ei token`: all that a client of the Open Inference Protocol needs, in each of its forms."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pools import EI, PATIENCE, ei, environment, program, spare_port, up

SLEEP = ("sh", "-c", "echo ready; exec sleep 1000")
NAMES = {"url", "grpc_url", "token", "ca", "expires", "endpoint", "server_name"}
curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def home(short_path: Path) -> Path:
    return short_path / "home"


@contextmanager
def running(home: Path, types: str = "eia1.medium") -> Iterator[None]:
    """An instance with accelerators in the pool of `home`."""
    words = [*EI, "run", "--quiet", "--accelerator", types, "--", *SLEEP]
    with program(words, environment(home)) as command:
        command.wait_for("ready")
        yield


def granted(home: Path, *words: str) -> dict[str, Any]:
    done = ei(home, "token", *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def ask(url: str, grant: dict[str, Any], *words: str) -> str:
    """What curl gets from the accelerator, as its exit status and body."""
    done = subprocess.run(
        [
            *("curl", "-sS", "--cacert", grant["ca"], *words),
            *("-H", f"Authorization: Bearer {grant['token']}"),
            f"{url}/v2/elastic-inference/accelerator",
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return str(json.loads(done.stdout).get("accelerator_id"))


@curl
def test_it_is_all_that_curl_needs_before_and_after_a_restart(home: Path) -> None:
    with up(home) as first, running(home):
        grant = granted(home)
        assert set(grant) == NAMES
        assert grant["url"] == f"https://{grant['grpc_url']}"
        accelerator_id = grant["server_name"].partition(".")[0]
        assert ask(grant["url"], grant) == accelerator_id
        shared = grant["endpoint"].removeprefix("https://")
        name = grant["server_name"]
        assert ask(f"https://{name}", grant, "--connect-to", f"{name}:443:{shared}") == (
            accelerator_id
        )
        assert first.end(signal.SIGTERM) == 0
        with up(home):
            assert ask(grant["url"], grant) == accelerator_id
            assert granted(home, accelerator_id)["url"] == grant["url"]


def test_the_accelerator_may_be_left_out_where_it_is_the_only_one(home: Path) -> None:
    with up(home):
        none = ei(home, "token")
        assert (none.returncode, none.stdout) == (1, "")
        assert "There is no accelerator. Start one with ei run" in none.stderr
        with running(home, "eia1.medium,eia1.medium"):
            several = ei(home, "token")
            assert (several.returncode, several.stdout) == (2, "")
            listed = json.loads(ei(home, "describe", "accelerators", "-o", "json").stdout)
            ids = [each["acceleratorId"] for each in listed["accelerators"]]
            assert [each["ownAddress"] for each in listed["accelerators"]] == [None, None]
            assert all(each in several.stderr for each in ids)
            assert granted(home, ids[1])["server_name"].startswith(ids[1])
            shown = ei(home, "token", ids[1]).stdout
            assert {line.split()[0] for line in shown.splitlines()} == NAMES


def test_a_token_lasts_as_long_as_is_asked_for(home: Path) -> None:
    with up(home, env={"EI_MAX_TOKEN_LIFETIME": "8h"}), running(home):
        before = time.time()
        assert granted(home, "--expires-in", "8h")["expires"] >= before + 8 * 3600
        assert granted(home)["expires"] < before + 8 * 3600
        for words, why in (("9h", "up to 28800 s"), ("soon", "--expires-in"), ("0", "1 s or more")):
            refused = ei(home, "token", "--expires-in", words)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert why in refused.stderr
            assert len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
def test_no_port_left_is_said_in_a_line(home: Path) -> None:
    port = spare_port()
    with (
        up(home, env={"EI_OWN_PORTS": f"{port}-{port}"}),
        running(home, "eia1.medium,eia1.medium"),
    ):
        listed = json.loads(ei(home, "describe", "accelerators", "-o", "json").stdout)
        one, other = (each["acceleratorId"] for each in listed["accelerators"])
        assert granted(home, one)["url"].endswith(f":{port}")
        refused = ei(home, "token", other)
        assert refused.returncode == 1
        assert "EI_OWN_PORTS" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.slow
@curl
@pytest.mark.parametrize("shared", [False, True])
def test_the_shell_form_under_ei_run(home: Path, shared: bool) -> None:
    token = f"{sys.executable} -m elastic_inference.cli token"
    script = (
        f'eval "$({token} -o shell)" && echo "$EI_URL $EI_GRPC_URL" &&'
        ' curl -sS --cacert "$EI_CA" -H "Authorization: Bearer $EI_TOKEN" "$EI_URL/v2"'
    )
    words = ("run", "--quiet", "--accelerator", "eia1.medium", "--", "sh", "-c", script)
    if shared:
        with up(home), running(home):
            # Of the two that there are it is the run's own.
            done = ei(home, *words)
    else:
        done = ei(home, *words)
    assert done.returncode == 0, done.stderr
    addresses, _, answer = done.stdout.partition("\n")
    url, grpc_url = addresses.split()
    assert url == f"https://{grpc_url}"
    assert json.loads(answer)["name"] == "elastic-inference"


@pytest.mark.slow
def test_under_ei_run_another_instance_s_accelerator_is_refused(home: Path) -> None:
    with up(home), running(home):
        foreign = granted(home)["server_name"].partition(".")[0]
        words = ("run", "--quiet", "--accelerator", "eia1.medium", "--")
        done = ei(home, *words, *EI, "token", foreign)
        assert done.returncode == 1
        assert "belongs to another instance" in done.stderr
