"""How long force-syncs are waited for, and how many at once."""

from __future__ import annotations

from agent.engine.esopace import KEPT, LONGEST, EsoPace
from agent.policy import Policy

POLICY = Policy()
LIMIT = POLICY.limits.syncs_in_flight
SHORTEST = POLICY.timing.sync_timeout


def test_who_answers_slowly_is_waited_for_and_asked_for_less_at_once() -> None:
    """Each that is given up halves what is asked for at once, one at least; answers in time bring it back."""
    pace = EsoPace()
    assert (pace.slots(POLICY), pace.timeout(POLICY)) == (LIMIT, SHORTEST)
    for expected in (LIMIT // 2, LIMIT // 4 or 1, 1, 1):
        pace.silent(LIMIT)
        assert pace.slots(POLICY) == expected
    for _ in range(3):
        pace.answered(40.0, late=True)
    assert pace.slots(POLICY) == 1
    assert pace.timeout(POLICY) == 3 * 40.0
    for _ in range(2 * LIMIT):
        pace.answered(40.0)
    assert pace.slots(POLICY) == LIMIT


def test_one_that_is_slow_says_nothing_of_all_others() -> None:
    """The median of the last answers of the whole cluster tells, those of former processes among them."""
    pace = EsoPace([1.0, 1.0, 1.0, 900.0])
    assert pace.timeout(POLICY) == SHORTEST


def test_who_was_away_for_hours_is_not_waited_for_as_long_the_next_time() -> None:
    """Its late answers are as old as its absence, and one more that stays out would hold up all others for a day."""
    pace = EsoPace()
    for _ in range(KEPT):
        pace.answered(2 * 3600.0, late=True)
    assert pace.timeout(POLICY) == LONGEST
