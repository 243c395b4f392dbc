"""A world with a bit of everything that a dashboard shows, played before a real Prometheus.

Rotations that are healed, one that halts at its canary, one that waits for its window, a vault that denies all, an
immutable Secret, throttling: first followed by an agent that runs all the time, then by the runs of a CronJob.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import requests
from support.monitoring import Gateway, Prometheus, prometheus, pushgateway
from support.processes import AgentProcess
from support.scenario import POD, Scenario
from support.told import healed
from support.worlds import at_rest

from agent.sandbox import builders as b
from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.world import AGENT_NAMESPACE, Options

PAYMENTS, ORDERS, REPORTS = "payments", "orders", "reports"
VAULTS = ("payments-kv", "orders-kv", "legacy-kv")
CLUSTER = "west"
_WITHIN = 90.0
_UNHURRIED = Settings(start=0.2, ready=0.4, termination=0.2, crash_backoff=30.0, crash_backoff_max=30.0)
"""So that a scrape each half second sees what is under way."""


class Part(NamedTuple):
    """A part of the play: from when to when, unix seconds by Prometheus' clock."""

    begin: float
    end: float


class Played(NamedTuple):
    """What was played, and the Prometheus that saw it."""

    found: Prometheus
    following: Part
    """An agent ran all the time."""
    running: Part
    """A CronJob's runs, and nobody else."""
    ahead: float
    """Seconds by which the world's clock, by which the agent tells times, is ahead of Prometheus'."""

    def values(
        self, expr: str, part: Part, step: float = 0.5
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """(labels, [(when, value)]) of every series that the query gives at some moment of the part.

        Its ``time()`` is the world's.
        """
        asked = {
            "query": expr.replace("time()", f"(time() + {self.ahead:.3f})"),
            "start": f"{part.begin:.3f}",
            "end": f"{part.end:.3f}",
            "step": f"{step:g}",
        }
        answer = requests.post(f"{self.found.url}/api/v1/query_range", asked, timeout=_WITHIN)
        assert answer.ok, f"{expr}\n{answer.text}"
        series = answer.json()["data"]["result"]
        return [(each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in series]


@contextmanager
def played() -> Iterator[Played]:
    """The whole play, and Prometheus as long as it is asked."""
    with Scenario(Options(node_settings=_UNHURRIED)) as s, pushgateway() as gateway:
        build(s)
        agent = s.start_agent()
        s.cycles(agent, 1)
        with prometheus(_agents(s, agent), _target("pushgateway", gateway.url)) as found:
            found.soon("secret_drift_leader", lambda now: now == [1])
            begin = time.time()
            play(s, agent)
            found.soon('secret_drift_rotations_total{result="late"}', lambda now: now >= [2])
            following = Part(begin, _scraped(found))
            agent.stop()
            begin = _scraped(found)
            run(s, gateway, found)
            running = Part(begin, _scraped(found))
            yield Played(found, following, running, s.sandbox.clock.now() - time.time())


def _target(job: str, address: str, **labels: str) -> dict[str, Any]:
    host = address.partition("://")[2] or address
    targets = {"targets": [host], "labels": {"cluster": CLUSTER, **labels}}
    return {"job_name": job, "honor_labels": True, "static_configs": [targets]}


def _agents(s: Scenario, agent: AgentProcess) -> dict[str, Any]:
    """As a PodMonitor makes it: the pod, and its namespace for what has none of its own."""
    return _target("secret-drift-agent", f"127.0.0.1:{s.port(agent)}", namespace=AGENT_NAMESPACE, pod=POD)


def _scraped(found: Prometheus) -> float:
    """Now, once all that is so now has been scraped."""
    now = time.time()
    for job in ("pushgateway", "secret-drift-agent"):
        found.soon(f'timestamp(up{{job="{job}"}}) > {now + 0.5}')
    return time.time()


def build(s: Scenario) -> None:
    """Three namespaces and three vaults at rest, and a policy that heals them; orders only in a window."""

    def app(name: str, namespace: str, replicas: int, key: str, **more: Any) -> Any:
        # ``key``: the ExternalSecret's name and the key of its Secret are one word in two spellings.
        env = {key.upper().replace("-", "_"): (key, key.upper().replace("-", "_"))}
        return b.deployment(name, namespace, replicas, env=env, **more)

    def chain(name: str, namespace: str, source: str, **more: Any) -> Any:
        return b.external_secret(name, namespace, {name.upper().replace("-", "_"): source}, **more)

    database = {"app": {"env": "DB_PASSWORD", "backend": "db"}}
    at_rest(
        s,
        {"payments-kv/stripe-api-key": "one", "payments-kv/ledger-db-password": "good"},
        [
            b.secret_store("payments-kv", PAYMENTS),
            chain("api-key", PAYMENTS, "stripe-api-key"),
            chain("db-password", PAYMENTS, "ledger-db-password"),
        ],
        [
            app("checkout", PAYMENTS, 4, "api-key", app={"env": "API_KEY", "backend": "stripe"}),
            app("ledger", PAYMENTS, 3, "db-password", **database),
            app("ledger-worker", PAYMENTS, 2, "db-password", **database),
        ],
        PAYMENTS,
    )
    at_rest(
        s,
        {"orders-kv/cart-redis-url": "one", "legacy-kv/invoice-ftp-password": "one"},
        [
            b.secret_store("orders-kv", ORDERS),
            b.secret_store("legacy-kv", ORDERS, name="legacy"),
            chain("redis-url", ORDERS, "cart-redis-url"),
            chain("ftp-password", ORDERS, "invoice-ftp-password", store="legacy"),
        ],
        [app("cart", ORDERS, 3, "redis-url"), app("invoices", ORDERS, 2, "ftp-password")],
        ORDERS,
    )
    at_rest(
        s,
        {"payments-kv/report-signing-key": "one"},
        [
            b.secret_store("payments-kv", REPORTS),
            chain("signing-key", REPORTS, "report-signing-key", target={"immutable": True}),
        ],
        [app("reports", REPORTS, 2, "signing-key", one_per_node=True)],
        REPORTS,
    )
    now = s.sandbox.clock.now()
    night = {"from": _wall(now + 6 * 3600), "to": _wall(now + 8 * 3600), "timeZone": "UTC"}
    canary = {"canary": {"readyWithin": "15s"}, "settle": "0s"}
    s.policy(
        vaults=VAULTS,
        sync=[
            {"namespaces": [REPORTS], "steps": ["force-sync", "recreate"]},
            {"namespaces": ["*"], "steps": ["force-sync"]},
        ],
        recycle=[
            {"namespaces": [ORDERS], "windows": [night], **canary},
            {"namespaces": ["*"], **canary},
        ],
        limits={"disruptivePercent": 100},
        report={"propagationObjective": "20s"},
    )


def _wall(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M")


def play(s: Scenario, agent: AgentProcess) -> None:
    """The stories, one after the other, to their end or to where they stay."""
    for value in ("two", "three"):
        _checkout_follows(s, agent, value)
    s.rotate("payments-kv", "report-signing-key", "two")
    s.wait(lambda: healed(agent, "reports"), _WITHIN, "reports are healed")
    _throttle(s)
    s.rotate("orders-kv", "cart-redis-url", "two")
    agent.until(_WITHIN, reason="outside-window")
    s.call(s.sandbox.vaults.grant, "eso", "legacy-kv", list=False, get=False)
    s.rotate("legacy-kv", "invoice-ftp-password", "two")
    agent.until(_WITHIN, kind="sync-failed")
    s.call(s.sandbox.vaults.grant, "agent", "legacy-kv", list=False, get=False)
    agent.until(_WITHIN, subject="vault legacy-kv")
    s.call(s.sandbox.backends.reject, "db", "bad")
    s.rotate("payments-kv", "ledger-db-password", "bad")
    agent.until(_WITHIN, workload="ledger", reason="canary-failed")
    s.cycles(agent, 4, _WITHIN)


def _checkout_follows(s: Scenario, agent: AgentProcess, value: str) -> None:
    done = len(healed(agent, "checkout"))
    s.rotate("payments-kv", "stripe-api-key", value)
    s.wait(lambda: len(healed(agent, "checkout")) > done, _WITHIN, "checkout is healed")


def run(s: Scenario, gateway: Gateway, found: Prometheus) -> None:
    """The CronJob's runs, beside the troubles that are still there; one of them meets another bad value."""
    s.call(s.sandbox.backends.reject, "stripe", "revoked")
    for value in ("four", "revoked", "five"):
        _throttle(s)
        s.rotate("payments-kv", "stripe-api-key", value)
        _once(s, gateway, found)


def _once(s: Scenario, gateway: Gateway, found: Prometheus) -> None:
    """One run, until Prometheus has what it pushed."""
    ended = "secret_drift_once_last_end_timestamp_seconds"
    before = [at for _, at in found.query(ended)]
    s.once("--push-gateway", gateway.url, timeout=_WITHIN)
    found.soon(ended, lambda now: now not in ([], before))


def _throttle(s: Scenario) -> None:
    """The agent, twice by a vault and once by the API server; both want a second of peace."""
    s.call(s.sandbox.vaults.fault, "429:1", vault="payments-kv", identity="agent", times=2)
    throttled = FaultRule(effect="status", user="agent", resource="externalsecrets", remaining=1, retry_after=1)
    s.call(s.sandbox.api.faults.add, throttled)
