"""The upper rungs of the ladder: what is due for a chain, under way, and proved before the next step."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agent.cluster.decode import Malformed
from agent.cluster.errors import ApiProblem, Conflict, Unreachable, trouble_of
from agent.diagnose import history
from agent.diagnose.acknowledgement import acknowledged, failed_since
from agent.diagnose.view import ChainReport, ChainView
from agent.engine.chains import Chains
from agent.engine.context import Context
from agent.engine.esopace import EsoPace
from agent.engine.targets import Known
from agent.events import Propagated, SecretBack, SecretDeleted, SecretNotBack, Synced, SyncRequested, SyncTimedOut
from agent.memory import ChainMemory, Made, RecreateAttempt, SourceMemory, SyncAttempt
from agent.model import ObjectKey, Refusal, SourceKey, Step
from agent.plan import sync
from agent.plan.decisions import ForceSync, Recreate, Refuse, Wait
from agent.plan.optout import NOT_READ


class Ladder:
    """Force-syncs and recreates of all chains: at most one of them under way for each."""

    def __init__(self, context: Context, chains: Chains) -> None:
        self.context, self.chains = context, chains
        known = [(k, m) for k, m in context.memory.chains.items() if m.sync is not None or m.recreate or m.pace]
        self._in_flight: set[ObjectKey] = {k for k, m in known if m.sync is not None}
        self._recreating: set[ObjectKey] = {k for k, m in known if m.recreate is not None}
        self._pace = EsoPace(seconds for _, m in known for seconds in m.pace[-1:])
        self._given_up: dict[ObjectKey, SyncAttempt] = {}  # not acknowledged in time: it may yet be
        self._failing: dict[ObjectKey, str] = {}  # chain -> the call that the API server has not carried out
        self._held_up: set[ObjectKey] = set()  # due for a recreate, waiting for the end of another one
        self.queued: set[ObjectKey] = set()  # due for a force-sync, waiting for one of the slots

    def must_climb(self, key: ObjectKey) -> bool:
        """Whether anything is under way or due for a chain; if not, as for most chains always, nothing is refused."""
        if key not in self.context.world.external_secrets:  # gone, with what was under way
            self._in_flight.discard(key)
            self._given_up.pop(key, None)
            self._recreate_ended(key)
        report, memory = self.chains.reports.get(key), self.context.chain_memory(key)
        if memory.sync is not None or memory.recreate is not None or self._answered_late(key):
            return True
        if report is not None and report.findings and sync.deciding(memory, report) is not None:
            return True
        self.queued.discard(key)
        self._held_up.discard(key)
        self.context.waits.discard(key)
        self._calls_work(key)
        if report is not None and key in self.context.world.external_secrets:
            self.context.allow(chain=key)
        return False

    def climb(self, key: ObjectKey) -> None:
        """Verify what is under way for a chain, then take the step that is due."""
        if not self.must_climb(key):
            return
        self.queued.discard(key)
        self._held_up.discard(key)
        self.context.waits.discard(key)
        view, report = self.chains.view(key), self.chains.reports.get(key)
        if view is None or report is None:
            return
        before = view.memory
        if self._answered_late(key):
            self._synced(view, self._given_up.pop(key), self.context.now, late=True)
        self._verify_sync(self.chains.view(key) or view)
        self._verify_recreate(self.chains.view(key) or view)
        if self.context.chain_memory(key) != before:
            # What was under way has ended: judged anew before anything else is done.
            self.context.world.dirty_chains.add(key)
            return
        decision = sync.decide(self._case(view, report))
        if isinstance(decision, Refuse):
            self.context.refuse(decision.refusal)
            if decision.refusal.reason == "recreate-pending":
                self._held_up.add(key)
                if not self._lost():
                    self.context.waits.add(key)
            if decision.refusal.until is not None:
                self.context.timers.set(key, decision.refusal.until)
                if decision.refusal.reason == "backoff":
                    self.context.waits.add(key)
            return
        self.context.allow(chain=key)
        match decision:
            case Wait():
                self.context.waits.add(key)
                if decision.until:
                    self.context.timers.set(key, decision.until)
                else:
                    self.queued.add(key)
            case ForceSync() if self.chains.targets.on_its_way(view.es, decision.reason):
                self.context.timers.set(key, self.context.now + self.context.policy.timing.missing_persistence)
            case ForceSync():
                self._force_sync(decision, view)
            case Recreate():
                self._recreate(decision, view)

    def free_slots(self) -> int:
        """Force-syncs that may be written now."""
        return max(0, self._pace.slots(self.context.policy) - len(self._in_flight))

    def in_flight(self) -> set[ObjectKey]:
        """Chains with a force-sync or a recreate under way."""
        return self._in_flight | self._recreating

    def decision(self, key: ObjectKey) -> Any:
        """What would be done for a chain now; nothing is done."""
        view, report = self.chains.view(key), self.chains.reports.get(key)
        return sync.decide(self._case(view, report)) if view is not None and report is not None else None

    def refusals(self, key: ObjectKey) -> tuple[Refusal, ...]:
        """Every gate that refuses what is due for a chain now."""
        view, report = self.chains.view(key), self.chains.reports.get(key)
        return sync.refusals(self._case(view, report)) if view is not None and report is not None else ()

    def _case(self, view: ChainView, report: ChainReport) -> sync.SyncCase:
        context = self.context
        namespace = context.world.namespaces.get(view.es.key.namespace)
        return sync.SyncCase(
            view=view,
            report=report,
            policy=context.policy,
            now=context.now,
            namespace_mode=namespace.mode if namespace else NOT_READ,
            namespace_deleting=namespace.deleting if namespace else False,
            in_flight=len(self._in_flight),
            slots=self._pace.slots(context.policy),
            other_recreate=next((str(k) for k in self._recreating if k != view.es.key), ""),
            throttled_until=max((context.throttled.get(s.vault, 0.0) for _, s in view.resolved), default=0.0),
        )

    def _force_sync(self, decision: ForceSync, view: ChainView) -> None:
        context, es = self.context, view.es
        assert context.writer is not None
        context.waits.add(es.key)
        self._given_up.pop(es.key, None)
        now = context.now
        stamp = str(int(now))
        if es.force_sync == stamp:
            stamp = str(int(now) + 1)
        attempt = SyncAttempt(stamp=stamp, at=now, seen=decision.seen, reason=decision.reason)
        interval = es.refresh_interval if es.refresh_interval > 0 else None
        tries = sync.tried(
            view.memory.tries, decision.tries_key, context.policy, now, longest=interval, reason=decision.reason
        )
        probe = decision.tries_key if decision.reason == "cause-gone" else view.memory.probe
        self._set(es.key, replace(view.memory, sync=attempt, tries=tries, probe=probe))
        context.reserve("chains", es.key)
        try:
            changed = context.writer.force_sync(es.key, uid=es.uid, stamp=stamp)
        except (ApiProblem, Unreachable) as error:
            context.step(Step.FORCE_SYNC, "failed", str(error))
            if isinstance(error, Unreachable) and error.maybe_applied:
                return  # perhaps written: looked for until the time is up
            # ESO was not asked: no attempt of those after which it is left alone, and the next is due after the pause.
            tries = replace(tries, count=tries.count - 1)
            self._set(es.key, replace(context.chain_memory(es.key), sync=None, tries=tries))
            context.world.dirty_chains.add(es.key)
            if isinstance(error, ApiProblem) and error.code == 404:
                context.world.drop("externalsecrets", es)  # gone meanwhile, perhaps with its namespace
            else:
                self._call_failed(es.key, f"force-sync of {es.key}", error)
            return
        self._calls_work(es.key)
        self._set(es.key, replace(context.chain_memory(es.key), sync=replace(attempt, written=True)))
        context.step(Step.FORCE_SYNC, "done")
        context.tell(
            SyncRequested, chain=es.key, reason=decision.reason, evidence=decision.evidence, attempt=tries.count
        )
        if not isinstance(changed, Malformed):
            context.world.put("externalsecrets", changed)
        context.timers.set(es.key, now + self._pace.timeout(context.policy))

    def _verify_sync(self, view: ChainView) -> None:
        context, es, attempt = self.context, view.es, view.memory.sync
        if attempt is None:
            return
        now = context.now
        context.waits.add(es.key)
        if acknowledged(es, attempt.stamp):
            if self.chains.targets.read(es) is Known.LESS and now - attempt.at < self._pace.timeout(context.policy):
                context.timers.set(es.key, now + 0.1)  # done when the Secret is there for us, too
                return
            self._synced(self.chains.view(es.key) or view, attempt, now)
            return
        if not attempt.written and es.force_sync != attempt.stamp and now - attempt.at > 2:
            # Reserved by a process that died before it wrote: nothing was done.
            self._set(es.key, replace(view.memory, sync=None, tries=None))
            return
        timeout = self._pace.timeout(context.policy)
        if now - attempt.at > timeout:
            tries = view.memory.tries
            if tries is not None:  # the pause begins now, not when the sync was asked for
                tries = replace(tries, next_at=now + max(0.0, tries.next_at - attempt.at))
            self._set(es.key, replace(view.memory, sync=None, tries=tries))
            failed = (view.memory.cause or "unknown") if failed_since(es, attempt.at) else ""
            if not failed:
                self._given_up[es.key] = attempt
                self._pace.silent(context.policy.limits.syncs_in_flight)
            context.step(Step.FORCE_SYNC, "failed" if failed else "timeout", failed)
            context.tell(
                SyncTimedOut, chain=es.key, seconds=now - attempt.at, failed=failed,
                attempt=tries.count if tries else 1, next_at=tries.next_at if tries else now,
            )  # fmt: skip
            return
        context.timers.set(es.key, attempt.at + timeout + 0.1)

    def _answered_late(self, key: ObjectKey) -> bool:
        attempt, es = self._given_up.get(key), self.context.world.external_secrets.get(key)
        return attempt is not None and es is not None and acknowledged(es, attempt.stamp)

    def _synced(self, view: ChainView, attempt: SyncAttempt, now: float, *, late: bool = False) -> None:
        context, es, memory = self.context, view.es, view.memory
        self._pace.answered(now - attempt.at, late=late)
        covered = {**memory.covered, **attempt.seen}
        covered = {name: seen for name, seen in covered.items() if name in {str(s) for s in view.sources}}
        took = (now - attempt.at,)
        self._set(es.key, replace(memory, sync=None, covered=covered, covered_at=attempt.at, pace=took))
        moved = history.moved_since(view.secret_memory, attempt.at) if view.secret_memory is not None else ()
        context.tell(Synced, chain=es.key, seconds=now - attempt.at, moved=moved)
        new = {key: s for key, s in view.sources.items() if attempt.seen.get(str(key)) == s.state.identity}
        new = {key: s for key, s in new.items() if s.state.identity != memory.covered.get(str(key))}
        if es.immutable and view.secret is not None:  # what is younger than the Secret could not be written into it
            new = {key: s for key, s in new.items() if s.state.created < view.secret.created}
        self._tell_arrived(view, new)
        context.world.dirty_chains.add(es.key)

    def _tell_arrived(self, view: ChainView, new: dict[SourceKey, SourceMemory]) -> None:
        for key, source in new.items():
            if source.witnessed and source.state.present:
                seconds = max(0.0, self.context.now - source.state.created)
                self.context.tell(Propagated, source=key, chain=view.es.key, stage="vault_to_secret", seconds=seconds)

    # ------------------------------------------------------------------------------------------------- recreate

    def _recreate(self, decision: Recreate, view: ChainView) -> None:
        context, key = self.context, decision.chain
        assert context.writer is not None
        oldest = context.now - context.policy.timing.evidence_max_age
        if not context.look_again(set(view.sources), oldest=oldest):
            context.timers.set(key, context.now + 1)
            context.waits.add(key)
            return
        created = view.secret.created if view.secret is not None else 0.0
        attempt = RecreateAttempt(uid=decision.uid, at=context.now, created=created, seen=sync.identities(view))
        self._set(key, replace(view.memory, recreate=attempt))
        context.reserve("chains", key)
        try:
            context.writer.delete_secret(decision.secret, uid=decision.uid, resource_version=decision.resource_version)
        except (ApiProblem, Unreachable) as error:
            context.step(Step.RECREATE, "failed", str(error))
            if isinstance(error, Unreachable) and error.maybe_applied:
                return
            self._set(key, replace(context.chain_memory(key), recreate=None))
            context.timers.set(key, context.now + context.policy.timing.retry_backoff)
            self._call_failed(key, f"delete of Secret {decision.secret}", error)
            return
        self._calls_work(key)
        self._set(key, replace(context.chain_memory(key), recreate=replace(attempt, state="deleted")))
        context.step(Step.RECREATE, "done")
        context.tell(SecretDeleted, chain=key, secret=decision.secret, evidence=decision.evidence)
        context.timers.set(key, context.now + context.policy.timing.recreate_back)

    def _verify_recreate(self, view: ChainView) -> None:
        context, key, attempt = self.context, view.es.key, view.memory.recreate
        if attempt is None:
            return
        now, secret = context.now, view.secret
        place = ObjectKey(key.namespace, view.es.target)
        context.waits.add(key)
        if secret is not None and secret.uid != attempt.uid and not secret.deleting:
            made = Made(uid=secret.uid, holds=attempt.seen)
            self._set(key, replace(view.memory, recreate=None, made=made))
            context.timers.set(key, secret.created + 2)
            context.tell(SecretBack, chain=key, secret=place, seconds=now - attempt.at)
            younger = {name: s for name, s in view.sources.items() if s.state.created >= attempt.created}
            self._tell_arrived(view, younger)
            context.world.dirty_chains.add(key)
        elif secret is not None and secret.uid == attempt.uid and attempt.state == "reserved" and now - attempt.at > 2:
            self._set(key, replace(view.memory, recreate=None))  # died before the call: the Secret is as it was
        elif now - attempt.at > context.policy.timing.recreate_back and attempt.state != "lost" and secret is None:
            self._set(key, replace(view.memory, recreate=replace(attempt, state="lost")))
            context.tell(SecretNotBack, chain=key, secret=place, seconds=now - attempt.at)
        else:
            context.timers.set(key, now + 1)

    def _call_failed(self, key: ObjectKey, subject: str, error: ApiProblem | Unreachable) -> None:
        if not isinstance(error, Conflict):
            self._failing[key] = subject
            self.context.troubles.subject(subject, trouble_of(error))

    def _calls_work(self, key: ObjectKey) -> None:
        """For a chain that has been written to, or on which nothing is due any more."""
        subject = self._failing.pop(key, None)
        if subject is not None:
            self.context.troubles.subject(subject, None)

    def _set(self, key: ObjectKey, memory: ChainMemory) -> None:
        self.context.remember_chain(key, memory)
        (self._in_flight.add if memory.sync is not None else self._in_flight.discard)(key)
        (self._recreating.add if memory.recreate is not None else self._recreate_ended)(key)

    def _recreate_ended(self, key: ObjectKey) -> None:
        """Whoever was refused for it is judged anew: nothing else may ever tell of it."""
        if key in self._recreating:
            self._recreating.discard(key)
            self.context.world.dirty_chains |= self._held_up
            self._held_up.clear()

    def _lost(self) -> bool:
        """Whether one that was deleted does not come back by itself any more."""
        under_way = (self.context.chain_memory(key).recreate for key in self._recreating)
        return any(attempt is not None and attempt.state == "lost" for attempt in under_way)
