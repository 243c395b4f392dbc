"""What a world looks like at one moment: which version of which vault secret each container holds. Never a value."""

from __future__ import annotations

from typing import Any

from agent.sandbox.actors.kubelet import Received
from agent.sandbox.apiserver.kinds import KINDS
from agent.sandbox.client import Object
from agent.sandbox.faulttext import in_force
from agent.sandbox.world import Sandbox

_KINDS = {kind.kind: kind for kind in KINDS}
_Place = tuple[str, str]
"""(vault, secret)."""


def census(sandbox: Sandbox) -> dict[str, Any]:
    """The world as JSON: time, vaults with their versions, ExternalSecrets, containers, faults, problems."""
    versions = _Versions(sandbox)
    statuses = _container_statuses(sandbox)
    running = sandbox.kubelet.running()
    return {
        "time": sandbox.clock.rfc3339(),
        "vaults": {vault.name: _vault(vault, sandbox) for vault in sandbox.vaults.vaults},
        "externalSecrets": [_external_secret(obj) for obj in _objects(sandbox, "ExternalSecret")],
        "containers": [_container(each, versions, statuses) for each in running],
        "faults": in_force(sandbox),
        "refusedByEso": {f"{namespace}/{name}": why for (namespace, name), why in sandbox.eso.refused.items()},
        "problems": [repr(problem) for problem in sandbox.problems],
    }


def _objects(sandbox: Sandbox, kind: str) -> list[Object]:
    return [stored.decoded() for stored in sandbox.api.store.scan(_KINDS[kind])]


def _vault(vault: Any, sandbox: Sandbox) -> dict[str, Any]:
    return {
        name: [
            {
                "label": f"v{number}",
                "version": each.version,
                "created": sandbox.clock.rfc3339(each.created),
                "enabled": each.enabled,
            }
            for number, each in enumerate(vault.versions(name), 1)
        ]
        for name in vault.names()
    }


def _external_secret(obj: Object) -> dict[str, Any]:
    status = obj.get("status") or {}
    ready: Object = next((c for c in status.get("conditions") or [] if c.get("type") == "Ready"), {})
    return {
        "namespace": obj["metadata"]["namespace"],
        "name": obj["metadata"]["name"],
        "ready": ready.get("status", "Unknown"),
        "reason": ready.get("reason", ""),
        "refreshTime": status.get("refreshTime", ""),
    }


def _container_statuses(sandbox: Sandbox) -> dict[tuple[str, str], Object]:
    return {
        (pod["metadata"]["uid"], status["name"]): status
        for pod in _objects(sandbox, "Pod")
        for status in (pod.get("status") or {}).get("containerStatuses") or []
    }


def _container(held: Received, versions: _Versions, statuses: dict[tuple[str, str], Object]) -> dict[str, Any]:
    status = statuses.get((held.pod_uid, held.container), {})
    holds = {
        f"{secret}/{key}": versions.of(held.namespace, secret, key, value)
        for (secret, key), value in held.source.items()
        if value is not None
    }
    return {
        "namespace": held.namespace,
        "pod": held.pod,
        "container": held.container,
        "node": held.node,
        "ready": bool(status.get("ready")),
        "restarts": int(status.get("restartCount", 0)),
        "holds": holds,
    }


class _Versions:
    """Finds the versions that a value may be, by comparing it with what the vaults hold."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._labels: dict[bytes, dict[_Place, list[str]]] = {}
        for vault in sandbox.vaults.vaults:
            for name in vault.names():
                for number, each in enumerate(vault.versions(name), 1):
                    places = self._labels.setdefault(each.value.encode(), {})
                    places.setdefault((vault.name, name.lower()), []).append(f"v{number}")
        self._names = self._named(sandbox)

    def of(self, namespace: str, secret: str, key: str, value: bytes) -> str:
        """``prod-kv/api-key v2``; ``unknown`` for a value that no vault holds as it is."""
        places = self._labels.get(value, {})
        wanted = self._names.get((namespace, secret, key))
        fitting = [place for place in places if wanted in (None, place[1])]
        return " or ".join(f"{place[0]}/{place[1]} {' or '.join(places[place])}" for place in fitting) or "unknown"

    def _named(self, sandbox: Sandbox) -> dict[tuple[str, str, str], str]:
        """(namespace, Secret, key) -> the name of the vault secret that an ExternalSecret puts there."""
        found: dict[tuple[str, str, str], str] = {}
        for obj in _objects(sandbox, "ExternalSecret"):
            metadata, spec = obj["metadata"], obj.get("spec") or {}
            target = (spec.get("target") or {}).get("name") or metadata["name"]
            for entry in spec.get("data") or []:
                remote = str((entry.get("remoteRef") or {}).get("key", ""))
                found[metadata["namespace"], target, str(entry.get("secretKey"))] = remote.removeprefix(
                    "secret/"
                ).lower()
        return found
