"""ESO's own sync windows, which a force-sync would bypass. Pure.

``spec.syncWindows`` is allow or deny, with cron schedules in UTC and a duration each. A schedule that cannot be read
refuses: ESO itself ignores such a one, so its author's wish is not known.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_NAMES = {
    name: str(number)
    for names, first in (("sun mon tue wed thu fri sat", 0), ("jan feb mar apr may jun jul aug sep oct nov dec", 1))
    for number, name in enumerate(names.split(), first)
}
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART = re.compile(r"(\*|\d+)(?:-(\d+))?(?:/(\d+))?")
_STAR = re.compile(r"(?:^|,)[*?](?:/0*1)?(?=,|$)")
_FARTHEST = timedelta(days=9 * 366)
"""How far back a window may have begun: the 29th of February can be eight years ago."""

MOST = 100
"""Windows of one ExternalSecret that are read: whoever may write it could have each look at it take seconds."""

LONGEST = 256
"""Characters of a schedule."""

_SHORTHANDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip


class Schedule(NamedTuple):
    """What a cron expression says; ``either``: one of the days of month and of week is enough."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool


class Denied(NamedTuple):
    """Why no sync is wanted now, and until when if that can be known."""

    why: str
    until: float | None


def denied(windows: tuple[tuple[str, str, float], ...], now: float) -> Denied | None:
    """None if the windows let a sync happen at ``now``. Each window: (allow or deny, cron, seconds)."""
    if len(windows) > MOST:
        return Denied(f"the ExternalSecret has {len(windows)} syncWindows, more than the {MOST} that are read", None)
    try:
        opened = [(kind, schedule, seconds, last_start(schedule, now, seconds)) for kind, schedule, seconds in windows]
    except ValueError as error:
        return Denied(f"syncWindows of the ExternalSecret cannot be read: {error}", None)
    for kind, schedule, seconds, start in opened:
        if kind == "deny" and start is not None:
            return Denied(f"syncWindows of the ExternalSecret deny a sync ({schedule})", start + seconds)
    allowing = [start for kind, _, _, start in opened if kind == "allow"]
    if not allowing or any(start is not None for start in allowing):
        return None
    return Denied("outside the syncWindows that the ExternalSecret allows", None)


def last_start(schedule: str, now: float, seconds: float) -> float | None:
    """When the window open at ``now`` began; None: none is open. Raises ValueError for an unreadable schedule."""
    cron = parse(schedule)
    moment = datetime.fromtimestamp(now, UTC).replace(second=0, microsecond=0)
    earliest = moment - min(timedelta(seconds=seconds), _FARTHEST)
    while moment >= earliest:
        if moment.month not in cron.months:
            moment = moment.replace(day=1, hour=0, minute=0) - timedelta(minutes=1)
        elif not _day(cron, moment):
            moment = moment.replace(hour=0, minute=0) - timedelta(minutes=1)
        elif moment.hour not in cron.hours:
            moment = moment.replace(minute=0) - timedelta(minutes=1)
        elif moment.minute not in cron.minutes:
            moment -= timedelta(minutes=1)
        else:  # those that began earlier have ended earlier, too
            return moment.timestamp() if moment.timestamp() + seconds > now else None
    return None


def parse(schedule: str) -> Schedule:
    """The five fields of a cron expression, or a shorthand of them such as ``@daily``. Raises ValueError."""
    if len(schedule) > LONGEST:
        raise ValueError(f"a schedule of {len(schedule)} characters, more than {LONGEST}")
    words = schedule.lower()
    parts = _SHORTHANDS.get(words.strip(), words).split()
    if len(parts) != len(_RANGES):
        raise ValueError(f"expected five cron fields, found {len(parts)}")
    fields = [_field(part, low, high) for part, (low, high) in zip(parts, _RANGES, strict=True)]
    minutes, hours, days, months, weekdays = fields
    either = not any(_STAR.search(part) for part in (parts[2], parts[4]))
    return Schedule(minutes, hours, days, months, weekdays, either)


def _field(text: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        for name, number in _NAMES.items():
            item = item.replace(name, number)
        match = _PART.fullmatch("*" + item[1:] if item.startswith(("?", "*")) else item)
        if match is None:
            raise ValueError("a cron field is not understood")
        begin, end, step = match.groups()
        first = low if begin == "*" else int(begin)
        last = high if begin == "*" or (step and not end) else int(end or begin)
        if not (low <= first <= last <= high) or (step and int(step) < 1):
            raise ValueError("a cron field is out of range")
        found.update(range(first, last + 1, int(step or 1)))
    if high == 7 and 7 in found:
        found.add(0)
    return frozenset(found)


def _day(cron: Schedule, moment: datetime) -> bool:
    in_month, in_week = moment.day in cron.days, (moment.isoweekday() % 7) in cron.weekdays
    # As cron has it: if both are restricted, either is enough; one is by whatever is written but a star.
    return in_month or in_week if cron.either else in_month and in_week
