"""In which order the test processes get the tests: the long ones first, and not all of them in one process.

xdist's worksteal cuts the list into one piece for each process, and lets those that are done take from the others. A
long test that is begun last is waited for by all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

T = TypeVar("T")

LONG = 200.0
"""Seconds of its own time limit from which a test counts as long."""
_LONG_MODULES = ("test_image.py", "test_pushgateway_away.py", "test_s29_crashes.py")
_SHARING_MODULES = ("test_dashboards_live.py",)
"""Their tests share a world that takes a minute to make, so that one process plays them all."""


def is_long(item: Any) -> bool:
    """Whether a test takes most of a minute or more; one that is skipped takes nothing."""
    if any(mark.name == "skip" for mark in item.iter_markers()):
        return False
    limit = item.get_closest_marker("timeout")
    return item.path.name in (*_LONG_MODULES, *_SHARING_MODULES) or (
        limit is not None and bool(limit.args) and limit.args[0] >= LONG
    )


def together(items: Iterable[Any]) -> list[list[Any]]:
    """Tests by what must stay together: each for itself, but for those that share a world."""
    apart = groupby(items, lambda item: item.path if item.path.name in _SHARING_MODULES else item.nodeid)
    return [list(group) for _, group in apart]


def spread(long: Sequence[Sequence[T]], others: Sequence[T], processes: int) -> list[T]:
    """All of them, so that each of ``processes`` equal pieces begins with its share of the groups of long ones."""
    count = sum(map(len, long)) + len(others)
    sizes = [len(range(number, count, processes)) for number in range(processes)]
    rest, order = list(others), []
    for number, size in enumerate(sizes):
        mine = [item for group in long[number::processes] for item in group]
        room = max(0, size - len(mine))
        order += [*mine, *rest[:room]]
        rest = rest[room:]
    return order + rest
