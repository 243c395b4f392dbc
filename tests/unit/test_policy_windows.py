"""Windows: open when the zone's wall clock says so, and when that will be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.policy import Window, closes_at, is_open, next_opening
from agent.policy.rules import WEEK

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago")
NIGHTS = Window(days=("Mon", "Tue", "Wed", "Thu"), opens="22:00", closes="04:00", time_zone="Europe/Berlin")


def berlin(text: str, fold: int = 0) -> float:
    """Unix seconds of a wall clock reading in Berlin; fold 1: the second of two equal readings."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold).timestamp()


def window(opens: str, closes: str, zone: str = "Europe/Berlin") -> Window:
    """A window that opens every day."""
    return Window(opens=opens, closes=closes, time_zone=zone)


def test_s27_without_windows_every_time_is_right() -> None:
    """A rule without windows is always open, never opens and never closes."""
    assert is_open((), 0.0)
    assert next_opening((), 0.0) is None
    assert closes_at((), 0.0) is None


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-23T21:59:59", False),  # a Monday
        ("2026-11-23T22:00:00", True),
        ("2026-11-24T03:59:59", True),
        ("2026-11-24T04:00:00", False),
        ("2026-11-27T03:00:00", True),  # Friday morning still belongs to Thursday's window
        ("2026-11-27T22:30:00", False),
        ("2026-11-23T03:00:00", False),  # Monday morning belongs to Sunday, which opens none
    ],
)
def test_s27_days_are_those_on_which_a_window_opens(moment: str, expected: bool) -> None:
    """A window past midnight belongs to the day on which it opened."""
    assert is_open((NIGHTS,), berlin(moment)) is expected


def test_s27_a_refusal_can_say_when_the_window_opens() -> None:
    """Closed on Friday, the next opening is Monday evening; open on Monday, it closes on Tuesday morning."""
    assert next_opening((NIGHTS,), berlin("2026-11-27T12:00:00")) == berlin("2026-11-30T22:00:00")
    assert closes_at((NIGHTS,), berlin("2026-11-30T23:00:00")) == berlin("2026-12-01T04:00:00")
    assert next_opening((NIGHTS,), berlin("2026-11-30T23:00:00")) is None
    assert closes_at((NIGHTS,), berlin("2026-11-27T12:00:00")) is None


def test_s27_a_skipped_hour_is_skipped() -> None:
    """In the night in which 02:00 becomes 03:00, a window from 02:30 opens at 03:00, one within the hour not at all."""
    before = berlin("2026-03-29T01:00:00")
    assert next_opening((window("02:30", "05:00"),), before) == berlin("2026-03-29T03:00:00")
    assert next_opening((window("02:10", "02:50"),), before) == berlin("2026-03-30T02:10:00")
    assert closes_at((window("01:00", "02:30"),), before) == berlin("2026-03-29T03:00:00")


def test_s27_a_repeated_hour_counts_twice() -> None:
    """In the night in which 03:00 becomes 02:00, what the clock shows twice is open twice."""
    half_past = window("02:30", "02:45")
    first, second = berlin("2026-10-25T02:30:00"), berlin("2026-10-25T02:30:00", fold=1)
    assert second - first == 3600
    assert next_opening((half_past,), first - 1800) == first
    assert next_opening((half_past,), first + 900) == second
    until_three = window("01:00", "02:30")
    assert closes_at((until_three,), first - 60) == first
    assert next_opening((until_three,), first) == berlin("2026-10-25T02:00:00", fold=1)


def test_a_day_that_a_zone_skips_has_no_window() -> None:
    """Samoa had no 30 December 2011, a Friday: a window on Fridays opens a week later, and midnight is no gap."""
    samoa = ZoneInfo("Pacific/Apia")
    friday = Window(days=("Fri",), opens="00:00", closes="24:00", time_zone="Pacific/Apia")
    thursday = datetime(2011, 12, 29, 12, tzinfo=samoa).timestamp()
    assert next_opening((friday,), thursday) == datetime(2012, 1, 6, tzinfo=samoa).timestamp()


