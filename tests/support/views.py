"""How a test looks at the cluster of its world: into the embedded server's store, or at a real one as its admin."""

from __future__ import annotations

from typing import Protocol

from support.requested import Requested

from agent.sandbox.apiserver.audit import AuditEntry
from agent.sandbox.apiserver.kinds import KINDS, Kind
from agent.sandbox.client import Object, Resource
from agent.sandbox.thread import SandboxThread

_KINDS: dict[str, Kind] = {kind.kind: kind for kind in KINDS}


class View(Protocol):
    """Objects as they are now, and all requests so far."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object."""

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        """All objects of a kind, in one namespace or all."""

    def requests(self) -> list[AuditEntry]:
        """What was asked of the API server, in the order in which it came."""


class EmbeddedView:
    """The store and the record of the sandbox's own server."""

    def __init__(self, thread: SandboxThread) -> None:
        self._thread = thread

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        stored = self._thread.call(self._thread.sandbox.api.store.get, _KINDS[kind], namespace, name)
        return stored.decoded() if stored else None

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        found = self._thread.call(self._thread.sandbox.api.store.scan, _KINDS[kind], namespace)
        return [stored.decoded() for stored in found]

    def requests(self) -> list[AuditEntry]:
        return self._thread.call(lambda: list(self._thread.sandbox.api.audit))


class RealView:
    """What a real API server answers its admin, and what was asked of it since now."""

    def __init__(self, thread: SandboxThread, requested: Requested) -> None:
        self._thread, self._requested = thread, requested
        requested.begin()

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._thread.run(self._thread.sandbox.admin.get_or_none(_resource(kind), namespace, name))

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        return self._thread.run(self._thread.sandbox.admin.list(_resource(kind), namespace))

    def requests(self) -> list[AuditEntry]:
        return self._requested.entries()


def _resource(kind: str) -> Resource:
    found = _KINDS[kind]
    return Resource(group=found.group, version=found.version, plural=found.plural, namespaced=found.namespaced)
