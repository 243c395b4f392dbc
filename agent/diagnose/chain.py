"""One chain, whole: the two upper links, then every container that consumes the Secret. Pure.

Link 3 is judged against the data of the last good sync. While an upper link drifts, what a container should hold is not
known yet, so its state is `awaiting-upstream`, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from agent import mapping
from agent.diagnose import containers, history, running, upstream
from agent.diagnose.containers import Certain, Need, Span
from agent.diagnose.view import ChainReport, ChainView, Upstream
from agent.memory import Entry, SecretMemory
from agent.model import (
    ContainerRun,
    ContainerSpec,
    ContainerVerdict,
    Finding,
    Kind,
    Link,
    Pod,
    SourceKey,
    State,
    Use,
    WorkloadKey,
)
from agent.policy import Policy
from agent.times import stamp

_WORST_FIRST = (State.STALE, State.UNKNOWN, State.SUSPECT, State.ASSUMED, State.FRESH)


def diagnose(view: ChainView, policy: Policy, now: float, *, full: bool = False) -> ChainReport:
    """The verdict on one chain. ``full``: name fresh containers too, as `explain` shows them."""
    above = upstream.judge(view, policy, now)
    changed = _changed_at(view)
    if above.vault in (State.EXCLUDED, State.PINNED):
        return _report(view, above, above.vault, changed)
    if view.pods_trouble is not None:
        unknown = Finding(
            chain=view.es.key, link=Link.CONTAINER, kind=Kind.UNKNOWN, since=now,
            cause=view.pods_trouble.cause, evidence=view.pods_trouble.detail,
        )  # fmt: skip
        return _report(view, above, State.UNKNOWN, changed, unknown)
    memory = view.secret_memory
    if memory is None or view.secret is None:
        return _report(view, above, State.AWAITING, changed)
    rule = policy.recycle_rule(view.es.key.namespace)
    judge = _Judge(view, memory, policy, now, rule.volumes if rule else "ignore", full=full)
    verdicts, fresh = list(judge.all()), judge.fresh
    if above.secret is not State.FRESH or above.vault is State.STALE:
        # Which of them are stale will be known when the Secret is what it should be.
        state = State.AWAITING if view.pods else State.FRESH
        told = tuple(verdicts) if full else ()
        return _report(view, above, state, changed, verdicts=told, fresh=fresh, assumed_from=judge.assumed_from)
    state = next((s for s in _WORST_FIRST if any(v.state is s and v.counts for v in verdicts)), State.FRESH)
    return _report(view, above, state, changed, verdicts=tuple(verdicts), fresh=fresh, assumed_from=judge.assumed_from)


def workload_finding(
    report: ChainReport, workload: WorkloadKey, verdicts: list[ContainerVerdict], since: float
) -> Finding | None:
    """One finding for all containers of a workload that are not fresh on this chain's account; None: all are."""
    worst = next((s for s in _WORST_FIRST[:3] if any(v.state is s for v in verdicts)), None)
    if worst is None:
        return None
    kind = {State.STALE: Kind.STALE_POD, State.UNKNOWN: Kind.UNKNOWN, State.SUSPECT: Kind.SUSPECT}[worst]
    those = [verdict for verdict in verdicts if verdict.state is worst]
    first = those[0]
    more = f" (and {len(those) - 1} more)" if len(those) > 1 else ""
    text = f"{first.pod.name} container {first.container}: {first.evidence}{more}"
    return Finding(
        chain=report.chain, link=Link.CONTAINER, kind=kind, evidence=text, workload=workload,
        since=since if kind is not Kind.SUSPECT else 0.0,  # that is not kept: after a first look there are thousands
        sources=tuple(dict.fromkeys(source for verdict in those for source, _ in verdict.versions)),
    )  # fmt: skip


class _Judged(NamedTuple):
    """Uses of one Secret by a container that have the same resolve interval and the same need."""

    use: Use  # the first of them
    need: Need
    names: dict[Hashable, str]  # keys they read; of those that share their times, one
    lag: float  # seconds by which what kubelet handed out may have been behind
    certain: Certain | None


