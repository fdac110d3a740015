"""Fixtures for tests of fleets."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fleet.watched import Watched
from tests.pools import accelerator_pids


@pytest.fixture
def make(short_path: Path) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def build(**settings: object) -> Watched:
        made.append(Watched(short_path, **settings))  # type: ignore[arg-type]  # by name
        return made[-1]

    yield build
    for watched in made:
        watched.fleet.close()
    for pid in accelerator_pids(short_path).values():
        os.kill(pid, signal.SIGKILL)
