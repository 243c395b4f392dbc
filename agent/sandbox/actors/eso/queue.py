"""The controller's work queue: each key once, never by two workers at a time, later ones on a heap of due times.

Failures of a key wait 1, 2, 4 ... 420 s of the world's time; a change of the object does not wait for that. Ten
thousand keys that are due in an hour cost ten thousand heap entries and no task.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict

from agent.sandbox.clock import WorldClock

Key = tuple[str, str]

FIRST_DELAY = 1.0
LONGEST_DELAY = 420.0


class WorkQueue:
    """All methods belong to one event loop; ``run`` moves what is due into the queue until cancelled."""

    def __init__(self, clock: WorldClock) -> None:
        self._clock = clock
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._filled = asyncio.Event()
        self._sooner = asyncio.Event()

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as a worker is free."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = None
            self._filled.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """The same after a time; of two times for one key the earlier holds."""
        due = self._clock.now() + seconds
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        if self._heap[0] == (due, key):
            self._sooner.set()

    def add_backed_off(self, key: Key) -> None:
        """The same after a failure: each one doubles the wait."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(FIRST_DELAY * 2 ** min(failures, 30), LONGEST_DELAY))

    def forget(self, key: Key) -> None:
        """The key's failures are over."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key; ``done`` must follow."""
        while not self._ready:
            self._filled.clear()
            await self._filled.wait()
        key, _ = self._ready.popitem(last=False)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The worker is through; what was added meanwhile comes again."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    @property
    def idle(self) -> bool:
        """Nothing to do now (later is another matter)."""
        return not self._ready and not self._working

    async def run(self) -> None:
        """Wait for due times, on the world's clock."""
        while True:
            self._sooner.clear()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            if not self._heap:
                await self._sooner.wait()
                continue
            waits = [
                asyncio.ensure_future(self._clock.sleep_until(self._heap[0][0])),
                asyncio.ensure_future(self._sooner.wait()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
