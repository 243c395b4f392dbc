"""S34: whatever is installed together, one process acts, and no step is taken twice."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from support.killing import Request
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import sample
from support.worlds import at_rest

from agent.sandbox import builders as b
from agent.sandbox.apiserver import AuditEntry
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.world import AGENT_NAMESPACE

NS, APP = "shop", "backend"
SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
LEASE, INTERVAL = 15.0, 1.0
SLACK = 10.0
"""Seconds for a busy machine to read everything anew, beside the Lease's time and one interval."""


def world(s: Scenario, replicas: int = 3) -> set[str]:
    """A workload at rest; its pods."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment(APP, NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )
    s.policy(interval=f"{INTERVAL:g}s")
    return {pod["metadata"]["name"] for pod in s.pods(NS, APP)}


def leads(s: Scenario, agent: AgentProcess) -> bool:
    """Whether the agent says that it acts."""
    return sample(s.metrics(agent), "secret_drift_leader") == 1


def two(s: Scenario) -> tuple[AgentProcess, AgentProcess]:
    """A leader that has compared once, and one who stands by and has, too."""
    leader = s.start_agent(POD_NAME="agent-a")
    s.cycles(leader, 1)
    other = s.start_agent(POD_NAME="agent-b")
    s.cycles(other, 1)
    assert (leads(s, leader), leads(s, other)) == (True, False)
    return leader, other


def in_mid_heal(s: Scenario) -> tuple[set[str], AgentProcess, AgentProcess]:
    """The pods there were, the leader, and who stands by: a rotation's canary has just been evicted."""
    old = world(s)
    leader, other = two(s)
    s.rotate("prod-kv", "api-key", "value-two")
    s.wait(lambda: s.evicted(NS), why="the canary")
    return old, leader, other


def holder(s: Scenario) -> Any:
    """Who holds the Lease."""
    found = s.get("Lease", AGENT_NAMESPACE, "secret-drift-agent")
    return found and found["spec"]["holderIdentity"]


def lease_requests(s: Scenario, verb: str, code: int) -> list[AuditEntry]:
    """What the agents asked of the Lease and were answered so."""
    return [e for e in s.requests() if (e.resource, e.verb, e.code) == ("leases", verb, code)]


def taken_over(s: Scenario, **changes: Any) -> None:
    """Somebody called agent-c holds the Lease from now on."""
    lease = s.get("Lease", AGENT_NAMESPACE, "secret-drift-agent")
    assert lease is not None
    taken = {**lease["spec"], "holderIdentity": "agent-c", "leaseTransitions": 1, **changes}
    metadata = {"name": "secret-drift-agent", "namespace": AGENT_NAMESPACE}
    s.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": taken})


def all_fresh(s: Scenario) -> bool:
    """Whether the whole workload runs the new value."""
    return s.is_ready(NS, APP) and s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")


def each_once(s: Scenario, old: set[str]) -> None:
    """One force-sync, each old pod evicted once, and nothing else in the whole world."""
    force_sync, *evictions = s.writes()
    assert force_sync == SYNC
    assert {(verb, resource, sub) for verb, resource, sub, _ in evictions} == {("create", "pods", "eviction")}
    assert sorted(s.evicted(NS)) == sorted(old)


def test_s34_of_two_replicas_one_acts_and_the_other_follows() -> None:
    """The stand-by compares, says who leads, tells of no drift (the leader does), and writes nothing."""
    with Scenario() as s:
        old = world(s)
        leader, other = two(s)
        assert "standing by: agent-a holds the Lease" in other.err

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: "secret_drift_drift{" in s.metrics(leader), why="the leader tells of the drift")
        s.wait(lambda: all_fresh(s), why="the heal")
        s.cycles(other, 2)

        each_once(s, old)
        assert "force-sync" not in other.err
        assert "secret_drift_drift{" not in s.metrics(other)
        assert sample(s.metrics(other), "secret_drift_last_cycle_timestamp_seconds") not in (None, 0)
        assert sample(s.metrics(other), "secret_drift_actions_total", step="recycle", result="done") == 0
        assert leader.stop().code == 0
        assert other.stop().code == 0


