"""S28: owners who object, an agent that is paused, a policy that only observes."""

from __future__ import annotations

from typing import Any

import pytest
from support.scenario import Scenario
from support.told import findings, refusals, sample
from support.worlds import at_rest, next_second, watching

from agent.sandbox import builders as b
from agent.sandbox.client import DEPLOYMENTS
from agent.sandbox.world import AGENT_NAMESPACE

NS = "shop"
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
MODE = "secret-drift-agent/mode"


def _world(
    s: Scenario,
    *,
    namespace: dict[str, str] | None = None,
    chain: dict[str, str] | None = None,
    workload: dict[str, str] | None = None,
) -> None:
    s.apply(b.namespace(NS, annotations=namespace))
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [
            b.secret_store("prod-kv", NS),
            b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, annotations=chain),
        ],
        [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")}, annotations=workload)],
        NS,
    )


def _all_writes(s: Scenario) -> set[tuple[str, str]]:
    """(resource, namespace) of everything that the agent wrote, Events and its own objects included.

    That it asks what it may do leaves nothing behind.
    """
    verbs = ("create", "update", "patch", "delete", "deletecollection")
    return {
        (e.resource, e.namespace or "") for e in s.requests() if e.verb in verbs and e.group != "authorization.k8s.io"
    }


def _only_its_ledger(s: Scenario) -> None:
    written = _all_writes(s)
    assert written <= {(resource, AGENT_NAMESPACE) for resource in ("configmaps", "secrets", "leases")}
    assert written, "the ledger is kept all the same"


@pytest.mark.parametrize("word", ["ignore", "observe"])
@pytest.mark.parametrize("owner", ["chain", "namespace"])
def test_s28_a_chain_whose_owner_objects_is_reported_and_left_alone(owner: str, word: str) -> None:
    """The annotation on the ExternalSecret or its namespace: the drift is seen, its sync refused with who objects."""
    with Scenario() as s:
        _world(s, **{owner: {MODE: word}})
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="opted-out")
        s.cycles(agent)

        who = f"ExternalSecret {NS}/app-secrets" if owner == "chain" else f"namespace {NS}"
        assert f"{who} carries {MODE}: {word}" in told["event"]
        assert s.writes() == []
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}
        assert refusals(agent) == [("force-sync", "opted-out")]
        assert findings(agent) == [("vault", "stale")]
        (event,) = s.events(NS, "HealRefused")
        assert who in event["message"]
        assert sample(s.metrics(agent), "secret_drift_refusals_total", step="force-sync", reason="opted-out") == 1


@pytest.mark.parametrize("word", ["ignore", "observe"])
def test_s28_a_workload_whose_owner_objects_keeps_its_pods(word: str) -> None:
    """The annotation on the workload: the Secret is healed, the pods are reported as stale and not touched."""
    with Scenario() as s:
        _world(s, workload={MODE: word})
        s.policy()
        agent = watching(s)
        before = {pod["metadata"]["uid"] for pod in s.pods(NS)}

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="opted-out", workload="backend")
        s.cycles(agent)

        assert f"Deployment {NS}/backend carries {MODE}: {word}" in told["event"]
        assert s.writes() == [FORCE_SYNC]
        assert {pod["metadata"]["uid"] for pod in s.pods(NS)} == before
        assert refusals(agent) == [("recycle", "opted-out")]
        assert sample(s.metrics(agent), "secret_drift_stale_containers", namespace=NS, workload="backend") == 2


def test_s28_pods_stay_when_the_owner_of_their_secret_objects() -> None:
    """ESO syncs an ExternalSecret that is opted out by itself: its consumers are stale, and left alone, too."""
    with Scenario() as s:
        _world(s, chain={MODE: "ignore"})
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        agent.until(reason="opted-out", step="force-sync")
        s.advance(3700)  # ESO's own refresh is due
        agent.until(reason="opted-out", step="recycle")
        s.cycles(agent)

        assert s.writes() == []
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-one")
        assert refusals(agent) == [("force-sync", "opted-out"), ("recycle", "opted-out")]


def test_s28_a_vault_secret_whose_owner_objects_is_left_alone() -> None:
    """The tag secret-drift-agent=ignore on the vault secret: no sync on its account, and the refusal names it."""
    with Scenario() as s:
        _world(s)
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two", tags={"secret-drift-agent": "ignore"})
        told = agent.until(reason="opted-out")
        s.cycles(agent)

        assert "prod-kv/api-key carries the tag secret-drift-agent=ignore" in told["event"]
        assert s.writes() == []
        assert refusals(agent) == [("force-sync", "opted-out")]


