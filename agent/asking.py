"""`heal`, `resume`, `storm ack`: put the question to the leader, follow its answer; act where nobody leads.

The question is a ConfigMap in the agent's namespace (``agent.ledger.requests``). Who asks needs no key and no right but
to create, read and delete those; what may be done is decided where it is done.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
import threading
from typing import TextIO

from agent.clock import Clock
from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.lease import read_lease
from agent.cluster.stored import Stored, list_stored, read_stored
from agent.cluster.writer import Writer
from agent.complaints import complain, not_leading
from agent.leadership import LEASE_NAME, Leadership, identity
from agent.ledger import requests
from agent.ledger.requests import Answer, Request, State
from agent.loop import Agent, Stopped
from agent.making import Maker
from agent.model import ObjectKey
from agent.report.words import escape
from agent.times import stamp

CODES: dict[State, int] = {"done": 0, "remains": 2, "failed": 1, "accepted": 1}
_LOOK = 0.25
_HEARD_WITHIN = 5.0
"""Seconds after which a question that nobody has taken up makes us look whether anybody leads."""
_GIVE_UP = 45.0


def who() -> str:
    """Who asks, as far as this machine can tell: for the log, not for any right."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()


class Asking:
    """One question, from its first word to the exit code."""

    def __init__(self, maker: Maker, namespace: str, clock: Clock, out: TextIO) -> None:
        self._maker, self._namespace, self._clock, self._out = maker, namespace, clock, out
        self._conn: Connection = maker.conn
        self._writer = Writer(self._conn)
        self._seen = 0
        self._stopping = threading.Event()
        self._agent: Agent | None = None

    def stop(self) -> None:
        """From a signal: follow no longer; what is done here ends with the step in hand."""
        self._stopping.set()
        if self._agent is not None:
            self._agent.stop()

    def ask(self, request: Request, deadline: float) -> int:
        """Put it, follow it to its end; the exit code.

        Raises ApiProblem, Unreachable, BadAnswer, LedgerProblem, and Stopped where nothing can be said yet.
        """
        if not self._led():
            return self._alone(request, deadline)
        self._tidy()
        stored = self._writer.create_stored(requests.asked(self._namespace, request))
        try:
            answer = self._follow(stored, self._clock.monotonic() + deadline)
        finally:
            with contextlib.suppress(ApiProblem, Unreachable):
                self._writer.delete_stored("configmaps", stored.key, uid=stored.uid)
        if answer is None:
            return self._alone(request, deadline)
        return CODES[answer.state]

    def acknowledge(self, request: Request) -> int:
        """Put an acknowledgement of a storm, which stays until it has run out; the exit code.

        Where nobody leads, it counts for whoever acts next. Raises ApiProblem, Unreachable, BadAnswer.
        """
        stored = self._writer.create_stored(requests.asked(self._namespace, request))
        self._tidy()
        answer = self._follow(stored, self._clock.monotonic() + _GIVE_UP) if self._led() else None
        found = requests.acknowledgement_of(stored)
        if answer is None and found is not None:
            why = "nobody holds the Lease, so it counts for who acts next"
            self._say(f"acknowledged until {stamp(found.until)}: {why}")
            return CODES["done"]
        if answer is not None and answer.state == "done":
            return CODES["done"]
        with contextlib.suppress(ApiProblem, Unreachable):
            self._writer.delete_stored("configmaps", stored.key, uid=stored.uid)
        return CODES["failed"]

    def _led(self) -> bool:
        record = read_lease(self._conn, ObjectKey(self._namespace, LEASE_NAME))
        return record is not None and record.holder != ""

    def _follow(self, stored: Stored, ends: float) -> Answer | None:
        """The last answer; None: nobody takes it up, so whoever asks may act."""
        began = self._clock.monotonic()
        while True:
            there = read_stored(self._conn, "configmaps", stored.key)
            answer = requests.answer_of(there) if there is not None else None
            if answer is not None:
                self._print(answer)
                if answer.ended:
                    return answer
            now = self._clock.monotonic()
            if now > ends or there is None or self._stopping.is_set():
                complain("no end of it", "the leader goes on", "see explain")
                return answer or Answer(state="failed", by="")
            if answer is None and now - began > _HEARD_WITHIN:
                lease = Leadership(self._conn, self._namespace, identity())
                if lease.acquire(now + _GIVE_UP):
                    lease.stop()
                    return None
                if now - began > _GIVE_UP:
                    step = "it may be an older version, or may not watch ConfigMaps in its namespace"
                    complain("no answer", f"{lease.holder} holds the Lease and does not take it up", step)
                    return Answer(state="failed", by=lease.holder)
            self._clock.wait(self._stopping, _LOOK)

    def _print(self, answer: Answer) -> None:
        first = answer.cut
        for number, line in enumerate(answer.lines, first):
            if number >= self._seen:
                self._say(line)
        self._seen = max(self._seen, first + len(answer.lines))

    def _say(self, line: str) -> None:
        self._out.write(escape(line) + "\n")
        self._out.flush()

    def _alone(self, request: Request, deadline: float) -> int:
        """Nobody leads: do it here, under the Lease; a dry run needs none."""
        if request.dry_run and request.kind == "heal":
            return self._carry_out(self._maker.begin("read"), request, deadline)
        lease = Leadership(self._conn, self._namespace, identity())
        try:
            if not lease.acquire(self._clock.monotonic() + _GIVE_UP):
                return complain(*not_leading(lease))
            self._say("nobody holds the Lease: done from here")
            agent = self._maker.begin("heal", lambda: lease.leading, lease.me)
            return self._carry_out(agent, request, deadline)
        finally:
            lease.stop()

    def _carry_out(self, agent: Agent, request: Request, deadline: float) -> int:
        self._agent = agent
        try:
            if self._stopping.is_set():
                raise Stopped
            following = agent.once(deadline, request, tell=self._say)
        finally:
            self._agent = None
            agent.close()
        return CODES[following.state] if following is not None else 1

    def _tidy(self) -> None:
        """Remove what others asked, were answered, and have not taken away; and acknowledgements that count no more."""
        with contextlib.suppress(ApiProblem, Unreachable, BadAnswer):
            now = self._conn.server_now()
            there = list_stored(self._conn, "configmaps", self._namespace, label_selector=requests.SELECTOR)
            acknowledging = requests.acknowledgements(there)
            over = acknowledging if requests.in_force(there, now) is None else acknowledging[:-1]
            for stored in over:  # the oldest first: what has replaced another is never gone before it
                self._writer.delete_stored("configmaps", stored.key, uid=stored.uid)
            for stored in there:
                if stored in acknowledging:
                    continue
                answer = requests.answer_of(stored)
                if answer is None or not answer.ended:
                    continue
                with contextlib.suppress(requests.Unusable):
                    if now - requests.request_of(stored).at > requests.KEPT:
                        self._writer.delete_stored("configmaps", stored.key, uid=stored.uid)
