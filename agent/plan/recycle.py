"""The lowest rung: recycling the pods of one workload, canary first. Pure.

Decided per workload over all its chains. `decide` looks at what is under way first (`watch_batch`), then at what is
due, asks every gate, and only then names pods. It never counts on having been called before: all it knows of the past
is the heal's record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from agent.diagnose.view import ChainReport
from agent.memory import Halt, HealMemory
from agent.model import RESTARTED_AT, ContainerRun, Kind, Pod, Refusal, SourceKey, State, Step, Workload, WorkloadKey
from agent.plan.decisions import EndHalt, Evict, Finish, HaltNow, Idle, Passed, RecycleDecision, Refuse, Restart, Wait
from agent.plan.moved import Moved
from agent.policy import Policy, RecycleRule, windows

NO_REPLACEMENT = 30.0
"""Seconds without any new pod in place of an evicted one before we say that something (a quota?) keeps it away."""


class PodCase(msgspec.Struct, frozen=True, kw_only=True):
    """One pod of the workload with the worst verdict over its containers and chains."""

    pod: Pod
    state: State  # FRESH, ASSUMED, STALE, SUSPECT or UNKNOWN
    evidence: str = ""
    cached: bool = False  # not fresh because its node may serve a former immutable object
    log: str = ""  # success | failure | "" (nothing yet, or not asked)
    returning_until: float = 0.0  # it is not ready, and till then that may be said of its node, which was away


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """One chain that the workload consumes."""

    report: ChainReport
    excluded: bool  # excluded or pinned: does not hold the workload up
    drifting_since: float = 0.0
    newest_created: float = 0.0
    opted_out: str = ""  # why its owner objects
    syncing: bool = False  # a force-sync of ours is under way, or has just ended and the chain is judged anew


def drifting_since(report: ChainReport, known: Mapping[str, float]) -> float:
    """Since when the last of all that is wrong with the upper links is; 0: nothing is. ``known``: by kind.

    What has been so for long must not hide what has just begun: a search is unknown for ever.
    """
    wrong = (f for f in report.upstream.findings if f.is_drift or f.kind in (Kind.UNKNOWN, Kind.DISABLED))
    return max((known.get(f.kind.value, f.since) for f in wrong), default=0.0)


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What limits the workload from outside."""

    begun: bool = False  # this workload is being recycled, and counts as such
    under_way: int = 0  # other workloads being recycled, cluster
    under_way_here: int = 0  # of this namespace
    namespace_mode: str = ""
    namespace_deleting: bool = False
    blast: str = ""  # why the blast radius forbids disruption; empty: it does not
    blast_until: float | None = None  # where the end of that is known
    campaign: str = ""  # why the workload must wait for another one that tries the same version first
    single_attach: str = ""  # a volume claim that only one node can mount
    lacking: str = ""  # what a new pod would wait for in vain; empty: nothing


class RecycleCase(msgspec.Struct, frozen=True, kw_only=True):
    """One workload, as the plan sees it."""

    key: WorkloadKey
    workload: Workload | None
    pods: tuple[PodCase, ...]  # not terminating, not completed
    terminating: frozenset[str] = frozenset()  # uids
    chains: tuple[Chain, ...]
    heal: HealMemory | None
    heal_key: str  # source versions and template: a heal is about these
    recycled: int = 0  # pods of it so far, for this very key
    sources: tuple[SourceKey, ...]
    moved: tuple[Moved, ...] = ()  # what changed and what to go back to
    policy: Policy
    rule: RecycleRule | None
    around: Surroundings
    now: float
    clock_error: float = 0.0  # seconds by which the API server's clock may be behind `now`

    @property
    def stale(self) -> tuple[PodCase, ...]:
        """Pods that hold an old value, or may hold one where the policy says that is enough."""
        wanted = due(self.rule)
        return tuple(case for case in self.pods if case.state in wanted and not case.cached)

    @property
    def ready(self) -> int:
        """Pods that serve."""
        return sum(case.pod.ready for case in self.pods)

    @property
    def judged(self) -> bool:
        """Whether all of it is. What cannot be looked at for a while, or waits for its Secret, is refused as before."""
        return not any(chain.report.containers in (State.UNKNOWN, State.AWAITING) for chain in self.chains)


def due(rule: RecycleRule | None) -> frozenset[State]:
    """The states of containers for which a workload is recycled, and counts as one that may be."""
    return _OR_PERHAPS if rule is not None and rule.suspect == "recycle" else _FOR_SURE


_FOR_SURE = frozenset({State.STALE})
_OR_PERHAPS = frozenset({State.STALE, State.SUSPECT})


