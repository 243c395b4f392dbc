"""Workloads: build each one's case over all its chains, decide, and recycle with every step written down first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from agent.cluster import reader
from agent.cluster.errors import ApiProblem, Conflict, EvictionRefused, Unreachable, trouble_of
from agent.diagnose.containers import excluded, lacking
from agent.diagnose.view import ChainReport
from agent.engine import campaign
from agent.engine.chains import Chains
from agent.engine.context import Context
from agent.engine.healkey import awaits_pod, followed, heal_key, is_excluded
from agent.engine.kept import Keeping, Kept
from agent.engine.lastlook import COLLECTIONS, LastLook
from agent.engine.logs import LogWatch
from agent.engine.owners import objection, sources_known
from agent.engine.storm import Storm
from agent.engine.volumes import single_attach
from agent.events import Evicted, HaltEnded, Healed, Propagated, RolloutRestarted, StagePassed
from agent.memory import Eviction, Halt, HealMemory
from agent.model import ContainerVerdict, ObjectKey, Pod, SourceKey, State, Step, Workload, WorkloadKey
from agent.plan import recycle
from agent.plan.decisions import EndHalt, Evict, Finish, HaltNow, Passed, RecycleDecision, Refuse, Restart, Wait
from agent.plan.moved import what_moved
from agent.plan.optout import NOT_READ
from agent.plan.recycle import Chain, PodCase, RecycleCase, Surroundings

_RANK = {State.STALE: 0, State.UNKNOWN: 1, State.SUSPECT: 2, State.ASSUMED: 3, State.FRESH: 4}
UNSURE_PAUSE = 2.0
"""Seconds to let the watch catch up after an eviction whose answer was lost."""


class Workloads:
    """Recycles workloads. One decision at a time for each, on what is known at that moment."""

    def __init__(self, context: Context, chains: Chains) -> None:
        self.context, self.chains = context, chains
        self._last_look = LastLook(context, chains.targets)
        self._keeping = Keeping(context)
        self.logs = LogWatch(context)
        self.storm = Storm(context, chains)

    def must_consider(self, key: WorkloadKey) -> bool:
        """Whether there is anything to decide for a workload; if not, as for most always, nothing is refused."""
        if key in self.context.memory.heals or self._told_of(key):
            return True
        self.context.waits.discard(key)
        self.context.allow(workload=key)
        self.context.held_up.going(key)
        self.context.held_up.looked_at(key, begun=False)
        return False

    def consider(self, key: WorkloadKey) -> None:
        """Decide what is due for one workload now, and do it."""
        if self.must_consider(key):
            self.context.held_up.going(key)
            self._consider(key)
            self.context.held_up.looked_at(key, begun=key in self.context.begun)

    def _consider(self, key: WorkloadKey) -> None:
        self.context.waits.discard(key)
        world = self.context.world
        if world.trouble("pods", key.namespace) and not world.pods_of_workload(key):
            return  # they may be there, and are not seen
        for _ in range(4):  # a state may end and the next step be due at once
            case = self.case(key)
            if case is None:
                self._forget(key)
                self.context.allow(workload=key)
                return
            self._note_drift(case)
            if not self._carry_out(case, recycle.decide(case)):
                return

    def _told_of(self, key: WorkloadKey) -> bool:
        """Whether any chain has a word to say on the workload's containers."""
        if key not in self.chains.told_of:
            return False
        return any(self.chains.verdicts.get(chain, {}).get(key) for chain in self.context.world.chains_of_workload(key))

    def decision(self, key: WorkloadKey) -> tuple[RecycleCase, RecycleDecision] | None:
        """What would be done for a workload now; nothing is done."""
        case = self.case(key)
        return (case, recycle.decide(case)) if case is not None else None

    def stale_containers(self) -> dict[WorkloadKey, int]:
        """Containers that are stale for sure, per workload."""
        found: defaultdict[WorkloadKey, set[tuple[str, str]]] = defaultdict(set)
        for by_workload in self.chains.verdicts.values():
            for workload, verdicts in by_workload.items():
                found[workload].update((v.pod_uid, v.container) for v in verdicts if v.state is State.STALE)
        return {workload: len(containers) for workload, containers in found.items() if containers}

    def halted(self) -> dict[WorkloadKey, Halt]:
        """Workloads whose recycling stopped and is not judged to go on: somebody or something must change first."""
        found = {}
        for key, heal in sorted(self.context.memory.heals.items()):
            pair = self.decision(key) if heal.halt is not None else None
            if heal.halt is not None and pair is not None and not isinstance(pair[1], EndHalt):
                found[key] = heal.halt
        return found

    # ------------------------------------------------------------------------------------------------------ case

    def case(self, key: WorkloadKey) -> RecycleCase | None:
        """Everything a decision on this workload rests on; None if it has no pods that consume a chain's Secret."""
        context, world = self.context, self.context.world
        pods = world.pods_of_workload(key)
        heal, workload = context.memory.heals.get(key), world.workloads.get(key)
        chain_keys = sorted(world.chains_of_workload(key))
        awaiting = heal if heal is not None and not pods and awaits_pod(heal, workload) else None
        if awaiting is not None:
            chain_keys = list(awaiting.chains)
        reports = {k: self.chains.reports[k] for k in chain_keys if k in self.chains.reports}
        if not reports or (not pods and heal is None):
            return None
        verdicts: defaultdict[str, list[ContainerVerdict]] = defaultdict(list)
        for chain in reports:
            for verdict in self.chains.verdicts.get(chain, {}).get(key, ()):
                if verdict.counts:
                    verdicts[verdict.pod_uid].append(verdict)
        rule = context.policy.recycle_rule(key.namespace)
        live = [pod for pod in pods if not excluded(pod)]
        log = rule.canary.log if rule is not None else None
        cases = tuple(self._pod_case(pod, verdicts.get(pod.uid, []), log, heal) for pod in live)
        chains = tuple(self._chain(report, key) for report in reports.values())
        wanted = recycle.due(rule)
        stale = [v for found in verdicts.values() for v in found if v.state in wanted]
        behind = tuple(dict.fromkeys(source for verdict in stale for source, _ in verdict.versions))
        about = heal_key(context, reports, workload)
        if awaiting is not None and awaiting.key != about:
            return None  # of another version or template: what comes is none of this heal's
        return RecycleCase(
            key=key,
            workload=workload,
            pods=cases,
            terminating=frozenset(pod.uid for pod in pods if pod.deleting),
            chains=chains,
            heal=heal,
            heal_key=about,
            recycled=context.recycled(key, about) if followed(context, reports) else 0,
            sources=behind or (heal.sources if heal is not None else ()),
            moved=what_moved(stale, heal, context.memory),
            policy=context.policy,
            rule=rule,
            around=self._around(key, workload, live if stale else [], behind),
            now=context.now,
            clock_error=context.clock.uncertainty,
        )

    def _pod_case(self, pod: Pod, verdicts: list[ContainerVerdict], log: Any, heal: HealMemory | None) -> PodCase:
        worst = min(verdicts, key=lambda verdict: _RANK[verdict.state], default=None)
        said = ""
        if log is not None and heal is not None and heal.batch_at and pod.created + 1 >= heal.batch_at:
            said = self.logs.look(pod, log)
        return PodCase(
            pod=pod,
            state=worst.state if worst is not None else State.FRESH,
            evidence=f"container {worst.container} {worst.evidence}" if worst is not None else "",
            cached=worst is not None and worst.cached_on_node,
            log=said,
            returning_until=0.0 if pod.ready else self.context.world.nodes.returning_until(pod.node),
        )

    def _chain(self, report: ChainReport, workload: WorkloadKey) -> Chain:
        context = self.context
        memory, es = context.chain_memory(report.chain), context.world.external_secrets[report.chain]
        sources = sources_known(context, es)
        return Chain(
            report=report,
            excluded=is_excluded(report),
            drifting_since=recycle.drifting_since(report, memory.since),
            newest_created=max((source.state.created for source in sources), default=0.0),
            syncing=es.ready is not False and (memory.sync is not None or report.chain in context.world.dirty_chains),
            opted_out=objection(es, sources),
        )

    def _around(
        self, key: WorkloadKey, workload: Workload | None, live: list[Pod], behind: tuple[SourceKey, ...]
    ) -> Surroundings:
        context = self.context
        namespace = context.world.namespaces.get(key.namespace)
        mode, deleting = (namespace.mode, namespace.deleting) if namespace else (NOT_READ, False)
        if not live:
            return Surroundings(namespace_mode=mode, namespace_deleting=deleting)
        found, held = self.storm.stale(), self.storm.held()
        begun = {k for k in context.begun if self._under_way(k, context.memory.heals[k], stale=k in found)}
        own = context.memory.heals.get(key)
        lonely = workload is not None and workload.replicas == 1 and workload.claims
        ahead = {k for k in begun - {key} if campaign.goes_before(k, key, context.memory)}
        return Surroundings(
            begun=own is not None and own.in_flight,
            under_way=len(ahead),
            under_way_here=sum(k.namespace == key.namespace for k in ahead),
            namespace_mode=mode,
            namespace_deleting=deleting,
            blast=held.why,
            blast_until=held.until,
            campaign=campaign.must_wait(key, behind, context.memory, context.begun, self._is_refused),
            single_attach=single_attach(context, key.namespace, workload.claims) if lonely and workload else "",
            lacking=self._lacking(live),
        )

    def _lacking(self, pods: list[Pod]) -> str:
        """Of the newest pod's template: a rollout that has not ended is no time to recycle anyway."""
        newest = max(pods, key=lambda pod: pod.created)
        return lacking(newest, lambda name: self.context.world.secrets.get(ObjectKey(newest.key.namespace, name)))

    def _under_way(self, key: WorkloadKey, heal: HealMemory, *, stale: bool) -> bool:
        """Whether a heal takes one of the slots: pods of it are under way, or its next step is due and not refused."""
        if not heal.started or heal.halt is not None:
            return False
        return heal.in_flight or (stale and not self._is_refused(key))

    def _is_refused(self, key: WorkloadKey) -> bool:
        return self.context.refusal(workload=key) is not None

    # ------------------------------------------------------------------------------------------------ carry out

    def _note_drift(self, case: RecycleCase) -> None:
        """Remember since when the workload is stale: what is settled, and what is measured, begins there."""
        heal = case.heal
        if case.stale and (heal is None or (heal.key != case.heal_key and heal.halt is None and not heal.batch)):
            since = heal.since if heal is not None else case.now
            fresh = HealMemory(
                key=case.heal_key,
                since=since,
                sources=case.sources,
                clocks=self._clocks(case.sources, heal),
                chains=_consumed(case),
            )
            if heal is not None and heal.started:
                # The source moved on while we were at it: the new version is tried by a canary of its own.
                fresh = replace(fresh, started=heal.started, baseline=heal.baseline, recycled=heal.recycled)
            self.context.remember_heal(case.key, fresh)

    def _clocks(self, sources: tuple[SourceKey, ...], former: HealMemory | None) -> dict[str, float]:
        """Where the measure of propagation begins: a superseded version's clock passes to its successor."""
        known = {str(source): self.context.memory.sources.get(source) for source in sources}
        now = {name: source.state.created for name, source in known.items() if source is not None}
        before = former.clocks if former is not None else {}
        return {name: min(created, before.get(name, created)) for name, created in now.items()}

    def _carry_out(self, case: RecycleCase, decision: RecycleDecision) -> bool:
        """Do what was decided. True: the state has changed, decide again."""
        context, key = self.context, case.key
        if isinstance(decision, Refuse):
            context.refuse(decision.refusal)
            heal, again = case.heal, decision.refusal.until
            if heal is not None and heal.lasting and heal.blocked == decision.refusal.reason:
                again = heal.blocked_until  # nothing but a person's hand ends it, and that is looked for
            if again is not None:
                context.timers.set(key, again)
            if decision.refusal.reason == "campaign":
                context.held_up.waits(key)
            if decision.refusal.reason == "mid-rollout":
                context.waits.add(key)
            return False
        if case.judged and not isinstance(decision, Evict | Restart):  # allowed when the API server has done them
            context.allow(workload=key)
        match decision:
            case Wait():
                context.timers.set(key, max(decision.until, case.now + 0.05))
                context.waits.add(key)
                return False
            case Evict() | Restart():
                return self._disrupt(case, decision)
            case Passed():
                return self._passed(case, decision)
            case HaltNow():
                return self._halt(case, decision)
            case EndHalt():
                return self._end_halt(case, decision)
            case Finish():
                return self._finish(case)
        if case.heal is not None and case.heal.halt is not None:
            context.timers.set(key, case.now + 5)
        return False

    def _disrupt(self, case: RecycleCase, decision: Evict | Restart) -> bool:
        context = self.context
        context.waits.add(case.key)
        if any(chain.report.chain in context.world.dirty_chains for chain in case.chains):
            return False  # something has come since it was judged: judged anew in the next pass, and so is the workload
        if isinstance(decision, Evict) and (kept := self._keeping.still(case, decision.pods[0])) is not None:
            return self._kept(case, kept)
        later = self._last_look.before(case)
        if later is not None:
            if later.reason:
                self._blocked(case, later.reason, later.detail, later.seconds)
            elif later.seconds:
                context.timers.set(case.key, case.now + later.seconds)
            return False
        if isinstance(decision, Restart):
            return self._restart(case, decision)
        return self._evict(case, decision)

    def _evict(self, case: RecycleCase, decision: Evict) -> bool:
        context, key = self.context, case.key
        assert context.writer is not None
        now = context.now
        former = context.memory.heals.get(key) or HealMemory(key=decision.key, since=now)
        stage = {"broken": "broken", "canary": "canary"}.get(decision.stage, "batches")
        batch = tuple(Eviction(pod=p.key.name, uid=p.uid, at=now, node=p.node) for p in decision.pods)
        heal = replace(
            former, key=decision.key, started=former.started or now, baseline=max(former.baseline, case.ready),
            stage=stage, batch=batch, batch_at=now, sources=case.sources, chains=_consumed(case), blocked="",
            blocked_detail="", spent=former.spent_for(decision.key),
        )  # fmt: skip
        # Written down before the first call, with the uids: whoever comes after us knows what may have been done.
        self._reserve(key, heal)
        for number, pod in enumerate(decision.pods):
            if number:
                context.reserve("heals", key)  # what has been done so far, and that nobody else is at it
            if not self._evict_one(case, decision, pod):
                break
        context.timers.set(key, context.now + 1)
        return False

    def _evict_one(self, case: RecycleCase, decision: Evict, pod: Pod) -> bool:
        """Evict one reserved pod. False: the rest of the batch waits."""
        context, key = self.context, case.key
        assert context.writer is not None
        try:
            context.writer.evict(pod.key, uid=pod.uid)
        except EvictionRefused as refused:
            self._withdraw(key, {p.uid for p in decision.pods})
            return self._kept(case, self._keeping.refused(key, pod, refused))
        except Conflict:
            context.step(Step.RECYCLE, "gone")  # replaced by another of the same name: the one we meant is gone
        except ApiProblem as error:
            if error.code != 404:
                context.step(Step.RECYCLE, "failed", str(error))
                self._withdraw(key, {p.uid for p in decision.pods})
                self._blocked(case, "eviction-failed", trouble_of(error).detail, error.retry_after or 10.0)
                return False
            context.step(Step.RECYCLE, "gone")
        except Unreachable as error:
            context.step(Step.RECYCLE, "failed", str(error))
            self._blocked(case, "api-unreachable", error.detail, UNSURE_PAUSE)
            return False
        else:
            context.allow(workload=key)
            context.step(Step.RECYCLE, "done")
            context.tell(
                Evicted, workload=key, pod=pod.key, stage=decision.stage, evidence=decision.evidence,
                sources=decision.sources,
            )  # fmt: skip
        heal = context.memory.heals[key]
        done = tuple(replace(e, done=True) if e.uid == pod.uid else e for e in heal.batch)
        context.remember_heal(key, replace(heal, batch=done, recycled=heal.recycled + 1, spent=heal.spent + 1))
        return True

    def _withdraw(self, key: WorkloadKey, uids: set[str]) -> None:
        """Take reserved evictions that did not happen out of the batch."""
        heal = self.context.memory.heals[key]
        batch = tuple(e for e in heal.batch if e.done or e.uid not in uids)
        if batch or heal.recycled > 0:
            self.context.remember_heal(key, replace(heal, batch=batch))
        else:
            self.context.remember_heal(key, replace(heal, batch=(), started=0.0, baseline=0))

    def _kept(self, case: RecycleCase, kept: Kept) -> bool:
        self._blocked(case, "pod-disruption-budget", kept.detail, kept.seconds, lasting=kept.lasting)
        return False

    def _blocked(self, case: RecycleCase, reason: str, detail: str, seconds: float, *, lasting: bool = False) -> None:
        context, key = self.context, case.key
        heal = context.memory.heals.get(key)
        if heal is not None:
            until, why = context.now + seconds, {"blocked": reason, "blocked_detail": detail, "lasting": lasting}
            news = replace(heal, **why) != heal  # until when alone is no news: whoever comes after us asks at once
            context.remember_heal(key, replace(heal, blocked_until=until, **why), write=news)
            context.world.dirty_workloads.add(key)

    def _restart(self, case: RecycleCase, decision: Restart) -> bool:
        context, key, workload = self.context, case.key, case.workload
        assert context.writer is not None
        assert workload is not None
        now = context.now
        former = context.memory.heals.get(key) or HealMemory(key=decision.key, since=now)
        unsent = former.stage == "restart" and not recycle.stamped(case, former)
        # The same one as was reserved, perhaps on its way; else one of its own: an old one would restart nothing.
        stamp = former.restart_stamp if unsent and former.key == decision.key else f"{decision.key}-{int(now)}"
        heal = replace(
            former, key=decision.key, started=former.started or now, baseline=max(former.baseline, case.ready),
            stage="restart", batch_at=now, restart_stamp=stamp, sources=case.sources, chains=_consumed(case),
            spent=former.spent_for(decision.key) + (len(case.pods) if stamp != former.restart_stamp else 0),
        )  # fmt: skip
        self._reserve(key, heal)
        try:
            current = reader.version_of(context.conn, COLLECTIONS[key.kind], ObjectKey(key.namespace, key.name))
            context.writer.restart(key, uid=workload.uid, resource_version=current, stamp=stamp)
        except (ApiProblem, Unreachable) as error:
            context.step(Step.RECYCLE, "failed", str(error))
            if not (isinstance(error, Unreachable) and error.maybe_applied):
                context.remember_heal(
                    key, replace(heal, stage="pending", started=former.started, spent=former.spent_for(decision.key))
                )
            self._blocked(case, "restart-failed", trouble_of(error).detail, 10.0)
            return False
        context.allow(workload=key)
        context.step(Step.RECYCLE, "done")
        context.tell(RolloutRestarted, workload=key, evidence=decision.evidence)
        context.timers.set(key, context.now + 1)
        return False

    def _reserve(self, key: WorkloadKey, heal: HealMemory) -> None:
        self.context.remember_heal(key, heal)
        self.context.reserve("heals", key)

    def _passed(self, case: RecycleCase, decision: Passed) -> bool:
        context, heal = self.context, case.heal
        assert heal is not None
        seconds, proved = max(0.0, case.now - heal.batch_at), decision.pods > 0
        stage = "batch" if heal.stage == "batches" else heal.stage
        if proved:  # else what came in place of the old ones was scaled away: the next one is the canary
            context.tell(StagePassed, workload=case.key, stage=stage, pods=decision.pods, seconds=seconds)
        uncounted = sum(not eviction.done for eviction in heal.batch)  # their answers were lost
        passed = replace(
            heal, batch=(), stage="batches" if proved else "pending", canary_passed=heal.canary_passed or proved,
            recycled=heal.recycled or decision.pods, blocked="", spent=heal.spent + uncounted,
        )  # fmt: skip
        context.remember_heal(case.key, passed)
        return True

    def _halt(self, case: RecycleCase, decision: HaltNow) -> bool:
        context = self.context
        heal = case.heal or HealMemory(key=case.heal_key, since=case.now)
        halt = decision.halt
        if halt.reason != "canary-blocked":  # whom nobody has judged yet: it is judged when it can start
            heal = replace(heal, batch=(), stage="pending", canary_passed=False)
        self._reserve(case.key, replace(heal, halt=halt))
        context.tell_halt(case.key, halt, self._reading(case.key, heal.sources))
        context.timers.set(case.key, case.now + 5)
        return False

    def _end_halt(self, case: RecycleCase, decision: EndHalt) -> bool:
        context, heal = self.context, case.heal
        assert heal is not None
        assert heal.halt is not None
        chains = self._reading(case.key, heal.sources)
        context.tell(HaltEnded, workload=case.key, reason=heal.halt.reason, why=decision.why, chains=chains)
        if heal.halt.reason == "canary-blocked" and heal.key == case.heal_key:
            context.remember_heal(case.key, replace(heal, halt=None, unblocked_at=case.now))
            return True
        recovered = heal.key == case.heal_key and heal.halt.reason != "canary-failed"
        again = HealMemory(
            key=case.heal_key, since=heal.since, sources=heal.sources, chains=heal.chains, clocks=heal.clocks,
            started=heal.started, baseline=heal.baseline, recycled=heal.recycled, spent=heal.spent_for(case.heal_key),
            canary_passed=recovered or decision.why.startswith("the canary"),
        )  # fmt: skip
        context.remember_heal(case.key, again)
        return True

    def _reading(self, key: WorkloadKey, sources: Collection[SourceKey]) -> tuple[ObjectKey, ...]:
        """The workload's chains that read any of these."""
        world = self.context.world
        known = {chain: world.external_secrets.get(chain) for chain in sorted(world.chains_of_workload(key))}
        return tuple(
            chain
            for chain, es in known.items()
            if es is not None and any(source in sources for _, source in world.sources_of(es))
        )

    def resume(self, key: WorkloadKey, why: str) -> None:
        """End a halt because a person says so: what is stale is recycled again, canary first."""
        context, heal = self.context, self.context.memory.heals[key]
        if heal.halt is not None:
            chains = self._reading(key, heal.sources)
            context.tell(HaltEnded, workload=key, reason=heal.halt.reason, why=why, chains=chains)
            context.remember_heal(key, replace(heal, halt=None, canary_passed=False, key="", spent=0))
            context.forget_recycled(key)
            context.world.dirty_workloads.add(key)

    def _forget(self, key: WorkloadKey) -> None:
        """A workload without pods that consume a chain's Secret; where it was halted, that is over."""
        heal = self.context.memory.heals.get(key)
        if heal is not None and heal.halt is not None:
            why = "it has no pod any more that uses the Secret"
            self.context.tell(HaltEnded, workload=key, reason=heal.halt.reason, why=why, chains=heal.chains)
        self.context.remember_heal(key, None)

    def _finish(self, case: RecycleCase) -> bool:
        context, heal = self.context, case.heal
        assert heal is not None
        context.remember_heal(case.key, None)
        self.logs.forget(case.key)
        if not heal.started:
            return False
        if heal.recycled:
            context.tell(Healed, workload=case.key, pods=heal.recycled, seconds=max(0.0, case.now - heal.since))
        if any(c.state is State.SUSPECT for c in case.pods):
            return False  # whether the new version has come to all of them, nobody knows
        for source in heal.sources:
            known = context.memory.sources.get(source)
            if known is not None and known.witnessed and known.state.present:
                chain = next(iter(self._reading(case.key, (source,))), ObjectKey(case.key.namespace, ""))
                context.tell(
                    Propagated, source=source, chain=chain, stage="total", workload=case.key,
                    seconds=max(0.0, case.now - heal.clocks.get(str(source), known.state.created)),
                )  # fmt: skip
        return False


def _consumed(case: RecycleCase) -> tuple[ObjectKey, ...]:
    return tuple(chain.report.chain for chain in case.chains)
