"""What the parts of the engine share: the world, the memory, the policy in force, and the ways to the outside."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import msgspec

from agent.clock import Clock
from agent.cluster.connection import Connection
from agent.cluster.writer import Writer
from agent.engine.heldup import HeldUp
from agent.engine.index import Index
from agent.engine.observe import Observer
from agent.engine.troubles import Troubles
from agent.engine.world import World
from agent.events import Event, Halted, PolicyChanged, RefusalEnded, Refused, StepDone
from agent.fingerprint import Fingerprints
from agent.ledger import Ledger, LedgerConflict
from agent.ledger.requests import Acknowledgement
from agent.memory import ChainMemory, Halt, HealMemory, Memory, Recycled
from agent.model import ObjectKey, Refusal, SourceKey, Step, WorkloadKey
from agent.policy import Policy

ASK_AGAIN = 5.0
"""Seconds after which a vault that has not answered is asked again."""


class NotLeading(LedgerConflict):
    """This process may act no more: another may have begun to."""


class Timers:
    """When which chain or workload must be looked at again though nothing happens to it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._due: dict[Hashable, float] = {}
        self._count = 0

    def set(self, key: Hashable, at: float) -> None:
        """Wake ``key`` at ``at`` (API server's clock), or earlier if it was to be woken earlier."""
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            self._count += 1
            heapq.heappush(self._heap, (at, self._count, key))

    def due(self, now: float) -> list[Hashable]:
        """The keys whose time has come."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                found.append(key)
        return found

    @property
    def next(self) -> float | None:
        """When the next is due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


