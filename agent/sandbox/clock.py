"""The one clock of an embedded world.

Everything in the sandbox reads its time here and waits here, so that a world can be moved forward by hours in
an instant: a timer that falls due in the skipped span fires at once. Nothing outside the sandbox knows of it; the
agent sees this time in the API server's ``Date`` header, as it sees a real API server's.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class WorldClock:
    """Wall clock plus an offset that only grows. All methods belong to the world's event loop."""

    def __init__(self, behind: float = 0.0) -> None:
        """``behind``: seconds by which the world begins in the past, for one that shall be old when it is looked at."""
        self._offset = -behind
        self._sleepers: set[asyncio.Event] = set()

    def now(self) -> float:
        """Unix seconds in the world."""
        return time.time() + self._offset

    def utcnow(self) -> datetime:
        """The same as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now(), UTC)

    def rfc3339(self, at: float | None = None) -> str:
        """``2026-11-23T22:49:00Z``: whole seconds, rounded down, as metav1.Time prints them."""
        return datetime.fromtimestamp(int(self.now() if at is None else at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def advance(self, seconds: float) -> None:
        """Move the world forward; whoever sleeps wakes up to look at the new time."""
        if seconds < 0:
            raise ValueError("a world's clock never goes back")
        self._offset += seconds
        for sleeper in self._sleepers:
            sleeper.set()

    async def sleep_until(self, deadline: float) -> None:
        """Return when ``now() >= deadline`` (unix seconds in the world)."""
        while (left := deadline - self.now()) > 0:
            moved = asyncio.Event()
            self._sleepers.add(moved)
            try:
                await asyncio.wait_for(moved.wait(), timeout=left)
            except TimeoutError:
                pass
            finally:
                self._sleepers.discard(moved)

    async def sleep(self, seconds: float) -> None:
        """Sleep for a span of the world's time."""
        await self.sleep_until(self.now() + seconds)
