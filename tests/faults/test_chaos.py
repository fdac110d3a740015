"""A short run of `make faults`: some faults of each kind against a whole pool."""

from __future__ import annotations

import pytest

from tests.faults import chaos


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_mixed_up_or_left_over() -> None:
    quick = [fault for fault in chaos.FAULTS if fault.quick]
    assert {fault.kind for fault in quick} == {"kill", "stop", "cut", "slow", "fill"}
    rows = chaos.run(quick, seed=1, quick=True)
    assert len(rows) == len(quick) + 1
    assert [(row.fault.name, row.notes) for row in rows if row.bad] == []
    assert all(row.right for row in rows[:-1])
