"""S13: containers of one pod are judged each by its own start."""

from __future__ import annotations

from functools import partial

from support.scenario import Scenario
from support.told import healed, refusals, sample
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS = "shop"
KEY = ("app-secrets", "API_KEY")


def test_s13_a_container_that_restarted_by_itself_is_fresh_and_its_neighbour_is_not() -> None:
    """After the change one pod restarted one of two containers, another both: only the first pod is recycled."""
    with Scenario() as s:
        both = [b.container("app", env={"API_KEY": KEY}), b.container("helper", env={"API_KEY": KEY})]
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, containers=both)],
            NS,
        )
        s.policy(recycle=None, margins={"node": "0s"})
        agent = watching(s)
        half, whole = (pod["metadata"]["name"] for pod in s.pods(NS, "backend"))

        s.rotate("prod-kv", "api-key", "value-two")
        agent.until(workload="backend", kind="stale-pod")
        changed = s.sandbox.clock.now()
        s.wait(lambda: s.sandbox.clock.now() > changed + 1.2, why="the next whole second")
        for pod, container in ((half, "app"), (whole, "app"), (whole, "helper")):
            s.call(s.sandbox.kubelet.restart_container, NS, pod, container)
        for pod, container in ((half, "app"), (whole, "app"), (whole, "helper")):
            s.wait(partial(_has, s, pod, container), why=f"{pod} {container} restarted")
        s.wait(partial(_stale, s, agent, 1), why="one container is stale")
        s.cycles(agent, 2)
        assert refusals(agent) == [("recycle", "no-rule")]

        s.policy(margins={"node": "0s"})
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.writes() == [
            ("patch", "externalsecrets", "", f"{NS}/app-secrets"),
            ("create", "pods", "eviction", f"{NS}/{half}"),
        ]
        assert s.all_hold(NS, "backend", *KEY, "value-two")
        assert whole in {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}
        assert "container helper started" in agent.until(stage="canary", pod=half)["event"]
        assert healed(agent, "backend") == [1]


def _has(s: Scenario, pod: str, container: str) -> bool:
    held = [r for r in s.running(NS) if (r.pod, r.container) == (pod, container)]
    return bool(held) and held[0].run == 1 and held[0].source[KEY] == b"value-two"


def _stale(s: Scenario, agent: object, number: int) -> bool:
    metrics = s.metrics(agent)  # type: ignore[arg-type]
    return sample(metrics, "secret_drift_stale_containers", namespace=NS, workload="backend") == number
