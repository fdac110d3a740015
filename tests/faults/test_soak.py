"""A short run of `make soak`."""

from __future__ import annotations

import pytest

from tests.faults import soak


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_grows_and_no_answer_is_anothers() -> None:
    assert soak.run(12.0) == []
