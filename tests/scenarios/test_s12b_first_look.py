"""S12b: the first run ever, in a cluster whose pods started around a version of a week ago."""

from __future__ import annotations

from typing import Any

import pytest
from support.days import Day
from support.scenario import Scenario
from support.told import findings, healed, refusals, stages
from support.worlds import at_rest, one_more, watching

from agent.sandbox import builders as b

NS = "shop"
USED = ("app-secrets", "API_KEY")


def _scaled(s: Scenario, replicas: int) -> str:
    return one_more(s, b.deployment("backend", NS, replicas, env={"API_KEY": USED}))


def _week(s: Scenario) -> tuple[str, str, str]:
    """Pods of before v2, of between v2 and its sync half an hour later, and of a day after; then a week passes."""
    day = Day(s)
    s.rotate("prod-kv", "api-key", "value-one", created=day.at("07:00"))
    day.until("08:30")
    s.apply(b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}))
    s.external_secret_ready(NS, "app-secrets")
    day.synced("09:30", NS, "app-secrets")
    day.until("09:35")
    before = _scaled(s, 1)
    day.until("10:00")
    s.rotate("prod-kv", "api-key", "value-two")
    day.until("10:10")
    between = _scaled(s, 2)
    day.synced("10:30", NS, "app-secrets")
    day.until("10:00", days=1)
    after = _scaled(s, 3)
    day.synced("10:00", NS, "app-secrets", days=7)
    assert [s.holds(NS, pod)[USED] for pod in (before, between, after)] == [b"value-one", b"value-one", b"value-two"]
    return before, between, after


def _states(s: Scenario) -> dict[str, str]:
    """Pod -> the verdict on its container, as ``explain`` shows it."""
    document: dict[str, Any] = s.explain(f"{NS}/app-secrets", "-o", "json").json()
    (workload,) = document["workloads"]
    return {pod["name"]: pod["containers"][0]["state"] for pod in workload["pods"]}


@pytest.mark.parametrize("via", ["env", "subPath"])
def test_s12b_where_the_policy_recycles_what_is_suspect_each_pod_goes_once(via: str) -> None:
    """ESO synced a moment before our first look: pods go when their successors can be told from them, and no sooner."""
    with Scenario() as s:
        file = {"volumes": {"keys": "app-secrets"}, "mounts": {"/keys/API_KEY": ("keys", "API_KEY")}}
        use: dict[str, Any] = {"env": {"API_KEY": USED}} if via == "env" else file
        chain = [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})]
        at_rest(s, {"prod-kv/api-key": "value-one"}, chain, [b.deployment("backend", NS, 2, **use)], NS)
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}
        s.rotate("prod-kv", "api-key", "value-two")
        s.apply(b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, annotations={"note": "sync"}))
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}, why="ESO has synced")
        s.policy(recycle={"suspect": "recycle"}, timing={"subPathLag": "5s"})
        agent = watching(s)
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent, 8)

        assert s.all_hold(NS, "backend", *USED, "value-two")
        assert sorted(s.evicted(NS)) == sorted(old)
        assert healed(agent, "backend") == [2]


def test_s12b_a_first_look_restarts_nothing_and_from_the_next_rotation_on_it_knows() -> None:
    """Who started before v2 or before its sync is suspect, a day after it assumed; version three recycles all."""
    with Scenario() as s:
        before, between, after = _week(s)
        s.policy()
        agent = watching(s)
        s.cycles(agent)

        assert _states(s) == {before: "suspect", between: "suspect", after: "assumed"}
        assert findings(agent) == [("container", "suspect")]
        (told,) = agent.lines(kind="suspect")
        assert "before our first look" in told["event"]
        assert "(and 1 more)" in told["event"]
        assert s.writes() == []
        assert refusals(agent) == []

        s.rotate("prod-kv", "api-key", "value-three")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, "backend", *USED, "value-three")
        assert s.is_ready(NS, "backend")
        force_sync, *evictions = s.writes()
        assert force_sync == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert {(verb, resource, sub) for verb, resource, sub, _ in evictions} == {("create", "pods", "eviction")}
        assert len(evictions) == 3
        assert set(s.evicted(NS)) == {before, between, after}
        assert s.writes(refused=True) == []
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1), ("batch", 1)]
        assert healed(agent, "backend") == [3]
        assert refusals(agent) == []
        assert findings(agent) == [("container", "suspect"), ("vault", "stale"), ("container", "stale-pod")]
        assert agent.stop().code == 0
