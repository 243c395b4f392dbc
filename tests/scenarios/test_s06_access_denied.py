"""S06: the vault answers 403."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import findings, refusals, sample
from support.worlds import at_rest, refresh, watching

from agent.sandbox import builders as b
from agent.sandbox.keyvault.errors import application_id

NS = "shop"
DRIFT = {"namespace": NS, "externalsecret": "app-secrets", "link": "vault", "kind": "sync-failed"}


def test_s06_a_vault_that_denies_everyone_is_told_with_identity_and_permission_and_nothing_is_touched() -> None:
    """ESO's 403 names who lacks what; when it is denied to the agent alone, the chain is unknown, since ESO works."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        allow(s, "agent", "eso", nobody=True)
        refresh(s, NS, "app-secrets")
        s.wait(lambda: failed(s), why="ESO fails")
        s.policy()
        agent = watching(s)
        s.cycles(agent)

        found = agent.until(kind="sync-failed")
        assert found["cause"] == "access-denied"
        assert application_id("eso") in found["event"]
        assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in found["event"]
        assert "Key Vault Secrets User" in found["event"]  # the remedy
        told = agent.until(subject="vault prod-kv")
        assert told["cause"] == "access-denied"
        assert application_id("agent") in told["event"]
        assert "Microsoft.KeyVault/vaults/secrets/readMetadata/action" in told["event"]
        assert findings(agent) == [("vault", "sync-failed")]
        assert sample(s.metrics(agent), "secret_drift_drift", **DRIFT, cause="access-denied") == 1
        assert s.writes() == []

        allow(s, "eso")
        refresh(s, NS, "app-secrets")
        s.external_secret_ready(NS, "app-secrets")
        unknown = agent.until(kind="unknown", link="vault")
        s.cycles(agent)
        assert unknown["cause"] == "access-denied"
        # ESO was not Ready all the time: nothing proves what containers got that started before the agent looked.
        assert sorted(findings(agent)) == [("container", "suspect"), ("vault", "sync-failed"), ("vault", "unknown")]
        assert "secret_drift_drift{" not in s.metrics(agent)
        assert s.writes() == []
        assert refusals(agent) == []

        allow(s, "agent")
        s.wait(lambda: agent.lines(kind="unknown")[1:], why="the unknown is over")
        s.cycles(agent)
        assert s.writes() == []
        assert s.evicted(NS) == []


def test_s06_a_force_sync_that_eso_tried_and_failed_is_no_silence_of_eso() -> None:
    """Denied when the agent asks: told as a failure with its cause, and not counted as left without an answer."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [],
            NS,
        )
        s.policy(timing={"syncTimeout": "3s"})
        agent = watching(s)
        s.call(s.sandbox.vaults.grant, "eso", list=True, get=False)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: "has tried the force-sync and failed (access-denied" in agent.err, why="it is told")
        s.cycles(agent)

        metrics = s.metrics(agent)
        assert sample(metrics, "secret_drift_syncs_total", result="failed") == 1
        assert sample(metrics, "secret_drift_syncs_total", result="timed-out") in (None, 0)
        assert "next try" not in agent.err
        assert s.writes() == [("patch", "externalsecrets", "", f"{NS}/app-secrets")]


def allow(s: Scenario, *identities: str, nobody: bool = False) -> None:
    """Grant each what it is meant to have, or take everything away."""
    for identity in identities:
        s.call(s.sandbox.vaults.grant, identity, list=not nobody, get=identity == "eso" and not nobody)


def failed(s: Scenario) -> bool:
    """Whether ESO says Ready=False."""
    found = s.get("ExternalSecret", NS, "app-secrets") or {}
    return any(c["status"] == "False" for c in found.get("status", {}).get("conditions", []))
