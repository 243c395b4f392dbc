"""Heals that are interrupted: the agent's process ends at each of its requests in turn, and another one goes on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from support.gate import Gate
from support.killing import KillPoint, Request
from support.processes import Result
from support.scenario import Scenario, Write

from agent.sandbox.actors.controller.objects import ready, terminating
from agent.sandbox.apiserver import AuditEntry
from agent.sandbox.apiserver.kinds import KINDS
from agent.sandbox.client import Object
from agent.sandbox.world import AGENT_NAMESPACE, Options

Phase = Literal["before", "after"]
DEAD = 5.0
"""Seconds between the end of one process and the start of the next."""
_PODS = next(kind for kind in KINDS if kind.kind == "Pod")


@dataclass(frozen=True)
class Point:
    """The n-th request (from 1) of a kind within one run, and whether it is still heard. ``n`` 0: nowhere."""

    kind: str
    n: int
    phase: Phase

    def __str__(self) -> str:
        return f"{self.phase} {self.kind} #{self.n}"


NOWHERE = Point("", 0, "before")


def kind_of(request: Request) -> str:
    """What requests are counted by: the same in every run, whatever the pods are called and the Events say."""
    if request.resource == "events":
        return "events"
    own = f" {request.name}" if request.namespace == AGENT_NAMESPACE else ""
    return f"{request.verb} {request.resource}{own}"


def is_change(request: Request) -> bool:
    """Whether it changes what anybody decides on. Events are told by a thread of its own, and nothing rests on them."""
    return request.is_write and request.resource != "events"


def points(seen: Sequence[Request], *, every_call: bool) -> list[Point]:
    """Where to end a process that would do these requests.

    ``every_call``: before and after each one that changes something, and at each read; a read has no after, since it
    leaves the world as it was. Else one point for each world in which a process can be dead: calls between two changes
    leave the same one, and so does what comes after a change of the ledger and what comes before the next. Of writes of
    the ledger that follow one another, the first and the last: nothing of what was done is written, and all. Reads
    before the first action are alike in both, and so are watches, and Events: one of each.
    """
    found: dict[Point, None] = {}
    writes: list[Point] = []  # of the ledger, since the last action
    counted: Counter[str] = Counter()
    alike: set[str] = set()
    acted = False
    for request in seen:
        if (request.verb, request.resource) == ("update", "leases"):
            continue  # the Lease is renewed by the clock: how often is another in every run
        kind, change = kind_of(request), is_change(request)
        counted[kind] += 1
        action = change and request.namespace != AGENT_NAMESPACE
        acted |= action
        if not change and (not acted or request.verb == "watch" or kind == "events" or not every_call):
            what = kind.split()[0] if every_call else "reads and Events"
            if what in alike:
                continue
            alike.add(what)
        if change and not action and not every_call:
            writes.append(Point(kind, counted[kind], "before"))
            continue
        found |= dict.fromkeys(writes[:1] + writes[-1:])
        writes.clear()
        for phase in ("before", "after") if action or (change and every_call) else ("before",):
            found[Point(kind, counted[kind], phase)] = None
    return list(found | dict.fromkeys(writes[:1] + writes[-1:]))


@dataclass
class Watched(KillPoint):
    """Kills at a point, and notes at each eviction how many other pods of the namespace were ready."""

    left: list[int] = field(default_factory=list)
    pods: Callable[[str], list[Object]] = lambda namespace: []

    def is_here(self, seen: Sequence[Request]) -> bool:
        """For a gate: whether the last of these requests is the one."""
        self._note(seen[-1])
        return self.counted(seen[-1])

    def _of_api(self, phase: Phase, entry: AuditEntry) -> None:
        if phase == "before" and entry.user == "agent" and entry.subresource == "eviction":
            self._note(
                Request(verb=entry.verb, resource="pods/eviction", namespace=entry.namespace or "", name=entry.name)
            )
        super()._of_api(phase, entry)

    def _note(self, request: Request) -> None:
        if request.resource == "pods/eviction":
            others = (pod for pod in self.pods(request.namespace) if pod["metadata"]["name"] != request.name)
            self.left.append(sum(map(_serves, others)))


def _serves(pod: Object) -> bool:
    return ready(pod) and not terminating(pod)


@dataclass
class Heal:
    """What came of one `once` that may have been interrupted, and of the one that went on."""

    seen: list[Request]
    was_hit: bool
    result: Result
    writes: list[Write]
    left: list[int]
    """For each eviction that was sent: how many other pods were ready."""

    def evicted(self) -> list[str]:
        """Pods that were evicted, in order."""
        return [where for _, _, sub, where in self.writes if sub == "eviction"]

    def others(self) -> list[Write]:
        """All else that was written."""
        return [write for write in self.writes if write[2] != "eviction"]


def heal(s: Scenario, point: Point, meanwhile: Callable[[Scenario], None] = lambda s: None) -> Heal:
    """`once`, ended at a point if it comes there; then another, which is left alone.

    ``meanwhile``: what is waited for before the time passes in which there is none.
    """
    before = len(s.writes())
    first, result = _once(s, point)
    left = first.left
    if first.hit is not None:
        assert result.code < 0, f"killed, and it ended with {result.code}"
        meanwhile(s)
        s.pass_time(DEAD)
        second, result = _once(s, NOWHERE)
        left += second.left
    return Heal(list(first.seen), first.hit is not None, result, s.writes()[before:], left)


def _once(s: Scenario, point: Point) -> tuple[Watched, Result]:
    watched = Watched(
        point.n, point.phase, lambda request: not point.n or kind_of(request) == point.kind, s.latest_pid
    )  # fmt: skip
    if s.real:
        watched.pods = partial(s.objects, "Pod")
        s.call(watched.install_at_vaults, s.sandbox)
        with Gate(s) as gate:
            gate.arm(watched.is_here, point.phase, watched.kill)
            return watched, s.launch("once", KUBECONFIG=gate.kubeconfig).wait(60)
    store = s.sandbox.api.store
    watched.pods = lambda namespace: [stored.decoded() for stored in store.scan(_PODS, namespace)]
    s.call(watched.install, s.sandbox)
    return watched, s.once()


class Crashing:
    """Worlds whose agents are ended at given points, one round after another.

    A round begins and ends at rest. Those of one world follow each other, so damage of any kind is carried on.
    """

    def __init__(self, options: Options | None, make: Callable[[Scenario], None]) -> None:
        self._options, self._make = options, make

    def each(
        self, play: Callable[[Scenario, int, Point], object], chosen: Sequence[Point], *, worlds: int, rounds: int
    ) -> None:
        """Play a round for each point, at most ``rounds`` in a world and so many worlds at once.

        Raises what the rounds raise, all of it.
        """

        def several(mine: Sequence[Point]) -> None:
            with Scenario(self._options) as s:
                self._make(s)
                for number, point in enumerate(mine, start=1):
                    try:
                        play(s, number, point)
                    except BaseException as error:
                        error.add_note(f"the agent was ended {point}, in round {number} of {[str(p) for p in mine]}")
                        raise

        with ThreadPoolExecutor(worlds) as pool:
            apart = max(worlds, math.ceil(len(chosen) / rounds))
            done = [pool.submit(several, chosen[start::apart]) for start in range(min(apart, len(chosen)))]
        errors = [error for each in done if (error := each.exception())]
        if errors:
            raise errors[0] if len(errors) == 1 else BaseExceptionGroup("rounds failed", errors)
