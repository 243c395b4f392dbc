"""How a test looks at the cluster of its world: into the embedded server's store, or at a real one as its admin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from agent.sandbox.apiserver.audit import AuditEntry
from agent.sandbox.apiserver.kinds import KINDS, Kind
from agent.sandbox.client import Object, Resource
from agent.sandbox.thread import SandboxThread
from agent.sandbox.world import AGENT_NAMESPACE

ACCOUNT = f"system:serviceaccount:{AGENT_NAMESPACE}:secret-drift-agent"
"""As whom the agent comes to a real API server; the record of requests calls it by the name it has everywhere else."""
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
    """What a real API server answers its admin, and its audit log."""

    def __init__(self, thread: SandboxThread, audit_log: Path) -> None:
        self._thread, self._audit_log = thread, audit_log

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._thread.run(self._thread.sandbox.admin.get_or_none(_resource(kind), namespace, name))

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        return self._thread.run(self._thread.sandbox.admin.list(_resource(kind), namespace))

    def requests(self) -> list[AuditEntry]:
        whole = self._audit_log.read_bytes().rpartition(b"\n")[0]
        by_id = {event["auditID"]: event for event in _events(whole)}  # the later stage of a watch replaces the first
        return [_entry(event) for event in sorted(by_id.values(), key=lambda each: each["requestReceivedTimestamp"])]


def _resource(kind: str) -> Resource:
    found = _KINDS[kind]
    return Resource(group=found.group, version=found.version, plural=found.plural, namespaced=found.namespaced)


def _events(text: bytes) -> Iterator[Object]:
    yield from (json.loads(line) for line in text.splitlines() if line)


def _entry(event: Object) -> AuditEntry:
    target, address = event.get("objectRef") or {}, urlsplit(event["requestURI"])
    query = dict(parse_qsl(address.query))
    return AuditEntry(
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        user="agent" if event["user"]["username"] == ACCOUNT else event["user"]["username"],
        verb=event["verb"],
        resource=target.get("resource", ""),
        group=target.get("apiGroup", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        path=address.path,
        query=query,
        user_agent=event.get("userAgent", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        dry_run="dryRun" in query,
    )
