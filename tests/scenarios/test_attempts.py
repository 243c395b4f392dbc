"""A value that every sync makes anew, with no new version in the vault: followed a few times, then given up."""

from __future__ import annotations

from typing import Any

from support.scenario import Scenario
from support.told import healed
from support.worlds import at_rest, refresh, watching

from agent.sandbox import builders as b

NS, APP = "shop", "backend"
TEMPLATE = {"template": {"data": {"LOGIN": "{{ .API_KEY }}:{{ randAlphaNum 16 }}"}}}
"""As htpasswd, bcrypt and now do it: another text each time that ESO renders it."""


def world(s: Scenario, more: dict[str, tuple[str, str]] | None = None, **target: Any) -> None:
    """Two pods that have it in their environment, and a policy under which that is followed twice."""
    target = {**TEMPLATE, **target}
    chain = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, refreshInterval="100h", target=target)
    workload = b.deployment(APP, NS, 2, env={"LOGIN": ("app-secrets", "LOGIN"), **(more or {})})
    at_rest(s, {"prod-kv/api-key": "value-0"}, [b.secret_store("prod-kv", NS), chain], [workload], NS)
    s.policy(limits={"attempts": 2})
    assert s.once().code == 0


def recycled(s: Scenario) -> int:
    """ESO refreshes, as it does by itself every hour or so, between two looks; how many pods were recycled."""
    s.pass_time(60)
    s.once()
    before, evicted = s.secret(NS, "app-secrets"), len(s.evicted(NS))
    refresh(s, NS, "app-secrets")
    s.wait(lambda: s.secret(NS, "app-secrets") != before, why="another value")
    s.pass_time(60)
    s.once()
    return len(s.evicted(NS)) - evicted


def test_pods_are_not_recycled_for_ever_for_a_value_that_every_sync_makes_anew() -> None:
    """Twice, as the policy says; then it is refused with what may be behind it, until a version comes or one asks."""
    with Scenario() as s:
        world(s)
        assert [recycled(s) for _ in range(4)] == [2, 2, 0, 0]
        refused = s.once()
        assert refused.code == 2
        why = "recycled 2 times for the same versions in the vault: the Secret's value changes by itself"
        assert why in refused.out
        assert {event["reason"] for event in s.events(NS) if why in event["message"]} == {"HealRefused"}

        s.rotate("prod-kv", "api-key", "value-1")
        s.pass_time(60)
        assert s.once().code == 0, "a new version is a new reason"
        assert len(s.evicted(NS)) == 6
        assert recycled(s) == 2
        assert recycled(s) == 0

        asked = s.launch("heal", f"{NS}/app-secrets").wait()
        assert asked.code == 0, asked.out + asked.err
        assert len(s.evicted(NS)) == 10


def test_where_others_may_fill_the_secret_too_its_value_is_followed_as_often_as_it_changes() -> None:
    """What ESO only merges into has values that no version in a vault tells of: each is as good as a rotation."""
    with Scenario() as s:
        s.apply(b.namespace(NS), b.secret("app-secrets", NS, {"OTHER": "one"}))
        world(s, creationPolicy="Merge")
        assert [recycled(s) for _ in range(3)] == [2, 2, 2]


def test_beside_a_chain_that_is_gone_for_a_day_there_is_an_end_too() -> None:
    """What holds no heal up any more keeps it from its end, and so from being counted at its end: pods are counted."""
    with Scenario() as s:
        s.rotate("prod-kv", "gone", "x")
        s.apply(b.secret_store("prod-kv", NS), b.external_secret("other", NS, {"X": "gone"}, refreshInterval="100h"))
        s.external_secret_ready(NS, "other")
        world(s, more={"X": ("other", "X")})
        s.call(s.vault("prod-kv").delete, "gone")
        s.once()
        s.advance(26 * 3600)
        assert [recycled(s) for _ in range(3)] == [2, 2, 0]


def test_a_statefulset_of_one_is_in_its_heal_while_it_has_no_pod() -> None:
    """Between the pod that left and the one that comes nothing is forgotten: told as healed, and counted."""
    with Scenario() as s:
        chain = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, refreshInterval="100h", target=TEMPLATE)
        workload = b.statefulset(APP, NS, 1, env={"LOGIN": ("app-secrets", "LOGIN")})
        at_rest(s, {"prod-kv/api-key": "value-0"}, [b.secret_store("prod-kv", NS), chain], [workload], NS)
        s.policy(limits={"attempts": 1}, recycle={"gap": "allow"})
        agent = watching(s)
        refresh(s, NS, "app-secrets")
        s.wait(lambda: healed(agent, APP) == [1], why="it is told")
        s.pass_time(60)
        s.cycles(agent, 2)
        refresh(s, NS, "app-secrets")
        agent.until(reason="attempts", workload=APP)
        s.cycles(agent, 2)
        assert len(s.evicted(NS)) == 1


def test_a_single_replica_is_not_restarted_for_ever_either() -> None:
    """Counted when it is sent: the value may change again before the new pod is there."""
    with Scenario() as s:
        chain = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, refreshInterval="100h", target=TEMPLATE)
        workload = b.deployment(APP, NS, 1, env={"LOGIN": ("app-secrets", "LOGIN")})
        at_rest(s, {"prod-kv/api-key": "value-0"}, [b.secret_store("prod-kv", NS), chain], [workload], NS)
        s.policy(limits={"attempts": 2})
        agent = watching(s)
        for _ in range(8):
            refresh(s, NS, "app-secrets")
            s.pass_time(60)
            s.cycles(agent, 3)
        restarts = [where for _, resource, _, where in s.writes(verbs=["patch"]) if resource == "deployments"]
        assert len(restarts) == 2
        assert agent.lines(reason="attempts", workload=APP)