def decide(case: RecycleCase) -> RecycleDecision:
    """What is due for this workload now."""
    from agent.plan.gates import GATES  # the gates, and what ends a halt, speak of cases, so they import this module
    from agent.plan.halts import halt_ended

    heal = case.heal
    if heal is not None and heal.halt is not None:
        why = halt_ended(case, heal, heal.halt)
        return EndHalt(why=why) if why else Idle()
    if heal is not None and heal.in_flight:
        outcome = watch_batch(case, heal)
        if outcome is not None:
            return outcome
    if not case.stale:
        if heal is not None and heal.started and (stuck := _cached(case)):
            return HaltNow(halt=stuck)
        if heal is None or any(chain.report.upstream.holds_up for chain in case.chains if not chain.excluded):
            return Idle()  # while a Secret is not what it should be, nobody can be called fresh
        if any(failure(case, c) for c in case.pods):
            return Idle()  # it resolves again by itself; until then it is not known what it will run
        return Finish() if not heal.started or case.ready >= min(heal.baseline, _wanted(case, heal)) else Idle()

    for gate in GATES:
        if (verdict := gate(case)) is not None:
            return verdict if isinstance(verdict, Wait) else Refuse(refusal=verdict)
    return _choose(case)


# --------------------------------------------------------------------------------------------- what is under way


def watch_batch(case: RecycleCase, heal: HealMemory) -> RecycleDecision | None:
    """How the pods under way fare. None: they are done with, and the next step may be looked for."""
    if heal.stage == "restart" and not stamped(case, heal):
        return None  # reserved, and never sent
    here = {c.pod.uid for c in case.pods}
    reserved = {eviction.uid for eviction in heal.batch}
    evicted = {eviction.uid for eviction in heal.batch if eviction.done or eviction.uid not in here}
    new = [c for c in case.pods if c.pod.uid not in reserved and c.pod.created + 1 >= heal.batch_at]
    if failed := next((f for c in new if (f := failure(case, c))), None):
        return HaltNow(halt=_halt(case, "canary-failed", *failed))
    if blocked := next((b for c in new if (b := blocked_by(c))), None):
        return HaltNow(halt=_halt(case, "canary-blocked", *blocked))
    if heal.batch and (not evicted or _unsent(case, heal)):
        return None  # reserved, perhaps never sent: evicted again under the same uids where that is still due
    remaining, replaced = evicted & (here | case.terminating), _replaced(case, heal, new)
    since = max(heal.batch_at, heal.unblocked_at)
    deadline = since + _ready_within(case)
    if not replaced or (remaining and case.now <= deadline):
        late = case.now > since + NO_REPLACEMENT
        missing = not new if heal.stage == "restart" else len(case.pods) < _wanted(case, heal)
        if not remaining and late and missing:
            text = "no pod came in place of the old one: look at quotas and the controller's events"
            return HaltNow(halt=_halt(case, "canary-blocked", text, ""))
        if case.now > deadline:
            slow = next((c for c in new if not c.pod.ready), None)
            if slow is not None:
                text = f"not ready within {_ready_within(case):.0f} s"
                return HaltNow(halt=_halt(case, "canary-failed", text, slow.pod.key.name))
            if remaining:
                return _leaving(case, heal, remaining)
            if heal.stage != "restart":
                return _below(case, heal)
        return Wait(
            until=min(deadline, case.now + 5) if case.now < deadline else case.now + 5, why="waiting for the new pod"
        )
    if waiting := _log_missing(case, new):
        return waiting
    if stuck := _cached(case):
        return HaltNow(halt=stuck)
    again = [c for c in new if c.state in due(case.rule)]
    if again and heal.key == case.heal_key:  # else a newer version has come meanwhile: that is the next heal's
        text = f"was created after the change and is not fresh: {again[0].evidence}"
        return HaltNow(halt=_halt(case, "canary-failed", text, again[0].pod.key.name))
    return Passed(pods=min(len(new), len(heal.batch)) if heal.batch else len(new))


def _unsent(case: RecycleCase, heal: HealMemory) -> list[PodCase]:
    """Pods of the batch whose eviction was reserved, is not known to have happened, and is still due and allowed."""
    undone = {eviction.uid for eviction in heal.batch if not eviction.done}
    return [c for c in _due(case) if c.pod.uid in undone]


def _due(case: RecycleCase) -> tuple[PodCase, ...]:
    """Stale pods that may go now: outside the windows those alone that serve nobody."""
    stale = case.stale
    return tuple(c for c in stale if not c.pod.ready) if stale and outside_window(case) else stale


def stamped(case: RecycleCase, heal: HealMemory) -> bool:
    """Whether the template bears this heal's stamp: the restart that was reserved has been sent."""
    return case.workload is None or case.workload.template_annotations.get(RESTARTED_AT) == heal.restart_stamp


