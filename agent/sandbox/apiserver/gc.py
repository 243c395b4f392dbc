"""What happens by itself after a delete: dependants follow their owners, namespaces empty themselves.

In a cluster this is the work of the controller manager, in the background: here too it happens after the answer is
sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from agent.sandbox.apiserver.deletion import DeleteOptions, Deletion
from agent.sandbox.apiserver.kinds import KINDS, NAMESPACES, Kind
from agent.sandbox.apiserver.store import Change, Store, Stored


class Collector:
    """Collects garbage one event-loop turn after the change that made it. ``enabled`` can be switched at any time."""

    def __init__(self, store: Store, deletion: Deletion, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._store = store
        self._deletion = deletion
        self._todo: deque[Callable[[], None]] = deque()
        self._handle: asyncio.Handle | None = None
        store.listeners.append(self._on_change)

    def stop(self) -> None:
        """Collect nothing more."""
        self.enabled = False
        self._todo.clear()
        if self._handle:
            self._handle.cancel()

    def _on_change(self, kind: Kind, change: Change) -> None:
        if kind is NAMESPACES and change.type == "MODIFIED":
            self._later(partial(self._empty, change.now.name))
        if change.type == "DELETED":
            self._after_removal(kind, change.now)
        elif change.now.owners and (change.before is None or change.before.owners != change.now.owners):
            self._later(partial(self._check, kind, change.now.key))

    def _after_removal(self, kind: Kind, gone: Stored) -> None:
        for dependant in list(self._store.dependants.get(gone.uid, {})):
            self._later(partial(self._check, *dependant))
        if kind.namespaced:
            home = self._store.get(NAMESPACES, "", gone.namespace)
            if home is not None and "deletionTimestamp" in home.decoded()["metadata"]:
                self._later(partial(self._empty, gone.namespace))

    def _later(self, work: Callable[[], None]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a world being seeded before it runs has no garbage
            return
        self._todo.append(work)
        if self._handle is None:
            self._handle = loop.call_soon(self._work)

    def _work(self) -> None:
        self._handle = None
        for _ in range(len(self._todo)):
            work = self._todo.popleft()
            if self.enabled:
                work()

    def _check(self, kind: Kind, key: str) -> None:
        """Delete an object all of whose owners are gone; take absent owners off one that still has some."""
        namespace, _, name = key.partition("/")
        stored = self._store.get(kind, namespace, name)
        if stored is None or not stored.owners:
            return
        alive = [uid for uid in stored.owners if uid in self._store.by_uid]
        if not alive:
            self._deletion.delete(kind, stored, DeleteOptions(uid=stored.uid))
        elif len(alive) < len(stored.owners):
            obj = stored.decoded()
            obj["metadata"]["ownerReferences"] = [
                ref for ref in obj["metadata"]["ownerReferences"] if ref["uid"] in alive
            ]
            self._store.put(kind, obj)

    def _empty(self, namespace: str) -> None:
        home = self._store.get(NAMESPACES, "", namespace)
        if home is None:
            return
        metadata = home.decoded()["metadata"]
        if "deletionTimestamp" not in metadata:
            return
        left = [(kind, stored) for kind in KINDS if kind.namespaced for stored in self._store.scan(kind, namespace)]
        for kind, stored in left:
            self._deletion.delete(kind, stored, DeleteOptions())
        still = any(kind.namespaced and self._store.scan(kind, namespace) for kind in KINDS)
        newest = self._store.get(NAMESPACES, "", namespace)
        if not still and newest is not None and not metadata.get("finalizers"):
            self._store.remove(NAMESPACES, newest)
