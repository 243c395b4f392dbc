"""When disruption is allowed: "is now inside", on the wall clock of the window's zone.

Whether a window is open is a question about what a clock on the wall shows, so a change of the zone's clock needs no
rule of its own: an hour that is skipped is skipped, one that is repeated counts twice. When it opens or closes next is
found among the few moments at which the answer can change: the window's own times, and the changes of the zone's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from .rules import WEEK, Window

_DAY = 86400.0
_HORIZON_DAYS = 22
"""Three weeks: a weekly window may fall wholly into an hour, or a day, that its zone skips."""


def is_open(windows: Sequence[Window], now: float) -> bool:
    """Whether one of the windows is open at ``now`` (unix seconds). No windows at all: always."""
    return not windows or any(_inside(window, now) for window in windows)


def next_opening(windows: Sequence[Window], now: float) -> float | None:
    """The moment (unix seconds) at which closed windows open next; None while open, or if none opens in three weeks."""
    if is_open(windows, now):
        return None
    return next((moment for moment in _moments(windows, now) if is_open(windows, moment)), None)


def closes_at(windows: Sequence[Window], now: float) -> float | None:
    """The moment (unix seconds) at which open windows close, all of them; None while closed, or if they never do."""
    if not windows or not is_open(windows, now):
        return None
    return next((moment for moment in _moments(windows, now) if not is_open(windows, moment)), None)


def _inside(window: Window, now: float) -> bool:
    local = datetime.fromtimestamp(now, ZoneInfo(window.time_zone))
    clock, opens, closes = local.hour * 60 + local.minute, _minutes(window.opens), _minutes(window.closes)
    today = WEEK[local.weekday()] in window.days
    if opens < closes:
        return today and opens <= clock < closes
    yesterday = WEEK[local.weekday() - 1] in window.days
    return (today and clock >= opens) or (yesterday and clock < closes)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _moments(windows: Sequence[Window], now: float) -> list[float]:
    """Every moment after ``now``, up to the horizon, at which a window can open or close; in order."""
    found: set[float] = set()
    for zone in {window.time_zone for window in windows}:
        found.update(_clock_changes(ZoneInfo(zone), now))
    for window in windows:
        found.update(_wall_times(window, now))
    return sorted(moment for moment in found if moment > now)


def _wall_times(window: Window, now: float) -> Iterator[float]:
    zone = ZoneInfo(window.time_zone)
    first = datetime.fromtimestamp(now, zone).date() - timedelta(days=1)
    for minutes in {_minutes(window.opens), _minutes(window.closes), 0}:
        for days in range(_HORIZON_DAYS + 2):
            yield from _readings(first + timedelta(days=days + minutes // 1440), minutes % 1440, zone)


def _readings(day: date, minutes: int, zone: ZoneInfo) -> Iterator[float]:
    """The moments at which the wall clock shows this time: two of them where an hour is repeated."""
    for fold in (0, 1):
        yield datetime.combine(day, time(minutes // 60, minutes % 60, fold=fold), zone).timestamp()


def _clock_changes(zone: ZoneInfo, now: float) -> Iterator[float]:
    """The moments, to the second, from which the zone's distance to UTC differs from what it was before."""
    before = now - _DAY
    for _ in range((_HORIZON_DAYS + 2) * 4):
        after = before + _DAY / 4
        if _offset(zone, before) != _offset(zone, after):
            yield _first_with(zone, int(before), int(after))
        before = after


def _first_with(zone: ZoneInfo, low: int, high: int) -> float:
    """Between ``low``, still on the old distance, and ``high``, on the new: the first second of the new."""
    new = _offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == new:
            high = middle
        else:
            low = middle
    return float(high)


def _offset(zone: ZoneInfo, moment: float) -> timedelta:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset() or timedelta()
