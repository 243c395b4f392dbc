"""When a halt is over. Pure."""

from __future__ import annotations

from agent.memory import Halt, HealMemory
from agent.model import Pod, State, Workload
from agent.plan.recycle import PodCase, RecycleCase, blocked_by, failure

CANARY_HOLDS = 10.0
"""Seconds a failed canary must stay ready before its halt ends by itself."""


def halt_ended(case: RecycleCase, heal: HealMemory, halt: Halt) -> str:
    """Why the halt is over; empty: it is not."""
    if case.heal_key != halt.sources_key:
        return "a source version or the template has changed"
    if halt.reason == "immutable-cached-on-node":
        return "" if any(c.cached for c in case.pods) else "every pod is on a node that serves the new Secret"
    if halt.reason == "canary-blocked":
        if not case.pods:
            return ""  # it is a pod that is missing
        placed = not any(blocked_by(c) for c in case.pods)
        return "the new pod has been placed" if placed and _all_came(case.workload, len(case.pods)) else ""
    canary = _canary(case, heal, halt)
    if _silent(case, canary):
        return ""  # where its log is what it is judged by, a pod is ready whatever that says
    if not case.stale and not any(failure(case, c) for c in case.pods):
        return "no container is stale any more"
    return "the canary got ready and stayed so" if canary and all(_holds(case, c.pod) for c in canary) else ""


def _canary(case: RecycleCase, heal: HealMemory, halt: Halt) -> list[PodCase]:
    """The canary for which it was halted; where that pod is gone, those that came since and run the same."""
    named = [c for c in case.pods if c.pod.key.name == halt.pod]
    fresh = (State.FRESH, State.ASSUMED)
    return named or [c for c in case.pods if c.state in fresh and c.pod.created + 1 >= heal.batch_at > 0]


def _holds(case: RecycleCase, pod: Pod) -> bool:
    """It got ready and stayed so."""
    return pod.ready and pod.ready_since is not None and case.now - pod.ready_since > CANARY_HOLDS


def _silent(case: RecycleCase, canary: list[PodCase]) -> bool:
    """Whether a log that decides has said of one of these that it fails, or has not said yet that it works."""
    log = case.rule.canary.log if case.rule is not None else None
    if log is None:
        return False
    return any(c.log == "failure" or (log.success is not None and c.log != "success") for c in canary)


def _all_came(workload: Workload | None, pods: int) -> bool:
    """There are as many pods as are wanted; of a Deployment, as many of its template: beside a restart the old one,
    which is still there, says nothing of the new one."""
    if workload is None:
        return True
    return pods >= workload.replicas and (workload.key.kind != "Deployment" or workload.updated >= workload.replicas)
