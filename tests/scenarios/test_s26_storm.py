"""S26: too many workloads would be recycled for unrelated changes; S43: a person says that it is wanted."""

from __future__ import annotations

import time
from concurrent.futures import Future

from support.killing import KillPoint
from support.processes import AgentProcess, Result
from support.scenario import Scenario
from support.worlds import at_rest

from agent.ledger import requests
from agent.sandbox import builders as b
from agent.sandbox.client import CONFIG_MAPS, PODS, Object
from agent.sandbox.world import AGENT_NAMESPACE

NS = "shop"
MANY = 5
NAMES = [f"app-{number}" for number in range(MANY)]
HELD = f"{MANY} of 10 workloads would be recycled for unrelated changes; the limit is 30 %"


def world(s: Scenario) -> None:
    """Workloads that have nothing in common, each with a vault secret of its own, at rest and looked at once."""
    unseen(s)
    s.policy()
    assert s.once().code == 0


def unseen(s: Scenario, apps: list[Object] | None = None) -> None:
    """The same before an agent was ever there; ``apps`` in place of those that take their keys by the environment."""
    at_rest(
        s,
        {f"prod-kv/{name}": "value-one" for name in NAMES},
        [b.secret_store("prod-kv", NS), *(b.external_secret(name, NS, {"KEY": name}) for name in NAMES)],
        apps or [b.deployment(name, NS, 2, env={"KEY": (name, "KEY")}) for name in NAMES],
        NS,
    )


def rotate_all(s: Scenario) -> None:
    """All at one moment: no look of an agent comes between."""

    def change() -> None:
        for name in NAMES:
            s.sandbox.vaults.vault("prod-kv").set(name, "value-two")

    s.call(change)


def storm(s: Scenario, **timing: str) -> AgentProcess:
    """A leader that holds every workload back."""
    world(s)
    s.policy(timing=timing)
    leader = s.start_agent(POD_NAME="leader")
    s.cycles(leader, 1)
    rotate_all(s)
    s.wait(lambda: held_back(s, leader) == MANY, 60, "all are held back")
    return leader


def held_back(s: Scenario, leader: AgentProcess) -> int:
    """How many workloads the blast radius holds back, by the leader's metrics."""
    told = s.metrics(leader).splitlines()
    return sum(line.startswith("secret_drift_refused{") and 'reason="blast-radius"' in line for line in told)


def ack(s: Scenario, *arguments: str) -> Result:
    """`storm ack` from a laptop."""
    return s.launch("storm", "ack", *arguments, POD_NAME="laptop").wait()


def all_fresh(s: Scenario) -> bool:
    """Every container holds the new value, by the kubelets' record."""
    return all(s.all_hold(NS, name, name, "KEY", "value-two") for name in NAMES)


def acknowledgements(s: Scenario) -> list[str]:
    """What is kept of acknowledgements."""
    found = s.objects("ConfigMap", AGENT_NAMESPACE)
    return [o["metadata"]["name"] for o in found if o["metadata"]["name"].startswith(requests.PREFIX)]


def test_s26_a_storm_is_seen_before_the_first_eviction_and_nothing_is_disrupted() -> None:
    """More unrelated rotations at once than the limit allows: all are synced, no pod is touched, each is told of."""
    with Scenario() as s:
        leader = storm(s)
        s.cycles(leader, 4)
        assert s.evicted(NS) == []
        assert {s.secret(NS, name) == {"KEY": b"value-two"} for name in NAMES} == {True}
        assert HELD in leader.err


def test_s26_workloads_that_are_left_alone_anyway_hold_up_nobody() -> None:
    """Owners object for all but one, whose pods nobody recycles, however many are stale: the one is healed."""
    with Scenario() as s:
        *others, mine = NAMES
        objecting = {"secret-drift-agent/mode": "observe"}
        apps = [b.deployment(name, NS, 2, env={"KEY": (name, "KEY")}, annotations=objecting) for name in others]
        unseen(s, [*apps, b.deployment(mine, NS, 2, env={"KEY": (mine, "KEY")})])
        s.policy()
        assert s.once().code == 0
        leader = s.start_agent()
        s.cycles(leader, 1)
        rotate_all(s)
        s.wait(lambda: s.all_hold(NS, mine, mine, "KEY", "value-two"), 60, "the one is healed")
        assert {name.rpartition("-")[0].rpartition("-")[0] for name in s.evicted(NS)} == {mine}
        assert held_back(s, leader) == 0