def _replaced(case: RecycleCase, heal: HealMemory, new: list[PodCase]) -> bool:
    """Each pod that went has a ready successor, and the ready count is back at what it was.

    An autoscaler that wants fewer pods by now, wants fewer successors.
    """
    if not all(c.pod.ready for c in new):
        return False
    if heal.stage == "restart":
        done = case.workload is None or not case.workload.rolling
        return done and bool(new) and len(new) == len(case.pods)
    wanted = _wanted(case, heal)
    if len(new) < len(heal.batch) and len(case.pods) < wanted:
        return False
    before = max(heal.baseline, len(heal.batch)) if heal.stage == "broken" else heal.baseline
    # Stale pods that have broken meanwhile come back by being replaced only: waited for, they would stay as they are.
    broken = sum(not c.pod.ready and c not in new for c in case.stale)
    return case.ready + broken >= min(before, wanted)


def _below(case: RecycleCase, heal: HealMemory) -> Refuse:
    """Fewer pods serve than did before, through no pod of ours: no healthy one is taken away now."""
    text = f"{case.ready} pods are ready, {heal.baseline} were before: the next goes when they are back"
    return Refuse(refusal=Refusal(step=Step.RECYCLE, reason="below-baseline", detail=text, workload=case.key))


def _leaving(case: RecycleCase, heal: HealMemory, uids: set[str]) -> Refuse:
    """A pod that was evicted does not go, and nothing that serves has come in its place."""
    left = [one for one in heal.batch if one.uid in uids]
    pods = ", ".join(one.pod for one in left)
    nodes = " ".join(["its node", *sorted({one.node for one in left if one.node})])
    text = f"pod {pods} was evicted and is terminating still: its finalizers keep it, or {nodes} does"
    return Refuse(refusal=Refusal(step=Step.RECYCLE, reason="terminating", detail=text, workload=case.key))


def _wanted(case: RecycleCase, heal: HealMemory) -> int:
    return case.workload.replicas if case.workload is not None else heal.baseline


def _ready_within(case: RecycleCase) -> float:
    return case.rule.canary.ready_within if case.rule is not None else 300.0


def failure(case: RecycleCase, candidate: PodCase) -> tuple[str, str] | None:
    """(what, pod) if a new pod started and failed."""
    name = candidate.pod.key.name
    if candidate.log == "failure":
        return "its log has the line that the policy calls a failure", name
    for spec, run in zip(candidate.pod.containers, candidate.pod.runs, strict=True):
        if _crashed(spec.kind, run):
            times = f", {run.restarts} times" if run.restarts > 1 else ""
            return f"container {spec.name} starts and fails{times} ({run.reason or 'Error'})", name
    return None


def _crashed(kind: str, run: ContainerRun) -> bool:
    if run.reason == "CrashLoopBackOff":
        return True
    if kind == "init":
        return run.restarts > 0 and not run.ready
    ended = run.state == "terminated" or run.previous_finished is not None
    return ended and not run.ready


_PULL = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ImageInspectError")


def blocked_by(candidate: PodCase) -> tuple[str, str] | None:
    """(what, pod) if a pod cannot start, whatever its Secrets hold."""
    pod = candidate.pod
    if pod.unschedulable:
        return f"cannot be placed: {_short(pod.unschedulable)}", pod.key.name
    for spec, run in zip(pod.containers, pod.runs, strict=True):
        if run.reason in _PULL:
            return f"container {spec.name}: {run.reason}", pod.key.name
    return None


def _log_missing(case: RecycleCase, new: list[PodCase]) -> RecycleDecision | None:
    """The canary's log line is awaited, or did not come in time."""
    log = case.rule.canary.log if case.rule is not None else None
    if log is None or case.heal is None or case.heal.stage not in ("canary", "restart", "broken"):
        return None
    silent = [c for c in new if c.log != "success"]
    if not silent:
        return None
    started = max((run.started or c.pod.created for c in silent for run in c.pod.runs), default=case.now)
    until = max(started, case.heal.batch_at) + log.within
    if case.now < until:
        return Wait(until=min(until, case.now + 1), why="waiting for the log line")
    if log.success is None:
        return None
    text = f"its log did not show the success line within {log.within:.0f} s"
    return HaltNow(halt=_halt(case, "canary-failed", text, silent[0].pod.key.name))


def _cached(case: RecycleCase) -> Halt | None:
    cached = next((c for c in case.pods if c.cached), None)
    if cached is None:
        return None
    node = cached.pod.node
    remedy = (
        f"move every pod that uses the Secret off node {node} (kubectl drain, or scale to 0 and back): kubelet serves"
        " the former immutable Secret as long as any pod there refers to it"
    )
    return _halt(case, "immutable-cached-on-node", cached.evidence, cached.pod.key.name, remedy=remedy)


