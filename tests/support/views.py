"""How a test looks at the cluster of its world: into the embedded server's store, or at a real one as its admin."""

from __future__ import annotations

import json
import time
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
        self._began, self._read = time.time(), audit_log.stat().st_size
        self._entries: dict[str, AuditEntry] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._thread.run(self._thread.sandbox.admin.get_or_none(_resource(kind), namespace, name))

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        return self._thread.run(self._thread.sandbox.admin.list(_resource(kind), namespace))

    def requests(self) -> list[AuditEntry]:
        with self._audit_log.open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole + newline)
        for line in whole.splitlines():
            event = json.loads(line)
            entry = _entry(event)
            if entry.at >= self._began:  # else a watch of the world before this one has ended
                self._entries[event["auditID"]] = entry  # the later stage of a watch replaces the first
        return sorted(self._entries.values(), key=lambda entry: entry.at)


def _resource(kind: str) -> Resource:
    found = _KINDS[kind]
    return Resource(group=found.group, version=found.version, plural=found.plural, namespaced=found.namespaced)


def _entry(event: Object) -> AuditEntry:
    target, address = event.get("objectRef") or {}, urlsplit(event["requestURI"])
    query = dict(parse_qsl(address.query))
    return AuditEntry(
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        user=_user(event["user"].get("username", "")),  # none: nobody knows who it was
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


def _user(name: str) -> str:
    return "agent" if name == ACCOUNT else name
