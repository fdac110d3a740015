"""A short run of the history that `make faults` records: a control plane killed in its work."""

from __future__ import annotations

import pytest

from tests.faults.history.run import run


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_doubled_leaked_or_billed_wrongly() -> None:
    summary = run(45, seed=7, between=(5, 12), clients=3)
    assert summary.wrong == []
    assert summary.operations >= 45
    assert sum(summary.kills.values()) >= 3
    assert summary.billed > 0
