"""``spec.syncWindows``: cron schedules (UTC, five fields) with a duration that allow or deny the periodic refresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.sandbox.actors.eso.durations import seconds
from agent.sandbox.actors.eso.errors import NotReproducible

_MINUTE = timedelta(minutes=1)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def periodic_refresh_allowed(windows: Mapping[str, Any] | None, now: float) -> bool:
    """Whether a periodic refresh may run now (unix seconds). Raises NotReproducible for schedules not understood."""
    entries = (windows or {}).get("windows") or []
    if not windows or not entries:
        return True
    at = datetime.fromtimestamp(now, UTC)
    active = any(Schedule.parse(entry["schedule"]).is_open(at, seconds(entry["duration"])) for entry in entries)
    if windows.get("kind") == "deny":
        return not active
    if windows.get("kind") == "allow":
        return active
    raise NotReproducible(f"syncWindows of kind {windows.get('kind')!r}")


@dataclass(frozen=True)
class Schedule:
    """The minutes at which a cron schedule fires."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """Both day fields are restricted: one of them suffices."""

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Raises NotReproducible for anything but five plain fields or one of the common descriptors."""
        fields = _DESCRIPTORS.get(text.strip(), text).split()
        if len(fields) != 5:
            raise NotReproducible(f"the schedule {text!r}")
        try:
            return cls(
                minutes=_field(fields[0], 0, 59),
                hours=_field(fields[1], 0, 23),
                days=_field(fields[2], 1, 31),
                months=_field(fields[3], 1, 12, _MONTHS),
                weekdays=_field(fields[4], 0, 6, _DAYS),
                either_day=not (_is_star(fields[2]) or _is_star(fields[4])),
            )
        except ValueError:
            raise NotReproducible(f"the schedule {text!r}") from None

    def fires(self, at: datetime) -> bool:
        """Whether it fires in this minute."""
        if at.minute not in self.minutes or at.hour not in self.hours or at.month not in self.months:
            return False
        days = (at.day in self.days, at.isoweekday() % 7 in self.weekdays)
        return any(days) if self.either_day else all(days)

    def is_open(self, at: datetime, duration: float) -> bool:
        """Whether ``at`` lies within ``duration`` seconds of the first firing after ``at - duration - 1 s``."""
        minute = (at - timedelta(seconds=duration + 1)).replace(second=0, microsecond=0) + _MINUTE
        while minute <= at:
            if self.fires(minute):
                return (at - minute).total_seconds() <= duration
            minute += _MINUTE
        return False


def _field(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    chosen: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = _number(begin, low, names)
            last = _number(end, low, names) if dash else (high if slash else first)
        if not low <= first <= last <= high or (slash and int(step) < 1):
            raise ValueError(text)
        chosen.update(range(first, last + 1, int(step) if slash else 1))
    return frozenset(chosen)


def _is_star(field: str) -> bool:
    """``*/2`` is a restriction, ``*/1`` is not."""
    return any(part.removesuffix("/1") in ("*", "?") for part in field.split(","))


def _number(text: str, low: int, names: tuple[str, ...]) -> int:
    lowered = text.lower()
    return names.index(lowered) + low if lowered in names else int(text)
