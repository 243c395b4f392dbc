"""Times of a world that begins in the past: ``-7d`` is seven days before now."""

from __future__ import annotations

import re
from typing import Any

from agent.sandbox.clock import WorldClock

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"([+-]?)((?:\d+[dhms])+|0)")
_PART = re.compile(r"(\d+)([dhms])")


def seconds(text: str) -> float:
    """Seconds in ``-7d``, ``90s``, ``+1h30m``, ``0``. Raises ValueError that says what was expected."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a span of time such as -7d, -1h30m or 90s; found {text!r}")
    size = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(found[2]))
    return -float(size) if found[1] == "-" else float(size)


def moment(value: str | int | float, clock: WorldClock) -> float:
    """Unix seconds of an age such as ``-7d``; a number is one already. Raises ValueError."""
    if isinstance(value, str):
        return clock.now() + seconds(value)
    return float(value)


def resolved(value: Any, clock: WorldClock) -> Any:
    """A copy of a JSON value in which every text of the form ``@-7d`` is that time in RFC 3339. Raises ValueError."""
    if isinstance(value, dict):
        return {key: resolved(each, clock) for key, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, clock) for each in value]
    if isinstance(value, str) and value.startswith("@") and _SPAN.fullmatch(value[1:]):
        return clock.rfc3339(moment(value[1:], clock))
    return value
