"""Times as people read them. Pure; no clock is read here."""

from __future__ import annotations

import math
from datetime import UTC, datetime

LONGEST = 1e12
"""Seconds; a span beyond this is nobody's and would only be a row of digits."""


def stamp(at: float) -> str:
    """RFC 3339 in UTC, whole seconds; an em dash for a time that is not known."""
    if not 0 < at < 253402300800:
        return "—"
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: float) -> str:
    """A span as ``45 s``, ``3 min 20 s``, ``2 h 5 min``, ``8 d 4 h``; whatever the cluster claims, never an error."""
    if not math.isfinite(seconds):
        return "an unknown time"
    whole = max(0, int(min(seconds, LONGEST)))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next((index for index, (number, _) in enumerate(parts) if number), 3)
    said = [f"{number} {unit}" for number, unit in parts[first : first + 2] if number]
    return " ".join(said) or "0 s"
