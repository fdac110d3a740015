"""A whole pool in the test's own process, with real accelerator processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.control.pool import Pool
from elastic_inference.settings import Limits, PoolSettings

StartPool = Callable[..., Pool]


@pytest.fixture
def start_pool(short_path: Path) -> Iterator[StartPool]:
    """Start pools on one state directory: `start_pool(outlive=…, listen_on=…, setting=…)`."""
    with contextlib.ExitStack() as stack:

        def start(*, outlive: bool = False, listen_on: str | None = None, **settings: Any) -> Pool:
            pool = Pool(
                short_path / "state",
                settings=PoolSettings(**{"home": short_path, "health_interval": 0.2, **settings}),
                limits=Limits(control_grace=60.0),
                listen_on=listen_on,
                outlive=outlive,
            )
            stack.callback(pool.close)
            stack.callback(_end_all, pool)
            return pool

        yield start


def _end_all(pool: Pool) -> None:
    with contextlib.suppress(Exception):
        for instance in pool.plane.store.instances.where():
            pool.plane.terminate(instance.id)
