"""Why ESO fails to sync a chain: our own look at the vault first, then ESO's Warning Event, which tenants can forge."""

from __future__ import annotations

from msgspec.structs import replace

from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.notes import warning_events
from agent.diagnose import causes
from agent.diagnose.view import ChainView
from agent.engine.context import Context
from agent.model import ObjectKey, Trouble

CAUSE_RETRY = 15.0
"""Seconds after which the events of a failing ExternalSecret are read again while its cause is not known."""


class Failures:
    """Classifies failed syncs, and remembers the cause while the failure lasts."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._read: dict[ObjectKey, tuple[float, float]] = {}  # chain -> when its Events were read, of which failure

    def forget(self, key: ObjectKey) -> None:
        """The ExternalSecret is gone."""
        self._read.pop(key, None)

    def explain(self, view: ChainView) -> ChainView:
        """Classify why ESO fails, from our own look at the vault and from ESO's Warning Event."""
        es, memory = view.es, view.memory
        if es.ready is not False:
            if memory.cause or memory.failed_since:
                memory = replace(memory, cause="", cause_detail="", failed_since=0.0, probe="")
                self._context.remember_chain(es.key, memory)
                return replace(view, memory=memory)
            return view
        since = es.ready_since or self._context.now
        cause = causes.seen_by_us(view)
        if cause is None and (memory.failed_since != since or memory.cause in ("", "unknown")):
            cause = self._cause_by_event(view, since)
        if cause is None:
            return view
        memory = replace(memory, failed_since=since, cause=cause.cause, cause_detail=cause.detail)
        self._context.remember_chain(es.key, memory)
        return replace(view, memory=memory)

    def _cause_by_event(self, view: ChainView, since: float) -> Trouble | None:
        now = self._context.now
        read_at, read_since = self._read.get(view.es.key, (0.0, 0.0))
        if read_since == since and now - read_at < CAUSE_RETRY:
            return None
        self._read[view.es.key] = (now, since)
        self._context.timers.set(view.es.key, now + CAUSE_RETRY)
        try:
            events = [event.message for event in warning_events(self._context.conn, view.es.key, view.es.uid)]
        except (ApiProblem, Unreachable, BadAnswer):
            return Trouble(cause="unknown", detail=f"ESO says {view.es.ready_reason}; its events could not be read")
        return causes.classify(events, view)
