"""S37: the old password was revoked, so the pods that still hold it are the outage."""

from __future__ import annotations

from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import healed, refusals, sample, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.client import PODS, Object
from agent.sandbox.world import Options

NS = "shop"
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")


def _world(s: Scenario, *more: Object) -> None:
    at_rest(
        s,
        {"prod-kv/db-password": "revoked-soon"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"DB_PASSWORD": "db-password"}), *more],
        [
            b.deployment(
                "backend", NS, 3, app={"env": "DB_PASSWORD", "backend": "db", "onReject": "unready"},
                env={"DB_PASSWORD": ("app-secrets", "DB_PASSWORD")},
            )
        ],
        NS,
    )  # fmt: skip


def _revoke(s: Scenario) -> None:
    """The database takes the new password only; every pod runs on, and none is ready."""
    s.call(s.sandbox.backends.accept_only, "db", "new")
    s.wait(lambda: _ready(s) == 0, why="no pod is ready")


def _ready(s: Scenario) -> int:
    return int(((s.get("Deployment", NS, "backend") or {}).get("status") or {}).get("readyReplicas", 0))


def _evictions(s: Scenario) -> list[tuple[str, str, str, str]]:
    return [("create", "pods", "eviction", f"{NS}/{pod}") for pod in s.evicted(NS)]


def test_s37_pods_that_are_stale_and_not_ready_go_at_once() -> None:
    """All three are Running, none is ready: the health gate does not protect an outage, one step replaces them all."""
    with Scenario() as s:
        _world(s)
        s.policy()
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS)}
        _revoke(s)

        s.rotate("prod-kv", "db-password", "new")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.is_ready(NS, "backend")
        assert s.all_hold(NS, "backend", "app-secrets", "DB_PASSWORD", "new")
        assert set(s.evicted(NS)) == old
        assert s.writes() == [FORCE_SYNC, *_evictions(s)]
        assert len(s.evicted(NS)) == 3
        assert stages(agent, "backend") == [("broken", 3)]
        assert refusals(agent) == []
        assert "secret_drift_drift{" not in s.metrics(agent)


def test_s37_the_unready_go_first_and_the_healthy_follow_one_by_one() -> None:
    """One of three cannot connect: it is replaced first, and shows that the new value works; then the others go."""
    with Scenario() as s:
        _world(s)
        s.policy()
        agent = watching(s)
        broken = s.pods(NS)[1]["metadata"]["name"]
        old = {pod["metadata"]["name"] for pod in s.pods(NS)}
        _unready(s, broken)
        s.wait(lambda: _ready(s) == 2, why="one pod is not ready")

        s.rotate("prod-kv", "db-password", "new")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.evicted(NS)[0] == broken
        assert set(s.evicted(NS)) == old
        assert stages(agent, "backend") == [("broken", 1), ("batch", 1), ("batch", 1)]
        assert s.all_hold(NS, "backend", "app-secrets", "DB_PASSWORD", "new")


def test_s37_pods_that_break_while_the_first_is_replaced_are_not_waited_for() -> None:
    """They serve nobody, by no doing of ours, and would never be back by themselves: they go next, both at once."""
    with Scenario(Options(node_settings=Settings(ready=2.0))) as s:
        _world(s)
        s.policy()
        agent = watching(s)
        first, *others = (pod["metadata"]["name"] for pod in s.pods(NS))
        _unready(s, first)
        s.wait(lambda: _ready(s) == 2, why="one pod is not ready")

        s.rotate("prod-kv", "db-password", "new")
        s.wait(lambda: s.evicted(NS) == [first], why="the broken pod goes")
        for name in others:
            _unready(s, name)
        s.wait(lambda: healed(agent, "backend"), 60, why="backend healed")

        assert set(s.evicted(NS)) == {first, *others}
        assert stages(agent, "backend") == [("broken", 1), ("broken", 2)]
        assert refusals(agent) == []
        assert s.all_hold(NS, "backend", "app-secrets", "DB_PASSWORD", "new")


def _unready(s: Scenario, name: str) -> None:
    """The application of one pod stops being ready: its kubelet says so."""
    pod = s.get("Pod", NS, name)
    assert pod
    for status in pod["status"]["containerStatuses"]:
        status["ready"] = False
    for condition in pod["status"]["conditions"]:
        if condition["type"] in ("Ready", "ContainersReady"):
            condition["status"] = "False"
    s.run(s.sandbox.admin.replace(PODS, NS, pod, subresource="status"))


def test_s37_a_budget_that_protects_broken_pods_is_named_with_the_remedy() -> None:
    """Behind a budget the API refuses even pods that serve nobody: refused, by name, with what to set; then healed."""
    with Scenario() as s:
        _world(s, b.budget("backend-budget", NS, "backend", minAvailable=2))
        s.policy()
        agent = watching(s)
        _revoke(s)

        s.rotate("prod-kv", "db-password", "new")
        told = agent.until(reason="pod-disruption-budget", workload="backend")
        s.cycles(agent)

        assert "PodDisruptionBudget backend-budget" in told["event"]
        assert "unhealthyPodEvictionPolicy: AlwaysAllow" in told["event"]
        (event,) = s.events(NS, "HealRefused")
        assert "unhealthyPodEvictionPolicy: AlwaysAllow" in event["message"]
        assert s.writes() == [FORCE_SYNC]
        assert len(s.writes(refused=True)) == 1
        assert refusals(agent) == [("recycle", "pod-disruption-budget")]
        metrics = s.metrics(agent)
        assert sample(metrics, "secret_drift_stale_containers", namespace=NS, workload="backend") == 3

        _follow_the_remedy(s, agent)


def _follow_the_remedy(s: Scenario, agent: AgentProcess) -> None:
    remedied = b.budget("backend-budget", NS, "backend", minAvailable=2, unhealthyPodEvictionPolicy="AlwaysAllow")
    s.apply(remedied)
    s.advance(11)
    s.wait(lambda: healed(agent, "backend"), why="backend healed")
    assert s.all_hold(NS, "backend", "app-secrets", "DB_PASSWORD", "new")
    assert s.writes() == [FORCE_SYNC, *_evictions(s)]
    assert len(s.evicted(NS)) == 3
    assert stages(agent, "backend") == [("broken", 3)]
