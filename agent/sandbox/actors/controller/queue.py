"""A work queue: each key is reconciled by one task at a time, and again when it was added meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import aiohttp

from agent.sandbox.client import ApiError
from agent.sandbox.clock import WorldClock

K = TypeVar("K", bound=Hashable)

_log = logging.getLogger(__name__)
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 5.0


class WorkQueue(Generic[K]):
    """Calls ``work(key)`` for every added key. Its answer, if not None, is the world time of the next look at the key.

    Whatever the API server answers in the way of an error is met by another try, later each time; an object that
    cannot be understood is left alone until it changes.
    """

    def __init__(self, clock: WorldClock, work: Callable[[K], Awaitable[float | None]]) -> None:
        self._clock, self._work = clock, work
        self._waiting: dict[K, None] = {}
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._alarms: dict[K, tuple[float, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    def add(self, key: K) -> None:
        """Have the key looked at soon; a key that already waits is not added twice."""
        self._waiting[key] = None
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for key in [k for k in self._waiting if k not in self._busy]:
                    del self._waiting[key]
                    self._busy.add(key)
                    self._group.create_task(self._one(key))

    async def _one(self, key: K) -> None:
        try:
            again = await self._work(key)
            self._failures.pop(key, None)
            if again is not None:
                self._look_again(key, again)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            _log.debug("%s: %s, try %d", key, error, count)
            self._look_again(key, self._clock.now() + min(_FIRST_PAUSE * 2 ** (count - 1), _LONGEST_PAUSE))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.warning("%s is left alone until it changes: %s %s", key, type(error).__name__, error)
        finally:
            self._busy.discard(key)
            if key in self._waiting:
                self._wake.set()

    def _look_again(self, key: K, at: float) -> None:
        if known := self._alarms.get(key):
            if known[0] <= at:
                return
            known[1].cancel()
        if self._group:
            self._alarms[key] = (at, self._group.create_task(self._alarm(key, at)))

    async def _alarm(self, key: K, at: float) -> None:
        await self._clock.sleep_until(at)
        self._alarms.pop(key, None)
        self.add(key)
