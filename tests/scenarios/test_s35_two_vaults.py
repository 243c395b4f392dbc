"""S35: two vaults hold a secret of the same name; one vault is down."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import findings, healed, propagated, refusals
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS = "shop"
VAULTS = ("prod-kv", "other-kv")


def world(s: Scenario) -> None:
    """Two chains that read `api-key`, each from a vault of its own, each with a workload."""
    at_rest(
        s,
        {"prod-kv/api-key": "prod-one", "other-kv/api-key": "other-one"},
        [
            b.secret_store("prod-kv", NS),
            b.secret_store("other-kv", NS, name="other"),
            b.external_secret("prod-secrets", NS, {"API_KEY": "api-key"}),
            b.external_secret("other-secrets", NS, {"API_KEY": "api-key"}, store="other"),
        ],
        [
            b.deployment("prod", NS, 2, env={"API_KEY": ("prod-secrets", "API_KEY")}),
            b.deployment("other", NS, 2, env={"API_KEY": ("other-secrets", "API_KEY")}),
        ],
        NS,
    )


def test_s35_secrets_of_one_name_in_two_vaults_are_told_apart() -> None:
    """A rotation in one vault is healed in its own chain; the chain that reads the other vault is not touched."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=VAULTS)
        agent = watching(s)
        s.rotate("other-kv", "api-key", "other-two")
        s.wait(lambda: healed(agent, "other"), why="other healed")
        s.cycles(agent)

        assert s.all_hold(NS, "other", "other-secrets", "API_KEY", "other-two")
        assert s.all_hold(NS, "prod", "prod-secrets", "API_KEY", "prod-one")
        force_sync, *evictions = s.writes()
        assert force_sync == ("patch", "externalsecrets", "", f"{NS}/other-secrets")
        assert len(evictions) == 2
        assert all(pod.startswith("other-") for pod in s.evicted(NS))
        assert propagated(agent, "total") == ["other-kv/api-key"]
        assert findings(agent) == [("vault", "stale"), ("container", "stale-pod")]
        assert refusals(agent) == []


def test_s35_a_vault_that_is_down_holds_up_its_own_chains_alone() -> None:
    """While one vault drops every connection its chain is unknown, told once, not touched; the other one is healed."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=VAULTS)
        agent = watching(s)
        rule = s.call(s.sandbox.vaults.fault, "drop", vault="prod-kv", identity="agent")
        agent.until(subject="vault prod-kv")
        s.rotate("prod-kv", "api-key", "prod-two")
        s.rotate("other-kv", "api-key", "other-two")
        s.wait(lambda: healed(agent, "other"), why="other healed")
        s.cycles(agent)

        unknown = agent.until(kind="unknown", externalsecret="prod-secrets")
        assert unknown["cause"] == "unreachable"
        assert len(agent.lines(subject="vault prod-kv")) == 1
        assert s.all_hold(NS, "other", "other-secrets", "API_KEY", "other-two")
        assert s.all_hold(NS, "prod", "prod-secrets", "API_KEY", "prod-one")
        assert s.writes()[0] == ("patch", "externalsecrets", "", f"{NS}/other-secrets")
        assert len(s.writes()) == 3
        assert refusals(agent) == []

        s.call(s.sandbox.vaults.faults.remove, rule)
        s.wait(lambda: healed(agent, "prod"), why="prod healed once its vault is back")
        s.cycles(agent)
        assert s.all_hold(NS, "prod", "prod-secrets", "API_KEY", "prod-two")
        assert s.writes()[3] == ("patch", "externalsecrets", "", f"{NS}/prod-secrets")
        assert len(s.writes()) == 6
        assert "secret_drift_drift{" not in s.metrics(agent)


def test_s35_once_tells_the_vault_that_is_down_and_heals_the_rest() -> None:
    """`once` with one vault down brings the other vault's rotation to every container, and says what it could not."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=VAULTS)
        s.once("--deadline", "5s")  # the first look
        s.call(s.sandbox.vaults.fault, "503", vault="prod-kv", identity="agent")
        s.rotate("other-kv", "api-key", "other-two")
        ended = s.once("--deadline", "20s")
        assert ended.code == 1
        assert "vault prod-kv: server-error" in ended.err
        assert s.all_hold(NS, "other", "other-secrets", "API_KEY", "other-two")
        assert len(s.writes()) == 3
