"""Pods that PodDisruptionBudgets keep: why, for how long each is left alone, and whether it still is kept.

Thousands may be kept for hours. So the longer one is, the more rarely it is asked for, and without effect first: what
is refused anyway need not be written down before.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.cluster import reader
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, EvictionRefused, Unreachable
from agent.engine.budgets import refused_by
from agent.engine.context import Context
from agent.model import Pod, Step, WorkloadKey
from agent.plan.recycle import RecycleCase

REASON = "pod-disruption-budget"
PAUSE = 10.0
LONGEST_PAUSE = 300.0
PART = 0.25
"""Of the time for which it has been kept already: nobody waits for more than that once the budget gives way."""


class Kept(NamedTuple):
    """Why a pod is not evicted, how many seconds later it is asked for again, and whether only a person can end it."""

    detail: str
    seconds: float
    lasting: bool


class Keeping:
    """Asks the API server whether a pod may go by now."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def still(self, case: RecycleCase, pod: Pod) -> Kept | None:
        """Why a pod that was refused before would be refused again; None: it would not, or that is not known."""
        context = self._context
        if case.heal is None or case.heal.blocked != REASON or context.writer is None:
            return None
        try:
            context.writer.evict(pod.key, uid=pod.uid, dry_run=True)
        except EvictionRefused as refused:
            return self.refused(case.key, pod, refused)
        except (ApiProblem, Unreachable):
            return None  # it shows when it is tried
        return None

    def refused(self, key: WorkloadKey, pod: Pod, refused: EvictionRefused) -> Kept:
        """What a refusal means."""
        context = self._context
        context.step(Step.RECYCLE, "refused", refused.detail)
        try:
            budgets = [b for b in reader.budgets(context.conn, pod.key.namespace) if b.covers(pod)]
        except (ApiProblem, Unreachable, BadAnswer):
            budgets = []
        why = refused_by(pod, budgets, refused.budgets)
        pause = refused.retry_after or PAUSE
        return Kept(why.detail, max(pause, min(LONGEST_PAUSE, PART * context.refused_for(key, REASON))), why.lasting)