def test_s34_who_stands_by_says_so_anew_when_another_leads() -> None:
    """A third replica takes the Lease over: both others name it, also the one that stood by all the time."""
    with Scenario() as s:
        world(s)
        leader, other = two(s)
        assert "standing by: agent-a holds the Lease" in other.err

        taken_over(s)
        s.wait(lambda: "standing by: agent-c holds the Lease" in leader.err, why="the former leader says so")
        s.wait(lambda: "standing by: agent-c holds the Lease" in other.err, why="the other says so, too")
        assert not leads(s, leader)
        assert not leads(s, other)
        assert other.err.count("holds the Lease") == 2


def test_s34_a_leader_that_reads_anothers_name_in_its_lease_acts_no_more() -> None:
    """Whatever time its last renewal has left it, the other may act already: a rotation right then is left to that."""
    with Scenario() as s:
        world(s)
        leader = s.start_agent(POD_NAME="agent-a")
        s.cycles(leader, 1)
        refused = len(lease_requests(s, "update", 409))
        taken_over(s, leaseDurationSeconds=3600)
        s.wait(lambda: len(lease_requests(s, "update", 409)) > refused, why="its renewal is refused")
        since = lease_requests(s, "update", 409)[-1].at
        s.wait(lambda: [e for e in lease_requests(s, "get", 200) if e.at >= since], why="it reads why")
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: "standing by: agent-c holds the Lease" in leader.err, why="it says so")
        s.cycles(leader, 3)
        assert s.writes() == []


def test_s34_a_leader_that_is_told_to_end_gives_the_lease_back_and_the_next_goes_on_at_once() -> None:
    """An upgrade in the middle of a heal costs seconds, not the Lease's time; nothing is done twice."""
    with Scenario() as s:
        old, leader, other = in_mid_heal(s)
        began = time.monotonic()
        assert leader.stop().code == 0
        s.wait(lambda: leads(s, other), LEASE, "the other leads")
        assert time.monotonic() - began < LEASE - 2
        s.wait(lambda: all_fresh(s), why="the heal")
        s.cycles(other, 2)
        each_once(s, old)
        assert holder(s) == "agent-b"


def test_s34_a_leader_that_is_killed_in_mid_heal_is_followed_within_the_leases_time_and_one_interval() -> None:
    """The heal goes on where it was, and each pod is evicted once."""
    with Scenario() as s:
        old, leader, other = in_mid_heal(s)
        leader.kill()
        killed = s.sandbox.clock.now()
        s.wait(lambda: leads(s, other), LEASE + INTERVAL + SLACK, "the other leads")
        s.wait(lambda: all_fresh(s), why="the heal")
        next_one = min(e.at for e in s.requests() if e.subresource == "eviction" and e.at > killed)
        assert next_one - killed < LEASE + INTERVAL + SLACK
        s.cycles(other, 2)
        each_once(s, old)


def test_s34_a_leader_that_sleeps_longer_than_its_lease_wakes_up_as_a_stand_by() -> None:
    """It is stopped in mid-heal, another heals to the end; awake again it does nothing more, and follows."""
    with Scenario() as s:
        old, leader, other = in_mid_heal(s)
        leader.signal(signal.SIGSTOP)
        s.wait(lambda: leads(s, other), LEASE + INTERVAL + SLACK, "the other leads")
        s.wait(lambda: all_fresh(s), why="the heal")
        written = s.writes()

        leader.signal(signal.SIGCONT)
        s.wait(lambda: not leads(s, leader), why="it knows")
        s.wait(lambda: "standing by: agent-b" in leader.err, why="it says so")
        s.cycles(leader, 2)
        s.cycles(other, 2)
        assert s.writes() == written
        each_once(s, old)
        assert s.writes(refused=True) == []
        assert leader.stop().code == 0


