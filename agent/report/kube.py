"""Kubernetes Events on the ExternalSecret and the workload, as a subscriber that never holds up or disturbs a heal.

Notes wait in a bounded table, one entry per Event object, and are written by a thread of their own: a slow API server
raises counts, not memory. Each namespace may cause a bounded rate of writes; what is over it is written later, and
what is repeated meanwhile is counted: nothing is lost for the pace of a heal.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

import structlog

from agent.clock import Clock
from agent.events import Event
from agent.report.failures import named
from agent.report.notes import About, Note, Ref, Type, message, name_of, note_of

BURST = 120.0
PER_SECOND = 1.0
"""Events that are written for one namespace: at once, and from then on. The last ones of a process do not wait."""

MOST_WAITING_OF_ONE = 100
"""Different Events of one namespace that wait; more are dropped."""
_MOST_WAITING = 1000
_MOST_NAMESPACES = 5000
_log = structlog.get_logger()


class EventWriter(Protocol):
    """Records in the cluster."""

    def event(
        self, regarding: Ref, type: Type, reason: str, message: str, at: float, *, name: str, times: int = 1
    ) -> None:
        """Count ``times`` more of the Event ``name``, creating it if need be; ``at`` is its newest time."""


class KubeEvents:
    """The subscriber. Thread-safe. ``refs`` finds the object (None: it is gone, nothing to write on)."""

    def __init__(
        self,
        writer: EventWriter,
        refs: Callable[[About], Ref | None],
        clock: Clock,
        *,
        enabled: Callable[[], bool] = lambda: True,
        burst: float = BURST,
        per_second: float = PER_SECOND,
    ) -> None:
        """``enabled`` is asked at each event: under a policy that only observes nothing is written."""
        self.written = 0
        self.failed = 0
        self.dropped = 0
        """Notes written; not written because the API server would not; and for want of room."""
        self._writer, self._refs, self._enabled = writer, refs, enabled
        self._rates = _Rates(clock, burst, per_second)
        self._changed = threading.Condition()
        self._waiting: OrderedDict[tuple[str, str], _Waiting] = OrderedDict()
        self._of_one: Counter[str] = Counter()
        self._closed = False
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Note one event, if an owner should read it. Never raises, never waits for the API server."""
        note = note_of(event)
        if note is None or not self._enabled():
            return
        for about in note.about:
            regarding = self._refs(about)
            if regarding is not None:
                said = message(event, about, note)
                self._add(_Waiting(regarding, note, said, event.at, 1))

    def close(self, timeout: float) -> None:
        """Write what waits, for at most ``timeout`` seconds, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _add(self, new: _Waiting) -> None:
        name = (new.regarding.namespace, name_of(new.regarding, new.note))
        with self._changed:
            waiting = self._waiting.get(name)
            if self._closed or (waiting is None and not self._has_room(new)):
                self.dropped += 1
                return
            if waiting is None:
                self._of_one[new.regarding.namespace] += 1
            self._waiting[name] = new if waiting is None else new._replace(times=waiting.times + 1)
            if new.note.urgent:
                self._waiting.move_to_end(name, last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="kube-events", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _has_room(self, new: _Waiting) -> bool:
        """What is urgent passes the bounds: it is rare, for a workload halts once and a Secret is lost once."""
        if new.note.urgent:
            return len(self._waiting) < 2 * _MOST_WAITING
        return len(self._waiting) < _MOST_WAITING and self._of_one[new.regarding.namespace] < MOST_WAITING_OF_ONE

    def _write_all(self) -> None:
        failing: set[str] = set()  # namespaces that take none; empty: nobody can be written to
        while (item := self._next()) is not None:
            name, waiting = item
            namespace = waiting.regarding.namespace
            try:
                self._write(name, waiting)
            except Exception as error:  # noqa: BLE001 - whatever the writer raises: telling must never stop healing
                self.failed += waiting.times
                where = namespace if _refused(error) else ""
                if where not in failing and len(failing) < _MOST_NAMESPACES:
                    failing.add(where)
                    within = f" in namespace {where}" if where else ""
                    _log.warning(f"Kubernetes Events cannot be written{within}", cause=named(error))
            else:
                self.written += waiting.times
                failing -= {namespace, ""}

    def _write(self, name: str, waiting: _Waiting) -> None:
        note = waiting.note
        self._writer.event(
            waiting.regarding, note.type, note.reason, waiting.message, waiting.at, name=name, times=waiting.times
        )

    def _next(self) -> tuple[str, _Waiting] | None:
        """The first that may be written now; None: all is written, and no more will come."""
        with self._changed:
            while (name := self._due()) is None:
                if self._closed and not self._waiting:
                    return None
                self._changed.wait(self._rates.interval if self._waiting else None)
            waiting = self._waiting.pop(name)
            self._of_one[name[0]] -= 1
            if not self._of_one[name[0]]:
                del self._of_one[name[0]]
            return name[1], waiting

    def _due(self) -> tuple[str, str] | None:
        """In the order in which they came. Once closed, all are."""
        spent: set[str] = set()
        for name, waiting in self._waiting.items():
            if self._closed or waiting.note.urgent:
                return name
            if name[0] not in spent and self._rates.take(name[0]):
                return name
            spent.add(name[0])
        return None


def _refused(error: Exception) -> bool:
    """Whether an API server said no to this one, which says nothing of others; else it cannot be written to at all."""
    code = getattr(error, "code", 0)
    return isinstance(code, int) and 400 <= code < 429


class _Waiting(NamedTuple):
    regarding: Ref
    note: Note
    message: str
    at: float
    times: int


class _Rates:
    """A bucket of tokens per namespace."""

    def __init__(self, clock: Clock, burst: float, per_second: float) -> None:
        self.interval = min(60.0, 1 / per_second)
        """Seconds until an empty bucket holds a token."""
        self._clock, self._burst, self._per_second = clock, burst, per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, namespace: str) -> bool:
        """Whether one more is allowed."""
        now = self._clock.monotonic()
        tokens, newest = self._buckets.pop(namespace, (self._burst, now))
        tokens = min(self._burst, tokens + (now - newest) * self._per_second)
        allowed = tokens >= 1
        self._buckets[namespace] = (tokens - allowed, now)
        if len(self._buckets) > _MOST_NAMESPACES:
            self._buckets.popitem(last=False)
        return allowed
