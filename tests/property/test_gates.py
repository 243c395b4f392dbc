"""No plan breaks a gate, whatever the cluster, the ledger and the policy hold together.

Each sentence is checked against the case itself, in words of its own: nothing here asks a gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from property.cases import KEY, NOW, OPEN, SETTLE, Dice, recycle_case, sync_case

from agent.model import Kind, Link, State
from agent.plan import gates, recycle, sync
from agent.plan.decisions import (
    EndHalt,
    Evict,
    Finish,
    ForceSync,
    HaltNow,
    Idle,
    Passed,
    Recreate,
    Refuse,
    Restart,
    Wait,
)
from agent.plan.recycle import RecycleCase, batch_size
from agent.plan.sync import SyncCase

THOROUGH = settings(max_examples=1200, deadline=None)
SEEDS = st.integers(0, 2**64 - 1)
RECYCLES = SEEDS.map(lambda seed: recycle_case(Dice(seed)))
SYNCS = SEEDS.map(lambda seed: sync_case(Dice(seed)))
MANY = range(20_000)
"""Seeds of the cases among which each end must be found at least once."""
STRICT = ("ignore", "observe")


def _told(decision: object) -> None:
    """Whatever is decided says why, in words."""
    match decision:
        case Refuse():
            assert decision.refusal.reason.strip()
            assert decision.refusal.detail.strip()
            assert decision.refusal.until is None or math.isfinite(decision.refusal.until)
        case Wait():
            assert decision.why.strip()
            assert math.isfinite(decision.until)
        case HaltNow():
            assert decision.halt.reason.strip()
            assert decision.halt.detail.strip()
            assert decision.halt.remedy.strip()
        case EndHalt():
            assert decision.why.strip()


# --------------------------------------------------------------------------------------------------------- recycle


def _disruptive(case: RecycleCase) -> Evict | Restart | None:
    decision = recycle.decide(case)
    return decision if isinstance(decision, Evict | Restart) else None


def _resent(case: RecycleCase, decision: Evict) -> bool:
    """Whether it sends what an earlier process had reserved, and perhaps not sent."""
    undone = {e.uid for e in case.heal.batch if not e.done} if case.heal is not None else set()
    return {pod.uid for pod in decision.pods} <= undone


@THOROUGH
@given(RECYCLES)
def test_a_plan_for_a_workload_is_always_the_same_and_says_why(case: RecycleCase) -> None:
    """Any case whatever has one decision, the same each time, with its reason; none raises."""
    decision = recycle.decide(case)
    assert recycle.decide(case) == decision
    _told(decision)
    for refusal in gates.refusals(case):
        _told(Refuse(refusal=refusal))


@THOROUGH
@given(RECYCLES)
def test_only_stale_pods_go(case: RecycleCase) -> None:
    """No pod is touched that is fresh, assumed, unknown, cached on its node, or suspect without the policy's word."""
    decision = _disruptive(case)
    if decision is None:
        return
    assert not any(each.state is State.UNKNOWN for each in case.pods)
    by_uid = {each.pod.uid: each for each in case.pods}
    due = {State.STALE, State.SUSPECT} if case.rule and case.rule.suspect == "recycle" else {State.STALE}
    assert any(each.state in due for each in case.pods)
    if isinstance(decision, Evict):
        assert decision.pods
        assert len({pod.uid for pod in decision.pods}) == len(decision.pods)
        assert all(by_uid[pod.uid].state in due and not by_uid[pod.uid].cached for pod in decision.pods)


@THOROUGH
@given(RECYCLES)
def test_nobodys_word_is_overruled(case: RecycleCase) -> None:
    """No step against the mode, the rules, a pause, an owner who objects, another restarter, or a deletion."""
    if _disruptive(case) is None:
        return
    assert case.policy.mode == "heal"
    assert case.rule is not None
    pause = case.policy.pause
    assert pause is None or (pause.until is not None and pause.until <= NOW)
    assert case.around.namespace_mode not in STRICT
    assert not case.around.namespace_deleting
    assert not any(chain.opted_out for chain in case.chains)
    if case.key.kind == "Pod":
        assert case.rule.bare_pods == "recycle"
        return
    workload = case.workload
    assert case.key.kind in ("Deployment", "StatefulSet", "DaemonSet")
    assert workload is not None
    assert workload.annotations.get("secret-drift-agent/mode") not in STRICT
    assert not any(name.startswith("reloader.stakater.com/") for name in workload.annotations)
    assert workload.owner is None
    assert not workload.deleting


