"""The gates before any pod is touched. Pure; all of one shape; all fail closed.

Each takes the case and answers None (pass), a refusal with its reason and, where it can be known, the time at which it
ends, or an ordinary wait that nobody needs to be told of. A new gate is a new function and an entry in ``GATES``.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.diagnose.changes import BESIDE
from agent.model import RESTARTERS, Refusal, State, Step
from agent.plan.decisions import Wait
from agent.plan.optout import mode_of, opted_out
from agent.plan.recycle import RecycleCase, batch_size, due, failure, outside_window, surges
from agent.policy import windows
from agent.times import ago, stamp

Gate = Callable[[RecycleCase], Refusal | Wait | None]

RECYCLABLE = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def _refusal(case: RecycleCase, reason: str, detail: str, until: float | None = None) -> Refusal:
    return Refusal(step=Step.RECYCLE, reason=reason, detail=detail, until=until, workload=case.key)


def gate_mode(case: RecycleCase) -> Refusal | None:
    """The policy heals workloads of this namespace."""
    if case.policy.mode != "heal":
        return _refusal(case, "observe-mode", "the policy's mode is observe")
    if case.rule is None:
        return _refusal(case, "no-rule", f"no rule of recycle matches namespace {case.key.namespace}")
    return None


def gate_pause(case: RecycleCase) -> Refusal | None:
    """Nobody has paused the agent."""
    pause = case.policy.paused(case.now)
    return _refusal(case, "paused", f"paused: {pause.reason}", pause.until) if pause else None


def gate_opt_out(case: RecycleCase) -> Refusal | None:
    """No owner objects: of the workload, the namespace, or any chain it consumes."""
    mode = mode_of(case.workload.annotations) if case.workload is not None else ""
    if case.key.kind == "Pod":
        mode = next((c.pod.mode for c in case.pods), "")
    why = opted_out(
        [(f"{case.key.kind} {case.key}", mode), (f"namespace {case.key.namespace}", case.around.namespace_mode)]
    )
    why = why or next((chain.opted_out for chain in case.chains if chain.opted_out), "")
    return _refusal(case, "opted-out", why) if why else None


def gate_kind(case: RecycleCase) -> Refusal | None:
    """The pods have a controller that brings them back, and that this agent knows."""
    if case.key.kind == "Pod":
        if case.rule is not None and case.rule.bare_pods == "recycle":
            return None
        return _refusal(case, "bare-pod", "the pod has no controller: nothing would bring it back")
    if case.key.kind not in RECYCLABLE:
        return _refusal(case, "unsupported-owner", f"pods of a {case.key.kind} are not recycled by this agent")
    if case.workload is None:
        return _refusal(case, "owner-unknown", f"{case.key.kind} {case.key} could not be read")
    return None


def gate_owner(case: RecycleCase) -> Refusal | None:
    """Nobody else handles the workload: no operator owns it, no other restarter watches it."""
    workload = case.workload
    if workload is None:
        return None
    if workload.owner is not None:
        return _refusal(
            case, "operator-owned", f"{workload.owner.kind} {workload.owner.name} owns it: restart it there"
        )
    for name, value in (*workload.annotations.items(), *workload.template_annotations.items()):
        other = next((who for prefix, who in RESTARTERS.items() if name.startswith(prefix)), None)
        if other and value.strip().lower() != "false":  # its owner has said that it is not to
            return _refusal(case, "other-restarter", f"{other} handles it (annotation {name})")
    return None


def gate_rollout(case: RecycleCase) -> Refusal | None:
    """The workload is at rest."""
    workload = case.workload
    if case.around.namespace_deleting:
        return _refusal(case, "deleting", f"namespace {case.key.namespace} is being deleted")
    if workload is None:
        return None
    if workload.deleting:
        return _refusal(case, "deleting", "it is being deleted")
    if workload.paused:
        return _refusal(case, "rollout-paused", "its rollout is paused (spec.paused)")
    if workload.partition:
        return _refusal(
            case, "partition", f"its update strategy has partition {workload.partition}: a person is rolling it out"
        )
    if workload.rolling:
        return _refusal(
            case, "mid-rollout", f"a rollout is under way ({workload.updated} of {workload.replicas} updated)"
        )
    return None


def gate_single(case: RecycleCase) -> Refusal | None:
    """A single replica is replaced only in a way that leaves no gap, unless the policy allows one.

    A pod that is stale and not ready serves nobody: it may go.
    """
    workload = case.workload
    if workload is None or case.rule is None or workload.replicas != 1 or workload.key.kind == "DaemonSet":
        return None
    if case.rule.gap == "allow" or not any(c.pod.ready for c in case.stale):
        return None
    why = ""
    if workload.key.kind != "Deployment" or workload.strategy != "RollingUpdate":
        why = f"a single replica with strategy {workload.strategy} ({workload.key.kind}) would be away for a while"
    elif not surges(workload):
        why = "a single replica with maxSurge 0 would be away for a while"
    elif case.around.single_attach:
        why = f"volume claim {case.around.single_attach} is mounted by one node only: a new pod could not start beside"
    return _refusal(case, "single-replica", f"{why}; `gap: allow` permits that") if why else None


def gate_upstream(case: RecycleCase) -> Refusal | Wait | None:
    """No chain of the workload drifts, fails or is unknown since less than the policy's horizon.

    One that is being synced at this moment is waited for: that is no refusal.
    """
    horizon = case.now - case.policy.timing.broken_chain_horizon
    syncing: Wait | None = None
    for chain in case.chains:
        if chain.excluded or not chain.report.upstream.holds_up:
            continue
        if chain.syncing or chain.report.upstream.wake_at is not None:
            syncing = Wait(until=case.now + 1, why=f"ExternalSecret {chain.report.chain} is being synced, or just was")
            continue
        if max(chain.drifting_since, chain.newest_created) > horizon or not chain.drifting_since:
            finding = next((f for f in chain.report.upstream.findings if f.kind not in BESIDE), None)
            if finding is None:
                return Wait(until=case.now + 1, why="a vault, or ESO's last write, has not come to us yet")
            what = f": {finding.kind.value}" + (f" ({finding.cause})" if finding.cause else "")
            return _refusal(case, "upstream", f"ExternalSecret {chain.report.chain} is not in order{what}")
    return syncing


def gate_settle(case: RecycleCase) -> Wait | None:
    """Quiet since the newest change, so that a pair of secrets rotated together costs one restart; not for ever.

    At least until a pod that is created now is seen to be created after the change, or our first look: kubelet's cache
    may lag, the pod's creation is told in whole seconds, and the clock by which it is told may be behind ours.
    """
    floor = _longest_lag(case) + 1 + case.clock_error
    settle = max(case.rule.settle if case.rule else 0.0, floor)
    newest = max((chain.report.changed_at for chain in case.chains if not chain.excluded), default=0.0)
    until = newest + settle
    since = case.heal.since if case.heal is not None else case.now
    if case.now >= since + settle * case.policy.timing.settle_cap:
        until = newest + floor
    if case.now >= until:
        return None
    return Wait(until=until, why=f"settling until {stamp(until)}")


def _longest_lag(case: RecycleCase) -> float:
    """Of what a new pod may get. One with subPath mounts is suspect for longer, and might go again."""
    lag = case.policy.margins.kubelet_lag
    if State.SUSPECT not in due(case.rule) or all(
        use.via != "subPath" for one in case.stale for spec in one.pod.containers for use in spec.uses
    ):
        return lag
    return max(lag, case.policy.timing.sub_path_lag)


def gate_windows(case: RecycleCase) -> Refusal | None:
    """A window is open, or the pods are broken and the policy lets those go at any time."""
    if case.rule is None or not outside_window(case):
        return None
    if case.rule.broken_pods == "any-time" and any(not c.pod.ready for c in case.stale):
        return None
    opens = windows.next_opening(case.rule.windows, case.now)
    when = f", the next opens {stamp(opens)} (in {ago(opens - case.now)})" if opens else ""
    return _refusal(case, "outside-window", f"outside the policy's windows{when}", opens)


def gate_blast_radius(case: RecycleCase) -> Refusal | None:
    """Not too many workloads are, are about to be, or were a short while ago, stale for unrelated reasons."""
    around = case.around
    return _refusal(case, "blast-radius", around.blast, around.blast_until) if around.blast else None


def gate_campaign(case: RecycleCase) -> Refusal | Wait | None:
    """One workload tries a new version before the others that consume it do."""
    if not case.around.campaign or _begun(case):
        return None
    return _refusal(case, "campaign", case.around.campaign)


def gate_caps(case: RecycleCase) -> Wait | None:
    """No more workloads are under way than allowed. Waiting for a turn is no refusal."""
    if case.around.begun:
        return None
    limits = case.policy.limits
    here = limits.workloads_at_once_per_namespace
    if case.around.under_way >= limits.workloads_at_once:
        return Wait(until=case.now + 1, why=f"{case.around.under_way} workloads are being recycled, as many as allowed")
    if here is not None and case.around.under_way_here >= here:
        return Wait(
            until=case.now + 1, why=f"{case.around.under_way_here} workloads of the namespace are being recycled"
        )
    return None


def gate_budget(case: RecycleCase) -> Refusal | None:
    """The API server has not just refused an eviction."""
    heal = case.heal
    if heal is None or not heal.blocked or case.now >= heal.blocked_until:
        return None
    return _refusal(case, heal.blocked, heal.blocked_detail, None if heal.lasting else heal.blocked_until)


def gate_attempts(case: RecycleCase) -> Refusal | None:
    """Its pods were not recycled too often for these versions and this template.

    One recycle makes them fresh, whatever the vault holds, until the Secret's value changes. Where it changes without a
    new version, there is no end: ESO renders a template anew at each sync, and sprig has randAlphaNum, htpasswd, now.
    """
    before = case.heal.baseline if case.heal is not None else 0  # an autoscaler may want fewer by now
    pods = max(case.workload.replicas if case.workload is not None else 0, len(case.pods), before, 1)
    if case.recycled < case.policy.limits.attempts * pods:
        return None
    detail = (
        f"recycled {case.recycled // pods} times for the same versions in the vault: the Secret's value changes by"
        " itself (a random part or a time in its template? a second writer?)"
    )
    return _refusal(case, "attempts", detail)


def gate_unknown(case: RecycleCase) -> Refusal | None:
    """Nothing of the workload is unknown: what cannot be judged is not touched."""
    unknown = next((c for c in case.pods if c.state is State.UNKNOWN), None)
    if unknown is None:
        return None
    return _refusal(case, "unknown", f"pod {unknown.pod.key.name}: {unknown.evidence}")


def gate_returning(case: RecycleCase) -> Wait | None:
    """No stale pod is unready because its node was away: with a node all its pods are, and are again without our help.

    Else they went as broken ones do, all at once and before any canary has shown that the new value works.
    """
    back = max(case.stale, key=lambda c: c.returning_until, default=None)
    if back is None or case.now >= back.returning_until:
        return None
    return Wait(until=back.returning_until, why=f"node {back.pod.node} was not ready until a moment ago")


def gate_failing(case: RecycleCase) -> Refusal | None:
    """Before the first goes, no pod that is not stale fails: it shows what would become of one that serves."""
    if not _first_serves(case):
        return None
    failing = next((found for c in case.pods if c not in case.stale and (found := failure(case, c))), None)
    return _refusal(case, "pod-failing", f"pod {failing[1]}, which is not stale: {failing[0]}") if failing else None


def gate_serving(case: RecycleCase) -> Refusal | None:
    """Before the first goes, no more pods are away than the workload itself allows."""
    workload = case.workload
    if workload is None or not _first_serves(case):
        return None
    if workload.replicas - (case.ready - 1) <= batch_size(workload, len(case.pods)):
        return None
    ready = f"{case.ready} of {workload.replicas} pods are ready: the first goes when the others are back"
    return _refusal(case, "not-all-ready", ready)


def gate_startable(case: RecycleCase) -> Refusal | None:
    """A new pod finds every key that it must have: else one that still serves goes, and none comes."""
    return _refusal(case, "missing-key", case.around.lacking) if case.around.lacking else None


def _first_serves(case: RecycleCase) -> bool:
    """Whether the next to go would be the first, and one that serves.

    Who serves nobody may go. Once one has gone it is known how many served before, and no fewer will.
    """
    return (case.heal is None or not case.heal.started) and all(c.pod.ready for c in case.stale)


def _begun(case: RecycleCase) -> bool:
    heal = case.heal
    if heal is None or not heal.started or heal.key != case.heal_key:
        return False
    return heal.canary_passed or heal.in_flight


GATES: tuple[Gate, ...] = (
    gate_mode, gate_pause, gate_opt_out, gate_kind, gate_owner, gate_rollout, gate_upstream, gate_unknown,
    gate_returning, gate_startable, gate_failing, gate_serving, gate_attempts, gate_settle, gate_windows, gate_single,
    gate_blast_radius, gate_budget, gate_campaign, gate_caps,
)  # fmt: skip
"""In the order in which an SRE would want to hear of them."""


def left_alone(case: RecycleCase) -> bool:
    """Whether policy and owners keep its pods from being recycled, whatever happens to its Secrets and however long."""
    return case.rule is None or any(gate(case) for gate in (gate_opt_out, gate_kind, gate_owner))


def refusals(case: RecycleCase) -> tuple[Refusal, ...]:
    """All gates that refuse now, not the first alone; for whoever asks why nothing is done."""
    return tuple(verdict for gate in GATES if isinstance(verdict := gate(case), Refusal))