class _Judge:
    """Judges the containers of one chain; what is the same for all of them is computed once."""

    def __init__(
        self, view: ChainView, memory: SecretMemory, policy: Policy, now: float, volumes: str, *, full: bool
    ) -> None:
        self.view, self.memory, self.policy, self.now, self.volumes = view, memory, policy, now, volumes
        self.full = full
        self.fresh = 0
        self.keys = mapping.expected_keys(view.es) if view.rivals else None
        self.assumed_from = _assumed_from(view, memory, policy)
        # Pods of one template share their specs, and keys that were always written together share their times: asking
        # once for each is most of what makes 50,000 pods cheap.
        self._specs: dict[int, tuple[_Judged, ...] | None] = {}
        self._nodes_ready, self._seen_running = view.nodes_ready, view.seen_running

    def all(self) -> Iterator[ContainerVerdict]:
        """A verdict for each container that consumes the Secret, or, unless ``full``, for those that are not fresh.

        ``fresh`` counts the others: of 50,000 containers nearly all, so no words are made for them.
        """
        for pod in self.view.pods:
            if containers.excluded(pod):
                continue
            for spec, run in zip(pod.containers, pod.runs, strict=True):
                known = id(spec)
                uses = self._specs[known] if known in self._specs else self._uses(spec)
                if uses is None:
                    continue
                if uses and not self.full and self._surely(pod, run, uses):
                    self.fresh += 1
                elif (verdict := self._container(pod, spec, run, uses)) is not None:
                    yield verdict

    def _surely(self, pod: Pod, run: ContainerRun, judged: tuple[_Judged, ...]) -> bool:
        """Whether the container is fresh or assumed without any doubt that would need a closer look."""
        if run.state != "running" or not run.ready or self.memory.cache is not None:
            return False
        if pod.node and pod.node not in self._nodes_ready:
            return False
        begin, end = containers.window(pod, run, self.policy, now=self._seen_running.get(pod.key, self.now))
        for one in judged:
            known, resolved = one.certain, begin - one.lag
            if known is None:
                return False
            if resolved > known.since:
                if resolved < known.settled or end < known.written:
                    return False
            elif not known.unchanged or resolved <= self.assumed_from:
                return False
        return True

    def _uses(self, spec: ContainerSpec) -> tuple[_Judged, ...] | None:
        """What is judged of a container; None: it does not consume the Secret."""
        uses = [use for use in spec.uses if use.secret == self.view.es.target]
        found: dict[tuple[bool, Need], tuple[Use, dict[Hashable, str]]] = {}
        for use in uses:
            if containers.counts(use, immutable=self.memory.immutable, volumes=self.volumes):
                need = containers.needs(use)
                _, names = found.setdefault((use.via == "subPath", need), (use, {}))
                for name in containers.keys_used(use, self.memory):
                    if self.keys is None or name in self.keys:
                        names.setdefault(containers.times(self._entries(name)) or name, name)
        judged = tuple(self._judged(use, need, names) for (_, need), (use, names) in found.items())
        self._specs[id(spec)] = judged if uses else None
        return self._specs[id(spec)]

    def _judged(self, use: Use, need: Need, names: dict[Hashable, str]) -> _Judged:
        histories = map(self._entries, names.values())
        certain = containers.certain(histories, self.memory.first_look, need)
        return _Judged(use, need, names, containers.lag(use, self.policy), certain)

    def _container(
        self, pod: Pod, spec: ContainerSpec, run: ContainerRun, judged: tuple[_Judged, ...]
    ) -> ContainerVerdict | None:
        if pod.node and pod.node not in self._nodes_ready:
            return self._verdict(pod, spec, State.UNKNOWN, f"node {pod.node} is not ready, or not known")
        if containers.resolves_again(run, spec.kind, now=self.now, window=self.policy.timing.crash_loop_window):
            return None
        if not judged:
            return None
        cache = self.memory.cache
        cached = cache is not None and pod.node in cache.dirty
        if cache is not None and cached and pod.created + 1 >= cache.at:
            text = (
                f"is on node {pod.node}, which may still serve the former, immutable Secret: a pod there refers to it"
            )
            return replace(self._verdict(pod, spec, State.SUSPECT, text), cached_on_node=True)
        worst, key, at = State.FRESH, "", Span(0, 0)
        seen = self._seen_running.get(pod.key, self.now)
        for use, need, names, _, _ in judged:
            span = containers.span(pod, run, use, self.policy, now=seen)
            if cache is not None and cached:
                # The pod itself keeps the former object on its node: a restart of the container gets that again.
                span = Span(min(span.lo, cache.at - 1), min(span.hi, cache.at - 1))
            for name in names.values():
                state = self._key(name, span, need)
                if state is not worst and _WORST_FIRST.index(state) < _WORST_FIRST.index(worst):
                    worst, key, at = state, name, span
        if worst in (State.FRESH, State.ASSUMED):
            self.fresh += 1
            if not self.full:
                return None
        return self._verdict(pod, spec, worst, self._evidence(worst, key, at, run), key, at)

    def _entries(self, name: str) -> tuple[Entry, ...]:
        return history.of(self.memory, name)

    def _key(self, name: str, span: Span, need: Need) -> State:
        before_us = State.ASSUMED if span.lo > self.assumed_from else State.SUSPECT
        first_look = self.memory.first_look
        return containers.judge(self._entries(name), first_look, span, before_us=before_us, need=need)

    def _evidence(self, state: State, key: str, at: Span, run: ContainerRun) -> str:
        if not key:
            return "every key it uses is the current one"
        newest, *older = history.of(self.memory, key)
        began = f"{stamp(run.started)}" if run.started else "at an unknown time"
        if state is State.ASSUMED:
            return f"started {began}, long after the version that was the newest at our first look"
        if not older:
            return f"started {began}, before our first look at {stamp(self.memory.first_look)}: {key} may be older"
        when = f"between {stamp(newest.lo)} and {stamp(newest.hi)}" if newest.hi - newest.lo > 1 else stamp(newest.lo)
        verb = "holds an older" if state is State.STALE else "may hold an older"
        return f"started {began}, {verb} {key}: the Secret got the current one {when}"

    def _verdict(
        self, pod: Pod, spec: ContainerSpec, state: State, evidence: str, key: str = "", at: Span | None = None
    ) -> ContainerVerdict:
        versions = self._versions(key, at) if at is not None and key else ()
        return ContainerVerdict(
            pod=pod.key, pod_uid=pod.uid, container=spec.name, state=state, evidence=evidence, versions=versions
        )

    def _versions(self, key: str, at: Span) -> tuple[tuple[SourceKey, tuple[float, ...]], ...]:
        """Per source of the key: the versions that this container may run, as far as they are known."""
        feeding = set(mapping.feeds(self.view.es, key))
        found: dict[SourceKey, tuple[float, ...]] = {
            source: () for use, source in self.view.resolved if use in feeding and source in self.view.sources
        }
        assumed = at.lo > self.assumed_from
        for source, might in running.of_key(
            self.view, self.memory, key, at, self.policy, assumed=assumed, settled=True
        ):
            if source in found:
                found[source] = tuple(sorted(might.versions))
        return tuple(found.items())