@THOROUGH
@given(RECYCLES)
def test_nothing_begins_while_something_is_not_settled(case: RecycleCase) -> None:
    """No step in a rollout, a halt, beside a chain that broke of late, before the settle time, outside a window."""
    decision = _disruptive(case)
    if decision is None or case.rule is None:
        return
    assert case.heal is None or case.heal.halt is None
    workload = case.workload
    if workload is not None:
        assert not any((workload.paused, workload.partition, workload.leaving))
        assert workload.observed_generation >= workload.generation
        assert workload.updated >= workload.replicas
    for chain in case.chains:
        upstream = chain.report.upstream
        broken = not (upstream.vault is State.FRESH and upstream.secret is State.FRESH)
        if broken and not chain.excluded:
            assert not chain.syncing
            assert 0 < chain.drifting_since <= NOW - 86_400
            assert chain.newest_created <= NOW - 86_400
    patient = case.heal is not None and case.heal.since <= NOW - 10 * case.rule.settle
    if case.rule.settle == SETTLE and not patient:
        assert all(chain.report.changed_at <= NOW - SETTLE for chain in case.chains if not chain.excluded)
    if case.rule.windows and OPEN not in case.rule.windows:
        assert case.rule.broken_pods == "any-time"
        assert isinstance(decision, Evict)
        assert not any(pod.ready for pod in decision.pods)


@THOROUGH
@given(RECYCLES)
def test_no_limit_is_broken(case: RecycleCase) -> None:
    """No step over a cap, a lost key, the blast radius, the attempts, a budget's wait, or before who tries first."""
    decision = _disruptive(case)
    if decision is None:
        return
    limits, heal, around = case.policy.limits, case.heal, case.around
    if not around.begun:
        assert around.under_way < limits.workloads_at_once
        here = limits.workloads_at_once_per_namespace
        assert here is None or around.under_way_here < here
    assert not around.blast
    assert not around.lacking
    if around.campaign:
        assert heal is not None
        assert heal.started
        assert heal.key == KEY
    before = heal.baseline if heal is not None else 0
    most = max(len(case.pods), case.workload.replicas if case.workload else 0, before)
    assert case.recycled < limits.attempts * most
    if heal is not None and heal.blocked:
        assert heal.blocked_until <= NOW