class Context:
    """One engine's shared state. All of it belongs to the engine's thread."""

    def __init__(
        self,
        *,
        conn: Connection,
        writer: Writer | None,
        ledger: Ledger,
        memory: Memory,
        observer: Observer,
        policy: Policy,
        clock: Clock,
        emit: Callable[[Event], None],
        ask_vault: Callable[[str, frozenset[str]], None],
        stopping: threading.Event,
        leading: Callable[[], bool] = lambda: True,
    ) -> None:
        self.conn, self.writer, self.ledger, self.memory = conn, writer, ledger, memory
        self.observer, self.policy, self.clock = observer, policy, clock
        self.world: World = observer.world
        self.looked: dict[SourceKey, float] = {}  # until when an answer of the vault is known (API server's clock)
        self.fingerprints: Fingerprints | None = None  # to read a Secret by itself; None: watches alone tell of them
        self.throttled: dict[str, float] = {}  # vault host -> no request before
        self.timers = Timers()
        self.leading = leading  # asked right before whatever disrupts
        self.stopping = stopping  # set: finish the step in hand, begin no other
        self.acknowledged: Acknowledgement | None = None  # of a storm; may have run out
        self.cycle = 1
        self.waits: set[Hashable] = set()  # chains and workloads with something under way or due soon: `once` goes on
        self.begun = {key: None for key, heal in memory.heals.items() if heal.begun}
        """Workloads whose heal has begun, in that order: few, of the thousands that may be due and may not."""
        self.held_up = HeldUp(lambda key: self.world.dirty_workloads.add(key))
        self.troubles = Troubles(self.tell)
        self._emit, self._ask_vault = emit, ask_vault
        self.asked: dict[SourceKey, float] = {}  # since when an answer is awaited, or was no answer
        self._refusals: dict[tuple[Any, ...], _Standing] = {}

    @property
    def now(self) -> float:
        """API server's clock."""
        return self.clock.server_now()

    def tell(self, kind: type[Event], **fields: Any) -> None:
        """Tell the subscribers."""
        self._emit(kind(at=self.now, cycle=self.cycle, **fields))

    @property
    def storm_wanted(self) -> bool:
        """A person has acknowledged the storm: the blast radius holds nothing back now."""
        return self.acknowledged is not None and self.now < self.acknowledged.until

    def step(self, step: Step, result: str, detail: str = "") -> None:
        """Count one write."""
        self.tell(StepDone, step=step, result=result, detail=detail)

    def tell_policy(self, problems: tuple[str, ...] = ()) -> None:
        """Tell which policy is in force, and what is wrong with the file if it is not that one."""
        policy = self.policy
        self.tell(
            PolicyChanged, valid=not problems, digest=policy.digest, problems=problems, mode=policy.mode,
            interval=policy.interval, objective=policy.report.propagation_objective,
        )  # fmt: skip

    def tell_halt(self, workload: WorkloadKey, halt: Halt, chains: tuple[ObjectKey, ...] = ()) -> None:
        """Tell that a workload is halted, and why. ``chains``: those whose new values it was given."""
        self.tell(
            Halted, workload=workload, reason=halt.reason, detail=halt.detail, remedy=halt.remedy, pod=halt.pod,
            secrets=halt.secrets, back_to=halt.back_to, chains=chains,
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------------- refusals

    def refuse(self, refusal: Refusal) -> None:
        """Tell a refusal on transition, then hourly."""
        key = (refusal.chain, refusal.workload)
        known = self._refusals.get(key)
        now = self.now
        since = known.since if known is not None and known.refusal.reason == refusal.reason else now
        if known is not None and known.refusal.reason == refusal.reason and known.refusal.step == refusal.step:
            self._refusals[key] = _Standing(refusal, known.told, since)
            if now - known.told < self.policy.timing.refusal_repeat:
                return
        self._refusals[key] = _Standing(refusal, now, since)
        self.tell(Refused, refusal=refusal, first=known is None or known.refusal.reason != refusal.reason)
        if known is None and refusal.workload is not None and refusal.workload in self.begun:
            self.held_up.refused(self.memory.heals[refusal.workload])

    def allow(self, chain: ObjectKey | None = None, workload: WorkloadKey | None = None) -> None:
        """Nothing is refused here any more."""
        known = self._refusals.pop((chain, workload), None)
        if known is not None:
            self.tell(RefusalEnded, refusal=known.refusal)

    def refusals(self) -> list[Refusal]:
        """All that is refused now."""
        return [standing.refusal for standing in self._refusals.values()]

    def refusal(self, chain: ObjectKey | None = None, workload: WorkloadKey | None = None) -> Refusal | None:
        """What is refused here now."""
        known = self._refusals.get((chain, workload))
        return known.refusal if known is not None else None

    def refused_for(self, workload: WorkloadKey, reason: str) -> float:
        """Seconds for which this has been refused by this process for this reason without an end."""
        known = self._refusals.get((None, workload))
        return self.now - known.since if known is not None and known.refusal.reason == reason else 0.0

    # ---------------------------------------------------------------------------------------------------- memory

    def chain_memory(self, key: ObjectKey) -> ChainMemory:
        """What is remembered of a chain."""
        return self.memory.chains.get(key, _EMPTY_CHAIN)

    def remember_chain(self, key: ObjectKey, memory: ChainMemory) -> None:
        """Replace it; an empty memory is forgotten."""
        if memory == self.chain_memory(key):
            return
        if memory == _EMPTY_CHAIN:
            self.memory.chains.pop(key, None)
        else:
            self.memory.chains[key] = memory
        self.ledger.note("chains", key)

    def remember_heal(self, key: WorkloadKey, heal: HealMemory | None, *, write: bool = True) -> None:
        """Replace the record of a workload's heal, or forget it; what it has spent for its key is kept beside.

        ``write`` off: what is new may be lost with this process; it is no reason to write the ledger.
        """
        former = self.memory.heals.get(key)
        if former is not None and former.spent and (heal is None or heal.key != former.key):
            self.memory.recycled[key] = Recycled(key=former.key, pods=self.recycled(key, former.key))
            self.ledger.note("recycled", key)
        if heal is not None and heal.begun:
            self.begun.setdefault(key)
        else:
            self.begun.pop(key, None)
        if heal is None:
            if self.memory.heals.pop(key, None) is None:
                return
        elif former == heal:
            return
        else:
            self.memory.heals[key] = heal
        self.held_up.canary_ended(former, heal)
        if write:
            self.ledger.note("heals", key)

    def recycled(self, key: WorkloadKey, about: str) -> int:
        """Pods of a workload that were recycled so far for this heal key."""
        before, heal = self.memory.recycled.get(key), self.memory.heals.get(key)
        pods = before.pods if before is not None and before.key == about else 0
        return pods + (heal.spent_for(about) if heal is not None else 0)

    def forget_recycled(self, key: WorkloadKey) -> None:
        """As if it had never been recycled: somebody asks for it, or it is gone."""
        if self.memory.recycled.pop(key, None) is not None:
            self.ledger.note("recycled", key)

    def reserve(self, table: str, key: ObjectKey | WorkloadKey) -> None:
        """Write down what is about to be done, by compare-and-swap: the last thing before the call that does it.

        Raises NotLeading where another may act by now, LedgerProblem where it cannot be written. A process that is
        paused after this returns, and wakes up when another acts, still makes that one call; the uid in it makes it
        hit what was reserved, or nothing.
        """
        if not self.leading():
            raise NotLeading("the Lease has run out, or is held by another")
        self.ledger.save(self.memory, only=table, key=key)
        if not self.leading():
            raise NotLeading("the Lease has run out while the step was reserved")

    def forget_sources(self, read: Index[SourceKey]) -> None:
        """Of vault secrets that nobody reads any more nothing is kept."""
        for times in (self.looked, self.asked):
            for source in [source for source in times if source not in read]:
                del times[source]

    def look_again(self, sources: set[SourceKey], *, oldest: float) -> bool:
        """Whether every source was looked at later than ``oldest``; if not, the vaults are asked for the others."""
        old = [source for source in sources if self.looked.get(source, 0.0) < oldest]
        hosts: dict[str, set[str]] = {}
        now = self.now
        for source in old:
            if self.looked.get(source, 0.0) < self.asked.get(source, 0.0) and now - self.asked[source] < ASK_AGAIN:
                continue  # asked already: the answer is on its way, or the vault failed a moment ago
            self.asked[source] = now
            hosts.setdefault(source.vault, set()).add(source.name)
        for host, names in hosts.items():
            self._ask_vault(host, frozenset(names))
        return not old


class _Standing(NamedTuple):
    refusal: Refusal
    told: float
    since: float


_EMPTY_CHAIN = msgspec.convert({}, ChainMemory)
