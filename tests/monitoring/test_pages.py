"""From a drift to the page and back: the real agent, Prometheus and Alertmanager, with our rules and our sample.

Times of rules and routes are at the test's pace (an hour is a minute or two); nothing else of them is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.monitoring import Prometheus, prometheus
from support.paging import PACE, Pager, fast_rules, paging
from support.processes import AgentProcess
from support.scenario import Scenario
from support.worlds import WEEK

from agent.sandbox import builders as b

NS = "shop"
CHAINS, HELD = 200, 20
"""How many there are, and how many of them the policy lets nobody sync: these stay stale, and late."""


@contextmanager
def watched(
    s: Scenario, agent: AgentProcess, directory: Path, pace: float = PACE
) -> Iterator[tuple[Prometheus, Pager]]:
    """A Prometheus that scrapes this agent and tells an Alertmanager, and the pager behind it."""
    job = {
        "job_name": "secret-drift-agent",
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{s.port(agent)}"], "labels": {"namespace": "secret-drift-agent"}}],
    }
    rules = fast_rules(directory, pace)
    with paging(pace) as (address, pager), prometheus(job, rules=rules, pages=address) as found:
        yield found, pager


@pytest.mark.timeout(240)
def test_one_drift_is_one_page_with_what_was_done_and_refused_and_one_resolution(tmp_path: Path) -> None:
    """A budget lets no pod go: the page names workload, secret, age, steps and reason, and ends with the drift."""
    with Scenario() as s:
        s.rotate("prod-kv", "api-key", "value-one")
        s.apply(
            b.secret_store("prod-kv", NS),
            b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
            b.budget("backend", NS, "backend", minAvailable=2),
        )
        s.external_secret_ready(NS, "app-secrets")
        s.policy()
        agent = s.start_agent()
        s.cycles(agent, 12)  # seconds: what starts within the one of the first look is suspect only
        s.apply(b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")}))
        s.ready(NS, "backend")
        with watched(s, agent, tmp_path) as (found, pager):
            found.soon("secret_drift_leader", lambda now: now == [1])
            s.cycles(agent, 12)
            s.rotate("prod-kv", "api-key", "value-two")
            agent.until(reason="pod-disruption-budget", workload="backend")

            (page,) = pager.wait(bool, "a page")
            assert (page.status, page.names) == ("firing", ("SecretDriftStaleContainers",))
            assert page.summaries == (f"{NS}/backend still runs an old version of api-key of vault prod-kv",)
            (said,) = page.descriptions
            assert said.startswith("Its Secret has held the new value for ")
            assert "Refused: recycle (pod-disruption-budget)." in said
            assert said.endswith(f"Look: secret-drift-agent explain {NS}/app-secrets")
            assert page.runbooks[0].endswith("/SecretDriftStaleContainers.md")
            assert pager.pages("tickets") == []  # the refusal is in the page

            s.apply(b.budget("backend", NS, "backend", minAvailable=1))
            s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), 60, "healed")
            pages = pager.wait(lambda pages: pages[-1].status == "resolved", "the resolution")
            assert [page.names for page in pages if page.status == "resolved"] == [page.names]
            assert {page.summaries for page in pages} == {page.summaries}
            found.soon("secret_drift_rotations_total{result='in-time'}", lambda now: now == [1])


@pytest.mark.timeout(400)
def test_a_vault_that_is_down_with_two_hundred_chains_behind_it_is_one_page(tmp_path: Path) -> None:
    """Their drifts are silenced by it; when it is back the page is resolved, and everything is healed."""
    with Scenario() as s:
        names = {f"key-{number}": "held" if number < HELD else NS for number in range(CHAINS)}
        born = s.sandbox.clock.now() - WEEK
        for name in names:
            s.rotate("prod-kv", name, "value-one", created=born)
        s.apply(
            *(b.secret_store("prod-kv", namespace) for namespace in ("held", NS)),
            *(b.external_secret(f"app-{name}", namespace, {"KEY": name}) for name, namespace in names.items()),
        )
        for name, namespace in names.items():
            s.external_secret_ready(namespace, f"app-{name}")
        s.policy(sync=[{"namespaces": [NS], "steps": ["force-sync"]}])
        agent = s.start_agent()
        s.cycles(agent, 2)
        with watched(s, agent, tmp_path, pace=30) as (found, pager):
            found.soon("sum(secret_drift_links{link='vault',state='fresh'})", lambda now: now == [CHAINS])
            s.call(s.sandbox.vaults.fault, "503", identity="eso")
            for name in names:
                s.rotate("prod-kv", name, "value-two")
            s.wait(lambda: len(agent.lines(kind="stale")) >= CHAINS, 60, "each chain is found stale")
            s.call(s.sandbox.vaults.fault, "503", identity="agent")

            (page,) = pager.wait(bool, "a page")
            assert page.names == ("SecretDriftVaultDown",)
            assert page.summaries == ("Vault prod-kv cannot be reached",)
            late = "count(ALERTS{alertname='SecretDriftNotSynced',namespace='held',alertstate='firing'})"
            found.soon(late, lambda now: now == [HELD])
            s.cycles(agent, 10, timeout=60)
            assert [page.names for page in pager.pages()] == [("SecretDriftVaultDown",)] * len(pager.pages())
            assert pager.pages("tickets") == []

            s.policy()
            s.call(s.sandbox.vaults.faults.clear)
            s.advance(600)  # ESO's own backoff
            pager.wait(lambda pages: pages[-1].status == "resolved", "the resolution")
            found.soon("secret_drift_drift or vector(0)", lambda now: now == [0], 120)
            assert {page.names for page in pager.pages()} == {("SecretDriftVaultDown",)}
