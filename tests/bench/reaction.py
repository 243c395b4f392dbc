"""How quickly a rotation is answered, in a small world with all its actors: each leg in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.sandbox import builders
from agent.sandbox.client import DEPLOYMENTS
from agent.sandbox.files import write_files
from agent.sandbox.thread import SandboxThread
from tests.bench.measuring import running
from tests.bench.objects import DAY
from tests.bench.shipped import RUN, shipped

NAMESPACE, VAULT = "klinematrix-test", "klinematrix-test-kv"
INTERVAL, SETTLE = 1.0, 1.0
POLICY = f"""apiVersion: secret-drift-agent/v1
kind: HealPolicy
mode: heal
interval: {INTERVAL:.0f}s
vaults: [{{name: {VAULT}, namespaces: ["*"]}}]
sync: [{{namespaces: ["*"], steps: [force-sync]}}]
recycle: [{{namespaces: ["*"], settle: {SETTLE:.0f}s}}]
margins: {{kubeletLag: 0s, node: 1s}}
"""


class Backend:
    """A secret of a vault that three pods consume, in a world with all its actors."""

    def __init__(self, world: SandboxThread, value: str) -> None:
        """The value is a week old."""
        self._world = world
        self._vault = world.call(world.sandbox.vaults.vault, VAULT)
        world.call(self._vault.set, "api-key", value, created=world.sandbox.clock.now() - 7 * DAY)
        world.apply(
            builders.secret_store(VAULT, NAMESPACE),
            builders.external_secret("app-secrets", NAMESPACE, {"API_KEY": "api-key"}),
            builders.deployment("backend", NAMESPACE, 3, env={"API_KEY": ("app-secrets", "API_KEY")}),
        )

    def rotate(self, value: str) -> float:
        """Write a new version; the world's time just before."""
        rotated = self._world.sandbox.clock.now()
        self._world.call(self._vault.set, "api-key", value)
        return rotated

    def ready(self) -> bool:
        """Whether all pods are, by the Deployment's status."""
        sandbox = self._world.sandbox
        found = self._world.run(sandbox.admin.get_or_none(DEPLOYMENTS, NAMESPACE, "backend")) or {}
        return bool(found.get("status", {}).get("readyReplicas") == 3)

    def fresh(self, value: str) -> bool:
        """Whether all pods run with this value, by the kubelets' record."""
        everyone = self._world.call(lambda: list(self._world.sandbox.kubelet.running(terminating=False)))
        held = [one for one in everyone if one.namespace == NAMESPACE]  # a filled cluster has others
        return len(held) == 3 and all(set(one.env.values()) == {value.encode()} for one in held)


def reaction(directory: Path) -> dict[str, float]:
    """Rotate one secret that three pods consume, with `run` watching; times from the API server's own audit."""
    with SandboxThread() as world:
        sandbox = world.sandbox
        variables = world.call(write_files, sandbox, directory)
        backend = Backend(world, "value-one")
        until(backend.ready)
        (directory / "reaction.yaml").write_text(POLICY)
        variables |= shipped(directory / "shipped")
        with running([*RUN, str(directory / "reaction.yaml")], variables, directory / "reaction.log"):
            until(lambda: len([r for r in world.call(lambda: list(sandbox.vaults.audit)) if r.identity == "agent"]) > 3)
            rotated = backend.rotate("value-two")
            until(lambda: backend.fresh("value-two"))
            ended = sandbox.clock.now()
        audit = world.call(lambda: list(sandbox.api.audit))
    return legs(audit, rotated, ended, INTERVAL, SETTLE)


def legs(audit: list[Any], rotated: float, ended: float, interval: float, settle: float) -> dict[str, float]:
    """The legs of the way from a new version (``rotated``) to the last fresh container, by the API server's audit."""

    def first(user: str, verb: str, resource: str, sub: str, after: float) -> float:
        return min(
            float(entry.at)
            for entry in audit
            if (entry.user, entry.verb, entry.resource, entry.subresource) == (user, verb, resource, sub)
            and entry.at >= after
            and entry.code < 300
        )

    synced = first("agent", "patch", "externalsecrets", "", rotated)
    written = first("system:eso", "update", "secrets", "", synced)
    acked = first("system:eso", "update", "externalsecrets", "status", written)
    evicted = first("agent", "create", "pods", "eviction", acked)
    return {
        "rotated_to_force_sync_ms": (synced - rotated) * 1000,
        "force_sync_to_acknowledged_ms": (acked - synced) * 1000,
        "settle_end_to_first_eviction_ms": (evicted - written - settle) * 1000,
        "rotated_to_all_fresh_ms": (ended - rotated) * 1000,
        "interval_ms": interval * 1000,
        "settle_ms": settle * 1000,
    }


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until it holds. Raises TimeoutError."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError("the world did not come to what was awaited")
        time.sleep(0.02)
