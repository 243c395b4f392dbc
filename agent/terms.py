"""`run` as a sequence of terms: in each this process leads, or stands by, with an agent that has read everything anew.

Whoever becomes the leader knows nothing but what the ledger and the world say, exactly as after a restart: what its
predecessor had under way is found there. A stand-by follows the world, so that a right or a vault that it lacks shows
before it is needed, serves metrics of itself, and writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent import garbage
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable, trouble_of
from agent.leadership import Leadership
from agent.ledger import LedgerConflict
from agent.loop import Access, Agent
from agent.model import Trouble

PAUSE = 5.0
"""Seconds before everything is read anew, where that failed or somebody else wrote the ledger."""


class Terms:
    """One process's terms. ``tell`` is told once of each trouble that no agent is there to tell of."""

    def __init__(
        self, begin: Callable[[Access], Agent], leadership: Leadership, tell: Callable[[str, Trouble | None], None]
    ) -> None:
        self._begin, self._leadership, self._tell = begin, leadership, tell
        self._stopping = threading.Event()
        self._agent: Agent | None = None
        self._leads = False
        leadership.on_change = self._changed

    def run(self, on_cycle: Callable[[float], None]) -> None:
        """Until ``stop``."""
        self._leadership.start()
        try:
            while not self._stopping.is_set():
                self._tell("the Lease", self._leadership.trouble)
                if not self._term(on_cycle):
                    self._leadership.clock.wait(self._stopping, PAUSE)
        finally:
            self._leadership.stop()

    def stop(self) -> None:
        """From any thread: finish the step in hand and end."""
        self._stopping.set()
        agent = self._agent
        if agent is not None:
            agent.stop()

    def _term(self, on_cycle: Callable[[float], None]) -> bool:
        """One term, to its end. False: try again after a pause."""
        leads = self._leads = self._leadership.leading
        try:
            agent = self._begin("heal" if leads else "read")
        except (ApiProblem, Unreachable, BadAnswer) as error:
            self._tell("the ledger", trouble_of(error))
            return False
        self._agent = agent
        try:
            self._tell("the ledger", None)
            if self._leadership.leading is not leads or self._stopping.is_set():
                return True
            agent.run(on_cycle, self._leadership.holder)
        except LedgerConflict as error:
            self._tell("the ledger", Trouble(cause="conflict", detail=f"{error}; it is read anew"))
            return not self._leadership.leading
        finally:
            self._agent = None
            agent.close()
        del agent
        garbage.forget()
        return True

    def _changed(self) -> None:
        """Called by the Lease's thread."""
        self._tell("the Lease", self._leadership.trouble)
        agent = self._agent
        if agent is not None and self._leadership.leading is not self._leads:
            agent.stop()
