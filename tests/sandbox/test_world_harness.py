"""The harness of the scenarios itself: agents as processes, what they did, and how they die."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from support.killing import Request
from support.policies import heal_policy
from support.processes import parse_log
from support.scenario import Scenario

from agent.policy import PolicyFile
from agent.sandbox import builders as b


@pytest.fixture
def s() -> Iterator[Scenario]:
    """A world with one chain that was rotated: something to do for an agent."""
    with Scenario() as scenario:
        scenario.rotate("prod-kv", "api-key", "first")
        scenario.apply(
            b.secret_store("prod-kv", "shop"), b.external_secret("app-secrets", "shop", {"API_KEY": "api-key"})
        )
        scenario.external_secret_ready("shop", "app-secrets")
        scenario.advance(600)
        scenario.rotate("prod-kv", "api-key", "second")
        scenario.policy()
        yield scenario


def is_force_sync(request: Request) -> bool:
    """The one write that this world calls for."""
    return (request.verb, request.resource) == ("patch", "externalsecrets")


def test_the_fast_policy_is_a_valid_one(s: Scenario) -> None:
    """The policy loader accepts it, with overrides that go deep."""
    path = s.policy(recycle={"canary": {"readyWithin": "3s"}}, limits={"attempts": 1}, pause={"reason": "x"})
    found = PolicyFile(path).current
    assert found.recycle[0].canary.ready_within == 3.0
    assert found.recycle[0].settle == 0.0
    assert found.limits.attempts == 1
    assert "recycle" not in heal_policy(recycle=None)


@pytest.mark.parametrize("fresh", [False, True])
def test_an_agent_runs_as_a_process_of_its_own(s: Scenario, fresh: bool) -> None:
    """Forked warm or by a new interpreter: its writes are seen, its log is read, its exit code is told."""
    result = s.once(fresh=fresh)
    assert result.code in (0, 2), result.err
    assert ("patch", "externalsecrets", "", "shop/app-secrets") in s.writes()
    assert all("event" in line for line in result.lines())
    assert s.secret("shop", "app-secrets") == {"API_KEY": b"second"}


def test_wrong_arguments_end_a_forked_agent_as_any_other(s: Scenario) -> None:
    """argparse's exit code and its message on stderr come through."""
    result = s.launch("frobnicate").wait()
    assert result.code == 64
    assert "frobnicate" in result.err


def test_a_running_agent_is_scraped_and_stopped(s: Scenario) -> None:
    """``start_agent`` returns when the port listens; SIGTERM ends the process well."""
    agent = s.start_agent()
    assert "secret_drift_build_info" in s.metrics(agent)
    assert agent.stop().code == 0


def test_a_stopped_process_goes_on_when_it_is_told(s: Scenario) -> None:
    """An agent may be frozen by SIGSTOP, as a paused node would, and woken up."""
    agent = s.start_agent()
    agent.signal(signal.SIGSTOP)
    agent.signal(signal.SIGCONT)
    assert agent.stop().code == 0


def test_a_kill_before_a_request_leaves_it_undone(s: Scenario) -> None:
    """The process dies by SIGKILL, and the API server never carries the request out."""
    point = s.kill_at(1, "before", only=is_force_sync)
    assert s.once().code == -signal.SIGKILL
    assert str(point.hit) == "patch externalsecrets shop/app-secrets"
    assert s.writes() == []


def test_a_kill_after_a_request_leaves_it_done(s: Scenario) -> None:
    """The process dies, but what it asked for was carried out."""
    point = s.kill_at(1, "after", only=is_force_sync)
    assert s.once().code == -signal.SIGKILL
    assert point.hit is not None
    assert s.writes() == [("patch", "externalsecrets", "", "shop/app-secrets")]


def test_requests_can_be_counted_without_a_kill(s: Scenario) -> None:
    """With n = 0 nobody dies; what the agent asked, of vaults too, is listed."""
    point = s.kill_at(0, "before")
    assert s.once().code in (0, 2)
    asked = {(request.verb, request.resource) for request in point.seen}
    assert {("list", "vault"), ("patch", "externalsecrets")} <= asked
    assert point.hit is None


def test_a_wait_in_vain_shows_the_world_and_no_value(s: Scenario) -> None:
    """The message names objects and their state; values are not in it."""
    with pytest.raises(AssertionError, match="ExternalSecret shop/app-secrets") as caught:
        s.wait(lambda: False, timeout=0.01, why="never")
    assert "first" not in str(caught.value)
    assert "second" not in str(caught.value)


def test_what_holds_is_the_kubelets_record() -> None:
    """A rotated Secret changes nothing for a running container: the record tells the value of its start."""
    with Scenario() as s:
        s.apply(
            b.secret("db", "shop", {"password": "old"}),
            b.deployment("backend", "shop", env={"PASSWORD": ("db", "password")}),
        )
        s.ready("shop", "backend")
        s.apply(b.secret("db", "shop", {"password": "new"}))
        assert s.secret("shop", "db") == {"password": b"new"}
        assert s.all_hold("shop", "backend", "db", "password", "old")
        assert not s.all_hold("shop", "backend", "db", "password", "new")
        with pytest.raises(KeyError, match="does not run"):
            s.holds("shop", "nobody")


def test_log_lines_that_are_no_json_are_kept() -> None:
    """A traceback in the log is not lost: each of its lines comes as raw text."""
    assert parse_log('{"a": 1}\nTraceback\n[1]\n') == [{"a": 1}, {"raw": "Traceback"}, {"raw": "[1]"}]