def test_s26_workloads_that_are_left_alone_make_a_storm_no_smaller() -> None:
    """All that may be recycled would be, for unrelated changes: that is too many, however many others there are."""
    with Scenario() as s:
        objecting = {"secret-drift-agent/mode": "observe"}
        quiet = [
            b.deployment(f"quiet-{n}", NS, env={"KEY": (NAMES[0], "KEY")}, annotations=objecting) for n in range(13)
        ]
        unseen(s, [*(b.deployment(name, NS, env={"KEY": (name, "KEY")}) for name in NAMES), *quiet])
        s.policy()
        assert s.once().code == 0
        leader = s.start_agent()
        s.cycles(leader, 1)
        rotate_all(s)
        s.wait(lambda: held_back(s, leader) == MANY, 60, "all are held back")
        s.cycles(leader, 4)
        assert s.evicted(NS) == []
        assert HELD in leader.err


def test_s26_while_it_lasts_explain_of_another_namespace_promises_no_end_of_it() -> None:
    """What is read there alone is none: that it is one, and since when, is the leader's word; nothing counts down."""
    with Scenario() as s:
        leader = storm(s, blastRadiusCalm="15m")
        chain = b.external_secret("alone", "other", {"KEY": "alone-key"})
        s.rotate("prod-kv", "alone-key", "value-one")
        s.apply(b.secret_store("prod-kv", "other"), chain)
        s.external_secret_ready("other", "alone")
        s.apply(b.deployment("alone", "other", 2, env={"KEY": ("alone", "KEY")}))
        s.ready("other", "alone")
        s.advance(600)
        s.rotate("prod-kv", "alone-key", "value-two")
        s.wait(lambda: held_back(s, leader) == MANY + 1, 60, "it is held back, too")

        told = [s.explain("other/alone", "-o", "json").json()["workloads"][0]["next"]["refusals"] for _ in range(2)]
        ((first,), (second,)) = told
        assert first["reason"] == "blast-radius"
        assert "too many workloads would be recycled for unrelated changes" in first["detail"]
        assert "calm" not in first["detail"]
        assert first.get("until") is None
        assert first == second


def test_s26_workloads_whose_secrets_are_still_to_be_synced_count_before_the_first_is_recycled() -> None:
    """ESO takes seconds for each, one after the other: the first that is stale is held back for those to come."""
    with Scenario() as s:
        world(s)
        s.policy(limits={"syncsInFlight": 1})
        s.call(setattr, s.sandbox.eso, "delay", 3.0)
        leader = s.start_agent(POD_NAME="leader")
        s.cycles(leader, 1)
        rotate_all(s)
        s.wait(lambda: held_back(s, leader) == MANY, 60, "all are held back")
        assert s.evicted(NS) == []


def test_s26_what_may_hold_an_old_value_counts_where_the_policy_recycles_it() -> None:
    """A first look comes after rotation and sync, so all is suspect: `suspect: recycle` does not touch all at once."""
    with Scenario() as s:
        unseen(s)
        rotate_all(s)
        s.apply(*(b.external_secret(name, NS, {"KEY": name}, annotations={"note": "sync"}) for name in NAMES))
        s.wait(lambda: all(s.secret(NS, name) == {"KEY": b"value-two"} for name in NAMES), why="ESO has synced all")
        s.policy(recycle={"suspect": "recycle"})
        leader = s.start_agent(POD_NAME="leader")
        s.wait(lambda: held_back(s, leader) == MANY, 60, "all are held back")
        s.cycles(leader, 4)
        assert s.evicted(NS) == []
        assert HELD in leader.err


def test_s26_who_mounts_what_is_still_to_be_synced_counts_where_the_policy_recycles_that() -> None:
    """As with environments: the first that is stale is held back for those to come."""
    recycle = {"volumes": "recycle"}
    with Scenario() as s:
        apps = [b.deployment(name, NS, 2, mounts={"/keys": "keys"}, volumes={"keys": name}) for name in NAMES]
        unseen(s, apps)
        s.policy(recycle=recycle)
        assert s.once().code == 0
        s.policy(recycle=recycle, limits={"syncsInFlight": 1})
        s.call(setattr, s.sandbox.eso, "delay", 3.0)
        leader = s.start_agent(POD_NAME="leader")
        s.cycles(leader, 1)
        rotate_all(s)
        s.wait(lambda: held_back(s, leader) == MANY or s.evicted(NS), 60, "all are held back")
        assert s.evicted(NS) == []


