"""`run` as a sequence of terms: in each this process leads, or stands by, with an agent that has read everything anew.

Whoever becomes the leader knows nothing but what the ledger and the world say, exactly as after a restart: what its
predecessor had under way is found there. A stand-by follows the world, so that a right or a vault that it lacks shows
before it is needed, serves metrics of itself, and writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent import advice, garbage
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable, trouble_of
from agent.engine.troubles import API_SERVER
from agent.events import HolderChanged, Recovered, Troubled
from agent.leadership import WHOLE_SERVER, Leadership
from agent.ledger import LedgerConflict
from agent.loop import Access, Agent
from agent.model import Trouble

_TOLD_BY_ALL = WHOLE_SERVER - {"unauthorized"}
"""Of these every collection tells at once; a watch that runs notices nothing of a token that has ended."""
_WELL_AGAIN = (API_SERVER, "the ledger")
"""What is known to work where a term could begin."""
PAUSE = 5.0
"""Seconds before everything is read anew, where that failed or somebody else wrote the ledger."""


class Terms:
    """One process's terms. ``failing`` is told why one could not begin, and by None that one could."""

    def __init__(
        self, begin: Callable[[Access], Agent], leadership: Leadership, failing: Callable[[Exception | None], None]
    ) -> None:
        self._begin, self._leadership, self._failing = begin, leadership, failing
        self._stopping = threading.Event()
        self._agent: Agent | None = None
        self._leads = False
        self._told = ""  # the cause for which the Lease cannot be had
        self._holder = ""  # who leads, as was last told
        self._left: dict[str, Trouble] = {}  # what the last term has told of, and not yet the end of it
        leadership.on_change = self._changed

    def run(self, on_cycle: Callable[[float], None]) -> None:
        """Until ``stop``."""
        self._leadership.start()
        try:
            while not self._stopping.is_set():
                ended_well = self._term(on_cycle)
                if not self._stopping.is_set():
                    garbage.forget()
                if not ended_well:
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
            told = self._left.get(API_SERVER)
            if told is None or told.cause != trouble_of(error).cause:
                self._failing(error)
            return False
        self._agent = agent
        try:
            self._failing(None)
            self._tell_recovered(agent)
            self._tell_lease(agent)
            if self._leadership.leading is not leads or self._stopping.is_set():
                return True
            self._holder = self._leadership.holder
            agent.run(on_cycle, self._holder, lapsed=self._holder == self._leadership.me)
        except LedgerConflict as error:
            trouble = Trouble(cause="conflict", detail=f"{error}; it is read anew")
            agent.context.troubles.subject("the ledger", trouble)
            return not self._leadership.leading
        finally:
            self._agent = None
            self._left = agent.engine.troubles
            agent.close()
        return True

    def _tell_recovered(self, agent: Agent) -> None:
        """An outage that outlasts a term is told once, and so is its end."""
        for subject in _WELL_AGAIN:
            if self._left.pop(subject, None) is not None:
                agent.context.tell(Recovered, subject=subject)

    def _changed(self) -> None:
        """Called by the Lease's thread."""
        agent = self._agent
        if agent is None:
            return
        self._tell_lease(agent)
        if self._leadership.leading is not self._leads:
            agent.stop()
        elif not self._leads:
            self._tell_holder(agent)

    def _tell_holder(self, agent: Agent) -> None:
        """Who stands by follows who leads: another has the Lease now, or has taken the one that we let lapse."""
        holder = self._leadership.holder
        if holder not in ("", self._holder):  # given back, it has another holder soon
            self._holder = holder
            agent.context.tell(HolderChanged, holder=holder)

    def _tell_lease(self, agent: Agent) -> None:
        """Why this process cannot lead, once for each cause; what keeps everything from us is told by all else."""
        trouble = self._leadership.trouble
        cause = trouble.cause if trouble is not None and trouble.cause not in _TOLD_BY_ALL else ""
        if trouble is not None and cause and cause != self._told:
            told = Trouble(cause=cause, detail=self._with_advice(trouble))
            agent.context.tell(Troubled, subject="the Lease", trouble=told)
        elif self._told and trouble is None:
            agent.context.tell(Recovered, subject="the Lease")
        self._told = cause

    def _with_advice(self, trouble: Trouble) -> str:
        error = self._leadership.error
        if not isinstance(error, ApiProblem) or advice.step(trouble.cause, trouble.detail):
            return trouble.detail  # for some causes the same is said wherever they are told
        step = advice.home_step(error.code, error.message, self._leadership.namespace)
        return f"{trouble.detail.rstrip('.')}. {step[:1].upper()}{step[1:]}"