def test_equal_times_are_a_whole_day_and_every_day_never_closes() -> None:
    """From and to at the same time make 24 hours; on all days that is always, on one day it ends a day later."""
    assert closes_at((window("06:00", "06:00"),), 1e9) is None
    one = Window(days=("Mon",), opens="06:00", closes="06:00", time_zone="UTC")
    monday = datetime(2026, 11, 23, 6, tzinfo=UTC).timestamp()
    assert not is_open((one,), monday - 1)
    assert closes_at((one,), monday) == monday + 86400


def test_adjoining_windows_are_one() -> None:
    """What closes when another opens does not close; overlapping windows close with the last."""
    pair = (window("08:00", "10:00"), window("10:00", "12:00"), window("09:00", "11:00", "Europe/London"))
    assert closes_at(pair, berlin("2026-11-23T08:30:00")) == berlin("2026-11-23T12:00:00")


TIMES = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
WINDOWS = st.lists(
    st.builds(
        lambda *given: Window(days=given[0], opens=given[1], closes=given[2], time_zone=given[3]),
        st.lists(st.sampled_from(WEEK), min_size=1, max_size=7, unique=True).map(tuple),
        TIMES,
        TIMES | st.just("24:00"),
        st.sampled_from(ZONES),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
NOWS = st.integers(int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2028, 1, 1, tzinfo=UTC).timestamp()))
CHANGES = st.sampled_from(
    [datetime(2026, 3, 29, 1), datetime(2026, 10, 25, 1), datetime(2026, 11, 1, 6), datetime(2026, 4, 4, 15)]  # noqa: DTZ001
).map(lambda at: int(at.replace(tzinfo=UTC).timestamp()))
NEAR_CHANGES = st.builds(int.__add__, CHANGES, st.integers(-90_000, 90_000))


def by_definition(each: Window, now: float) -> bool:
    """Open, said otherwise: some opening day's span of wall clock time, counted on a clock that never changes."""
    shown = datetime.fromtimestamp(now, ZoneInfo(each.time_zone)).replace(tzinfo=None)
    for back in (0, 1):
        midnight = (shown - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        hours, minutes = map(int, each.opens.split(":"))
        begin = midnight + timedelta(hours=hours, minutes=minutes)
        hours, minutes = map(int, each.closes.split(":"))
        end = midnight + timedelta(hours=hours, minutes=minutes)
        end += timedelta(days=1) if end <= begin else timedelta()
        if WEEK[midnight.weekday()] in each.days and begin <= shown < end:
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(WINDOWS, NOWS | NEAR_CHANGES)
@example((window("02:30", "02:30"),), int(berlin("2026-10-25T02:45:00", fold=1)))
def test_open_agrees_with_the_wall_clock(windows: tuple[Window, ...], now: int) -> None:
    """Whatever the zone and the season, open is what the clock on the wall says."""
    assert is_open(windows, now) is any(by_definition(each, now) for each in windows)


@settings(max_examples=150, deadline=None)
@given(WINDOWS, NOWS | NEAR_CHANGES, st.data())
def test_next_opening_is_the_first(windows: tuple[Window, ...], now: int, data: st.DataObject) -> None:
    """The next opening is later than now and really open, and nothing between is; the same for the next closing."""
    was_open = is_open(windows, now)
    turn = (closes_at if was_open else next_opening)(windows, now)
    assert (next_opening if was_open else closes_at)(windows, now) is None
    until = now + 21 * 86400 if turn is None else int(turn)
    if turn is not None:
        assert turn > now
        assert is_open(windows, turn) is not was_open
        assert is_open(windows, turn - 1) is was_open
    for moment in data.draw(st.lists(st.integers(now, until - 1), max_size=30)):
        assert is_open(windows, moment) is was_open
    for moment in range(now - now % 900 + 900, min(until, now + 3 * 86400), 900):
        assert is_open(windows, moment) is was_open
