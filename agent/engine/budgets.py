"""What a PodDisruptionBudget that refused an eviction means for whoever has to do something about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agent.model import Budget, Pod


class RefusedBy(NamedTuple):
    """In words, and whether no time that passes changes it: a person has to."""

    detail: str
    lasting: bool = False


def refused_by(pod: Pod, budgets: Sequence[Budget], named: Sequence[str]) -> RefusedBy:
    """Why the API server does not evict the pod. ``budgets``: those that cover it, as they are now, if they could be
    read; ``named``: those that it named.
    """
    names = [budget.key.name for budget in budgets] or list(named)
    if len(names) > 1:
        text = f"PodDisruptionBudgets {', '.join(names)} cover the pod: the API never evicts it; keep one of them"
        return RefusedBy(text, lasting=True)
    name = f"PodDisruptionBudget {names[0] if names else '(not named)'}"
    tight = [budget for budget in budgets if budget.observed and 0 < budget.expected <= budget.desired]
    if tight:
        text = f"{name} can never allow an eviction: {tight[0].desired} of {tight[0].expected} pods must stay"
        return RefusedBy(f"{text}; raise replicas, or let it have fewer (minAvailable, maxUnavailable)", lasting=True)
    text = f"{name} allows no eviction now"
    if not pod.ready and any(budget.unhealthy_policy != "AlwaysAllow" for budget in budgets):
        text += "; the pod is not ready anyway: set unhealthyPodEvictionPolicy: AlwaysAllow in it"
    return RefusedBy(text)
