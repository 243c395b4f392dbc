"""S07: the vault secret does not exist, is soft-deleted, or is misspelt; then it is there."""

from __future__ import annotations

from support.scenario import Scenario
from support.terminal import at_terminal
from support.told import findings, refusals, sample
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.faults import FaultRule

NS = "shop"
HOUR = 3600.0


def world(s: Scenario) -> None:
    """One chain at rest with its workload."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )


def not_found(name: str) -> dict[str, str]:
    """The labels of the drift."""
    return {"namespace": NS, "externalsecret": name, "link": "vault", "kind": "sync-failed", "cause": "not-found"}


def fails(s: Scenario, name: str) -> bool:
    """Whether ESO says Ready=False."""
    found = s.get("ExternalSecret", NS, name) or {}
    return any(c["status"] == "False" for c in found.get("status", {}).get("conditions", []))


def test_s07_a_soft_deleted_secret_leaves_everything_in_place_and_needs_one_sync_at_most_when_recovered() -> None:
    """The Secret and its pods stay while the vault secret is soft-deleted; its recovery costs one sync at most."""
    with Scenario() as s:
        world(s)
        s.policy()
        agent = watching(s)
        vault = s.vault("prod-kv")

        s.call(vault.delete, "api-key")
        found = agent.until(kind="sync-failed", cause="not-found")
        s.advance(HOUR)  # ESO's own refresh, which fails
        s.wait(lambda: fails(s, "app-secrets"), why="ESO fails")
        s.cycles(agent)
        assert "prod-kv/api-key is not in the vault" in found["event"]
        assert "recover" in found["event"]
        assert sample(s.metrics(agent), "secret_drift_drift", **not_found("app-secrets")) == 1
        assert s.writes() == []
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}

        s.call(vault.recover, "api-key")
        s.external_secret_ready(NS, "app-secrets")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent)
        assert s.writes() in ([], [("patch", "externalsecrets", "", f"{NS}/app-secrets")])
        # Where ESO's own retry was first, its sync and the secret's return lie within the margin of the clocks.
        assert findings(agent) in ([("vault", "sync-failed")], [("vault", "sync-failed"), ("vault", "stale")])
        assert refusals(agent) == []


def test_s07_a_recovery_that_eso_has_seen_first_costs_nothing() -> None:
    """A secret deleted and recovered between two refreshes of ESO needs at most one sync, and touches no pod."""
    with Scenario() as s:
        world(s)
        s.policy()
        agent = watching(s)
        vault = s.vault("prod-kv")
        s.call(vault.delete, "api-key")
        agent.until(kind="sync-failed", cause="not-found")
        s.call(vault.recover, "api-key")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent)
        assert s.writes() in ([], [("patch", "externalsecrets", "", f"{NS}/app-secrets")])
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}


def test_s07_a_misspelt_key_is_named_and_corrected_by_its_owner_alone() -> None:
    """A key that no secret has is told with its place; the owner's correction is ESO's to apply, not ours."""
    with Scenario() as s:
        world(s)
        s.apply(b.external_secret("typo", NS, {"API_KEY": "api-kye"}))
        s.wait(lambda: fails(s, "typo"), why="ESO fails")
        s.policy()
        agent = watching(s)
        found = agent.until(kind="sync-failed", cause="not-found")
        s.cycles(agent)
        assert "prod-kv/api-kye is not in the vault" in found["event"]
        assert "remoteRef.key" in found["event"]
        assert "prod-kv/api-key" not in agent.err  # neighbours of the vault are told to no one but the operator
        assert sample(s.metrics(agent), "secret_drift_drift", **not_found("typo")) == 1
        explained = ("explain", f"{NS}/typo", "--policy", str(s.directory / "policy.yaml"))
        assert "the vault has api-key" in at_terminal(s.environment, *explained)
        elsewhere = s.explain(f"{NS}/typo").out, s.explain(f"{NS}/typo", "-o", "json").out, s.scan().out
        assert not any("the vault has" in text for text in elsewhere)

        s.apply(b.external_secret("typo", NS, {"API_KEY": "api-key"}))
        s.external_secret_ready(NS, "typo")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent)
        assert s.writes() == []
        assert s.secret(NS, "typo") == {"API_KEY": b"value-one"}


def test_s07_a_secret_that_only_our_watch_has_not_brought_yet_is_not_synced_again() -> None:
    """ESO's word that it has synced comes, its new Secret does not: that is read, and no force-sync is sent for it."""
    with Scenario() as s:
        world(s)
        s.apply(b.external_secret("typo", NS, {"API_KEY": "api-kye"}))
        s.wait(lambda: fails(s, "typo"), why="ESO fails")
        s.policy(timing={"missingPersistence": "1s"})
        agent = watching(s)
        agent.until(kind="sync-failed", cause="not-found")
        faults = s.sandbox.api.faults
        silent = s.call(faults.add, FaultRule(effect="half-open", user="agent", verb="watch", resource="secrets"))

        s.apply(b.external_secret("typo", NS, {"API_KEY": "api-key"}))
        s.external_secret_ready(NS, "typo")
        agent.until(kind="missing-secret")
        s.cycles(agent, 8)
        assert s.writes() == []

        s.call(faults.remove, silent)
        s.call(faults.add, FaultRule(effect="break-watches", user="agent", resource="secrets"))
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent)
        assert s.writes() == []


def test_s07_a_secret_that_is_created_late_brings_the_whole_chain_to_life() -> None:
    """A workload waits for a Secret whose vault secret was never created; once it is, one force-sync is the most."""
    with Scenario() as s:
        world(s)
        s.apply(b.external_secret("late", NS, {"KEY": "late-key"}))
        s.apply(b.deployment("waiting", NS, 1, env={"KEY": ("late", "KEY")}))
        s.wait(lambda: fails(s, "late"), why="ESO fails")
        s.policy()
        agent = watching(s)
        agent.until(kind="sync-failed", cause="not-found")
        s.cycles(agent)
        assert s.writes() == []

        s.rotate("prod-kv", "late-key", "value-late")
        s.ready(NS, "waiting")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent)
        assert s.all_hold(NS, "waiting", "late", "KEY", "value-late")
        assert s.writes() in ([], [("patch", "externalsecrets", "", f"{NS}/late")])
