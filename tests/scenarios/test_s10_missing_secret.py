"""S10: the Secret of a chain is deleted by hand, while ESO runs and while it is down."""

from __future__ import annotations

from typing import Any

from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import findings, healed, propagated, refusals, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.client import SECRETS
from agent.scopes import MANAGED

NS = "shop"
KEY = ("app-secrets", "API_KEY")
SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
MISSING = ("secret", "missing-secret")


def _world(s: Scenario) -> set[str]:
    """One chain at rest; the uids of its pods."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [_backend(2)],
        NS,
    )
    return _uids(s)


def _backend(replicas: int) -> dict[str, Any]:
    return b.deployment("backend", NS, replicas, env={"API_KEY": KEY})


def _uids(s: Scenario) -> set[str]:
    return {pod["metadata"]["uid"] for pod in s.pods(NS)}


def _delete(s: Scenario) -> None:
    """As a person does with kubectl."""
    s.run(s.sandbox.admin.delete(SECRETS, NS, "app-secrets"))


def _at_rest_again(s: Scenario, agent: AgentProcess) -> None:
    """Nothing is drifting any more, and the agent has had time to do what it was about to do."""
    s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
    s.cycles(agent)


def test_s10_what_eso_puts_back_by_itself_needs_no_action_of_ours() -> None:
    """A Secret deleted while ESO runs is back a moment later with the same value: it was missing, and that is all."""
    with Scenario() as s:
        pods = _world(s)
        s.policy(timing={"missingPersistence": "10s"})
        agent = watching(s)
        s.call(setattr, s.sandbox.eso, "delay", 0.5)

        _delete(s)
        agent.until(kind="missing-secret")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}, why="ESO writes it anew")
        _at_rest_again(s, agent)

        assert s.writes() == []
        assert findings(agent) == [MISSING]
        assert refusals(agent) == []
        assert _uids(s) == pods
        assert s.all_hold(NS, "backend", *KEY, "value-one")


def test_s10_while_eso_is_down_one_force_sync_waits_for_it_and_no_pod_is_touched() -> None:
    """The Secret is missing until ESO is back; a pod that had to wait for it holds what the others hold."""
    with Scenario() as s:
        pods = _world(s)
        s.policy()
        agent = watching(s)
        s.call(s.sandbox.eso.pause)

        _delete(s)
        agent.until(kind="missing-secret")
        s.apply(_backend(3))
        s.wait(lambda: s.writes(), why="the force-sync")
        s.wait(lambda: len(s.pods(NS)) == 3, why="a pod that waits for the Secret")
        s.cycles(agent)
        assert s.secret(NS, "app-secrets") is None
        assert s.writes() == [SYNC]

        s.call(s.sandbox.eso.resume)
        s.ready(NS, "backend")
        _at_rest_again(s, agent)

        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}
        assert s.writes() == [SYNC]
        assert findings(agent) == [MISSING]
        assert refusals(agent) == []
        assert pods < _uids(s)
        assert s.all_hold(NS, "backend", *KEY, "value-one")


def test_s10_a_value_that_the_vault_got_meanwhile_comes_with_the_secret_and_then_to_the_pods() -> None:
    """Deleted and rotated while ESO is down: one force-sync for both; once the Secret is back its pods are recycled."""
    with Scenario() as s:
        pods = _world(s)
        s.policy(timing={"missingPersistence": "10s"})
        agent = watching(s)
        s.call(s.sandbox.eso.pause)

        _delete(s)
        agent.until(kind="missing-secret")
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: s.writes(), why="the force-sync")
        s.cycles(agent)
        assert s.secret(NS, "app-secrets") is None
        assert s.writes() == [SYNC]
        assert _uids(s) == pods

        s.call(s.sandbox.eso.resume)
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        _at_rest_again(s, agent)

        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}
        assert s.all_hold(NS, "backend", *KEY, "value-two")
        assert s.writes()[0] == SYNC
        assert len(s.writes()) == 3
        assert len(s.evicted(NS)) == 2
        assert not _uids(s) & pods
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1)]
        assert findings(agent) == [MISSING, ("vault", "stale"), ("container", "stale-pod")]
        assert refusals(agent) == []
        assert propagated(agent, "total") == ["prod-kv/api-key"]


def test_s10_while_eso_cannot_read_the_vault_the_secret_stays_missing_and_nothing_is_tried() -> None:
    """ESO runs and fails, as a force-sync would: its own retry brings the Secret back once the vault lets it."""
    with Scenario() as s:
        pods = _world(s)
        s.policy(timing={"missingPersistence": "10s"})
        agent = watching(s)
        denied = s.call(s.sandbox.vaults.fault, "403:ForbiddenByRbac", vault="prod-kv", identity="eso")

        _delete(s)
        failed = agent.until(kind="sync-failed", cause="access-denied")
        agent.until(kind="missing-secret")
        s.advance(60)
        s.cycles(agent)
        assert s.secret(NS, "app-secrets") is None
        assert "last good sync" in failed["event"]
        assert s.writes() == []

        s.call(s.sandbox.vaults.faults.remove, denied)
        s.advance(60)
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}, why="ESO writes it anew")
        _at_rest_again(s, agent)

        assert s.writes() == []
        assert sorted(findings(agent)) == [MISSING, ("vault", "sync-failed")]
        assert refusals(agent) == []
        assert _uids(s) == pods


def test_s10_an_eso_that_is_down_for_long_is_asked_three_times_and_then_left_alone() -> None:
    """Each attempt in vain is said, and at last that it was given up; ESO's return ends it."""
    with Scenario() as s:
        pods = _world(s)
        s.policy(timing={"syncTimeout": "300ms", "retryBackoff": "300ms"})
        agent = watching(s)
        s.call(s.sandbox.eso.pause)

        _delete(s)
        gave_up = agent.until(step="force-sync", reason="attempts")
        s.cycles(agent)
        assert s.writes() == [SYNC] * 3
        assert "given up after 3 attempts" in gave_up["event"]
        assert refusals(agent) == [("force-sync", "backoff"), ("force-sync", "backoff"), ("force-sync", "attempts")]

        s.call(s.sandbox.eso.resume)
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}, why="ESO writes it anew")
        _at_rest_again(s, agent)

        assert s.writes() == [SYNC] * 3
        assert findings(agent) == [MISSING]
        assert "force-sync is no longer refused (attempts)" in agent.lines(step="force-sync")[-1]["event"]
        assert _uids(s) == pods


def test_s10_a_secret_whose_label_somebody_took_away_is_put_right_by_one_force_sync() -> None:
    """Without ESO's label it is missing for us, and ESO looks at it no more, until it is asked to write it again."""
    with Scenario() as s:
        _world(s)
        s.policy(timing={"missingPersistence": "1s"})
        agent = watching(s)
        label = MANAGED.partition("=")[0]

        s.run(s.sandbox.admin.merge_patch(SECRETS, NS, "app-secrets", {"metadata": {"labels": {label: None}}}))
        agent.until(kind="missing-secret")
        _at_rest_again(s, agent)

        assert s.writes() == [SYNC]
        secret = s.get("Secret", NS, "app-secrets")
        assert secret is not None
        assert label in secret["metadata"]["labels"]
