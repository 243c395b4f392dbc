"""S30: whatever is down, slow or throttling, it is told once, and the heal goes on to its end when that is over."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from support.scenario import Scenario
from support.told import refusals
from support.weather import NS, Heal

from agent.sandbox.apiserver.faults import FaultRule

BACK = 40.0
"""Seconds in which a heal goes on to its end once everything works again."""
SILENCE = 90.0
"""Seconds without a byte after which a watch is taken for half-open."""
WEBHOOK = 'Internal error occurred: failed calling webhook "validate.externalsecret.external-secrets.io": no endpoints'
VAULT = "vault prod-kv"


def fault(s: Scenario, **rule: Any) -> FaultRule:
    """Something goes wrong for the agent at the API server, until ``over``."""
    return s.call(s.sandbox.api.faults.add, FaultRule(user="agent", **rule))


def over(s: Scenario, *rules: FaultRule) -> None:
    """The end of it."""
    for rule in rules:
        s.call(s.sandbox.api.faults.remove, rule)


def pass_cycles(s: Scenario, heal: Heal, more: int = 10) -> None:
    """Some comparisons in bad weather, in which no pod is touched."""
    s.cycles(heal.agent, more)
    assert s.evicted(NS) == []


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("weather", "cause"), [("drop", "unreachable"), ("503", "server-error"), ("401", "unauthorized")]
)
def test_s30_a_vault_that_cannot_be_looked_at_is_told_once_and_healed_from_afterwards(weather: str, cause: str) -> None:
    """Down, broken or refusing our token: one line, no step on what is not known, and the heal comes later."""
    with Scenario() as s:
        heal = Heal(s)
        s.call(s.sandbox.vaults.fault, weather, identity="agent")
        s.wait(lambda: heal.told(VAULT), why="it is told")
        heal.begin()
        pass_cycles(s, heal)
        assert s.writes() == []
        s.call(s.sandbox.vaults.faults.clear)
        heal.ends_well(BACK)
        assert heal.told() == [(VAULT, cause)]
        assert "kubeconfig" not in heal.agent.err
        assert "--context" not in heal.agent.err
        assert refusals(heal.agent) == []


@pytest.mark.timeout(200)
@pytest.mark.parametrize("weather", ["slow:2", "429:2"])
def test_s30_a_vault_that_takes_its_time_is_waited_for(weather: str) -> None:
    """Slow answers, and some that ask for two seconds of peace, cost their seconds, and nothing is told."""
    with Scenario() as s:
        heal = Heal(s)
        s.call(s.sandbox.vaults.fault, weather, identity="agent", times=3)
        heal.begin()
        heal.ends_well(BACK)
        assert heal.told() == []
        assert refusals(heal.agent) == []


def test_s30_without_a_token_for_the_vault_the_login_host_is_named_once() -> None:
    """The token endpoint is down when the agent starts: everything is unknown, and goes on by itself later."""
    with Scenario() as s:
        heal = Heal(s, agent=False)
        s.call(s.sandbox.vaults.fault, "drop", operation="token", identity="agent")
        s.call(s.sandbox.vaults.fault, "drop", operation="discovery", identity="agent")
        heal.agent = s.start_agent()
        s.wait(lambda: heal.told(VAULT), 60, why="it is told")
        heal.begin()
        pass_cycles(s, heal)
        s.call(s.sandbox.vaults.faults.clear)
        heal.ends_well(BACK)
        assert heal.told() == [(VAULT, "unreachable")]
        assert "no token for prod-kv.vault.azure.net: the login host" in heal.agent.err


@pytest.mark.parametrize(("operation", "weather"), [("list", "403"), ("token", "401")])
def test_s30_a_scan_asks_a_vault_that_refuses_once(operation: str, weather: str) -> None:
    """What refuses now is not asked again in the same breath, by a thread whose answer nobody waits for."""
    with Scenario() as s:
        Heal(s, agent=False)
        refused = s.call(s.sandbox.vaults.fault, weather, operation=operation, identity="agent")
        assert s.scan().code == 1
        assert refused.struck == 1


def test_s30_an_eso_that_is_down_is_asked_a_few_times_and_does_the_rest_when_it_is_back() -> None:
    """Each force-sync that nobody acknowledges is told with its number; no pod is touched before the sync."""
    with Scenario() as s:
        heal = Heal(s)
        s.call(s.sandbox.eso.pause)
        heal.begin()
        s.wait(lambda: "has not acknowledged" in heal.agent.err, 30, why="it is told")
        pass_cycles(s, heal, 4)
        s.call(s.sandbox.eso.resume)
        heal.ends_well(BACK)
        asked = [write for write in s.writes() if write[1] == "externalsecrets"]
        assert 1 <= len(asked) <= 2
        assert heal.agent.err.count("has not acknowledged") <= 2


def test_s30_while_esos_webhook_is_down_the_force_sync_is_refused_and_tried_again_for_as_long_as_it_takes() -> None:
    """The API server names the webhook, once; there are more tries than for a silent ESO, with pauses."""
    with Scenario() as s:
        heal = Heal(s)
        down = fault(s, effect="status", verb="patch", resource="externalsecrets", code=500, message=WEBHOOK)
        heal.begin()
        s.wait(lambda: len(s.writes(refused=True)) > 3, why="more than three tries")
        over(s, down)
        heal.ends_well(BACK)
        assert heal.told() == [(f"force-sync of {NS}/backend-secrets", "server-error")]
        assert "failed calling webhook" in heal.agent.err
        tries = [entry.at for entry in s.requests() if entry.resource == "externalsecrets" and entry.verb == "patch"]
        assert all(later - earlier >= 0.5 for earlier, later in pairwise(tries)), tries
        assert len(s.writes()) == 4


def test_s30_an_api_server_that_takes_a_second_for_each_answer_is_waited_for() -> None:
    """Everything takes longer; nothing is told, and nothing is done twice."""
    with Scenario() as s:
        heal = Heal(s)
        fault(s, effect="delay", seconds=1.0, real_time=True)
        heal.begin()
        heal.ends_well(60)
        assert heal.told() == []
        assert len(s.writes()) == 4


def test_s30_an_api_server_that_throttles_is_left_in_peace_as_long_as_it_asks() -> None:
    """429 with Retry-After for every request of the agent: told once, and the heal follows when it is over."""
    with Scenario() as s:
        heal = Heal(s)
        full = fault(s, effect="status", code=429, retry_after=1, message="too many requests")
        fault(s, effect="break-watches")
        s.wait(lambda: heal.told("the API server"), 60, why="it is told")
        heal.begin()
        pass_cycles(s, heal, 3)
        over(s, full)
        heal.ends_well(BACK)
        assert heal.told("the API server") == [("the API server", "throttled")]
        assert len(s.writes()) == 4


@pytest.mark.parametrize("away", [2, 16], ids=["for a moment", "for longer than the Lease"])
def test_s30_an_api_server_that_is_away_is_told_once_however_many_collections_it_has(away: int) -> None:
    """Watches break and nobody answers: one line for the server, one for ledger and Lease each, and then the heal."""
    with Scenario() as s:
        heal = Heal(s)
        heal.begin()
        s.wait(lambda: s.evicted(NS), why="the canary")
        down = fault(s, effect="drop")
        fault(s, effect="break-watches")
        s.wait(lambda: heal.told("the API server"), 30, why="it is told")
        time.sleep(away)
        over(s, down)
        heal.ends_well(BACK)
        assert len(heal.told()) == len(set(heal.told())), heal.told()
        assert heal.told("the API server") == [("the API server", "unreachable")]
        assert {subject for subject, _ in heal.told()} <= {"the API server", "the ledger", "the Lease"}
        assert len(s.writes()) == 4


def test_s30_a_watch_that_is_gone_is_no_trouble_at_all() -> None:
    """410 on every watch in the middle of a heal: everything is listed anew, and the heal goes on."""
    with Scenario() as s:
        heal = Heal(s)
        gone = fault(s, effect="gone")
        fault(s, effect="break-watches")
        heal.begin()
        s.wait(lambda: s.evicted(NS), 40, why="the canary, found by lists alone")
        over(s, gone)
        heal.ends_well(BACK)
        assert len(s.writes()) == 4


@pytest.mark.timeout(240)
def test_s30_connections_that_swallow_everything_are_given_up_after_a_minute_and_a_half() -> None:
    """All watches fall silent in the middle of a heal and nobody closes them: it goes on with fresh ones."""
    with Scenario() as s:
        heal = Heal(s)
        silent = fault(s, effect="half-open", verb="watch")
        over(s, silent)
        heal.begin()
        heal.ends_well(SILENCE + BACK)
        assert {subject for subject, _ in heal.told()} <= {"the API server"}
        assert len(heal.told()) <= 1
