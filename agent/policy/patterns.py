"""Which regular expressions may be held against a tenant's log.

Python's engine backtracks: some expressions take exponential time on a line made for it, and the line is the tenant's.
So only a part of the RE2 syntax is let in, in which repetition does not nest.
"""

from __future__ import annotations

import re
import warnings

LONGEST_PATTERN = 200
MOST_REPEATS = 3
_COUNTED = re.compile(r"\{(\d*)(,?)(\d*)\}")


def complaint(pattern: str) -> str:
    """Why this pattern is refused, in one line; empty if it may be used with ``re.search``."""
    if not pattern:
        return "expected a regular expression; found empty text, which every line matches"
    if len(pattern) > LONGEST_PATTERN:
        return f"expected at most {LONGEST_PATTERN} characters; found {len(pattern)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # said of [[ and the like, which may come to mean sets
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        return f"expected a regular expression; found one that does not parse: {error}"
    found = _Scan(pattern).complaint()
    if not found and compiled.search(""):
        return "expected a regular expression that some lines do not match; this one matches even an empty line"
    return found


class _Scan:
    """One pass from left to right, with a stack of open groups."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._open: list[bool] = [False]  # per open group: it holds a repeat or an alternative
        self._repeats = 0

    def complaint(self) -> str:
        while self._at < len(self._pattern):
            found = self._atom()
            if found:
                return found
        return ""

    def _atom(self) -> str:
        char = self._pattern[self._at]
        if char == "(":
            return self._open_group()
        if char == "|":
            self._open[-1] = True
            self._at += 1
            return ""
        risky = False
        if char == ")":
            risky = self._open.pop()
            self._open[-1] |= risky
            self._at += 1
        elif char == "\\":
            if self._pattern[self._at + 1] in "123456789gk":
                return "references back to a group are not supported: they can take exponential time"
            self._at += 2
        elif char == "[":
            self._skip_class()
        else:
            self._at += 1
        return self._quantifier(risky)

    def _open_group(self) -> str:
        if self._pattern.startswith("(?", self._at):
            if not self._pattern.startswith("(?:", self._at):
                return "of the groups that begin with (? only (?: is supported"
            self._at += 2
        self._at += 1
        self._open.append(False)
        return ""

    def _skip_class(self) -> None:
        self._at += 1
        if self._pattern.startswith("^", self._at):
            self._at += 1
        first = True
        while first or self._pattern[self._at] != "]":
            first = False
            self._at += 2 if self._pattern[self._at] == "\\" else 1
        self._at += 1

    def _quantifier(self, risky: bool) -> str:
        if self._at >= len(self._pattern):
            return ""
        char = self._pattern[self._at]
        counted = _COUNTED.match(self._pattern, self._at) if char == "{" else None
        if char not in "*+?" and not (counted and (counted[1] or counted[3])):
            return ""
        self._at += len(counted[0]) if counted else 1
        if self._pattern.startswith(("?", "+"), self._at):
            if self._pattern[self._at] == "+":
                return "possessive repeats such as a++ are not supported"
            self._at += 1
        if char == "?":
            self._open[-1] = True
            return ""
        if counted and not counted[2]:
            return "" if not risky else _NESTED
        if risky:
            return _NESTED
        self._open[-1] = True
        self._repeats += 1
        if self._repeats > MOST_REPEATS:
            return f"expected at most {MOST_REPEATS} repeats such as .* in one expression: each multiplies the time"
        return ""


_NESTED = (
    "a repeat of a group that itself repeats or chooses, such as (a+)* or (a|b)*, is not supported: "
    "it can take exponential time"
)
