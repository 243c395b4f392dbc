"""Whose turn it is: a pass ends in time to hear what has come, however many workloads are due and whatever each costs.

Right before pods are touched several requests are made. A thousand workloads that each ask a slow API server would hold
up all else for minutes, the comparisons by which it is known that the agent is well among it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from agent.model import WorkloadKey

LONGEST = 5.0
"""Seconds of a pass after which no other workload's turn begins."""


class Turns:
    """One workload after the other, for as long as a pass may take."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._next: WorkloadKey | None = None  # whose turn it was when the last pass was cut short

    def take(
        self, due: Iterable[WorkloadKey], consider: Callable[[WorkloadKey], None], stopped: Callable[[], bool]
    ) -> Sequence[WorkloadKey]:
        """Let ``consider`` look at each; returns those that are left for the next pass, where they come first."""
        ends, keys = self._monotonic() + LONGEST, sorted(due)
        first = bisect_left(keys, self._next) if self._next is not None else 0
        keys, self._next = keys[first:] + keys[:first], None
        for number, key in enumerate(keys):
            if stopped():
                return keys[number:]
            if number and self._monotonic() >= ends:
                self._next = key
                return keys[number:]
            consider(key)
        return ()