def _assumed_from(view: ChainView, memory: SecretMemory, policy: Policy) -> float:
    """From when on a container that resolved before our first look is assumed to hold the value of that look.

    By then ESO must have synced the newest version by its own interval, the spec and its stores were what they are now,
    and ESO has been Ready ever since. Once that was so it stays so: a version, an edit or a failure that comes after
    our first look says nothing about the time before it.
    """
    known = memory.assumed_from if memory.assumed_from is not None and not view.rivals else float("inf")
    return min(known, _assumed_now(view, policy))


def _assumed_now(view: ChainView, policy: Policy) -> float:
    es = view.es
    if view.blind or es.unsupported or es.ready is not True or es.ready_since is None or not view.resolved:
        return float("inf")
    if not upstream.refreshes_itself(es):
        # No interval tells when ESO fetched what is there. But data that are written move a time of the Secret.
        return view.secret.touched + 1 if view.secret is not None else float("inf")
    found = [view.sources.get(key) for _, key in view.resolved]
    versions = [source.state.created if source and source.state.present else float("inf") for source in found]
    places = [es.created, es.spec_changed, *(store.changed for key, store in view.stores.items() if key in es.stores)]
    # What was there when ESO became Ready was read by the sync that made it so; what came later, at its next refresh.
    later = [changed for changed in places if changed > es.ready_since]
    return max(es.ready_since, *(at + es.refresh_interval + policy.margins.vault for at in (*versions, *later)))


def _changed_at(view: ChainView) -> float:
    seen = max((source.seen_at for source in view.sources.values() if source.witnessed), default=0.0)
    memory = view.secret_memory
    return max(seen, history.last_change(memory), memory.first_look) if memory else seen


def _report(
    view: ChainView,
    above: Upstream,
    state: State,
    changed: float,
    *findings: Finding,
    verdicts: tuple[ContainerVerdict, ...] = (),
    fresh: int = 0,
    assumed_from: float = float("inf"),
) -> ChainReport:
    return ChainReport(
        chain=view.es.key,
        upstream=above,
        containers=state,
        findings=(*above.findings, *findings),
        verdicts=verdicts,
        fresh=fresh,
        assumed_from=assumed_from,
        changed_at=changed,
        wake_at=above.wake_at,
    )
