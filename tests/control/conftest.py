"""A whole pool in the test's own process, with real accelerator processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.control.pool import Pool
from tests import embedded

StartPool = Callable[..., Pool]


@pytest.fixture
def start_pool(short_path: Path) -> Iterator[StartPool]:
    """Start pools on one state directory: `start_pool(outlive=…, listen_on=…, setting=…)`."""
    with contextlib.ExitStack() as stack:

        def start(*, outlive: bool = False, listen_on: str | None = None, **settings: Any) -> Pool:
            return embedded.start(stack, short_path, settings, listen_on=listen_on, outlive=outlive)

        yield start
