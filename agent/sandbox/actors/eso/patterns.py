"""``find.name.regexp``: the part of Go's syntax that means the same in Python."""

from __future__ import annotations

import re

from agent.sandbox.actors.eso.errors import NotReproducible

_ESCAPES = set("dwsDWSbB") | set(r"\.+*?()|[]{}^$-_/ ")


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, to be used unanchored (``search``). Raises NotReproducible for all that could differ."""
    body = pattern.removeprefix("(?i)")
    for doubt in ("(?", "[[", "[:", "{,", "*+", "++", "?+", "}+", "}*", "**", "+*", "?*", "}?*"):
        if doubt in body:
            raise NotReproducible(f"find by the regexp {pattern!r}")
    at = 0
    while (at := body.find("\\", at)) >= 0:
        if body[at + 1 : at + 2] not in _ESCAPES:
            raise NotReproducible(f"find by the regexp {pattern!r}")
        at += 2
    try:
        return re.compile(body, re.ASCII | (re.IGNORECASE if body != pattern else 0))
    except re.error:
        raise NotReproducible(f"find by the regexp {pattern!r}") from None
