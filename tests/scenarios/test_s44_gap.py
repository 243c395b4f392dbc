"""S44: the watch of Secrets breaks, and nobody sees what comes and goes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from support.gate import Gate
from support.scenario import Scenario
from support.told import findings, healed, propagated, refusals, sample
from support.worlds import at_rest, next_second, refresh, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.client import Object

NS = "shop"
KEY = ("app-secrets", "API_KEY")
STALE = ("vault", "stale")
SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")


def _world(s: Scenario) -> None:
    at_rest(
        s,
        {"prod-kv/api-key": "value-a"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [_backend(2)],
        NS,
    )


def _backend(replicas: int) -> Object:
    return b.deployment("backend", NS, replicas, env={"API_KEY": KEY})


@contextmanager
def _gap(s: Scenario) -> Iterator[FaultRule]:
    """The watch of Secrets breaks and answers 410; the list in its place is dropped, and the next waits for the end.

    Nor is a Secret to be had by its name, while the rule in hand is in force.
    """
    of_secrets = partial(FaultRule, user="agent", resource="secrets")
    unread = of_secrets(effect="drop", verb="get", namespace=NS)
    rules = [
        of_secrets(effect="gone", verb="watch"),
        of_secrets(effect="drop", verb="list", remaining=2),  # a dropped request is sent once more
        of_secrets(effect="hold", verb="list"),
        unread,
    ]
    for rule in (*rules, of_secrets(effect="break-watches")):
        s.call(s.sandbox.api.faults.add, rule)
    yield unread
    for rule in rules:
        s.call(s.sandbox.api.faults.remove, rule)


def _uids(s: Scenario) -> set[str]:
    return {pod["metadata"]["uid"] for pod in s.pods(NS)}


def _value(s: Scenario) -> bytes | None:
    return (s.secret(NS, "app-secrets") or {}).get("API_KEY")


@pytest.mark.parametrize("read", [False, True])
def test_s44_who_started_while_nobody_looked_is_suspect_though_the_value_is_the_one_from_before(read: bool) -> None:
    """A, B, A in the gap, and a pod starts on B: it may hold anything, is said to, and nothing is recycled for it.

    So it is, too, where the last A was read by itself in the gap, when a force-sync was acknowledged: nothing new.
    """
    with Scenario() as s:
        _world(s)
        s.policy()
        agent = watching(s)
        before = _uids(s)

        with _gap(s) as unread:
            agent.until(subject="the API server", cause="unreachable")
            s.rotate("prod-kv", "api-key", "value-b")
            s.wait(lambda: _value(s) == b"value-b", why="B synced")
            s.apply(_backend(3))
            s.ready(NS, "backend")
            (late,) = [pod["metadata"]["name"] for pod in s.pods(NS) if pod["metadata"]["uid"] not in before]
            assert s.holds(NS, late)[KEY] == b"value-b"
            if read:
                s.call(s.sandbox.api.faults.remove, unread)
            next_second(s)
            s.rotate("prod-kv", "api-key", "value-a")
            s.wait(lambda: _value(s) == b"value-a", why="A synced again")
            s.wait(lambda: len(propagated(agent, "vault_to_secret")) == 2, why="both acknowledged")
            s.cycles(agent)
            assert [kind for link, kind in findings(agent) if link == "container"] == [], "nothing is known of them"
        suspect = agent.until(kind="suspect")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent, 6)

        assert suspect["workload"] == "backend"
        assert f"{late} container app: started" in suspect["event"]
        assert "more)" not in suspect["event"], "who started long before the gap holds the value of then"
        assert findings(agent) == [("secret", "unknown"), STALE, STALE, ("container", "suspect")]
        assert s.writes() == [SYNC, SYNC]
        assert refusals(agent) == []
        assert healed(agent, "backend") == []
        assert before < _uids(s)
        assert s.holds(NS, late)[KEY] == b"value-b"
        assert sample(s.metrics(agent), "secret_drift_stale_containers", namespace=NS, workload="backend") is None


@pytest.mark.timeout(190)
def test_s44_so_it_is_where_a_real_api_server_has_forgotten_what_came_and_went() -> None:
    """The way is closed, A, B, A pass behind it, etcd is compacted and the API server starts anew: 410, and suspect."""
    with Scenario() as s, Gate(s) as gate:
        plane = s.plane
        _world(s)
        s.policy()
        agent = watching(s, KUBECONFIG=gate.kubeconfig)
        before = _uids(s)

        gate.shut()
        _flip(s, "value-b")
        s.apply(_backend(3))
        s.ready(NS, "backend")
        (late,) = [pod["metadata"]["name"] for pod in s.pods(NS) if pod["metadata"]["uid"] not in before]
        next_second(s)
        _flip(s, "value-a")
        plane.forget()
        gate.open()
        suspect = agent.until(kind="suspect", timeout=60)
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), 60, "the drift is over")
        s.cycles(agent, 6)

        assert {"secrets", "pods"} <= {watch.resource for watch in gate.expired}
        assert suspect["workload"] == "backend"
        assert f"{late} container app: started" in suspect["event"]
        assert [link for link, kind in findings(agent) if kind == "stale-pod"] == []
        assert s.evicted(NS) == []
        assert healed(agent, "backend") == []
        assert before < _uids(s)
        assert s.holds(NS, late)[KEY] == b"value-b"


def _flip(s: Scenario, value: str) -> None:
    """A new version, which a person has ESO fetch, since the agent cannot."""
    s.rotate("prod-kv", "api-key", value)
    refresh(s, NS, "app-secrets")
    s.wait(lambda: _value(s) == value.encode(), why=f"{value} synced")
