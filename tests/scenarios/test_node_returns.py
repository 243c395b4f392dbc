"""A node that was not heard of for a while comes back with stale pods: they are not broken, only not heard of yet."""

from __future__ import annotations

from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import healed, refusals, sample, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.kubelet.nodes import report_ready

NS = "shop"


def _stale(s: Scenario, agent: AgentProcess) -> float | None:
    return sample(s.metrics(agent), "secret_drift_stale_containers", namespace=NS, workload="backend")


def test_pods_that_were_unready_with_their_node_do_not_go_before_the_canary() -> None:
    """Its node is ready again, the stale pod not yet: nothing goes. When its kubelet has spoken, a canary is first."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/db-password": "old"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"DB_PASSWORD": "db-password"})],
            [b.deployment("backend", NS, 3, env={"DB_PASSWORD": ("app-secrets", "DB_PASSWORD")})],
            NS,
        )
        s.policy()
        agent = watching(s)
        kubelet, node = s.sandbox.kubelet, s.pods(NS)[0]["spec"]["nodeName"]
        s.run(kubelet.set_node_ready(node, False))
        s.rotate("prod-kv", "db-password", "new")
        s.wait(lambda: ("recycle", "unknown") in refusals(agent), why="a pod of the node that is away cannot be judged")
        s.cycles(agent, 12)  # nothing is left to settle

        s.run(report_ready(kubelet._client, s.sandbox.clock, node, True))
        s.wait(lambda: _stale(s, agent) == 3, why="all pods are judged again")
        s.cycles(agent, 3)
        assert s.evicted(NS) == []
        s.run(kubelet.set_node_ready(node, True))
        s.wait(lambda: healed(agent, "backend"), why="backend healed")

        assert stages(agent, "backend") == [("canary", 1), ("batch", 1), ("batch", 1)]
        assert s.all_hold(NS, "backend", "app-secrets", "DB_PASSWORD", "new")