def test_s26_a_storm_is_over_when_it_has_stayed_calm_for_a_quarter_of_an_hour_also_for_the_next_leader() -> None:
    """Others restart most workloads, so that few are left: for 15 minutes these wait, and `explain` says until when."""
    with Scenario() as s:
        leader = storm(s, blastRadiusCalm="15m")
        for name in NAMES[:3]:
            for pod in s.pods(NS, name):
                s.run(s.sandbox.admin.delete(PODS, NS, pod["metadata"]["name"]))
        s.ready(NS, *NAMES[:3])
        s.wait(lambda: held_back(s, leader) == MANY - 3, 60, "two are left")
        s.cycles(leader, 3)
        leader.kill()
        leader = s.start_agent(POD_NAME="leader")
        s.wait(lambda: held_back(s, leader) == MANY - 3, 60, "the next leader holds them back, too")
        s.cycles(leader, 2)
        assert s.evicted(NS) == []
        (refusal,) = s.explain(f"{NS}/{NAMES[4]}", "-o", "json").json()["workloads"][0]["next"]["refusals"]
        assert "for unrelated changes; it must stay calm until" in refusal["detail"]
        assert refusal["until"] is not None
        s.advance(15 * 60)
        s.wait(lambda: all_fresh(s), 60, "the two are recycled")
        assert len(s.evicted(NS)) == 2 * 2


def test_s43_storm_ack_lets_the_leader_go_on_through_every_other_gate() -> None:
    """The leader answers how many it held back until when, and recycles canary first; the answer stays for the next."""
    with Scenario() as s:
        leader = storm(s)
        began = time.monotonic()
        asked = s.launch("storm", "ack", "--for", "2h", POD_NAME="laptop")
        s.wait(lambda: s.evicted(NS), 60, "the leader goes on")
        assert time.monotonic() - began < 5, "two seconds, and those that a process takes to start"
        result = asked.wait()
        assert result.code == 0
        assert "acknowledged until " in result.out
        assert f": {MANY} workloads were held back" in result.out
        s.wait(lambda: all_fresh(s), 60, "all are recycled")
        assert len(s.evicted(NS)) == 2 * MANY
        assert held_back(s, leader) == 0
        assert sum("acknowledged the storm" in str(line.get("event")) for line in leader.lines()) == 1
        assert leader.err.count("(canary)") == MANY
        assert len(acknowledgements(s)) == 1


def test_s43_an_acknowledgement_outlives_the_leader_that_took_it() -> None:
    """The leader is killed after its answer, before it has recycled anything: the next one goes on all the same."""
    with Scenario() as s:
        leader = storm(s)
        pid: Future[int] = Future()
        pid.set_result(leader.pid)
        point = KillPoint(1, "before", lambda request: request.resource == "pods/eviction", lambda: pid)
        s.call(point.install, s.sandbox)
        assert ack(s).code == 0
        s.wait(lambda: leader.ended, 60, "it is killed before its first eviction")
        assert s.evicted(NS) == []
        again = s.start_agent(POD_NAME="leader")
        s.wait(lambda: all_fresh(s), 60, "the next one recycles them")
        assert "blast-radius" not in again.err


def test_s43_an_acknowledgement_is_taken_back_by_deleting_it() -> None:
    """Its ConfigMap is gone: from then on the gate holds, in the leader that had taken it in, too."""
    with Scenario() as s:
        world(s)
        leader = s.start_agent(POD_NAME="leader")
        s.cycles(leader, 1)
        assert ack(s).code == 0
        (name,) = acknowledgements(s)
        s.run(s.sandbox.admin.delete(CONFIG_MAPS, AGENT_NAMESPACE, name))
        rotate_all(s)
        s.wait(lambda: held_back(s, leader) == MANY, 60, "all are held back")
        assert s.evicted(NS) == []


def test_s43_without_a_leader_an_acknowledgement_counts_for_who_acts_next() -> None:
    """Nobody runs: the command says so and keeps its word in the cluster; `scan` and the next `once` go by it."""
    with Scenario() as s:
        world(s)
        rotate_all(s)
        held = s.once()
        assert held.code == 2
        assert HELD in held.err
        told = ack(s)
        assert told.code == 0
        assert "nobody holds the Lease, so it counts for who acts next" in told.out
        assert "blast-radius" not in s.scan().out
        assert s.once().code == 0
        assert all_fresh(s)


def test_s43_an_acknowledgement_that_has_run_out_holds_no_longer_and_a_second_replaces_the_first() -> None:
    """Of two only the newer is kept; a minute after its end the gate holds again, though the first was for a day."""
    with Scenario() as s:
        world(s)
        assert ack(s, "--for", "24h").code == 0
        first = acknowledgements(s)
        s.advance(2)
        assert ack(s, "--for", "1m").code == 0
        (second,) = acknowledgements(s)
        assert second not in first
        s.advance(120)
        rotate_all(s)
        held = s.once()
        assert held.code == 2
        assert HELD in held.err
        assert s.evicted(NS) == []
