"""S30 on the real control plane: its API server is killed around every step of a heal, and started again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import pytest
from support.gate import Gate
from support.killing import Request
from support.scenario import Scenario
from support.weather import Heal
from support.worlds import watching

from agent.sandbox.world import AGENT_NAMESPACE, Options

BACK = 60.0
"""Seconds in which a heal goes on to its end once everything works again: reflectors wait up to 30 s between tries."""
LEDGER = f"{AGENT_NAMESPACE}/secret-drift-agent-ledger"


class Point(NamedTuple):
    """Around the ``times``-th request of a kind, or around the write that follows it and has ``then`` in its name."""

    verb: str
    resource: str
    times: int
    phase: Literal["before", "after"] = "after"
    then: str = ""

    def strikes(self, seen: Sequence[Request]) -> bool:
        """Whether the last of these requests is the one."""
        alike = [(each.verb, each.resource) == (self.verb, self.resource) for each in seen]
        if not self.then:
            return alike[-1] and sum(alike) == self.times
        return sum(alike) == self.times and self.then in f"{seen[-1]}" and seen[-1].verb in ("create", "update")


FORCE_SYNC = Point("patch", "externalsecrets", 1)
SEEN = Point("patch", "externalsecrets", 1, "before", then=f"{LEDGER}-history")
RESERVED = Point("create", "pods/eviction", 1, "before")
FIRST, SECOND, THIRD = (Point("create", "pods/eviction", n) for n in (1, 2, 3))
BETWEEN = Point("get", "deployments", 2, "before")
VERIFYING = Point("create", "pods/eviction", 3, then=f"{LEDGER}-heals")
DELETED = Point("delete", "secrets", 1)
RESTARTED = Point("patch", "deployments", 1)
NODES = Options(nodes=("node-1", "node-2", "node-3", "node-4"))
"""One more than there are pods: what replaces them needs a node that had none."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "points",
    [
        pytest.param((FORCE_SYNC, SEEN, RESERVED), id="force-sync, its sync seen, reservation"),
        pytest.param((FIRST, BETWEEN, SECOND), id="canary, before the batch, batch"),
        pytest.param((THIRD, VERIFYING), id="last eviction, last verification"),
        pytest.param((DELETED,), id="recreate's delete"),
        pytest.param((RESTARTED,), id="restart of a single replica"),
    ],
)
def test_s30_wherever_the_api_server_is_killed_the_heal_goes_on_when_it_is_back(points: Sequence[Point]) -> None:
    """Whether its last answer was lost or its last request: each step is done once, and the absence is told once."""
    with Scenario(NODES) as s:
        plane = s.plane
        with Gate(s) as gate:
            heal = Heal(
                s,
                agent=False,
                workloads=len(points),
                immutable=DELETED in points,
                replicas=1 if RESTARTED in points else 3,
            )
            # The controllers need a while, too.
            s.policy(sync={"steps": ["force-sync", "recreate"]}, recycle={"canary": {"readyWithin": "1m"}})
            heal.agent = watching(s, KUBECONFIG=gate.kubeconfig)
            for point in points:
                told = len(heal.told())
                gate.arm(point.strikes, point.phase, lambda: plane.kill("apiserver"))
                heal.begin()
                s.wait(gate.struck.is_set, 40, f"{point}")
                plane.restart("apiserver")
                plane.kill("controller-manager")
                plane.restart("controller-manager")  # else it may wait half a minute before it looks again
                gate.open()
                heal.ends_well(BACK, unheard=int(point in (FIRST, SECOND, THIRD)))
                assert ("the API server", "unreachable") in heal.told()[told:]
        restarted = [where for _, resource, _, where in s.writes(verbs=["patch"]) if resource == "deployments"]
        assert len(restarted) == len({RESTARTED} & {*points})
        deleted = [where for _, resource, _, where in s.writes(verbs=["delete"]) if resource == "secrets"]
        assert len(deleted) == len({DELETED} & {*points})
