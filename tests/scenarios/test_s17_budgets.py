"""S17: a PodDisruptionBudget that allows nothing holds the recycle up, by name, until it allows one."""

from __future__ import annotations

from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import findings, healed, refusals, sample, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.client import PDBS, Object

NS = "shop"
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
LABELS = {"namespace": NS, "externalsecret": "app-secrets", "link": "container", "kind": "stale-pod"}


def _world(s: Scenario, *budgets: Object) -> None:
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}), *budgets],
        [b.deployment("backend", NS, 3, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )


def _allowed(s: Scenario, budget: str) -> int:
    found = s.get("PodDisruptionBudget", NS, budget) or {}
    return int((found.get("status") or {}).get("disruptionsAllowed", 0))


def _tries(s: Scenario) -> int:
    return sum(e.subresource == "eviction" and e.code >= 400 for e in s.requests("agent"))


def _noted(s: Scenario) -> int:
    """How often it was written down what is done about pods."""
    writes = [e for e in s.requests("agent") if e.verb in ("create", "update") and e.resource == "configmaps"]
    return sum(e.name.startswith("secret-drift-agent-ledger-heals-") for e in writes)


def _still_refused(s: Scenario, agent: AgentProcess, reason: str) -> None:
    """The drift is visible since it began, the workload as it was, and another try is made only in its time."""
    metrics = s.metrics(agent)
    assert sample(metrics, "secret_drift_drift", **LABELS) == 1
    since = sample(metrics, "secret_drift_drift_since_timestamp_seconds", **LABELS)
    (told,) = agent.lines(kind="stale-pod")
    assert since
    assert told["since"].startswith(s.call(s.sandbox.clock.rfc3339, since)[:16])
    assert sample(metrics, "secret_drift_stale_containers", namespace=NS, workload="backend") == 3
    assert sample(metrics, "secret_drift_refusals_total", step="recycle", reason=reason) == 1
    assert s.writes() == [FORCE_SYNC]
    assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-one")
    assert stages(agent, "backend") == []


def test_s17_a_budget_that_allows_no_eviction_is_asked_again_until_it_does() -> None:
    """Refused with the budget's name, tried when the API server said; healed when the budget gives way."""
    with Scenario() as s:
        _world(s, b.budget("backend-budget", NS, "backend", minAvailable=3))
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="pod-disruption-budget", workload="backend")
        s.cycles(agent)

        assert "backend-budget" in told["event"]
        assert "can never allow an eviction: 3 of 3 pods must stay" in told["event"]
        assert (told["level"], told.get("until")) == ("warning", None)
        assert refusals(agent) == [("recycle", "pod-disruption-budget")]
        assert _tries(s) == 1
        _still_refused(s, agent, "pod-disruption-budget")
        (event,) = s.events(NS, "HealRefused")
        assert (event["involvedObject"]["name"], event["type"]) == ("backend", "Warning")
        assert "backend-budget" in event["message"]

        noted = _noted(s)
        s.hasten(11)
        s.wait(lambda: _tries(s) == 2, 40, "tried again")
        s.cycles(agent)
        assert _tries(s) == 2
        assert (len(s.writes(refused=True)), _noted(s)) == (1, noted)  # what cannot be is asked for without effect
        assert refusals(agent) == [("recycle", "pod-disruption-budget")]
        _still_refused(s, agent, "pod-disruption-budget")

        s.apply(b.budget("backend-budget", NS, "backend", minAvailable=2))
        s.wait(lambda: _allowed(s, "backend-budget"), why="the budget gives way")
        s.hasten(11)
        s.wait(lambda: healed(agent, "backend"), 40, "backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert len(s.evicted(NS)) == 3
        assert len(s.writes()) == 4
        assert findings(agent) == [("vault", "stale"), ("container", "stale-pod")]
        metrics = s.metrics(agent)
        assert "secret_drift_drift{" not in metrics
        assert "secret_drift_drift_since_timestamp_seconds{" not in metrics


def test_s17_who_comes_after_asks_again_what_only_a_person_could_end() -> None:
    """The agent is started anew while a budget that can never give way is in force; when it is lowered, it is seen.

    `explain` names it meanwhile, also when the last refusal is long over.
    """
    with Scenario() as s:
        _world(s, b.budget("backend-budget", NS, "backend", minAvailable=3))
        s.policy()
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        agent.until(reason="pod-disruption-budget", workload="backend")
        s.cycles(agent, 1)
        assert agent.stop().code == 0
        s.hasten(11)
        told = s.explain(f"{NS}/app-secrets").out
        assert "pod-disruption-budget" in told  # long after the refusal, the budget still stands in the way

        agent = watching(s)
        assert agent.until(reason="pod-disruption-budget", workload="backend")["level"] == "warning"
        s.apply(b.budget("backend-budget", NS, "backend", minAvailable=2))
        s.wait(lambda: _allowed(s, "backend-budget"), why="the budget gives way")
        s.hasten(11)
        s.wait(lambda: healed(agent, "backend"), 40, "backend healed")
        assert len(s.evicted(NS)) == 3


def test_s17_two_budgets_over_one_pod_are_both_named() -> None:
    """The API never evicts a pod that two budgets cover: refused with both names, healed when one is gone."""
    with Scenario() as s:
        _world(
            s, b.budget("first", NS, "backend", maxUnavailable=1), b.budget("second", NS, "backend", maxUnavailable=1)
        )
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="pod-disruption-budget", workload="backend")
        s.cycles(agent)

        assert "PodDisruptionBudgets first, second" in told["event"]
        assert refusals(agent) == [("recycle", "pod-disruption-budget")]
        assert _tries(s) == 1
        _still_refused(s, agent, "pod-disruption-budget")

        s.run(s.sandbox.admin.delete(PDBS, NS, "second"))
        s.hasten(11)
        s.wait(lambda: healed(agent, "backend"), 40, "backend healed")
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert len(s.writes()) == 4
