"""Go's notation of durations, as metav1.Duration prints and reads it."""

from __future__ import annotations

import re
from functools import lru_cache

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = 64  # characters
_MOST = 9.3e9  # seconds: what 63 bits of nanoseconds hold


@lru_cache(maxsize=256)
def go_duration(text: str) -> float:
    """Seconds of ``1h30m``, ``90s``, ``1.5h``, ``0``. Raises ValueError, without repeating the text."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(rest) <= _LONGEST and (part := _PART.match(rest, at)) and part[1].strip("."):
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not rest or at < len(rest) or total > _MOST:
        raise ValueError("is no duration such as 1h30m0s")
    return sign * total