def _halt(case: RecycleCase, reason: str, detail: str, pod: str, *, remedy: str = "") -> Halt:
    said = f"pod {pod}: {detail}" if pod else detail
    if reason == "canary-failed":
        said = "; ".join((said, *map(str, case.moved)))
        remedy = (
            remedy
            or "set the previous value again as a new version, or correct the application; then it goes on by itself"
        )
    elif reason == "canary-blocked":
        remedy = remedy or "not the secret's fault: make room for the pod, it goes on by itself"
    template = case.workload.template_digest if case.workload is not None else ""
    about = case.heal.key if case.heal is not None else case.heal_key
    return Halt(
        reason=reason, detail=said, at=case.now, pod=pod, sources_key=about, template=template, remedy=remedy,
        secrets=tuple(str(moved.source) for moved in case.moved),
        back_to=", ".join(moved.back_to for moved in case.moved if moved.back_to),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- what comes next


def _choose(case: RecycleCase) -> RecycleDecision:
    stale, heal = _due(case), case.heal
    broken = [c for c in stale if not c.pod.ready]
    if heal is not None and (again := _unsent(case, heal)):
        # Reserved before a crash or a lost answer: the same pods, so that never more are under way than were meant.
        return _evict(case, again, heal.stage if heal.stage in ("broken", "canary") else "batch")
    if broken:
        return _evict(case, broken, "broken")
    if heal is not None and case.ready < min(heal.baseline, _wanted(case, heal)):
        return _below(case, heal)
    if _by_rollout(case):
        return _restart(case)  # also where it was scaled down to one after its canary had passed
    if heal is None or not heal.canary_passed:
        return _evict(case, sorted(stale, key=_order)[:1], "canary")
    size = batch_size(case.workload, len(case.pods))
    return _evict(case, sorted(stale, key=_order)[:size], "batch")


def outside_window(case: RecycleCase) -> bool:
    """No window of the rule is open. What may go all the same, if anything, is broken pods."""
    return case.rule is not None and not windows.is_open(case.rule.windows, case.now)


def batch_size(workload: Workload | None, pods: int) -> int:
    """How many pods the workload itself allows to be away at once, at least one. A percentage rounds down."""
    if workload is None:
        return 1
    match = re.fullmatch(r"(\d+)(%?)", workload.max_unavailable)
    if match is None:
        return 1
    number = int(match[1])
    total = workload.replicas or pods
    return max(1, math.floor(total * number / 100) if match[2] else number)


def surges(workload: Workload) -> bool:
    """A rolling update starts the new pod before it stops the old one."""
    return workload.strategy == "RollingUpdate" and workload.max_surge not in ("0", "0%", "")


def _by_rollout(case: RecycleCase) -> bool:
    """A single replica that its controller can replace without a gap: it surges; the new pod starts beside the old."""
    workload = case.workload
    if workload is None or workload.key.kind != "Deployment" or workload.replicas != 1:
        return False
    return surges(workload) and not case.around.single_attach


def _order(case: PodCase) -> tuple[int, float, str]:
    """Highest ordinal first (as a StatefulSet does), else the oldest first."""
    match = re.search(r"-(\d+)$", case.pod.key.name)
    ordinal = int(match[1]) if match and case.pod.owner is not None and case.pod.owner.kind == "StatefulSet" else 0
    return (-ordinal, case.pod.created, case.pod.key.name)


def _evict(case: RecycleCase, chosen: list[PodCase], stage: str) -> Evict:
    return Evict(
        workload=case.key, pods=tuple(c.pod for c in chosen), stage=stage,
        evidence=chosen[0].evidence + _despite(case), sources=case.sources, key=case.heal_key,
    )  # fmt: skip


def _despite(case: RecycleCase) -> str:
    """What an SRE should know beside the evidence: something else is broken for long, or never comes to rest."""
    broken = [str(c.report.chain) for c in case.chains if not c.excluded and c.report.upstream.holds_up]
    said = f"; recycled-beside-broken-chain {', '.join(broken)}" if broken else ""
    newest = max((c.report.changed_at for c in case.chains if not c.excluded), default=0.0)
    if case.rule is not None and case.now < newest + case.rule.settle:
        said += "; rotating-continuously: it has not been quiet for the settle time"
    return said


def _restart(case: RecycleCase) -> Restart:
    return Restart(workload=case.key, evidence=case.stale[0].evidence, key=case.heal_key)


def _short(text: str) -> str:
    return " ".join(text.split())[:160]
