"""A whole pool in the test's own process, with real accelerator processes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from elastic_inference.control.pool import Pool
from elastic_inference.settings import Limits, PoolSettings


def start(stack: contextlib.ExitStack, directory: Path, settings: Any, **how: Any) -> Pool:
    """A pool with its state below `directory`, which ends with `stack`, all that runs with it.

    Args:
        settings: those that are not the usual ones, by their names.
        how: see `Pool`.
    """
    pool = Pool(
        directory / "state",
        settings=PoolSettings(**{"home": directory, "health_interval": 0.2, **settings}),
        limits=Limits(control_grace=60.0),
        **how,
    )
    stack.callback(pool.close)
    stack.callback(_end_all, pool)
    return pool


def _end_all(pool: Pool) -> None:
    with contextlib.suppress(Exception):
        for instance in pool.plane.store.instances.where():
            pool.plane.terminate(instance.id)
