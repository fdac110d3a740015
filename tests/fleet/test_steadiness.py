"""Health that comes and goes, damped."""

from __future__ import annotations

from elastic_inference.fleet.base import Health
from elastic_inference.fleet.steadiness import STEADY_AFTER, WINDOW, Steadiness

OK, IMPAIRED, UNKNOWN = Health.OK, Health.IMPAIRED, Health.UNKNOWN


def shown(*found: tuple[float, Health]) -> list[Health]:
    steadiness = Steadiness()
    return [steadiness.show(health, now) for now, health in found]


def test_a_first_restart_is_shown_as_it_is() -> None:
    assert shown((0, OK), (5, IMPAIRED), (6, OK)) == [OK, IMPAIRED, OK]


def test_after_three_changes_it_must_stay_well() -> None:
    found = shown(
        (0, OK), (5, IMPAIRED), (6, OK), (7, IMPAIRED), (8, OK), (17.9, OK), (18, OK), (19, OK)
    )  # fmt: skip
    assert found == [OK, IMPAIRED, OK, IMPAIRED, IMPAIRED, IMPAIRED, OK, OK]


def test_the_wait_begins_anew_with_each_relapse() -> None:
    found = shown(
        (0, OK), (1, IMPAIRED), (2, OK), (3, IMPAIRED), (4, OK), (9, IMPAIRED), (10, OK), (19, OK),
        (20, OK),
    )  # fmt: skip
    assert found[4:] == [IMPAIRED, IMPAIRED, IMPAIRED, IMPAIRED, OK]


def test_that_it_is_not_well_is_shown_at_once() -> None:
    found = shown((0, OK), (1, IMPAIRED), (2, OK), (3, IMPAIRED), (4, UNKNOWN), (5, IMPAIRED))
    assert found == [OK, IMPAIRED, OK, IMPAIRED, UNKNOWN, IMPAIRED]


def test_that_nobody_could_look_is_no_relapse() -> None:
    found = [(float(at), (OK, UNKNOWN)[at % 2]) for at in range(9)]
    assert shown(*found) == [health for _, health in found]


def test_changes_of_long_ago_do_not_count() -> None:
    late = 1 + WINDOW
    found = shown((0, OK), (1, IMPAIRED), (2, OK), (3, IMPAIRED), (late, OK), (late + 1, IMPAIRED))
    assert found[4] is OK
    assert STEADY_AFTER < WINDOW


def test_nothing_is_known_at_first() -> None:
    steadiness = Steadiness()
    assert steadiness.shown is UNKNOWN
    assert steadiness.show(UNKNOWN, 0) is UNKNOWN
    assert steadiness.show(IMPAIRED, 1) is IMPAIRED
