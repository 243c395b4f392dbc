"""S18: what a canary is worth: nothing goes after one that nobody has seen to work."""

from __future__ import annotations

from typing import Any

from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import healed, sample, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.actors.kubelet.settings import Settings
from agent.sandbox.client import DEPLOYMENTS, NODES, PODS
from agent.sandbox.world import Options

NS, APP = "shop", "backend"
CRASHES = {"env": "API_KEY", "backend": "db"}
MUTE = {**CRASHES, "probe": False, "onReject": "unready"}
"""Ready whatever the database says: its log alone tells."""
LOG = {"success": "connected", "failure": "authentication failed", "within": "5s"}
BY_LOG = {"settle": "0s", "canary": {"readyWithin": "15s", "log": LOG}}
HOLDS = 12
"""Seconds for which a canary that is ready has stayed so."""


def world(s: Scenario, replicas: int, recycle: dict[str, Any] | None = None, **more: Any) -> AgentProcess:
    """One chain and one workload at rest, and an agent that has looked at them."""
    chain = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})
    workload = b.deployment(APP, NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")}, **more)
    at_rest(s, {"prod-kv/api-key": "value-one"}, [b.secret_store("prod-kv", NS), chain], [workload], NS)
    s.policy(recycle=recycle or {})
    return watching(s)


def bad(s: Scenario) -> None:
    """A value that the database refuses."""
    s.call(s.sandbox.backends.reject, "db", "bad")
    s.rotate("prod-kv", "api-key", "bad")


def cordon(s: Scenario, on: bool) -> None:
    """No node takes another pod, or all do again."""
    for node in s.objects("Node"):
        patch = {"spec": {"unschedulable": on}}
        s.run(s.sandbox.admin.merge_patch(NODES, None, node["metadata"]["name"], patch))


def scale(s: Scenario, replicas: int) -> None:
    """As an autoscaler would."""
    s.run(s.sandbox.admin.merge_patch(DEPLOYMENTS, NS, APP, {"spec": {"replicas": replicas}}))


def serving(s: Scenario) -> int:
    """How many pods are ready."""
    return sum(ready(pod) for pod in s.pods(NS, APP))


def halts(agent: AgentProcess, reason: str) -> int:
    """How often it was halted for this."""
    return sum(line.get("reason") == reason and "recycling halted" in line["event"] for line in agent.lines())


def test_s18_a_canary_that_fails_by_its_log_stays_failed_however_ready_it_is() -> None:
    """Its log says that the login failed, its probe says nothing: the halt does not end because it is ready."""
    with Scenario() as s:
        agent = world(s, 4, BY_LOG, app=MUTE)
        bad(s)
        agent.until(workload=APP, reason="canary-failed")
        s.hasten(HOLDS)
        s.cycles(agent, 10)
        assert len(s.evicted(NS)) == 1
        assert "is over" not in agent.err.partition("canary-failed")[2].replace("over after", "")
        assert sample(s.metrics(agent), "secret_drift_halted", reason="canary-failed", workload=APP) == 1


def test_s18_a_canary_that_could_not_start_at_first_is_judged_when_it_can() -> None:
    """No node had room: that one comes is not that the value is good, and the canary fails as it would have before."""
    with Scenario() as s:
        agent = world(s, 4, app=CRASHES)
        cordon(s, True)
        bad(s)
        agent.until(workload=APP, reason="canary-blocked")
        cordon(s, False)
        s.wait(lambda: halts(agent, "canary-failed"), why="the canary has failed")
        s.cycles(agent, 5)
        assert len(s.evicted(NS)) == 1
        assert stages(agent, APP) == []


def test_s18_a_canary_that_is_scaled_away_has_proved_nothing() -> None:
    """An autoscaler removes the pod that is not ready, the canary's successor: another one is tried, alone."""
    with Scenario() as s:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%", "maxSurge": 0}}
        agent = world(s, 8, app=CRASHES, strategy=strategy)
        bad(s)
        s.wait(lambda: s.evicted(NS), why="the canary")
        scale(s, 7)
        s.wait(lambda: halts(agent, "canary-failed") or len(s.evicted(NS)) > 2, why="the next canary has failed")
        s.cycles(agent, 5)
        assert len(s.evicted(NS)) <= 2
        assert stages(agent, APP) == []
        assert serving(s) >= 5


def test_s18_the_last_pod_that_serves_does_not_go() -> None:
    """Two of three have no node: before the first goes they must be back, and it is said what is waited for."""
    with Scenario() as s:
        agent = world(s, 3)
        cordon(s, True)
        for pod in s.pods(NS, APP)[:2]:
            s.run(s.sandbox.admin.delete(PODS, NS, pod["metadata"]["name"]))
        s.wait(lambda: len(s.pods(NS, APP)) == 3 and serving(s) == 1, why="one of three serves")
        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(workload=APP, reason="not-all-ready")
        assert "1 of 3 pods are ready" in told["event"]
        s.cycles(agent, 5)
        assert s.evicted(NS) == []
        assert serving(s) == 1

        cordon(s, False)
        s.wait(lambda: healed(agent, APP), why="healed when they are back")
        assert s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")


def test_s18_a_last_pod_that_cannot_start_keeps_the_halt_and_nothing_is_called_healed() -> None:
    """Nothing is stale any more, and one pod of two is missing: halted until it has a node, and healed then."""
    with Scenario(Options(node_settings=Settings(ready=1.5))) as s:
        agent = world(s, 2)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: any(value == b"value-two" for each in s.running(NS) for value in each.source.values()), why="it")
        cordon(s, True)  # the canary has begun, and is not ready yet
        s.wait(lambda: halts(agent, "canary-blocked"), why="the last one finds no node")
        s.cycles(agent, 10)
        assert not healed(agent, APP)
        assert sample(s.metrics(agent), "secret_drift_halted", reason="canary-blocked", workload=APP) == 1
        cordon(s, False)
        s.wait(lambda: healed(agent, APP), why="healed when it has started")
        assert halts(agent, "canary-blocked") == 1


def test_s18_a_pod_that_never_goes_is_named_and_its_successor_counts() -> None:
    """A finalizer keeps an evicted pod: its successor serves, so the heal goes on after the canary's time."""
    with Scenario() as s:
        agent = world(s, 2, {"canary": {"readyWithin": "4s"}})
        for pod in s.pods(NS, APP):
            hold = {"metadata": {"finalizers": ["example.com/hold"]}}
            s.run(s.sandbox.admin.merge_patch(PODS, NS, pod["metadata"]["name"], hold))
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: len(s.evicted(NS)) == 2, 30, why="the second goes though the first is terminating still")
        s.wait(lambda: healed(agent, APP), 30, why="healed")
        assert s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")