def test_s28_an_owner_who_no_longer_objects_is_healed() -> None:
    """When the annotation goes, what was refused is done, without a restart of the agent."""
    with Scenario() as s:
        _world(s, workload={MODE: "observe"})
        s.policy()
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        agent.until(reason="opted-out", workload="backend")

        s.run(s.sandbox.admin.merge_patch(DEPLOYMENTS, NS, "backend", {"metadata": {"annotations": {MODE: None}}}))

        s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), why="healed")
        assert len(s.evicted(NS)) == 2


def test_s28_a_tenant_cannot_raise_what_the_policy_allows() -> None:
    """`mode: heal` on every object of a tenant under an observe policy changes nothing: reported, nothing written."""
    with Scenario() as s:
        heal = {MODE: "heal"}
        _world(s, namespace=heal, chain=heal, workload=heal)
        s.policy(mode="observe")
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="observe-mode", step="force-sync")
        s.cycles(agent)

        assert "the policy's mode is observe" in told["event"]
        assert refusals(agent) == [("force-sync", "observe-mode")]
        _only_its_ledger(s)


def test_s28_a_tenant_cannot_lift_the_objection_of_a_stricter_owner() -> None:
    """`mode: heal` on the workload does not outweigh the namespace's `observe`: the strictest source wins."""
    with Scenario() as s:
        _world(s, namespace={MODE: "observe"}, chain={MODE: "heal"}, workload={MODE: "heal"})
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="opted-out")
        s.cycles(agent)

        assert f"namespace {NS} carries" in told["event"]
        assert s.writes() == []


def test_s28_observe_mode_follows_a_chain_to_its_containers_and_writes_nothing() -> None:
    """Under `mode: observe` each link is judged and each step refused with that reason; only the ledger is written."""
    with Scenario() as s:
        _world(s)
        s.policy(mode="observe")
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        agent.until(reason="observe-mode", step="force-sync")
        s.advance(3700)  # ESO's own refresh is due
        agent.until(reason="observe-mode", step="recycle")
        s.cycles(agent)

        assert refusals(agent) == [("force-sync", "observe-mode"), ("recycle", "observe-mode")]
        assert findings(agent) == [("vault", "stale"), ("container", "stale-pod")]
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-one")
        assert sample(s.metrics(agent), "secret_drift_stale_containers", namespace=NS, workload="backend") == 2
        _only_its_ledger(s)


def test_s28_a_pause_stops_every_write_and_says_why() -> None:
    """While the policy bears a pause nothing is written; the reason and its end are told; then the heal is done."""
    with Scenario() as s:
        _world(s)
        until = s.sandbox.clock.rfc3339(s.sandbox.clock.now() + 3600)
        s.policy(pause={"reason": "migration of the database", "until": until})
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="paused")
        s.cycles(agent)

        assert "paused: migration of the database" in told["event"]
        assert told["until"] == until
        assert refusals(agent) == [("force-sync", "paused")]
        _only_its_ledger(s)

        next_second(s)
        s.advance(3600)
        s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), why="healed after the pause")
        assert len(s.evicted(NS)) == 2


def test_s28_a_pause_holds_the_workloads_too() -> None:
    """A pause that comes in the middle of a heal stops before the next pod; when it is lifted, the heal goes on."""
    with Scenario() as s:
        _world(s)
        slow: dict[str, Any] = {"recycle": {"settle": "3s"}}
        s.policy(**slow)
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}, why="synced")

        s.policy(**slow, pause={"reason": "freeze"})
        agent.until(reason="paused", step="recycle")
        s.cycles(agent)
        assert s.writes() == [FORCE_SYNC]

        s.policy(**slow)
        s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), why="healed after the pause")
        assert len(s.writes()) == 3
        assert refusals(agent) == [("recycle", "paused")]


def test_s28_a_namespace_that_is_off_limits_is_not_even_asked_for() -> None:
    """The label by which admission refuses our writes is known to the plan, too: nothing is tried, and it says why."""
    with Scenario() as s:
        _world(s)
        s.apply(b.namespace(NS, labels={"secret-drift-agent/off-limits": "true"}))
        s.policy()
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="opted-out")
        s.cycles(agent)
        assert f"namespace {NS} carries the label secret-drift-agent/off-limits" in told["event"]
        assert agent.stop().code == 0
        assert s.writes() == []
        assert s.writes(refused=True) == []
        assert s.events(NS) == [], "an Event is a write, too"
