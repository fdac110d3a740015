"""What tests need that run programs as other users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elastic_inference.isolation import users


@pytest.fixture
def uid() -> Iterator[int]:
    """A user of whom nothing runs, nor will when the test is over."""
    separation = users.separation()
    if not separation.possible:
        pytest.skip(f"no users of their own: {separation.why_not}")
    number = users.new_uid()
    yield number
    users.end_all(number)
