"""Fixtures for what is fuzzed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.accelerator import Accelerator
from tests.fuzz.local import LocalAccelerator


@pytest.fixture(scope="session")
def attacked() -> Iterator[Accelerator]:
    """An accelerator in this process; every case ends with a check that it is right."""
    made = LocalAccelerator()
    try:
        yield made
    finally:
        made.close()
