"""What would be done now, and every gate that refuses it: the last part of an explanation. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agent.diagnose.view import ChainReport, ChainView
from agent.model import Budget, Refusal, State, Step, WorkloadKey
from agent.plan import gates
from agent.plan.decisions import (
    EndHalt,
    Evict,
    Finish,
    ForceSync,
    HaltNow,
    Passed,
    Recreate,
    RecycleDecision,
    Refuse,
    Restart,
    SyncDecision,
    Wait,
)
from agent.plan.recycle import RecycleCase
from agent.report.told import StepTold
from agent.report.words import counted
from agent.times import stamp

_STAGES = {"broken": "stale and not ready, so first", "canary": "the canary", "batch": "the next batch"}


def sync_step(
    view: ChainView, report: ChainReport, decision: SyncDecision | None, refusals: tuple[Refusal, ...]
) -> StepTold:
    """For links 1 and 2."""
    memory = view.memory
    if memory.sync is not None:
        return StepTold(
            step="under-way", detail=f"force-sync asked for at {stamp(memory.sync.at)}, not acknowledged yet"
        )
    if memory.recreate is not None and memory.recreate.state != "back":
        lost = " and is not back" if memory.recreate.state == "lost" else ", ESO writes it anew"
        return StepTold(step="under-way", detail=f"the Secret was deleted at {stamp(memory.recreate.at)}{lost}")
    match decision:
        case Wait():
            return StepTold(step="wait", detail=decision.why, until=decision.until or None)
        case Refuse():
            step = decision.refusal.step
            return StepTold(step=step.value, detail=_SYNC_STEPS[step], refusals=refusals or (decision.refusal,))
        case ForceSync():
            return StepTold(step="force-sync", detail=f"{_SYNC_STEPS[Step.FORCE_SYNC]} ({decision.reason})")
        case Recreate():
            return StepTold(step="recreate", detail=_SYNC_STEPS[Step.RECREATE])
    if any(finding.is_drift for finding in report.upstream.findings):
        return StepTold(step="none", detail="no step of this agent helps; what to do is told with the finding")
    return StepTold(step="none", detail="nothing is due")


_SYNC_STEPS = {
    Step.FORCE_SYNC: "ask ESO to sync now, by the annotation force-sync",
    Step.RECREATE: "delete the Secret, for ESO to write it anew",
}


def workload_step(
    pair: tuple[RecycleCase, RecycleDecision] | None, report: ChainReport, budgets: Sequence[Budget] = ()
) -> StepTold:
    """For one workload, over all its chains."""
    if pair is None:
        return StepTold(step="none", detail="nothing is due")
    case, decision = pair
    heal = case.heal
    if heal is not None and heal.halt is not None and not isinstance(decision, EndHalt):
        halt = heal.halt
        said = f"{halt.reason} since {stamp(halt.at)}: {halt.detail}"
        return StepTold(step="halted", detail=said, remedy=halt.remedy)
    match decision:
        case Wait():
            refused = gates.refusals(case) + _budgets(case, budgets)
            return StepTold(step="wait", detail=decision.why, until=decision.until, refusals=refused)
        case Refuse():
            refused = gates.refusals(case) or (decision.refusal,)
            return StepTold(step="recycle", detail=_recycling(case), refusals=refused + _budgets(case, budgets))
        case Evict():
            names = ", ".join(pod.key.name for pod in decision.pods[:3])
            more = f" and {len(decision.pods) - 3} more" if len(decision.pods) > 3 else ""
            said = f"evict {names}{more} ({_STAGES.get(decision.stage, decision.stage)})"
            return StepTold(step="recycle", detail=said, refusals=_budgets(case, budgets))
        case Restart():
            return StepTold(step="recycle", detail="rollout restart: its controller replaces the pod, new one first")
        case Passed():
            return StepTold(step="under-way", detail="the pods under way are ready on the current value; it goes on")
        case HaltNow():
            halt = decision.halt
            return StepTold(step="halted", detail=f"{halt.reason}: {halt.detail}", remedy=halt.remedy)
        case EndHalt():
            return StepTold(step="under-way", detail=f"the halt ends: {decision.why}")
        case Finish():
            return StepTold(step="none", detail="the recycling is done: no container is known to run an old value")
    if report.containers is State.AWAITING:
        return StepTold(step="none", detail="nothing before the Secret is what it should be")
    if any(pod.state in (State.SUSPECT, State.UNKNOWN) for pod in case.pods):
        return StepTold(step="none", detail="what is not proved to be stale is reported, and left running")
    return StepTold(step="none", detail="nothing is due")


def in_short(step: StepTold) -> str:
    """A step in one line, empty where nothing is due."""
    if step.step == "none":
        return ""
    said = step.detail if step.step == "under-way" else f"{step.step}: {step.detail}"
    return said + (f"; until {stamp(step.until)}" if step.until and stamp(step.until) not in said else "")


def _recycling(case: RecycleCase) -> str:
    ready = sum(pod.pod.ready for pod in case.stale)
    return f"replace {counted(len(case.stale), 'stale pod')} ({ready} of them ready), one first, then in batches"


def _budgets(case: RecycleCase, budgets: Sequence[Budget]) -> tuple[Refusal, ...]:
    """The PodDisruptionBudgets that would make the API server refuse the first eviction, unless it has just done so."""
    told = gates.gate_budget(case)
    if told is not None and told.reason == "pod-disruption-budget":
        return ()
    pods = [pod.pod for pod in case.stale]
    found = [b for b in budgets if pods and any(b.covers(pod) for pod in pods) and b.allowed < 1]
    return tuple(_budget(case.key, budget) for budget in found)


def _budget(workload: WorkloadKey, budget: Budget) -> Refusal:
    detail = (
        f"PodDisruptionBudget {budget.key.name} allows no disruption now"
        f" ({budget.healthy} of {budget.expected} pods healthy, {budget.desired} needed)"
    )
    return Refusal(step=Step.RECYCLE, reason="pod-disruption-budget", detail=detail, workload=workload)
