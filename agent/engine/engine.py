"""The engine: one pass over what has changed. Observe, diagnose, plan, heal, verify, remember.

Everything that happens arrives in one queue and is taken in by one thread, so a decision is never made on a state that
moves under it, and the order of the steps is the order of this file. What did not change costs nothing.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator

from agent import advice
from agent.cluster.decode import BadAnswer, Malformed
from agent.cluster.discovery import eso_served
from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.reflector import Listed, Message, Scope
from agent.cluster.reflector import Malfunction as Lost
from agent.cluster.reflector import Recovered as Found
from agent.engine.asked import Asked, Questions
from agent.engine.chains import Chains
from agent.engine.context import Context
from agent.engine.index import Index
from agent.engine.ladder import Ladder
from agent.engine.observe import ESO, no_eso, not_installed
from agent.engine.pace import Pace
from agent.engine.stores import Stores
from agent.engine.turns import Turns
from agent.engine.vaults import VaultAnswer, wanted_sources
from agent.engine.workloads import Workloads
from agent.events import CycleEnded, DataChanged
from agent.events import Malformed as MalformedEvent
from agent.model import Finding, ObjectKey, SourceKey, Trouble, WorkloadKey

Inbox = queue.SimpleQueue[Message | VaultAnswer | Questions | None]


class Engine:
    """One agent's mind. Not thread-safe but for ``inbox``."""

    def __init__(self, context: Context, inbox: Inbox, me: str = "") -> None:
        """``me``: who answers requests."""
        self.context, self.inbox = context, inbox
        self.chains = Chains(context)
        self.ladder = Ladder(context, self.chains)
        self.workloads = Workloads(context, self.chains)
        self.asked = Asked(context, self.ladder, self.workloads, me)
        self.only: ObjectKey | None = None
        """The one chain to heal, with the workloads behind it; None: all."""
        self._sources: Index[SourceKey] = Index()
        self._sources_of: dict[ObjectKey, tuple[SourceKey, ...]] = {}
        self._without_eso: set[Scope] = set()  # collections of ESO's kinds that are not served
        self._stores = Stores(context)
        self._saved_at, self._pace = 0.0, Pace()
        self._turns = Turns(context.clock.monotonic)
        self.acting = True

    # -------------------------------------------------------------------------------------------------- the pass

    def take_in(self, first: Message | VaultAnswer | Questions | None = None) -> None:
        """Apply all that waits in the inbox."""
        message = first
        while True:
            if isinstance(message, VaultAnswer):
                self._vault_answered(message)
            elif isinstance(message, Questions):
                self.asked.take(message.there)
            elif message is not None:
                self._say_trouble(message)
                self.context.observer.take(message)
            try:
                message = self.inbox.get_nowait()
            except queue.Empty:
                self.context.troubles.flush()
                return

    def settle(self) -> None:
        """Take in lists of Secrets that waited for the vaults."""
        self.context.observer.settle(self.context.policy)

    def step(self) -> None:
        """Judge what has changed and do what is due."""
        context, world = self.context, self.context.world
        now = context.now
        for key in context.timers.due(now):
            (world.dirty_workloads if isinstance(key, WorkloadKey) else world.dirty_chains).add(key)  # type: ignore[arg-type]
        observer = context.observer
        for key in observer.changed_secrets:
            context.ledger.note("history", key)
            world.dirty_chains.update(world.chains_of_secret(key))
        observer.changed_secrets.clear()
        if observer.nodes_released:
            context.ledger.save(context.memory, only="history")
            observer.nodes_released = False
        for secret, keys in observer.changed_data:
            context.tell(DataChanged, secret=secret, keys=keys)
        observer.changed_data.clear()
        for source in observer.changed_sources:
            context.ledger.note("sources", source)
            self.chains.rotations.witnessed(source, self._sources.of(source))
            world.dirty_chains.update(self._sources.of(source))
        observer.changed_sources.clear()

        chains = world.dirty_chains | self.ladder.in_flight()
        world.dirty_chains = set()
        touched: set[WorkloadKey] = set()
        for key in chains:
            self._index(key)
            touched |= self.chains.diagnose(key)
        self.workloads.storm.judged(chains)
        if self.acting:
            for key in self._fairly(key for key in chains if self._meant(key) and self.ladder.must_climb(key)):
                if context.stopping.is_set():
                    return
                self.ladder.climb(key)
            # Slots that have become free go round the namespaces, too.
            for key in self._fairly(self.ladder.queued)[: self.ladder.free_slots()]:
                self.ladder.climb(key)
        changed = touched | world.dirty_workloads
        world.dirty_workloads = set()
        self.workloads.storm.passed(changed)
        workloads = changed | set(context.begun)
        if self.acting:
            due = (key for key in workloads if self._workload_meant(key) and self.workloads.must_consider(key))
            world.dirty_workloads.update(self._turns.take(due, self.workloads.consider, context.stopping.is_set))
            if context.stopping.is_set():
                return
        self._remember(now)
        self.asked.settle()

    def _meant(self, chain: ObjectKey) -> bool:
        return self.only in (None, chain)

    def _workload_meant(self, workload: WorkloadKey) -> bool:
        return self.only is None or self.only in self.context.world.chains_of_workload(workload)

    def full(self) -> None:
        """Mark everything: the next pass compares all there is."""
        world = self.context.world
        world.dirty_chains.update(world.external_secrets)
        self.workloads.storm.forget()

    def tell_halts(self) -> None:
        """Say again, after a start, what the ledger remembers as halted: a page must not resolve by a restart."""
        for key, heal in self.context.memory.heals.items():
            if heal.halt is not None:
                self.context.tell_halt(key, heal.halt)

    def prune(self) -> None:
        """Forget what no longer exists: Secrets without a consumer, sources that nobody reads, chains and heals."""
        context, world, memory = self.context, self.context.world, self.context.memory
        if world.troubles:
            return  # what cannot be seen now may still be there
        for secret in [k for k, s in memory.secrets.items() if not s.uid and not world.pods_of_secret(k)]:
            del memory.secrets[secret]
            context.ledger.note("history", secret)
        for source in [k for k in memory.sources if k not in self._sources]:
            del memory.sources[source]
            context.ledger.note("sources", source)
        context.forget_sources(self._sources)
        for chain in [k for k in memory.chains if k not in world.external_secrets]:
            del memory.chains[chain]
            context.ledger.note("chains", chain)
        for workload in [k for k in memory.recycled if k not in world.workloads and not world.pods_of_workload(k)]:
            context.forget_recycled(workload)
        self.chains.prune()

    def cycle_ended(self, seconds: float) -> None:
        """Tell that one comparison is complete."""
        self.context.tell(
            CycleEnded,
            seconds=seconds,
            chains=len(self.chains.reports),
            links={key: count for key, count in self.chains.links.items() if count},
            stale_containers=self.workloads.stale_containers(),
            findings=sum(len(found) for found in self.chains.findings.values()),
            troubles={subject: trouble.cause for subject, trouble in self.troubles.items()},
        )
        self.context.cycle += 1

    @property
    def unfinished(self) -> bool:
        """Something is under way, due soon, or not judged yet: one pass more may bring it further."""
        world = self.context.world
        return bool(self.context.waits or self.ladder.in_flight() or world.dirty_chains or world.dirty_workloads)

    def next_wake(self) -> float | None:
        """When something is due though nothing happens (API server's clock)."""
        return self.context.timers.next

    def all_findings(self) -> list[Finding]:
        """Everything there is to say now."""
        return [finding for found in self.chains.findings.values() for finding in found.values()]

    def wanted(self) -> dict[str, set[str]]:
        """Vault host -> names of secrets to look at."""
        return wanted_sources(self._reads(), self.context.policy)

    def _reads(self) -> Iterator[tuple[SourceKey, ObjectKey]]:
        """Which vault secret is read by which chain: by the index, where it has all that there is."""
        world = self.context.world
        if not world.dirty_chains:
            yield from ((source, chain) for source in self._sources for chain in self._sources.of(source))
            return
        for es in world.external_secrets.values():
            yield from ((source, es.key) for _, source in world.sources_of(es) if isinstance(source, SourceKey))

    def save(self) -> None:
        """Write all that has changed, and until when it is complete."""
        self.context.ledger.save(self.context.memory, heartbeat=True)
        self._saved_at = self.context.now

    # --------------------------------------------------------------------------------------------------- details

    def _fairly(self, chains: Iterable[ObjectKey]) -> list[ObjectKey]:
        """Round-robin over namespaces: a thousand drifts in one do not hold up the one drift of another."""
        by_namespace: dict[str, list[ObjectKey]] = {}
        for key in sorted(chains):
            by_namespace.setdefault(key.namespace, []).append(key)
        dealt: list[ObjectKey] = []
        columns = list(by_namespace.values())
        for index in range(max((len(column) for column in columns), default=0)):
            dealt += [column[index] for column in columns if index < len(column)]
        return dealt

    def _index(self, key: ObjectKey) -> None:
        """Which chains a change of a vault secret touches."""
        es = self.context.world.external_secrets.get(key)
        if es is not None:
            self._stores.look(es)
        found = self.context.world.sources_of(es) if es is not None else []
        now = frozenset(source for _, source in found if isinstance(source, SourceKey))
        before = frozenset(self._sources_of.get(key, ()))
        for source in before - now:
            self._sources.unlink(source, key)
        for source in now - before:
            self._sources.link(source, key)
        known = self.context.memory.sources
        new = [source for source in now - before if source not in known]
        self.context.look_again(
            {source for source in new if self.context.policy.vault_rule(source.vault, key.namespace)}, oldest=0.001
        )
        if now:
            self._sources_of[key] = tuple(now)
        else:
            self._sources_of.pop(key, None)

    def _vault_answered(self, answer: VaultAnswer) -> None:
        context, view = self.context, answer.view
        subject = f"vault {SourceKey(view.host, '').vault_name}"
        before = context.world.vaults.get(view.host)
        context.observer.sweep(view, answer.wanted, lambda key: answer.versions.get(key.name), context.looked)
        if answer.blocked_seconds:
            context.throttled[view.host] = context.now + answer.blocked_seconds
        seen = context.looked if view.trouble is None else context.asked
        for name in answer.wanted:
            seen[SourceKey(view.host, name)] = view.asked_at
        context.troubles.subject(subject, view.trouble)
        if before is None or before.trouble != view.trouble:
            for source in self._sources:
                if source.vault == view.host:
                    context.world.dirty_chains.update(self._sources.of(source))
        for name in answer.wanted if context.memory.heals else ():
            # Whoever waits for a fresh look waits for its workloads, too.
            for chain in self._sources.of(SourceKey(view.host, name)):
                for workload in self.chains.verdicts.get(chain, ()):
                    if workload in context.memory.heals:
                        context.world.dirty_workloads.add(workload)

    def _say_trouble(self, message: Message) -> None:
        troubles = self.context.troubles
        if isinstance(message, Lost) and no_eso(message):
            self._without_eso.add(message.scope)
            troubles.subject(ESO, self._eso_trouble())
        elif isinstance(message, Lost) and not not_installed(message):
            troubles.collection(str(message.scope), message.trouble)
        elif isinstance(message, Found | Listed):
            troubles.collection(str(message.scope), None)
            self._without_eso.discard(message.scope)
            if not self._without_eso:
                troubles.subject(ESO, None)

    def _eso_trouble(self) -> Trouble:
        """What is wrong with ESO, whose kinds are not served: told once for all of them."""
        known = self.context.troubles.now().get(ESO)
        if known is not None:
            return known
        try:
            served = eso_served(self.context.conn)
        except (ApiProblem, Unreachable, BadAnswer):
            return Trouble(cause="no-eso", detail="its kinds are not served")
        lacking = sorted({scope.resource for scope in self._without_eso} - served.resources)
        return Trouble(cause="no-eso", detail=advice.no_eso(served.versions, lacking))

    def malformed(self, found: Malformed) -> None:
        """Tell of one object that cannot be used."""
        self.context.tell(
            MalformedEvent, resource=found.resource, key=found.key, field=found.field, message=found.message
        )

    def malformed_now(self) -> list[str]:
        """The objects that cannot be used, in words."""
        return self.context.world.unusable.told()

    @property
    def troubles(self) -> dict[str, Trouble]:
        """What cannot be read now."""
        return self.context.troubles.now()

    def _remember(self, now: float) -> None:
        interval = self.context.policy.interval
        due = min(self._pace.seconds, interval) if self.context.ledger.dirty else interval
        if now - self._saved_at >= due:
            self._save(now)

    def _save(self, now: float) -> None:
        began = self.context.clock.monotonic()
        self.context.ledger.save(self.context.memory, heartbeat=True)
        self._pace.written(self.context.clock.monotonic() - began)
        self.context.troubles.subject("the ledger", None)
        self._saved_at = now
