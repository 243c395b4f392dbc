"""Go's durations, as ``refreshInterval`` and sync windows write them."""

from __future__ import annotations

import re

from agent.sandbox.actors.eso.errors import NotReproducible

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """``1h0m0s`` in seconds. Raises NotReproducible for what is no duration."""
    body = duration[1:] if duration[:1] in ("+", "-") else duration
    if body == "0":
        return 0.0
    parts = list(_PART.finditer(body))
    if not parts or "".join(part.group() for part in parts) != body:
        raise NotReproducible(f"the duration {duration!r}")
    total = sum(float(part[1]) * _UNITS[part[2]] for part in parts)
    return -total if duration[0] == "-" else total
