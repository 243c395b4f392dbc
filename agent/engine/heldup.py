"""Workloads that wait for the canary of another one: as it ends they are looked at again, first come first served.

Nothing that happens to a waiting workload tells of that. And of thousands that wait only a few are woken, since most
would only begin to wait for the next canary.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from agent.memory import HealMemory
from agent.model import WorkloadKey

AT_ONCE = 20
"""Those that are woken when a canary ends."""


class HeldUp:
    """Who waits, in the order in which they began to."""

    def __init__(self, look: Callable[[WorkloadKey], None]) -> None:
        """``look``: has one looked at soon."""
        self._look = look
        self._waiting: dict[WorkloadKey, None] = {}
        self._woken: set[WorkloadKey] = set()

    def waits(self, key: WorkloadKey) -> None:
        """It is refused for the canary of another one."""
        self._waiting.setdefault(key)

    def looked_at(self, key: WorkloadKey, *, begun: bool) -> None:
        """It was decided on. One that was woken, and neither goes nor waits, leaves its turn to the next."""
        woken = key in self._woken
        self._woken.discard(key)
        if woken and not begun and key not in self._waiting:
            self._wake(1)

    def going(self, key: WorkloadKey) -> None:
        """It is about to be decided on: whether it waits is told anew."""
        self._waiting.pop(key, None)

    def canary_ended(self, former: HealMemory | None, heal: HealMemory | None) -> None:
        """Wake some if what they may wait for is over."""
        if _holds_up(former) and not _holds_up(heal):
            self._wake(AT_ONCE)

    def refused(self, heal: HealMemory) -> None:
        """Its next step is refused: with no pod under way it tries nothing, and is not waited for."""
        if _holds_up(heal) and heal.halt is None and not heal.in_flight:
            self._wake(AT_ONCE)

    def _wake(self, most: int) -> None:
        for key in list(islice(self._waiting, most)):
            del self._waiting[key]
            self._woken.add(key)
            self._look(key)


def _holds_up(heal: HealMemory | None) -> bool:
    """A canary that failed does as well as one that is tried; another halt does not."""
    if heal is None:
        return False
    return heal.halt.reason == "canary-failed" if heal.halt else heal.started > 0 and not heal.canary_passed
