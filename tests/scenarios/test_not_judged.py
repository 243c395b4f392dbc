"""What cannot be judged for a while is as it was: since when it drifts, and what was refused, outlasts an outage."""

from __future__ import annotations

from functools import partial

import pytest
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import refusals, sample
from support.worlds import at_rest, refresh, watching

from agent.sandbox import builders as b
from agent.sandbox.apiserver.faults import FaultRule

NS = "shop"
OPTED_OUT = {"secret-drift-agent/mode": "observe"}
SINCE = partial(sample, name="secret_drift_drift_since_timestamp_seconds", namespace=NS, kind="stale-pod")


def _refused(s: Scenario) -> AgentProcess:
    """A workload is stale, and its owner does not want it recycled."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")}, annotations=OPTED_OUT)],
        NS,
    )
    s.policy()
    agent = watching(s)
    s.rotate("prod-kv", "api-key", "value-two")
    s.wait(lambda: SINCE(s.metrics(agent)), why="stale")
    assert refusals(agent) == [("recycle", "opted-out")]
    return agent


def _pods_unread(s: Scenario, agent: AgentProcess) -> None:
    of_pods = partial(FaultRule, user="agent", resource="pods")
    rule = of_pods(effect="status", code=503)
    s.call(s.sandbox.api.faults.add, rule)
    s.call(s.sandbox.api.faults.add, of_pods(effect="break-watches"))
    agent.until(kind="unknown", link="container")
    s.cycles(agent, 2)
    s.call(s.sandbox.api.faults.remove, rule)


def _denied(s: Scenario, agent: AgentProcess) -> None:
    s.call(s.sandbox.vaults.grant, "eso", list=True, get=False)
    refresh(s, NS, "app-secrets")
    agent.until(kind="sync-failed")
    s.cycles(agent, 2)
    s.call(s.sandbox.vaults.grant, "eso", list=True, get=True)
    refresh(s, NS, "app-secrets")


@pytest.mark.parametrize("outage", [_pods_unread, _denied])
def test_an_outage_ends_no_refusal_and_no_drift_begins_anew_after_it(outage: object) -> None:
    """Pods that cannot be read, and a Secret that ESO cannot sync: since when it drifts, and why it waits, stays."""
    assert callable(outage)
    with Scenario() as s:
        agent = _refused(s)
        since = SINCE(s.metrics(agent))
        outage(s, agent)
        s.wait(
            lambda: sample(s.metrics(agent), "secret_drift_links", link="container", state="stale") == 1, 40, "judged"
        )
        s.cycles(agent, 2)
        assert SINCE(s.metrics(agent)) == since
        assert "no longer refused" not in agent.err
        assert refusals(agent) == [("recycle", "opted-out")]
        assert s.evicted(NS) == []
