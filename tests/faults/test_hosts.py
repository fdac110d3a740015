"""A host on another machine: registered by a token, inferring across a link that is cut."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import machines
from tests.cli import apps
from tests.machines import Machine
from tests.pools import EI, PATIENCE, Program, accelerator_pids, environment, program

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]
METADATA = "http://169.254.169.254/latest/meta-data/instance-id"
# Multiplies numbers of its own by two, until it is told to stop.
_ASKS = """\
import itertools, signal, sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for number in itertools.count():
    x = np.arange(number, number + 64, dtype=np.float32)
    y = session.run(None, {"x": x})[0]
    assert np.array_equal(y, 2 * x), (number, y)
    print("right", number, flush=True)
"""


@dataclass(frozen=True)
class Pair:
    """A machine with a pool, and another that sees nothing of its files.

    Attributes:
        home, away: EI_HOME of each.
    """

    pool: Machine
    host: Machine
    home: Path
    away: Path

    def on_pool(self, *words: str) -> str:
        done = subprocess.run(
            self.pool.command([*EI, *words]),
            env=environment(self.home),
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout

    def on_host(self, words: Sequence[str]) -> contextlib.AbstractContextManager[Program]:
        hidden = [self.home, Path("/dev/shm")]  # noqa: S108 - hidden, not used
        env = environment(self.away, HOME=str(self.away))
        return program(self.host.command(words, hidden), env)

    @contextlib.contextmanager
    def agent(self, *words: str) -> Iterator[Program]:
        with self.on_host([*EI, "register", *words]) as running:
            running.wait_for("Ready")
            yield running

    def join_command(self) -> list[str]:
        """What is typed on the other machine; all that is ever carried there."""
        text = self.on_pool("join-token", "--accelerator", "eia1.medium")
        (line,) = (line for line in text.splitlines() if "ei register" in line)
        return line.split()[2:]


@pytest.fixture
def pair(short_path: Path) -> Iterator[Pair]:
    reason = machines.missing()
    if reason:
        pytest.skip(reason)
    home, away = short_path / "home", short_path / "away"
    home.mkdir()
    away.mkdir()
    with contextlib.ExitStack() as stack:
        pool, host = stack.enter_context(machines.two())
        words = pool.command([*EI, "up", "--listen", f"{pool.address}:8443"])
        stack.callback(_end_accelerators, home)
        stack.enter_context(program(words, environment(home))).wait_for("Ready")
        yield Pair(pool, host, home, away)


def _end_accelerators(home: Path) -> None:
    for pid in accelerator_pids(home / "pool").values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_host_infers_across_while_the_link_is_cut_and_comes_back(pair: Pair) -> None:
    model, app = apps.double(pair.away), pair.away / "asks.py"
    app.write_text(_ASKS)
    with (
        pair.agent(*pair.join_command()) as agent,
        pair.on_host([*EI, "run", "--", sys.executable, str(app), model]) as client,
    ):
        client.wait_for("right 100")
        pair.host.ip("link", "set", pair.host.device, "down")
        # The agent hears of it too, which takes longer than any single call.
        agent.wait_for("No pool answers")
        client.said()
        pair.host.ip("link", "set", pair.host.device, "up")
        agent.wait_for("The pool answers again")
        client.wait_for("right")
        client.wait_for("right")
        (instance,) = json.loads(pair.on_pool("describe", "instances", "-o", "json"))["instances"]
        assert (
            instance["instanceId"]
            == json.loads((pair.away / "host.json").read_text())["instance_id"]
        )
        (accelerator,) = json.loads(pair.on_pool("describe", "accelerators", "-o", "json"))[
            "accelerators"
        ]
        assert accelerator["health"] == "ok"
        assert client.end(signal.SIGTERM) == 0
    carried = {each.name for each in (pair.away / "host").iterdir()}
    assert carried == {"ca.pem", "ca-bundle.pem", "lock"}
    assert not (pair.away / "current.json").exists()


def test_metadata_may_be_where_ec2_has_it(pair: Pair) -> None:
    fetch = f"import urllib.request as r; print(r.urlopen({METADATA!r}).read().decode())"
    with pair.agent(*pair.join_command(), "--link-local"):
        with pair.on_host([sys.executable, "-c", fetch]) as client:
            assert (
                client.wait_for("i-").strip()
                == json.loads((pair.away / "host.json").read_text())["instance_id"]
            )
        with pair.on_host([*EI, "register", "--link-local"]) as second:
            second.wait_for("An agent runs for")
    assert "169.254" not in pair.host.ip("address", "show", "dev", "lo")
