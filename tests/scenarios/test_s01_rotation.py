"""S01: a rotated secret is fetched, verified, and brought to every container."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import findings, healed, propagated, refusals, sample, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS = "shop"


def _world(s: Scenario) -> None:
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [
            b.secret_store("prod-kv", NS),
            b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, refreshInterval="1h"),
        ],
        [b.deployment("backend", NS, 3, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )


def test_s01_a_new_version_comes_to_every_container_canary_first_and_its_time_is_told() -> None:
    """A new version is force-synced once, and the three pods that hold the old value go one by one, canary first.

    On the real API server with the component `heal` alone, as the chapter Install begins.
    """
    with Scenario() as s:
        s.withheld = frozenset({"restart"})
        _world(s)
        s.policy()
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}
        assert s.is_ready(NS, "backend")
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        force_sync, *evictions = s.writes()
        assert force_sync == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert len(evictions) == 3
        assert {(verb, resource, sub) for verb, resource, sub, _ in evictions} == {("create", "pods", "eviction")}
        assert set(s.evicted(NS)) == old
        assert s.writes(refused=True) == []
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1), ("batch", 1)]
        assert healed(agent, "backend") == [3]
        assert refusals(agent) == []
        assert findings(agent) == [("vault", "stale"), ("container", "stale-pod")]
        assert propagated(agent, "vault_to_secret") == ["prod-kv/api-key"]
        assert propagated(agent, "total") == ["prod-kv/api-key"]
        metrics = s.metrics(agent)
        assert sample(metrics, "secret_drift_propagation_seconds_count", stage="vault_to_secret") == 1
        assert sample(metrics, "secret_drift_propagation_seconds_count", stage="total") == 1
        assert sample(metrics, "secret_drift_actions_total", step="force-sync", result="done") == 1
        assert sample(metrics, "secret_drift_actions_total", step="recycle", result="done") == 3
        assert "secret_drift_drift{" not in metrics
        assert {"ForceSynced", "SyncAcknowledged"} <= {event["reason"] for event in s.events(NS)}
        assert agent.stop().code == 0


def test_s01_a_team_with_rights_in_its_own_namespace_is_healed_there() -> None:
    """Followed and healed by `--namespace`; a chain next door, of the same vault, is neither read nor touched."""
    with Scenario() as s:
        s.only_in = NS
        _world(s)
        s.apply(b.secret_store("prod-kv", "others"), b.external_secret("theirs", "others", {"API_KEY": "api-key"}))
        s.external_secret_ready("others", "theirs")
        s.policy()
        agent = s.start_agent("--namespace", NS)
        s.cycles(agent, 1)
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert s.writes()[0] == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert set(s.evicted(NS)) == old
        assert len(s.writes()) == 4
        assert [entry for entry in s.requests() if entry.namespace == "others" or entry.code == 403] == []
        assert refusals(agent) == []
        assert findings(agent) == [("vault", "stale"), ("container", "stale-pod")]
