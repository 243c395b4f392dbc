"""How fast ESO answers force-syncs: for how long each is waited for, and how many are asked for at one time.

ESO works through its queue one by one as a rule. Who asks faster than it answers only has it fetch the same again.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable

from agent.policy import Policy

KEPT = 20

LONGEST = 600.0
"""Seconds for which one is waited for, unless the policy wants more: who was away for hours is not that slow."""


class EsoPace:
    """Of the whole cluster, since all ExternalSecrets wait in one queue."""

    def __init__(self, known: Iterable[float] = ()) -> None:
        """``known``: seconds of acknowledgements of former times."""
        self._seconds = deque(known, KEPT)
        self._slots = float("inf")

    def answered(self, seconds: float, *, late: bool = False) -> None:
        """A force-sync was acknowledged after so many seconds; ``late``: it had been given up."""
        self._seconds.append(seconds)
        if not late:
            self._slots += 1

    def silent(self, limit: int) -> None:
        """One was given up: half as many at once from now on, until others are answered in time."""
        self._slots = max(1, min(self._slots, limit) // 2)

    def slots(self, policy: Policy) -> int:
        """Force-syncs that may wait for their answer at one time."""
        return int(min(self._slots, policy.limits.syncs_in_flight))

    def timeout(self, policy: Policy) -> float:
        """Seconds after which one is given up."""
        median = statistics.median(self._seconds) if self._seconds else 0.0
        return max(policy.timing.sync_timeout, min(policy.timing.sync_timeout_medians * median, LONGEST))
