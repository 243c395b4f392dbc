"""S38: a large workload without a budget goes in batches of its own size."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import healed, refusals, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS = "shop"
REPLICAS, BATCH = 50, 10


def _fewest_ready(s: Scenario) -> int:
    """The least number of pods that were ready at any moment of the heal, by evictions and the kubelets' record.

    A pod counts until its eviction was asked for, and from when its container's program had looked at its value.
    """
    evicted = {e.name: e.at for e in s.requests() if e.subresource == "eviction" and e.code < 400}
    record = s.call(lambda: list(s.sandbox.kubelet.record))
    settle = s.sandbox.options.node_settings.ready
    comings = [(each.started_at + settle, 1) for each in record if each.namespace == NS]
    ready = fewest = REPLICAS
    for _, change in sorted(comings[REPLICAS:] + [(at, -1) for at in evicted.values()]):
        ready += change
        fewest = min(fewest, ready)
    return fewest


def test_s38_fifty_replicas_go_canary_first_then_in_batches_of_max_unavailable() -> None:
    """One pod, then ten at a time, each batch when the former is ready: never fewer than forty serve."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [
                b.deployment(
                    "backend", NS, REPLICAS, env={"API_KEY": ("app-secrets", "API_KEY")},
                    strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "20%"}},
                )
            ],
            NS,
        )  # fmt: skip
        s.policy()
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS)}

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), timeout=60, why="backend healed")
        s.cycles(agent, 2)

        assert stages(agent, "backend") == [("canary", 1), *[("batch", BATCH)] * 4, ("batch", 9)]
        # Each eviction is reserved by itself, so the first pods of a batch may be back before its last one goes.
        assert REPLICAS - BATCH <= _fewest_ready(s) < REPLICAS - 1
        assert len(s.evicted(NS)) == REPLICAS
        assert set(s.evicted(NS)) == old
        assert s.writes()[0] == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert len(s.writes()) == REPLICAS + 1
        assert s.writes(refused=True) == []
        assert refusals(agent) == []
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert len(s.running(NS, "backend")) == REPLICAS