@THOROUGH
@given(RECYCLES)
def test_steps_are_as_small_as_promised(case: RecycleCase) -> None:
    """The canary is one pod, a batch is the workload's own maxUnavailable, only broken pods go together."""
    decision = _disruptive(case)
    if not isinstance(decision, Evict):
        return
    assert decision.stage in ("broken", "canary", "batch")
    if _resent(case, decision):
        return
    stale_and_broken = [each for each in case.stale if not each.pod.ready]
    if decision.stage == "broken":
        assert not any(pod.ready for pod in decision.pods)
        return
    assert not stale_and_broken, "the outage goes first"
    if decision.stage == "canary":
        assert len(decision.pods) == 1
        assert case.heal is None or not case.heal.canary_passed
        return
    assert case.heal is not None
    assert case.heal.canary_passed
    workload = case.workload
    allowed = 1
    if workload is not None and workload.max_unavailable.rstrip("%").isdigit():
        number = int(workload.max_unavailable.rstrip("%"))
        of = workload.replicas or len(case.pods)
        allowed = max(1, number * of // 100 if workload.max_unavailable.endswith("%") else number)
    assert batch_size(workload, len(case.pods)) == allowed
    assert len(decision.pods) <= allowed


@THOROUGH
@given(RECYCLES)
def test_one_batch_at_a_time_and_no_healthy_pod_below_the_count(case: RecycleCase) -> None:
    """While a batch is under way only its own reserved pods go; no healthy pod goes while fewer serve than did."""
    decision, heal = _disruptive(case), case.heal
    if decision is None or heal is None:
        return
    here = {each.pod.uid for each in case.pods}
    gone = [e for e in heal.batch if e.done or e.uid not in here]
    if isinstance(decision, Restart):
        assert not gone
        return
    if gone:
        assert _resent(case, decision)
    if not _resent(case, decision) and any(pod.ready for pod in decision.pods):
        wanted = case.workload.replicas if case.workload is not None else heal.baseline
        assert sum(each.pod.ready for each in case.pods) >= min(heal.baseline, wanted)


@THOROUGH
@given(RECYCLES)
def test_one_replica_leaves_no_gap(case: RecycleCase) -> None:
    """A single pod that serves is evicted only under `gap: allow`; a restart is a Deployment's that can surge."""
    decision, workload = _disruptive(case), case.workload
    if isinstance(decision, Restart):
        assert workload is not None
        assert (workload.key.kind, workload.replicas, workload.strategy) == ("Deployment", 1, "RollingUpdate")
        assert workload.max_surge not in ("0", "0%")
        assert not case.around.single_attach
    elif decision is not None and workload is not None and workload.replicas == 1 and case.rule is not None:
        serving = any(pod.ready for pod in decision.pods)
        assert not serving or workload.key.kind == "DaemonSet" or case.rule.gap == "allow" or _resent(case, decision)


def test_no_batch_passes_whose_new_pods_would_go_next() -> None:
    """Who came for a pod that had to go, and would have to go for the same cause, ends it: else it never ended."""
    ends = []
    for case in (recycle_case(Dice(seed)) for seed in MANY):
        heal, rule = case.heal, case.rule
        if heal is None or rule is None or heal.key != KEY:
            continue
        former = {eviction.uid for eviction in heal.batch}
        pods = tuple(
            replace(each, state=State.FRESH if each.pod.uid in former else State.SUSPECT, cached=False)
            for each in case.pods
        )
        reported, recycled = (
            recycle.decide(replace(case, pods=pods, rule=rule.model_copy(update={"suspect": word})))
            for word in ("report", "recycle")
        )
        came = [each for each in pods if each.state is State.SUSPECT and each.pod.created + 1 >= heal.batch_at]
        if isinstance(reported, Passed) and came:
            assert not isinstance(recycled, Passed | Evict | Restart | Finish)
            ends.append(isinstance(recycled, HaltNow))
    assert any(ends)


def _halted(reason: str) -> Callable[[object], bool]:
    return lambda decision: isinstance(decision, HaltNow) and decision.halt.reason == reason


def _refused(reason: str) -> Callable[[object], bool]:
    return lambda decision: isinstance(decision, Refuse) and decision.refusal.reason == reason


_REACHED: dict[str, Callable[[object], bool]] = {
    "the canary": lambda d: isinstance(d, Evict) and d.stage == "canary",
    "a batch of two": lambda d: isinstance(d, Evict) and d.stage == "batch" and len(d.pods) == 2,
    "broken pods": lambda d: isinstance(d, Evict) and d.stage == "broken" and len(d.pods) == 2,
    "a restart": lambda d: isinstance(d, Restart),
    "passed": lambda d: isinstance(d, Passed),
    "finished": lambda d: isinstance(d, Finish),
    "idle": lambda d: isinstance(d, Idle),
    "the end of a halt": lambda d: isinstance(d, EndHalt),
    **{
        f"halted, {reason}": _halted(reason)
        for reason in ("canary-failed", "canary-blocked", "immutable-cached-on-node")
    },
    **{
        f"refused, {reason}": _refused(reason)
        for reason in (
            "observe-mode", "no-rule", "paused", "opted-out", "bare-pod", "unsupported-owner", "owner-unknown",
            "operator-owned", "other-restarter", "deleting", "rollout-paused", "partition", "mid-rollout",
            "single-replica", "upstream", "outside-window", "blast-radius", "campaign", "pod-disruption-budget",
            "attempts", "unknown", "below-baseline", "missing-key", "pod-failing", "not-all-ready", "terminating",
        )
    },
}  # fmt: skip


def test_the_cases_reach_every_end() -> None:
    """What is proved above is proved of something: the drawn cases come to each step and to each refusal."""
    ends = [recycle.decide(recycle_case(Dice(seed))) for seed in MANY]
    assert [end for end, is_it in _REACHED.items() if not any(map(is_it, ends))] == []


# ------------------------------------------------------------------------------------------------------------ sync


@THOROUGH
@given(SYNCS)
def test_a_plan_for_a_chain_is_always_the_same_and_says_why(case: SyncCase) -> None:
    """Any case whatever has one decision, the same each time, with its reason; none raises."""
    decision = sync.decide(case)
    assert sync.decide(case) == decision
    _told(decision)
    for refusal in sync.refusals(case):
        _told(Refuse(refusal=refusal))


@THOROUGH
@given(SYNCS)
def test_no_sync_breaks_a_gate(case: SyncCase) -> None:
    """No force-sync, no delete against mode, steps, pause, owners, windows, caps, attempts, or what the vault shows."""
    decision = sync.decide(case)
    if not isinstance(decision, ForceSync | Recreate):
        return
    view, policy = case.view, case.policy
    (rule,) = policy.sync
    assert policy.mode == "heal"
    assert ("recreate" if isinstance(decision, Recreate) else "force-sync") in rule.steps
    assert policy.pause is None or (policy.pause.until is not None and policy.pause.until <= NOW)
    assert view.es.mode not in STRICT
    assert case.namespace_mode not in STRICT
    assert not case.namespace_deleting
    assert not view.es.sync_windows
    states = [source.state for source in view.sources.values()]
    assert all(state.present and state.enabled and not state.ignored for state in states)
    assert case.throttled_until <= NOW
    assert view.memory.sync is None, "one is under way"
    (finding,) = case.report.findings
    assert finding.kind in sync.ORDER
    assert finding.link is not Link.CONTAINER
    if isinstance(decision, ForceSync):
        assert case.in_flight < policy.limits.syncs_in_flight
        tries = view.memory.tries
        if tries is not None and tries.key == decision.tries_key:
            assert tries.count < policy.limits.attempts
            assert tries.next_at <= NOW


@THOROUGH
@given(SYNCS)
def test_a_secret_is_deleted_only_where_it_comes_back_for_sure(case: SyncCase) -> None:
    """Only a stuck immutable target that ESO owns alone, proved readable a moment ago, and exactly the object seen."""
    decision = sync.decide(case)
    if not isinstance(decision, Recreate):
        return
    view, secret = case.view, case.view.secret
    assert [finding.kind for finding in case.report.findings] == [Kind.STUCK]
    assert view.es.immutable
    assert view.es.creation_policy == "Owner"
    assert secret is not None
    assert secret.owner_uid == view.es.uid
    assert not any((secret.finalizers, secret.foreign_writers, secret.deleting))
    assert (decision.secret, decision.uid, decision.resource_version) == (secret.key, secret.uid, "7")
    assert not any((view.rivals, view.blind, case.other_recreate))
    assert NOW - view.memory.covered_at < 60
    assert all(view.memory.covered[str(key)] == source.state.identity for key, source in view.sources.items())
    assert view.memory.recreate is None or view.memory.recreate.state not in ("reserved", "deleted")


_SYNC_REACHED: dict[str, Callable[[object], bool]] = {
    "a force-sync": lambda d: isinstance(d, ForceSync),
    "a recreate": lambda d: isinstance(d, Recreate),
    "a wait for a slot": lambda d: isinstance(d, Wait) and d.until == 0,
    "a wait for ESO": lambda d: isinstance(d, Wait) and d.until > NOW,
    **{
        f"refused, {reason}": _refused(reason)
        for reason in (
            "observe-mode", "no-rule", "step-not-allowed", "paused", "opted-out", "deleting", "sync-window",
            "source-gone", "source-disabled", "vault-throttled", "attempts", "backoff", "no-secret", "not-immutable",
            "not-owner", "finalizers", "foreign-data", "shared", "vault-unknown", "recreate-pending",
        )
    },
}  # fmt: skip


def test_the_cases_of_chains_reach_every_end() -> None:
    """The drawn chains, too, come to each step and to each refusal."""
    ends = [sync.decide(sync_case(Dice(seed))) for seed in MANY]
    assert [end for end, is_it in _SYNC_REACHED.items() if not any(map(is_it, ends))] == []
