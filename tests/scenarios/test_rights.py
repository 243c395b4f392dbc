"""The manifests grant what each step needs, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from support.scenario import Scenario
from support.told import findings, healed
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.audit import AuditEntry
from agent.sandbox.world import AGENT_NAMESPACE

NS, VAULT = "shop", "prod-kv"
K8S = Path(__file__).parents[2] / "k8s"
HEALING = ("heal", "restart", "recreate")
Right = tuple[str, str, str]
"""(verb, API group, resource or resource/subresource)."""

NOT_HERE: set[Right] = {
    ("list", "policy", "poddisruptionbudgets"),  # where an eviction is refused without a name
    ("get", "apps", "statefulsets"),  # the last look at a Deployment is one at these, too
    ("get", "apps", "daemonsets"),
    ("get", "", "events"),  # one that another process of ours has made
    ("patch", "", "events"),  # one that happened before
    ("list", "", "events"),  # where ESO says why it fails, and no answer of the vault does
}
"""Rights that this world gives no occasion to use."""


def _rights(path: Path, kind: str) -> Iterator[Right]:
    for document in yaml.safe_load_all(path.read_text()):
        for rule in document.get("rules", ()) if document["kind"] == kind else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from ((verb, group, resource) for verb in rule["verbs"])


def _everywhere(*components: str) -> set[Right]:
    files = [
        K8S / "components" / component / "rights.yaml" for component in ("observe", "observe/cluster", *components)
    ]
    return {right for file in files for right in _rights(file, "ClusterRole")}


def _at_home() -> set[Right]:
    return set(_rights(K8S / "base" / "ledger.yaml", "Role"))


def _right(entry: AuditEntry) -> Right:
    resource = f"{entry.resource}/{entry.subresource}" if entry.subresource else entry.resource
    return entry.verb, entry.group, resource


def _asked(s: Scenario) -> tuple[set[Right], set[Right]]:
    """What the agent asked for: in its own namespace, and anywhere else."""
    audit = [entry for entry in s.requests() if entry.resource]
    assert [entry for entry in audit if entry.code == 403] == []
    ledger: set[Right] = set()
    other: set[Right] = set()
    for entry in audit:
        of_ledger = entry.namespace == AGENT_NAMESPACE and entry.resource in ("configmaps", "secrets", "leases")
        (ledger if of_ledger else other).add(_right(entry))
    return ledger, other


def _world(s: Scenario) -> None:
    """A workload that is evicted, one that is restarted, a Secret that is recreated, and a chain that fails."""
    key: dict[str, Any] = {"API_KEY": ("app-secrets", "API_KEY")}
    app = {"env": "API_KEY", "backend": "api", "success": ["connected"]}
    claim = {"volumes": {"data": {"persistentVolumeClaim": {"claimName": "data"}}}}
    at_rest(
        s,
        {f"{VAULT}/api-key": "value-one", f"{VAULT}/frozen": "value-one"},
        [
            b.secret_store(VAULT, NS),
            b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
            b.external_secret("frozen", NS, {"KEY": "frozen"}, target={"immutable": True}),
        ],
        [
            b.deployment("backend", NS, 3, env=key, app=app),
            b.deployment("single", NS, 1, env=key, app=app, **claim),
        ],
        NS,
    )
    s.apply(
        b.external_secret("misspelt", NS, {"KEY": "no-such-secret"}),
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": NS},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    )


def test_the_components_grant_what_healing_asks_for_and_no_write_that_it_does_not() -> None:
    """Every request of every step is covered by the manifests; every right to write that they give is used."""
    with Scenario() as s:
        _world(s)
        s.policy(sync={"steps": ["force-sync", "recreate"]}, recycle={"canary": {"log": {"success": "connected"}}})
        agent = watching(s)
        s.rotate(VAULT, "api-key", "value-two")
        s.rotate(VAULT, "frozen", "value-two")
        s.wait(lambda: healed(agent, "backend") and healed(agent, "single"), why="both workloads healed")
        s.wait(lambda: s.secret(NS, "frozen") == {"KEY": b"value-two"}, why="the frozen Secret is made anew")
        s.wait(lambda: ("vault", "sync-failed") in findings(agent), why="the failing chain is told")
        s.cycles(agent)
        assert agent.stop().code == 0
        home, elsewhere = _asked(s)

    assert home - _at_home() == set()
    assert _at_home() - home == {("get", "", "configmaps")}, "where another process of ours has written first"
    assert elsewhere - _everywhere(*HEALING) == set()
    unused = _everywhere(*HEALING) - elsewhere
    assert unused - NOT_HERE == set()


def test_observe_grants_what_looking_asks_for() -> None:
    """In mode observe nothing is asked for that base and observe alone do not grant, also while everything drifts."""
    with Scenario() as s:
        _world(s)
        s.policy(mode="observe")
        agent = watching(s)
        s.rotate(VAULT, "api-key", "value-two")
        s.wait(lambda: ("vault", "stale") in findings(agent), why="the drift is told")
        s.cycles(agent)
        assert agent.stop().code == 0
        home, elsewhere = _asked(s)

    assert home - _at_home() == set()
    assert elsewhere - _everywhere() == set()
