"""Days of a world: its clock is moved from one time of the day to the next, as an operator tells what happened when."""

from __future__ import annotations

from functools import partial

from support.scenario import Scenario

DAY = 86400.0


class Day:
    """The first whole day (UTC) of a world: ``day.until("14:40")``. Its clock never goes back."""

    def __init__(self, s: Scenario) -> None:
        self._s = s
        self._midnight = (s.sandbox.clock.now() // DAY + 1) * DAY

    def at(self, time: str, *, days: int = 0) -> float:
        """Unix seconds of ``14:40``, so many days later."""
        hours, minutes = map(int, time.split(":"))
        return self._midnight + days * DAY + hours * 3600 + minutes * 60

    def stamp(self, time: str, *, days: int = 0) -> str:
        """The same as objects show it, without the seconds: ``2026-11-23T14:40``."""
        return self._s.sandbox.clock.rfc3339(self.at(time, days=days))[:16]

    def until(self, time: str, *, days: int = 0) -> None:
        """Move the world's clock there."""
        self._s.advance(self.at(time, days=days) - self._s.sandbox.clock.now())

    def synced(self, time: str, namespace: str, *names: str, days: int = 0) -> None:
        """Move the clock there, and wait until ESO has synced these ExternalSecrets, whose own refresh was due.

        And until it is done with them: a clock that moves on while it still plans the next refresh makes it back off.
        """
        self.until(time, days=days)
        for name in names:
            due = self.stamp(time, days=days)
            self._s.wait(partial(self._refreshed, namespace, name, due), why=f"{name} synced at {time}")
        self._s.wait(lambda: self._s.call(lambda: self._s.sandbox.eso.idle), why="ESO is done")

    def _refreshed(self, namespace: str, name: str, since: str) -> bool:
        found = self._s.get("ExternalSecret", namespace, name) or {}
        return str((found.get("status") or {}).get("refreshTime", "")) >= since
