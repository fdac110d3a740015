"""`ei up` whose state lies in PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgresql
from tests.pools import EI, accelerator_pids, ei, environment, program, up

pytestmark = pytest.mark.slow

RUN = ("run", "--quiet", "--accelerator", "eia1.medium")


@pytest.fixture
def url() -> Iterator[str]:
    with postgresql.server() as server:
        yield server.new_database()


def described(home: Path, what: str) -> list[dict[str, object]]:
    done = ei(home, "describe", what, "-o", "json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, object]] = json.loads(done.stdout)[what]
    return rows


def test_a_pool_is_killed_and_comes_back_on_the_same_database(short_path: Path, url: str) -> None:
    home, other = short_path / "home", short_path / "other"
    database = {"EI_DATABASE": url}
    with up(home, env=database) as first:
        words = [*EI, *RUN, "--name", "mine", "--", "sh", "-c", "echo ready; exec sleep 1000"]
        with program(words, environment(home)) as command:
            command.wait_for("ready")
            (before,), (accelerator,) = (
                described(home, "instances"),
                described(home, "accelerators"),
            )
            pids = accelerator_pids(home / "pool")
            refused = ei(other, "up", env=database)
            assert refused.returncode == 1
            assert "Another control plane uses postgresql+psycopg://" in refused.stderr
            assert "EI_DATABASE" in refused.stderr
            first.end(signal.SIGKILL)
            with up(home, env=database) as second:
                assert accelerator_pids(home / "pool") == pids
                (after,), (again,) = described(home, "instances"), described(home, "accelerators")
                for key in ("instanceId", "name", "state", "acceleratorIds", "launchTime", "tags"):
                    assert after[key] == before[key]
                for key in ("acceleratorId", "associationId", "health", "startedAt", "restarts"):
                    assert again[key] == accelerator[key]
                os.kill(command.pid, signal.SIGTERM)
                assert command.end(signal.SIGTERM) == 143
                assert described(home, "accelerators") == []
                assert second.end(signal.SIGTERM) == 0
    assert not (home / "pool" / "pool.sqlite").exists()
