"""Namespace patterns: ``*`` is any run of characters, ``?`` is one; nothing else is special.

Both questions asked here have exact answers without regular expressions, so that no pattern can be slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

_STATES = 4096  # of the search below; patterns that need more are taken as reachable
_PATTERNS = 200


@lru_cache(maxsize=65536)
def matches(pattern: str, name: str) -> bool:
    """Whether the whole of ``name`` fits ``pattern``; time is at most len(pattern) * len(name)."""
    at, star, retry = 0, -1, 0
    i = 0
    while i < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, retry = at, i
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[i]):
            at += 1
            i += 1
        elif star >= 0:
            retry += 1
            at, i = star + 1, retry
        else:
            return False
    return pattern[at:].strip("*") == ""


def any_matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns fits."""
    return any(matches(pattern, name) for pattern in patterns)


def cover(earlier: Sequence[str], later: str) -> bool:
    """Whether every name that ``later`` fits is fitted by one of ``earlier``: exact, for the union of them.

    Both sides are read as automata whose states are positions in a pattern, and all pairs that any name can lead to are
    looked at; a pair in which ``later`` has ended and none of ``earlier`` has is a name that gets through.
    Where that would take too long the answer is no.
    """
    if "*" in earlier or later in earlier:
        return True
    if len(earlier) > _PATTERNS:
        return False
    letters = sorted(set("".join([*earlier, later])) - {"*", "?"})
    letters.append("\0")  # stands for every character that no pattern spells out
    start = (_closed(later, {0}), frozenset((i, at) for i, each in enumerate(earlier) for at in _closed(each, {0})))
    seen, todo = {start}, [start]
    while todo:
        mine, theirs = todo.pop()
        if len(later) in mine and not any(at == len(earlier[i]) for i, at in theirs):
            return False
        for letter in letters:
            moved = _step(later, mine, letter)
            if not moved:
                continue
            pair = (moved, _step_all(earlier, theirs, letter))
            if pair not in seen:
                if len(seen) >= _STATES:
                    return False
                seen.add(pair)
                todo.append(pair)
    return True


def _step_all(patterns: Sequence[str], states: frozenset[tuple[int, int]], letter: str) -> frozenset[tuple[int, int]]:
    by_pattern: dict[int, set[int]] = {}
    for i, at in states:
        by_pattern.setdefault(i, set()).add(at)
    return frozenset((i, at) for i, ats in by_pattern.items() for at in _step(patterns[i], ats, letter))


def _step(pattern: str, states: Iterable[int], letter: str) -> frozenset[int]:
    moved: set[int] = set()
    for at in states:
        if at < len(pattern):
            if pattern[at] == "*":
                moved.add(at)
            elif pattern[at] in ("?", letter):
                moved.add(at + 1)
    return _closed(pattern, moved)


def _closed(pattern: str, states: set[int]) -> frozenset[int]:
    """The states and all that follow without a character, as ``*`` may be empty."""
    closed = set(states)
    for at in states:
        while at < len(pattern) and pattern[at] == "*":
            at += 1
            closed.add(at)
    return frozenset(closed)
