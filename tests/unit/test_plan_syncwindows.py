"""ESO's own sync windows: when one is open, and what is done with those that cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.plan.syncwindows import LONGEST, MOST, denied, last_start

DAY = 86_400.0


def at(text: str) -> float:
    """Unix time of a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


schedules = st.builds(
    " ".join,
    st.tuples(
        st.sampled_from(("0", "*/20", "5-7", "59")),
        st.sampled_from(("*", "0", "23", "9-17/4", "2,14")),
        st.sampled_from(("*", "1", "31", "10-12")),
        st.sampled_from(("*", "12", "jan-feb", "2")),
        st.sampled_from(("*", "mon", "6,7", "1-5")),
    ),
)


def began(schedule: str, now: float, seconds: float) -> float | None:
    """The same by going back minute by minute, each held against the words of the schedule alone."""
    moment = now - now % 60
    while moment + seconds > now:
        if last_start(schedule, moment, 60) == moment:  # no look back is needed for a minute
            return moment
        moment -= 60
    return None


@settings(max_examples=60, deadline=None)
@given(schedules, st.floats(at("2027-12-20"), at("2028-03-05")), st.sampled_from((60.0, 3600.0, 1.5 * DAY)))
def test_the_window_that_is_open_began_last_of_all_that_could(schedule: str, now: float, seconds: float) -> None:
    """Jumps over months, days and hours lead to the minute that every minute's own look leads to."""
    assert last_start(schedule, now, seconds) == began(schedule, now, seconds)


@pytest.mark.parametrize(
    ("schedule", "now", "days", "start"),
    [
        ("0 0 1 12 *", "2026-12-24T10:00", 31, "2026-12-01T00:00"),
        ("0 0 1 12 *", "2027-01-01T00:00", 31, None),
        ("30 6 29 2 *", "2027-02-28T12:00", 1461, "2024-02-29T06:30"),
        ("0 0 31 2 *", "2027-02-28T12:00", 100_000, None),
        ("0 22 * * fri", "2026-11-28T03:00", 1, "2026-11-27T22:00"),
        ("@yearly", "2026-01-20T00:00", 31, "2026-01-01T00:00"),
        ("@daily", "2026-11-28T03:00", 1, "2026-11-28T00:00"),
        ("@hourly", "2026-11-28T03:59", 1, "2026-11-28T03:00"),
    ],
)
def test_a_window_may_be_open_for_weeks_or_years(schedule: str, now: str, days: float, start: str | None) -> None:
    """A freeze of a whole December still holds at its end; what never comes was never open."""
    assert last_start(schedule, at(now), days * DAY) == (at(start) if start else None)


@pytest.mark.parametrize(
    ("days", "began"),
    [
        ("1-31 * 1", True), ("1 * 0-6", True), ("*/2 * 1", True), ("2 * 2", True), ("2 * 3", False),
        ("* * 1", False), ("*/1 * 1", False), ("?,3 * 1", False), ("2 * *", False), ("? * 2", True),
    ],
)  # fmt: skip
def test_both_days_must_fit_only_where_one_is_a_star(days: str, began: bool) -> None:
    """So ESO's cron has it: even all days of a month, written out, are a restriction, and one of both is enough."""
    tuesday_the_third = at("2026-11-03T10:00")
    assert (last_start(f"0 0 {days}", tuesday_the_third, DAY) is not None) is began


def test_a_denial_holds_wherever_it_stands() -> None:
    """An open window that allows says nothing against one that denies, before it or after it."""
    now = at("2026-11-27T12:30")
    allow, deny = ("allow", "0 12 * * *", 3600.0), ("deny", "15 12 * * *", 3600.0)
    assert denied((allow,), now) is None
    for windows in ((allow, deny), (deny, allow)):
        found = denied(windows, now)
        assert found is not None
        assert found.until == at("2026-11-27T13:15")
    outside = denied((allow,), at("2026-11-27T14:00"))
    assert outside is not None
    assert outside.until is None
    assert denied((("deny", "0 12 * * *", 60.0),), now) is None


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ((("deny", "@every 5m", 3600.0),), "expected five cron fields, found 2"),
        ((("allow", "0 0 * * *", 60.0), ("deny", "0 0 " + "1," * LONGEST + "1 * *", 60.0)), "characters, more than"),
        ((("deny", "61 0 * * *", 60.0),), "out of range"),
        ((("deny", "0 0 * * *", 60.0),) * (MOST + 1), "101 syncWindows, more than the 100 that are read"),
    ],
)
def test_what_cannot_be_read_is_a_denial(windows: tuple[tuple[str, str, float], ...], words: str) -> None:
    """Its author's wish is not known: no sync is asked for, and the reason is said; nor is any amount of them read."""
    found = denied(windows, at("2026-11-27T12:30"))
    assert found is not None
    assert words in found.why
