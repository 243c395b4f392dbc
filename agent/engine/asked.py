"""Requests under way: begun at once, carried on by the engine as anything else is, and answered when all is at rest.

A request changes when the agent looks and tries again, never what it may do: it asks the vaults now, and forgets the
pauses after failed attempts. Every gate is asked as always; a `storm-ack` alone lets one pass, the blast radius.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Conflict, Unreachable
from agent.cluster.stored import Stored, read_stored
from agent.engine.context import Context
from agent.engine.ladder import Ladder
from agent.engine.workloads import Workloads
from agent.events import StormAcknowledged
from agent.ledger import requests
from agent.ledger.requests import Acknowledgement, Answer, Request, State
from agent.model import ObjectKey, Refusal, SourceKey, WorkloadKey
from agent.plan.decisions import Evict, ForceSync, Recreate, Refuse, Restart, Wait
from agent.times import stamp

WRITTEN_EVERY = 0.5
"""Seconds between two versions of an answer that goes on."""
LONGEST = 3600.0
"""Seconds after which a request that is still under way is no longer followed; the healing goes on."""


class Questions(msgspec.Struct, frozen=True):
    """All requests that there are now, answered ones included."""

    there: list[Stored]


class Following:
    """One request being carried out."""

    def __init__(
        self, request: Request, stored: Stored | None, began: float, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """``stored``: where the answer is written; ``tell``: gets each line as it is said."""
        self.request, self.stored, self.began = request, stored, began
        self.chain = ObjectKey(request.namespace, request.name) if request.kind == "heal" else None
        self.workloads: set[WorkloadKey] = set()
        self.lines: list[str] = []
        self._tell = tell
        self.state: State = "accepted"
        self.written_at = 0.0
        self.changed = True

    def concerns(self, chains: Iterable[ObjectKey], workloads: Iterable[WorkloadKey]) -> bool:
        """Whether what happened to these is news to whoever asked."""
        return any(chain == self.chain for chain in chains) or not self.workloads.isdisjoint(workloads)

    def say(self, line: str) -> None:
        """One more line of the answer."""
        self.lines.append(line)
        self._tell(line)
        self.changed = True

    def end(self, state: State, line: str) -> None:
        """The last line."""
        self.say(line)
        self.state = state


class Asked:
    """All requests under way. Belongs to the engine's thread."""

    def __init__(self, context: Context, ladder: Ladder, workloads: Workloads, me: str) -> None:
        self._context, self._ladder, self._workloads, self._me = context, ladder, workloads, me
        self._known: set[str] = set()
        self._told: Acknowledgement | None = None
        self.following: list[Following] = []

    def take(self, there: list[Stored]) -> None:
        """All requests that there are: those not known yet are begun."""
        self._known &= {stored.key.name for stored in there}
        held = self._held()
        self._acknowledge(requests.in_force(there, self._context.now))
        for stored in there:
            answer = requests.answer_of(stored)
            if stored.key.name in self._known or (answer is not None and answer.ended):
                continue
            self._known.add(stored.key.name)
            try:
                request = requests.request_of(stored)
                if request.kind == "storm-ack":
                    self._confirm(Following(request, stored, self._context.now), held)
                else:
                    self.begin(request, stored)
            except requests.Unusable as problem:
                none = Following(Request(kind="heal", at=0.0), stored, self._context.now)
                none.end("failed", f"this is no request: {problem}")
                self.following.append(none)

    def begin(
        self, request: Request, stored: Stored | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> Following:
        """Carry out one request."""
        found = Following(request, stored, self._context.now, tell)
        self.following.append(found)
        if request.kind == "resume":
            self._resume(found)
        else:
            self._heal(found)
        return found

    def settle(self) -> None:
        """After a pass of the engine: end what is at rest, and write what is new."""
        for found in list(self.following):
            if found.state == "accepted" and found.chain is not None:
                self._look(found, found.chain)
            if found.changed:
                self._write(found)
            if found.state != "accepted" and not found.changed:
                self.following.remove(found)

    # --------------------------------------------------------------------------------------------------- details

    def _held(self) -> int:
        """How many workloads the blast radius holds back."""
        return sum(refusal.reason == "blast-radius" for refusal in self._context.refusals())

    def _acknowledge(self, now: Acknowledgement | None) -> None:
        """What counts from here on: one that was taken away counts no longer."""
        context = self._context
        if now == context.acknowledged and now == self._told:
            return
        context.acknowledged = self._told = now
        context.world.dirty_workloads.update(context.memory.heals)
        if now is not None:
            context.tell(StormAcknowledged, until=now.until, by=now.by)

    def _confirm(self, found: Following, held: int) -> None:
        """Answer an acknowledgement, before what it lets pass is done: that may take long."""
        self.following.append(found)
        assert found.stored is not None
        its, now = requests.acknowledgement_of(found.stored), self._context.acknowledged
        if its is None or self._context.now >= its.until:
            found.end("failed", "it has run out")
        elif now != its:
            found.end("failed", "another acknowledgement has taken its place")
        else:
            those = "1 workload was" if held == 1 else f"{held} workloads were"
            found.end("done", f"acknowledged until {stamp(its.until)}: {those} held back")
        self._write(found)

    def _heal(self, found: Following) -> None:
        context, chain = self._context, found.chain
        assert chain is not None
        if chain not in context.world.external_secrets:
            trouble = context.world.trouble("externalsecrets", chain.namespace)
            missing = f"there is no ExternalSecret {chain}: kubectl get externalsecrets -A names them"
            found.end("failed", trouble.detail if trouble is not None else missing)
            return
        found.workloads = self._consumers(chain)
        if found.request.dry_run:
            return
        memory = context.chain_memory(chain)
        if memory.sync is None and memory.tries is not None:
            context.remember_chain(chain, replace(memory, tries=None))
        for workload in found.workloads:
            heal = context.memory.heals.get(workload)
            if heal is not None and heal.halt is None and not heal.batch:
                context.remember_heal(workload, replace(heal, blocked_until=0.0, spent=0))
            context.forget_recycled(workload)
            context.world.dirty_workloads.add(workload)
        sources = self._sources(chain)
        for source in sources:
            context.asked.pop(source, None)  # at once, though it failed a moment ago
        context.look_again(sources, oldest=found.began)
        context.world.dirty_chains.add(chain)

    def _resume(self, found: Following) -> None:
        context, request = self._context, found.request
        named = [k for k in context.memory.heals if (k.namespace, k.name) == (request.namespace, request.name)]
        halted = [key for key in named if context.memory.heals[key].halt is not None]
        if not halted:
            name = f"{request.namespace}/{request.name}"
            found.end("failed", f"no workload of that name is halted: {name}. `scan` names those that are")
            return
        for key in halted:
            if request.dry_run:
                found.end("done", f"{key.kind} {key} would be resumed")
                continue
            self._workloads.resume(key, f"resumed by {request.by or 'a person'}")
            found.workloads.add(key)
            found.end("done", f"{key.kind} {key} is resumed: what is stale there is recycled again, canary first")

    def _look(self, found: Following, chain: ObjectKey) -> None:
        context = self._context
        if chain not in context.world.external_secrets:
            found.end("failed", "the ExternalSecret is gone")
            return
        found.workloads |= self._consumers(chain)
        if found.request.dry_run and found.stored is not None:
            self._tell_plan(found, chain)  # by what is known: a new look could make the leader act
            return
        sources = self._sources(chain)
        looked = context.look_again(sources, oldest=found.began)
        if not looked and not any(
            context.world.vaults[s.vault].trouble for s in sources if s.vault in context.world.vaults
        ):
            return  # the vaults' answers are on their way
        if found.request.dry_run:
            self._tell_plan(found, chain)
            return
        busy = {chain, *found.workloads} & (context.waits | context.world.dirty_chains | context.world.dirty_workloads)
        if busy or chain in self._ladder.in_flight():
            if context.now - found.began > LONGEST:
                found.end("remains", "still under way after an hour; it goes on, see explain")
            return
        reasons = [*self._refused(chain, found.workloads), *self._halts(found.workloads)]
        drifts = [finding for finding in self._ladder.chains.findings.get(chain, {}).values() if finding.is_drift]
        if drifts or reasons:
            why = "; ".join(reasons) or "no step of this agent helps, see explain"
            found.end("remains", f"not healed: {why}")
        else:
            found.end("done", "nothing is stale")

    def _tell_plan(self, found: Following, chain: ObjectKey) -> None:
        refused = [*self._refused(chain, found.workloads, planned=True), *self._halts(found.workloads)]
        drifts = [finding for finding in self._ladder.chains.findings.get(chain, {}).values() if finding.is_drift]
        for finding in drifts:
            found.say(f"{finding.kind}: {finding.evidence}")
        if refused:
            found.end("remains", f"would be refused: {'; '.join(refused)}")
        elif steps := self._steps(chain, found.workloads):
            found.end("remains", f"would be healed, no gate refuses it now: {', '.join(steps)}")
        elif drifts:
            remedies = dict.fromkeys(finding.remedy for finding in drifts if finding.remedy)
            found.end("remains", "; ".join(("nothing would be done: no step of this agent helps", *remedies)))
        else:
            found.end("done", "nothing is due")

    def _steps(self, chain: ObjectKey, workloads: Iterable[WorkloadKey]) -> list[str]:
        """What would be begun now, or is waited for."""
        found = [chain.name] if isinstance(self._ladder.decision(chain), ForceSync | Recreate | Wait) else []
        for workload in sorted(workloads):
            pair = self._workloads.decision(workload)
            if pair is not None and isinstance(pair[1], Evict | Restart | Wait):
                found.append(f"{workload.kind} {workload.name}")
        return found

    def _refused(self, chain: ObjectKey, workloads: Iterable[WorkloadKey], *, planned: bool = False) -> list[str]:
        refusals: list[Refusal | None] = [self._context.refusal(chain=chain)]
        refusals += [self._context.refusal(workload=workload) for workload in sorted(workloads)]
        if planned:
            refusals += self._ladder.refusals(chain)
            for workload in sorted(workloads):
                pair = self._workloads.decision(workload)
                if pair is not None and isinstance(pair[1], Refuse):
                    refusals.append(pair[1].refusal)
        return list(dict.fromkeys(f"{r.step} ({r.reason}): {r.detail}" for r in refusals if r is not None))

    def _halts(self, workloads: Iterable[WorkloadKey]) -> list[str]:
        halted = self._workloads.halted()
        return [f"{key.kind} {key} is halted ({halted[key].reason})" for key in sorted(workloads) if key in halted]

    def _consumers(self, chain: ObjectKey) -> set[WorkloadKey]:
        world = self._context.world
        target = ObjectKey(chain.namespace, world.external_secrets[chain].target)
        return {world.workload_of(pod) for pod in world.pods_of_secret(target)}

    def _sources(self, chain: ObjectKey) -> set[SourceKey]:
        world, policy = self._context.world, self._context.policy
        found = {s for _, s in world.sources_of(world.external_secrets[chain]) if isinstance(s, SourceKey)}
        return {source for source in found if policy.vault_rule(source.vault, chain.namespace) is not None}

    def _write(self, found: Following) -> None:
        context, stored = self._context, found.stored
        if stored is None or context.writer is None:
            found.changed = False
            return
        if found.state == "accepted" and context.now - found.written_at < WRITTEN_EVERY and found.written_at:
            return
        answer = Answer(state=found.state, by=self._me, lines=tuple(found.lines))
        try:
            found.stored = context.writer.replace_stored(requests.answered(stored, answer))
        except Conflict:
            self._read_again(found, stored)
            return
        except ApiProblem as error:
            if error.code == 404:
                self._forget(found)
            return
        except Unreachable:
            return  # with the next pass
        found.changed, found.written_at = False, context.now

    def _read_again(self, found: Following, stored: Stored) -> None:
        try:
            there = read_stored(self._context.conn, "configmaps", stored.key)
        except (ApiProblem, Unreachable, BadAnswer):
            return
        if there is None or there.uid != stored.uid:
            self._forget(found)
        else:
            found.stored = there

    def _forget(self, found: Following) -> None:
        """Whoever asked has taken the question away; what was begun goes on."""
        if found in self.following:
            self.following.remove(found)
