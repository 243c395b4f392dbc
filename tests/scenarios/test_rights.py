"""The manifests grant what each step needs, and nothing more."""

from __future__ import annotations

from functools import partial
from typing import Any

from support.rights import rules
from support.scenario import Scenario
from support.told import findings, healed
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.audit import AuditEntry
from agent.sandbox.client import CONFIG_MAPS, SECRETS
from agent.sandbox.world import AGENT_NAMESPACE

NS, VAULT = "shop", "prod-kv"
CLOSED = "closed-kv"
"""A vault that lists to ESO, and gives it no value."""
WORKLOADS = ("backend", "single", "ordered", "each")
EVERYTHING = ("observe", "heal", "restart", "recreate")
Right = tuple[str, str, str]
"""(verb, API group, resource or resource/subresource)."""

NOT_HERE: set[Right] = {
    ("get", "", "events"),  # one that another process of ours has made
    ("patch", "", "events"),  # one that happened before
}
"""Rights that healing this world gives no occasion to use."""


def _granted(*components: str) -> set[Right]:
    found = {rule for component in components for rule in rules(component)}
    return {(rule.verb, rule.group, rule.resource) for rule in found}


def _right(entry: AuditEntry) -> Right:
    resource = f"{entry.resource}/{entry.subresource}" if entry.subresource else entry.resource
    return entry.verb, entry.group, resource


def _asked(s: Scenario) -> tuple[set[Right], set[Right]]:
    """What the agent asked for: in its own namespace, and anywhere else. What it may do, everyone may ask."""
    audit = [entry for entry in s.requests() if entry.resource and entry.group != "authorization.k8s.io"]
    assert [entry for entry in audit if entry.code == 403] == []
    ledger: set[Right] = set()
    other: set[Right] = set()
    for entry in audit:
        of_ledger = entry.namespace == AGENT_NAMESPACE and entry.resource in ("configmaps", "secrets", "leases")
        (ledger if of_ledger else other).add(_right(entry))
    return ledger, other


def _world(s: Scenario) -> None:
    """Workloads of each kind, one that is restarted, a Secret that is recreated, and chains that fail."""
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
            b.statefulset("ordered", NS, 2, env=key, app=app),
            b.daemonset("each", NS, env=key, app=app),
        ],
        NS,
    )
    s.rotate(CLOSED, "locked", "value-one")
    s.call(s.sandbox.vaults.grant, "eso", CLOSED, list=True, get=False)
    s.apply(
        b.external_secret("misspelt", NS, {"KEY": "no-such-secret"}),
        b.secret_store(CLOSED, NS, name="closed"),
        b.external_secret("locked", NS, {"KEY": "locked"}, store="closed"),
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
        s.policy(
            vaults=(VAULT, CLOSED),
            sync={"steps": ["force-sync", "recreate"]},
            recycle={"canary": {"log": {"success": "connected"}}},
        )
        agent = watching(s)
        s.rotate(VAULT, "api-key", "value-two")
        s.rotate(VAULT, "frozen", "value-two")
        for workload in WORKLOADS:
            s.wait(partial(healed, agent, workload), 60, why=f"{workload} healed")
        s.wait(lambda: s.secret(NS, "frozen") == {"KEY": b"value-two"}, why="the frozen Secret is made anew")
        s.wait(lambda: findings(agent).count(("vault", "sync-failed")) == 2, why="both failing chains are told")
        assert s.explain(f"{NS}/app-secrets").err == ""
        s.cycles(agent)
        assert agent.stop().code == 0
        home, elsewhere = _asked(s)

    assert home - _granted("base") == set()
    assert _granted("base") - home == {("get", "", "configmaps")}, "where another process of ours has written first"
    assert elsewhere - _granted(*EVERYTHING) == set()
    unused = _granted(*EVERYTHING) - elsewhere
    assert unused - NOT_HERE == set()


def test_observe_grants_what_looking_asks_for() -> None:
    """In mode observe, while everything drifts, all that base and observe grant is asked for, and no more."""
    with Scenario() as s:
        _world(s)
        s.policy(vaults=(VAULT, CLOSED), mode="observe")
        agent = watching(s)
        former = s.get("Secret", NS, "app-secrets") or {}
        s.apply(b.external_secret("app-secrets", NS, {"API_KEY": "api-key", "OTHER": "frozen"}))
        s.wait(lambda: ("update", "", "secrets") in _asked(s)[0], why="the ledger has what ESO wrote")
        s.call(s.sandbox.eso.pause)
        s.rotate(VAULT, "api-key", "value-two")
        s.wait(lambda: ("vault", "stale") in findings(agent), why="the drift is told")
        without = {"data": {"OTHER": None}, "metadata": {"annotations": former["metadata"]["annotations"]}}
        s.run(s.sandbox.admin.merge_patch(SECRETS, NS, "app-secrets", without))  # as a backup brings it back
        s.wait(lambda: ("get", "", "secrets") in _asked(s)[1], why="the Secret is looked at: ESO may have written it")
        s.call(s.sandbox.eso.resume)
        _write_into_the_ledger(s)
        s.rotate(VAULT, "api-key", "value-three")
        s.wait(lambda: ("get", "", "configmaps") in _asked(s)[0], 60, why="the ledger is looked at again")
        assert s.explain(f"{NS}/app-secrets").err == ""
        s.cycles(agent)
        assert agent.stop().code == 0
        home, elsewhere = _asked(s)

    assert home == _granted("base")
    assert elsewhere == _granted("observe")


def _write_into_the_ledger(s: Scenario) -> None:
    """Somebody else does, who is no agent, and changes nothing that one reads."""
    for found in s.objects("ConfigMap", AGENT_NAMESPACE):
        if (found["metadata"].get("labels") or {}).get("secret-drift-agent/ledger"):
            patch = {"metadata": {"labels": {"team": "shop"}}}
            s.run(s.sandbox.admin.merge_patch(CONFIG_MAPS, AGENT_NAMESPACE, found["metadata"]["name"], patch))
