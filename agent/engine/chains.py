"""Chains: build the view, diagnose, and say what is new."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice

from msgspec.structs import replace

from agent import mapping
from agent.diagnose import elsewhere
from agent.diagnose.chain import diagnose, workload_finding
from agent.diagnose.changes import in_its_place, same
from agent.diagnose.view import MANY_RIVALS, ChainReport, ChainView
from agent.engine.context import Context
from agent.engine.failures import Failures
from agent.engine.rotations import Rotations
from agent.engine.stores import not_listed
from agent.engine.targets import Targets
from agent.events import (
    DriftFound,
    DriftGone,
)
from agent.model import (
    ContainerVerdict,
    Finding,
    Kind,
    Link,
    ObjectKey,
    SourceKey,
    SourceUse,
    State,
    Trouble,
    WorkloadKey,
)

FOLLOWED = ("externalsecrets", "secretstores", "clustersecretstores")
"""What a chain's upper links are read from: while one of these cannot be followed, they are unknown."""

LINKS = tuple(Link)


class Chains:
    """All chains of an engine: their reports, findings and verdicts."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.reports: dict[ObjectKey, ChainReport] = {}
        self.findings: dict[ObjectKey, dict[str, Finding]] = {}
        self.verdicts: dict[ObjectKey, dict[WorkloadKey, list[ContainerVerdict]]] = {}
        self.told_of: set[WorkloadKey] = set()  # workloads of which a verdict ever told; all others need no look
        self.links: Counter[tuple[Link, State]] = Counter()
        self._failures = Failures(context)
        self.targets = Targets(context)
        self.rotations = Rotations(context)

    # ----------------------------------------------------------------------------------------------------- view

    def prune(self) -> None:
        """Forget the workloads of which no verdict tells any more."""
        self.told_of = {workload for by_workload in self.verdicts.values() for workload in by_workload}

    def view(self, key: ObjectKey) -> ChainView | None:
        """Everything known of a chain now; None if there is no such ExternalSecret."""
        context, world = self.context, self.context.world
        es = world.external_secrets.get(key)
        if es is None:
            return None
        target = ObjectKey(key.namespace, es.target)
        resolved: list[tuple[SourceUse, SourceKey]] = []
        blind = [t for kind in FOLLOWED if (t := world.trouble(kind, key.namespace)) is not None]
        last: SourceKey | str | None = None
        allowed, trouble = False, None
        for use, source in world.sources_of(es):
            if source is not last:  # several keys of one vault secret follow one another
                rule_for, last = context.policy.vault_rule, source
                allowed = isinstance(source, SourceKey) and rule_for(source.vault, key.namespace) is not None
                trouble = self._blind(key.namespace, source, allowed)
            if trouble is not None:
                blind.append(trouble)
            if allowed and isinstance(source, SourceKey):
                resolved.append((use, source))
        wanted = {source for _, source in resolved}
        others = sorted(islice((o for o in world.chains_of_secret(target) if o != key), MANY_RIVALS + 1))
        rivals = tuple((o, mapping.expected_keys(world.external_secrets[o]) or frozenset()) for o in others)
        return ChainView(
            es=es,
            stores={store: world.stores[store] for store in es.stores if store in world.stores},
            sources={s: context.memory.sources[s] for s in sorted(wanted) if s in context.memory.sources},
            resolved=tuple(resolved),
            blind=tuple(blind),
            secret=world.secrets.get(target),
            secret_memory=context.memory.secrets.get(target),
            pushes=world.pushes.that_may_read(target),
            push_trouble=world.trouble("pushsecrets", key.namespace)
            or world.unusable.trouble_in("pushsecrets", key.namespace),
            secret_trouble=world.trouble("secrets", key.namespace) or world.unusable.trouble("secrets", target),
            memory=context.chain_memory(key),
            rivals=rivals,
            pods=world.pods_of_secret(target),
            pods_trouble=world.trouble("pods", key.namespace),
            nodes_ready=world.nodes.ready(),
            seen_running=world.seen_running,
        )

    def _blind(self, namespace: str, source: SourceKey | str, allowed: bool) -> Trouble | None:
        if isinstance(source, str):
            return Trouble(cause="store", detail=source)
        if not allowed:
            return not_listed(source.vault, namespace)
        answer = self.context.world.vaults.get(source.vault)
        if answer is None or (answer.trouble is None and source not in self.context.memory.sources):
            return Trouble(cause="not-looked-yet", detail=f"vault {source.vault_name} has not answered yet")
        return answer.trouble

    # ------------------------------------------------------------------------------------------------- diagnosis

    def diagnose(self, key: ObjectKey) -> set[WorkloadKey]:
        """Judge one chain anew; returns the workloads that its verdict touches."""
        touched = set(self.verdicts.pop(key, ()))
        old = self.reports.pop(key, None)
        if old is not None:
            for link in LINKS:
                self.links[link, old.state(link)] -= 1
        view = self.view(key)
        if view is None:
            self._say(key, {})
            self.context.memory.chains.pop(key, None)
            self.context.ledger.note("chains", key)
            self.targets.forget(key)
            self._failures.forget(key)
            self.context.allow(chain=key)
            return touched
        view = self._failures.explain(self._with_what_eso_wrote(view))
        now = self.context.now
        report = diagnose(view, self.context.policy, now)
        if old is not None and _misses_keys(report) and not _misses_keys(old):
            # As a rule ESO has written them, and only the Secret's watch is late.
            self.targets.read(view.es)
            view = self._failures.explain(self._with_what_eso_wrote(self.view(key) or view))
            report = diagnose(view, self.context.policy, now)
        by_workload: defaultdict[WorkloadKey, list[ContainerVerdict]] = defaultdict(list)
        for verdict in report.verdicts:
            pod = self.context.world.pods.get(verdict.pod)
            if pod is not None:
                by_workload[self.context.world.workload_of(pod)].append(verdict)
        found = {f"{f.link.value}/{f.kind.value}": f for f in report.findings}
        for workload, verdicts in by_workload.items():
            name = f"container/{workload.kind}/{workload.name}"
            since = self.context.chain_memory(key).since.get(name, now)
            finding = workload_finding(report, workload, verdicts, since)
            if finding is None or (finding.kind is Kind.SUSPECT and self._watch_tells_more(view, name)):
                continue
            found[name] = finding
        if report.containers is State.AWAITING:
            # Until the Secret is what it should be, what was found of the containers stands.
            before = self.findings.get(key, {})
            found |= {name: finding for name, finding in before.items() if finding.workload is not None}
        self.reports[key] = report
        for link in LINKS:
            self.links[link, report.state(link)] += 1
        if by_workload:
            self.verdicts[key] = dict(by_workload)
        self.told_of.update(by_workload)
        self._remember_findings(key, found, report, now)
        self.rotations.judged(key, report)
        self._remember_assumption(view, report)
        self._say(key, found)
        if report.wake_at is not None:
            self.context.timers.set(key, report.wake_at)
        if (made := view.memory.made) is not None and view.secret is not None and view.secret.uid == made.uid:
            # An answer of after it was made: what the vault gets after that answer is not in it, and needs no clock.
            self.context.look_again(set(view.sources), oldest=view.secret.created + 1)
        return touched | set(by_workload) | {self.context.world.workload_of(pod) for pod in view.pods}

    def _watch_tells_more(self, view: ChainView, name: str) -> bool:
        """The Secret was read ahead of its watch, which will tell when it was written: no time for new doubts."""
        ahead = self.context.observer.is_ahead(ObjectKey(view.es.key.namespace, view.es.target))
        return ahead and name not in self.findings.get(view.es.key, {})

    def _remember_findings(self, key: ObjectKey, found: dict[str, Finding], report: ChainReport, now: float) -> None:
        memory = self.context.chain_memory(key)
        if not found and not memory.since and memory.tries is None:
            return  # most chains, always
        not_judged = report.containers in (State.UNKNOWN, State.AWAITING)  # what was wrong with pods may go on unseen
        since = {name: at for name, at in memory.since.items() if not_judged and name.startswith("container/")}
        for name, finding in found.items():
            if finding.is_drift or finding.kind is Kind.UNKNOWN:
                kind = finding.kind.value if finding.workload is None else name
                since[kind] = memory.since.get(kind, now)
        healthy = not any(f.is_drift and f.link is not Link.CONTAINER for f in found.values())
        forgotten = healthy and (memory.tries is None or now >= memory.tries.kept_until)
        tries = None if forgotten else memory.tries
        if healthy and tries is not None:
            self.context.timers.set(key, tries.kept_until)  # else what comes later would be one of the same
        self.context.remember_chain(key, replace(memory, since=since, tries=tries))

    def _remember_assumption(self, view: ChainView, report: ChainReport) -> None:
        memory, at = view.secret_memory, report.assumed_from
        if memory is None or view.rivals or at >= memory.first_look:
            return
        if memory.assumed_from is None or at < memory.assumed_from:
            target = ObjectKey(view.es.key.namespace, view.es.target)
            self.context.memory.secrets[target] = replace(memory, assumed_from=at)
            self.context.ledger.note("history", target)

    def _say(self, key: ObjectKey, found: dict[str, Finding]) -> None:
        before = self.findings.get(key, {})
        if not found and not before:
            return
        now = self.context.now
        gone = {name: old for name, old in before.items() if not same(old, found.get(name))}
        for old in gone.values():
            by = in_its_place(old, found.values())
            lasted = max(0.0, now - old.since) if old.since else 0.0
            self.context.tell(DriftGone, finding=old, lasted=lasted, by=by)
        for name, finding in found.items():
            if name not in before or name in gone:
                self.context.tell(DriftFound, finding=finding)
        if found:
            self.findings[key] = found
        else:
            self.findings.pop(key, None)

    def _with_what_eso_wrote(self, view: ChainView) -> ChainView:
        """Where ESO tells of a sync that may have undone a change of the Secret: the Secret as it is after that.

        Held against what ESO has just undone, who runs its own value would seem stale.
        """
        if not elsewhere.undone(view):
            return view
        behind = not self.targets.caught_up(view.es)
        return replace(self.view(view.es.key) or view, secret_behind=behind)


def _misses_keys(report: ChainReport) -> bool:
    return any(finding.kind is Kind.MISSING_KEY for finding in report.findings)
