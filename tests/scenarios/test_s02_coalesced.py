"""S02: what is rotated again before it has settled costs one recycle."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import healed, propagated, refusals, stages
from support.worlds import at_rest, next_second, watching

from agent.sandbox import builders as b

NS = "shop"


def test_s02_a_key_rotated_twice_within_the_settle_time_costs_one_recycle() -> None:
    """Two rotations within the settle time are two force-syncs and one recycle; no container ever gets the first."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy(recycle={"settle": "2s"})
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}, why="the first one synced")
        next_second(s)
        s.rotate("prod-kv", "api-key", "value-three")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-three")
        received = [r.source["app-secrets", "API_KEY"] for r in s.call(lambda: list(s.sandbox.kubelet.record))]
        assert received == [b"value-one"] * 2 + [b"value-three"] * 2
        assert [verb for verb, *_ in s.writes()] == ["patch", "patch", "create", "create"]
        assert s.writes()[:2] == [("patch", "externalsecrets", "", f"{NS}/app-secrets")] * 2
        assert set(s.evicted(NS)) == old
        assert s.writes(refused=True) == []
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1)]
        assert healed(agent, "backend") == [2]
        assert refusals(agent) == []
        assert propagated(agent, "vault_to_secret") == ["prod-kv/api-key"] * 2
        assert propagated(agent, "total") == ["prod-kv/api-key"]


def test_s02_two_versions_of_one_second_are_told_apart_from_one() -> None:
    """A second version that bears the time of the first, which a vault gives in whole seconds, is not overlooked."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 1, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy(interval="100ms")
        agent = watching(s)

        def pair() -> bool:
            """Two versions within a second, the second of them after everybody has had time to fetch the first."""
            next_second(s)
            began = int(s.sandbox.clock.now())
            s.rotate("prod-kv", "api-key", "value-two")
            fetched = {"API_KEY": b"value-two"}
            s.wait(lambda: s.secret(NS, "app-secrets") == fetched or s.sandbox.clock.now() > began + 0.7, why="a look")
            s.rotate("prod-kv", "api-key", "value-three")
            return int(s.sandbox.clock.now()) == began

        s.wait(pair, why="a pair within one second")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-three"}
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-three")
        assert refusals(agent) == []


def test_s02_a_workload_that_was_held_up_for_long_is_not_recycled_before_new_pods_get_the_new_value_for_sure() -> None:
    """A budget held it up far beyond the longest settling; then comes another version: each pod goes once."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [
                b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
                b.budget("backend", NS, "backend", minAvailable=2),
            ],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )  # fmt: skip
        s.policy(recycle={"suspect": "recycle"}, margins={"kubeletLag": "2s"})
        old = sorted(pod["metadata"]["name"] for pod in s.pods(NS, "backend"))
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        agent.until(reason="pod-disruption-budget", workload="backend")
        s.pass_time(300)
        s.cycles(agent, 3)

        s.apply(b.budget("backend", NS, "backend", minAvailable=0))
        s.rotate("prod-kv", "api-key", "value-three")
        s.wait(lambda: healed(agent, "backend"), 40, why="backend healed")
        s.cycles(agent, 8)

        assert sorted(s.evicted(NS)) == old
        assert healed(agent, "backend") == [2]
