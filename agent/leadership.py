"""One actor at a time: who holds the Lease acts, everybody else watches.

The protocol is that of Kubernetes' own controllers. Clocks are never compared: a Lease has run out when its record has
not changed for its own duration, and never for less than ours (anybody may edit it), by the watcher's own monotonic
clock. A holder stops acting well before that, by its monotonic clock too, which goes on while a process is stopped: one
that wakes up after a pause knows at once that it may lead no more. What happens between this look and the call that
follows it no Lease can prevent; that is what the reservations in the ledger and the uid in each call are for.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from agent.clock import Clock
from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Conflict, Unreachable, trouble_of
from agent.cluster.lease import Record, micro_time, read_lease, write_lease
from agent.cluster.writer import Writer
from agent.model import ObjectKey, Trouble

LEASE_NAME = "secret-drift-agent"
WHOLE_SERVER = frozenset({"unreachable", "certificate", "unauthorized", "server-error", "throttled"})
"""Causes that are not the Lease's own: whoever reads anything else says so."""


class Pace(NamedTuple):
    """Seconds."""

    duration: float = 15.0
    """A holder that is silent for so long has lost it."""
    act: float = 10.0
    """After its last renewal a holder acts for so long and no longer."""
    renew: float = 4.0
    retry: float = 2.0


PACE = Pace()
_TRIES = 2
"""After a first one that failed, for a process that does its work once: its scheduler tries again soon enough."""


def identity(environment: Mapping[str, str] = os.environ) -> str:
    """Who this process is: the pod, so that a container that was restarted in it goes on at once; else unique."""
    return environment.get("POD_NAME") or f"{socket.gethostname()}_{secrets.token_hex(4)}"


class Leadership:
    """Holds the Lease, or waits for it. ``on_change`` is called from a thread when it is won, lost, or out of reach."""

    def __init__(
        self,
        conn: Connection,
        namespace: str,
        me: str,
        *,
        pace: Pace = PACE,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.me, self.namespace = me, namespace
        self.trouble: Trouble | None = None
        """Why the Lease cannot be read or written now."""
        self.error: Exception | None = None
        self.on_change = on_change
        self._conn, self._writer, self._clock, self._pace = conn, Writer(conn), conn.clock, pace
        self._key = ObjectKey(namespace, LEASE_NAME)
        self._record: Record | None = None  # without a version: it has been deleted since
        self._changed_at = 0.0  # when the record was first seen as it is (monotonic)
        self._acts_until = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    @property
    def clock(self) -> Clock:
        """The connection's."""
        return self._clock

    @property
    def leading(self) -> bool:
        """Whether this process may act now."""
        return self._clock.monotonic() < self._acts_until

    @property
    def holder(self) -> str:
        """Who leads, as far as is known; empty: nobody, or not known."""
        return self._record.holder if self._record is not None else ""

    def start(self) -> None:
        """Try at once, in the caller's thread, then go on in a thread of its own."""
        self._try()
        self._thread.start()

    def acquire(self, ends: float) -> bool:
        """Wait until it is held (True), or is seen to be held by one who is alive (False), or ``ends`` is reached.

        For a process that does its work once: what another is doing already needs no second one.
        """
        self._try()
        first, failed = self._record, 0
        while not self.leading and self._clock.monotonic() < ends:
            first = first or self._record
            if self._record is not None and first is not None and self._record.renewed != first.renewed:
                break  # it was renewed while we looked
            failed = failed + 1 if self.trouble is not None else 0
            if self.trouble is not None and (failed > _TRIES or self.trouble.cause in ("forbidden", "unauthorized")):
                break
            self._clock.wait(self._stopping, min(self._pace.retry / 2, max(0.05, ends - self._clock.monotonic())))
            self._try()
        if self.leading:
            self._thread.start()
        return self.leading

    def stop(self) -> None:
        """End, and give the Lease back, so that another need not wait until it runs out."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(6.0)
        record, self._acts_until = self._record, 0.0
        if record is None or record.holder != self.me:
            return
        try:
            self._write(record, holder="", seconds=1.0)
        except (ApiProblem, Unreachable, BadAnswer):
            return  # it runs out by itself

    # --------------------------------------------------------------------------------------------------- details

    def _run(self) -> None:
        while not self._stopping.is_set():
            led = self.leading
            pause = self._pace.renew if led else self._pace.retry
            if led:
                pause = min(pause, max(0.0, self._acts_until - self._clock.monotonic()))
            if self._clock.wait(self._stopping, pause):
                return
            told = self.leading, self.holder, self.trouble
            self._try()
            if (led or told[0]) != self.leading or told[1:] != (self.holder, self.trouble):
                self.on_change()

    def _try(self) -> None:
        """One look, and one write where it is ours or may be. Never raises."""
        try:
            try:
                self._look()
            except Conflict:  # somebody else was first
                self._see(read_lease(self._conn, self._key), self._clock.monotonic())
            self.trouble = self.error = None
        except (ApiProblem, Unreachable, BadAnswer) as error:
            self.trouble, self.error = trouble_of(error), error

    def _look(self) -> None:
        asked = self._clock.monotonic()
        if self._record is None or self._record.holder != self.me:
            self._see(read_lease(self._conn, self._key), asked)
        known = self._record
        if known is None:
            self._take(Record(transitions=0), asked)
        elif known.holder in ("", self.me) or asked - self._changed_at > max(known.seconds, self._pace.duration):
            self._take(known, asked)

    def _see(self, found: Record | None, at: float) -> None:
        known = self._record
        if found is None or found.holder != self.me:
            self._acts_until = 0.0  # whoever holds it, or takes it now, acts at once
        if found is None and known is not None and known.holder not in ("", self.me):
            # Deleted, and its holder, who does not know, acts on: it is to be waited for as if it fell silent now.
            found = msgspec.structs.replace(known, resource_version="")
        if found is None or known is None or found.resource_version != known.resource_version:
            self._changed_at = at
        self._record = found

    def _take(self, known: Record, asked: float) -> None:
        self._record = self._write(known, holder=self.me, seconds=self._pace.duration)
        self._changed_at = asked
        # From before the request: another counts from when it sees the answer, later.
        self._acts_until = asked + self._pace.act

    def _write(self, known: Record, *, holder: str, seconds: float) -> Record:
        now = micro_time(self._conn.server_now())
        changes = known.holder != holder and holder != ""
        wanted = Record(
            holder=holder,
            seconds=seconds,
            acquired=now if changes or not known.acquired else known.acquired,
            renewed=now,
            transitions=known.transitions + (1 if changes and known.resource_version else 0),
            resource_version=known.resource_version,
        )
        return write_lease(self._writer, self._key, wanted)
