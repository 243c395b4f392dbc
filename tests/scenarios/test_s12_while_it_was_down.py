"""S12: what happened while the agent was down is judged from its ledger, and only what is sure is healed."""

from __future__ import annotations

from support.days import DAY, Day
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import findings, healed, refusals, stages
from support.worlds import at_rest, one_more, refresh

from agent.sandbox import builders as b
from agent.sandbox.client import SECRETS

NS = "shop"
_APART = 5.0
"""Seconds by which, on a real API server, what is before and what is after is told apart for sure."""
CHAINS = {"backend": ("app-secrets", "API_KEY"), "worker": ("worker-secrets", "TOKEN")}
"""Deployment -> (Secret, key)."""


def _morning(s: Scenario, day: Day) -> dict[str, str]:
    """Three chains, their pods since 07:00, and the agent's look at 07:55. Returns workload -> its pod of 07:00.

    ESO refreshes ``worker-secrets`` every eight hours from 06:05 on, the others twenty minutes to each hour.
    """
    for name in ("api-key", "token", "db-password"):
        s.rotate("prod-kv", name, f"{name}-one", created=day.at("06:00") - 7 * DAY)
    day.until("06:05")
    worker = b.external_secret("worker-secrets", NS, {"TOKEN": "token"}, refreshInterval="8h")
    s.apply(b.secret_store("prod-kv", NS), worker)
    s.external_secret_ready(NS, "worker-secrets")
    day.until("06:40")
    s.apply(
        b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
        b.external_secret("quiet-secrets", NS, {"DB_PASSWORD": "db-password"}),
    )
    s.external_secret_ready(NS, "app-secrets")
    s.external_secret_ready(NS, "quiet-secrets")
    day.until("07:00")
    s.apply(b.deployment("quiet", NS, 2, env={"DB_PASSWORD": ("quiet-secrets", "DB_PASSWORD")}))
    s.ready(NS, "quiet")
    at_seven = {name: _scaled(s, name, 1) for name in CHAINS}
    day.synced("07:40", NS, "app-secrets", "quiet-secrets")
    day.until("07:55")
    s.policy()
    assert s.once().code == 0
    return at_seven


def _scaled(s: Scenario, workload: str, replicas: int) -> str:
    return one_more(s, b.deployment(workload, NS, replicas, env={"KEY": CHAINS[workload]}))


def _labelled(s: Scenario, secret: str) -> None:
    """Somebody writes the Secret's metadata: its times move, its data do not."""
    s.run(s.sandbox.admin.merge_patch(SECRETS, NS, secret, {"metadata": {"labels": {"team": "shop"}}}))


def _held(s: Scenario, workload: str, pod: str) -> bytes | None:
    return s.holds(NS, pod)[CHAINS[workload]]


def _evidence(agent: AgentProcess, workload: str) -> str:
    """What is said of the containers of a workload that may hold an old value."""
    (line,) = agent.lines(workload=workload, kind="suspect")
    return str(line["event"])


def test_s12_of_the_pods_that_started_while_it_was_down_only_those_go_that_are_stale_for_sure() -> None:
    """Down 08:00 to 20:00, v2 of 14:00 synced 14:40: pods of 07:00 and 10:00 go, 14:10 is suspect, 15:30 stays.

    The worker's v2 was synced at 14:05 already, and its Secret's metadata written at 14:40: from what is left to see
    at 20:00 that is the same, so its pod of 14:10, which holds v2, is suspect as that of the backend, which holds v1.
    """
    with Scenario() as s:
        day = Day(s)
        at_seven = _morning(s, day)
        quiet = {pod["metadata"]["uid"] for pod in s.pods(NS, "quiet")}

        day.synced("08:40", NS, "app-secrets", "quiet-secrets")
        day.synced("09:40", NS, "app-secrets", "quiet-secrets")
        day.until("10:00")
        at_ten = _scaled(s, "backend", 2)
        for time in ("10:40", "11:40", "12:40", "13:40"):
            day.synced(time, NS, "app-secrets", "quiet-secrets")
        day.until("14:00")
        for name in ("api-key", "token"):
            s.rotate("prod-kv", name, f"{name}-two", created=day.at("14:00"))
        day.synced("14:05", NS, "worker-secrets")
        day.until("14:10")
        between = {"backend": _scaled(s, "backend", 3), "worker": _scaled(s, "worker", 2)}
        day.synced("14:40", NS, "app-secrets", "quiet-secrets")
        _labelled(s, "worker-secrets")
        day.until("15:30")
        after = _scaled(s, "backend", 4)
        for time in ("15:40", "16:40", "17:40", "18:40", "19:40"):
            day.synced(time, NS, "app-secrets", "quiet-secrets")
        day.until("20:00")
        agent = s.launch("once")
        result = agent.wait()

        assert set(s.evicted(NS)) == {at_ten, *at_seven.values()}
        assert [(verb, resource, sub) for verb, resource, sub, _ in s.writes()] == [("create", "pods", "eviction")] * 3
        assert s.writes(refused=True) == []
        assert {pod["metadata"]["uid"] for pod in s.pods(NS, "quiet")} == quiet
        assert (_held(s, "backend", between["backend"]), _held(s, "backend", after)) == (b"api-key-one", b"api-key-two")
        assert _held(s, "worker", between["worker"]) == b"token-two"
        fresh = {pod["metadata"]["name"] for name in CHAINS for pod in s.pods(NS, name)} - set(between.values())
        assert {_held(s, "worker" if pod.startswith("worker") else "backend", pod) for pod in fresh} == {
            b"api-key-two", b"token-two",
        }  # fmt: skip
        assert s.is_ready(NS, "backend")
        assert s.is_ready(NS, "worker")

        assert sorted(findings(agent)) == [("container", "stale-pod")] * 2 + [("container", "suspect")] * 2
        for workload, pod in between.items():
            said = _evidence(agent, workload)
            assert f"{pod} container app: started {day.stamp('14:10')}:" in said
            assert f"between {day.stamp('13:59')}:59Z and {day.stamp('14:40')}:" in said
            assert "more)" not in said, "of this pod alone"
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1)]
        assert (healed(agent, "backend"), healed(agent, "worker")) == ([2], [1])
        assert refusals(agent) == []
        assert result.code == 0
        assert "0 drifts, 2 suspects, 0 unknown, 0 notes" in result.out


def test_s12_who_started_after_the_sync_that_nobody_saw_stays_and_who_started_before_it_goes() -> None:
    """Rotated, synced and scaled up between two looks: the two pods of before are evicted, the third is not."""
    with Scenario() as s:
        key = ("app-secrets", "API_KEY")
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, env={"API_KEY": key})],
            NS,
        )
        s.policy()
        assert s.once().code == 0
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}
        s.pass_time(60, least=_APART)
        s.rotate("prod-kv", "api-key", "value-two", created=s.sandbox.clock.now() - 3)  # so that the sync covers it
        refresh(s, NS, "app-secrets")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}, why="ESO fetches it")
        s.pass_time(60, least=_APART)
        after = one_more(s, b.deployment("backend", NS, 3, env={"API_KEY": key}))
        s.pass_time(60, least=_APART)
        agent = s.launch("once")
        result = agent.wait()

        assert result.code == 0, result.out + result.err
        assert set(s.evicted(NS)) == old
        assert [sub for _, _, sub, _ in s.writes()] == ["eviction"] * 2
        assert s.holds(NS, after)[key] == b"value-two"
        assert s.all_hold(NS, "backend", *key, "value-two")
        assert findings(agent) == [("container", "stale-pod")]
        assert refusals(agent) == []
