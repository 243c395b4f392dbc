"""What a process that stands by tells: of itself, and nothing of the drifts.

It knows less of them than the leader does (which syncs were acknowledged, what is under way), and a drift told by two
processes, one of them late, would page twice and resolve late.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from agent import events as ev

OF_ITSELF = (ev.LeadershipChanged, ev.HolderChanged, ev.PolicyChanged, ev.Troubled, ev.Recovered)


class StandBy:
    """A subscriber before others."""

    def __init__(self, *subscribers: Callable[[ev.Event], None]) -> None:
        self._subscribers = subscribers

    def __call__(self, event: ev.Event) -> None:
        """Pass on what is of this process; of a comparison, that it ended and how long it took."""
        if isinstance(event, ev.CycleEnded):
            event = replace(event, links={}, stale_containers={}, findings=0)
        elif not isinstance(event, OF_ITSELF):
            return
        for subscriber in self._subscribers:
            subscriber(event)