def test_s34_a_leader_that_falls_asleep_between_its_reservation_and_the_call_does_not_make_the_call() -> None:
    """Stopped while the answer to its reservation is under way: when it wakes up, its Lease has run out."""
    with Scenario() as s:
        world(s)
        leader, other = two(s)
        asleep: list[Request] = []

        def sleeps(phase: str, entry: AuditEntry) -> None:
            if phase == "before" and entry.verb == "update" and "-ledger-heals-" in entry.name and not asleep:
                os.kill(leader.pid, signal.SIGSTOP)  # the answer comes to a process that does not read it
                asleep.append(Request(verb=entry.verb, resource=entry.resource, name=entry.name))

        s.call(setattr, s.sandbox.api, "on_request", sleeps)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: asleep, why="the reservation")
        assert s.evicted(NS) == []
        s.wait(lambda: leads(s, other), LEASE + INTERVAL + SLACK, "the other leads")
        s.wait(lambda: all_fresh(s), why="the heal")
        evicted = s.evicted(NS)

        leader.signal(signal.SIGCONT)
        s.wait(lambda: "standing by: agent-b" in leader.err, why="it stands by")
        s.cycles(leader, 2)
        assert s.evicted(NS) == evicted
        assert len(evicted) == len(set(evicted)) == 3


def test_s34_a_cronjob_beside_a_deployment_leaves_the_work_to_the_leader() -> None:
    """`once` ends well, within seconds, and says who acts; without a leader it takes the Lease and gives it back."""
    with Scenario() as s:
        old = world(s)
        leader = s.start_agent(POD_NAME="agent-a")
        s.cycles(leader, 1)
        s.rotate("prod-kv", "api-key", "value-two")
        beside = s.launch("once", POD_NAME="job-1").wait(LEASE)
        assert beside.code == 0
        assert "agent-a holds the Lease and acts" in beside.err
        s.wait(lambda: all_fresh(s), why="the heal")
        each_once(s, old)

        assert leader.stop().code == 0
        assert holder(s) == ""
        alone = s.launch("once", POD_NAME="job-2").wait(LEASE)
        assert alone.code == 0
        assert "holds the Lease" not in alone.err
        assert holder(s) == ""


def test_s34_both_shapes_with_two_replicas_do_no_step_twice_when_the_leader_dies() -> None:
    """A CronJob's runs while the Lease of the dead one runs out: whoever comes next goes on, and each pod goes once."""
    with Scenario() as s:
        old, leader, other = in_mid_heal(s)
        leader.kill()
        codes: list[int] = []
        while not all_fresh(s) and len(codes) < 40:
            codes.append(s.launch("once", POD_NAME=f"job-{len(codes)}").wait(LEASE + SLACK).code)
        assert set(codes) <= {0, 2}, "it is done, or left to who holds the Lease"
        s.wait(lambda: all_fresh(s), why="the heal")
        s.wait(lambda: leads(s, other), LEASE + INTERVAL + SLACK, "the one that is left leads")
        s.cycles(other, 2)
        each_once(s, old)


def test_s34_a_leader_that_cannot_renew_its_lease_says_so_and_acts_again_when_it_can() -> None:
    """It stands by for want of an answer, not for another; nothing is done meanwhile, and the heal follows."""
    with Scenario() as s:
        world(s)
        agent = s.start_agent(POD_NAME="agent-a")
        s.cycles(agent, 1)
        silent = FaultRule(effect="status", user="agent", verb="update", resource="leases", code=503)
        s.call(s.sandbox.api.faults.add, silent)
        s.wait(lambda: "could not renew its Lease" in agent.err, LEASE + SLACK, "it stands by")
        assert "standing by: agent-a" not in agent.err
        s.rotate("prod-kv", "api-key", "value-two")
        s.cycles(agent, 3)
        assert s.writes() == []

        s.call(s.sandbox.api.faults.remove, silent)
        s.wait(lambda: all_fresh(s), LEASE + SLACK, "the heal")
        assert holder(s) == "agent-a"


def test_s34_without_the_right_to_the_lease_nobody_acts_and_it_is_said_once() -> None:
    """Forbidden Leases make a stand-by of `run` and an error of `once`; both say what to grant."""
    with Scenario() as s:
        world(s)
        s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", resource="leases"))
        agent = s.start_agent()
        s.cycles(agent, 2)
        s.rotate("prod-kv", "api-key", "value-two")
        s.cycles(agent, 3)
        assert not leads(s, agent)
        assert s.writes() == []
        assert agent.err.count("the Lease: forbidden") == 1
        result = s.once()
        assert result.code == 1
        assert "the Lease: forbidden" in result.err
