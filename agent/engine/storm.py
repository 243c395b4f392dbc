"""Whether too many workloads would be recycled for unrelated changes: now, or so lately that it may be again.

Made of all verdicts together, once for each pass that asks for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from agent.engine import campaign
from agent.engine.chains import Chains
from agent.engine.context import Context
from agent.engine.owners import objection, sources_known
from agent.model import ObjectKey, SourceKey, State, WorkloadKey
from agent.plan.gates import left_alone
from agent.plan.optout import NOT_READ
from agent.plan.recycle import PodCase, RecycleCase, Surroundings, due
from agent.times import ago, stamp


class Held(NamedTuple):
    """Why nothing disruptive is done (empty: it may be), and until when, where that is known."""

    why: str
    until: float | None = None


class Storm:
    """The blast radius, and the calm that must follow when it was exceeded.

    Asked for in nearly every pass of a bad day, which judges a few of thousands: so what each chain has to do with it,
    and which workloads could go at all, is made anew for what was judged anew alone.
    """

    def __init__(self, context: Context, chains: Chains) -> None:
        self._context, self._chains = context, chains
        self._judged: set[ObjectKey] = set()  # chains, since the tables below were made
        self._stale_by: dict[ObjectKey, campaign.Stale] = {}  # by each chain's verdicts; most have none
        self._coming_by: dict[ObjectKey, campaign.Stale] = {}  # by its findings, likewise
        self._goes: dict[WorkloadKey, bool] = {}  # whether it could be recycled, where that was asked for
        self._stale: campaign.Stale | None = None  # as of the last verdicts, once it was asked for
        self._exceeded: str | None = None  # likewise

    def judged(self, chains: Iterable[ObjectKey]) -> None:
        """These were judged: noted at once, for of those that are gone nothing ever tells again if the pass fails."""
        self._judged.update(chains)

    def passed(self, workloads: Iterable[WorkloadKey]) -> None:
        """These were touched or changed by a pass: what was judged in it is made anew when it is next asked for.

        A storm is followed to its end.
        """
        for workload in workloads if self._goes else ():
            self._goes.pop(workload, None)
        self._stale = self._exceeded = None
        if self._context.memory.storm is not None:
            self.held()

    def forget(self) -> None:
        """Ask anew of every workload whether it could go: all is compared anew."""
        self._goes.clear()

    def stale(self) -> campaign.Stale:
        """Workloads with containers for which they are recycled, and the vault secrets whose change made them so."""
        if self._stale is None:
            self._make()
            self._stale = campaign.together(self._stale_by.values())
        return self._stale

    def held(self) -> Held:
        """What the gate goes by."""
        context, calm = self._context, self._context.policy.timing.blast_radius_calm
        wanted = context.storm_wanted
        exceeded = "" if wanted else self._exceeded_now()
        known = context.memory.storm
        if known is not None and known.over and context.writer is None and not (exceeded or wanted):
            # Who only looks may not have looked at all chains: the last word on it is that of whoever acts.
            return Held(f"since {stamp(known.since)} too many workloads would be recycled for unrelated changes")
        memory = campaign.storm(known, exceeded=bool(exceeded), wanted=wanted, now=context.now, calm=calm)
        context.memory.storm = memory
        if exceeded or memory is None:
            return Held(exceeded)
        ends = memory.since + calm
        return Held(
            f"until {stamp(memory.since)} too many workloads would have been recycled for unrelated changes; it must"
            f" stay calm until {stamp(ends)} (another {ago(ends - context.now)})",
            ends,
        )

    def _exceeded_now(self) -> str:
        if self._exceeded is None:
            coming = campaign.together((self.stale(), *self._coming_by.values()))
            going = {workload: sources for workload, sources in coming.items() if self._may_go(workload)}
            self._exceeded = campaign.blast_radius(going, self._recyclable, self._context.policy)
        return self._exceeded

    def _make(self) -> None:
        """What the chains that were judged anew have to do with it."""
        world, policy = self._context.world, self._context.policy
        for chain in self._judged:
            findings = self._chains.findings.get(chain, {}).values()
            _put(self._stale_by, chain, self._stale_sources(chain))
            _put(self._coming_by, chain, campaign.with_those_to_come({}, findings, world, policy) if findings else {})
        self._judged.clear()

    def _may_go(self, key: WorkloadKey) -> bool:
        """It consumes a chain's Secret, and is not left alone."""
        known = self._goes.get(key)
        if known is None:
            chains = self._context.world.chains_of_workload(key)
            known = self._goes[key] = bool(chains) and not self._left_alone(key, chains)
        return known

    def _left_alone(self, key: WorkloadKey, consumed: Iterable[ObjectKey]) -> bool:
        """It is no part of what would be disrupted: else whoever opts out enough workloads would hold up all others."""
        world, policy = self._context.world, self._context.policy
        chains = (world.external_secrets[chain] for chain in consumed)
        namespace = world.namespaces.get(key.namespace)
        bare = world.pods_of_workload(key) if key.kind == "Pod" else ()
        case = RecycleCase(
            key=key, workload=world.workloads.get(key), chains=(), heal=None, heal_key="", sources=(),
            policy=policy, rule=policy.recycle_rule(key.namespace), now=self._context.now,
            pods=tuple(PodCase(pod=pod, state=State.FRESH) for pod in bare),
            around=Surroundings(namespace_mode=namespace.mode if namespace is not None else NOT_READ),
        )  # fmt: skip
        return left_alone(case) or any(objection(es, sources_known(self._context, es)) for es in chains)

    def _recyclable(self) -> int:
        """Workloads of which any number could go."""
        return sum(self._may_go(key) for key in self._context.world.consumers())

    def _stale_sources(self, chain: ObjectKey) -> campaign.Stale:
        found: defaultdict[WorkloadKey, set[SourceKey]] = defaultdict(set)
        policy = self._context.policy
        for workload, verdicts in self._chains.verdicts.get(chain, {}).items():
            states = due(policy.recycle_rule(workload.namespace)) if verdicts else ()
            for verdict in verdicts:
                if verdict.state in states and verdict.counts:
                    found[workload].update(source for source, _ in verdict.versions)
        return {workload: frozenset(keys) for workload, keys in found.items()}


def _put(table: dict[ObjectKey, campaign.Stale], chain: ObjectKey, stale: campaign.Stale) -> None:
    if stale:
        table[chain] = stale
    else:
        table.pop(chain, None)
