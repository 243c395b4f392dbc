"""What many stale workloads have in common, and how many are too many. Pure.

Workloads made stale by one vault secret's version are one campaign: one of them tries it before the others. What is not
explained by the largest campaign is unrelated change, and too much of that at once is a storm: then nothing disruptive
is done, because one cause that we do not understand is likelier than many that we do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from agent.engine.world import World
from agent.memory import Memory
from agent.model import SourceKey, WorkloadKey
from agent.policy import Policy

Stale = Mapping[WorkloadKey, frozenset[SourceKey]]


def blast_radius(stale: Stale, world: World, policy: Policy) -> str:
    """Why the blast radius forbids disruption; empty: it does not."""
    if len(stale) * 100 <= policy.limits.disruptive_percent * policy.limits.disruptive_floor:
        return ""
    shared = Counter(source for sources in stale.values() for source in sources)
    largest, explained = max(shared.items(), key=lambda item: item[1], default=(None, 0))
    unrelated = len(stale) - explained if explained > 1 else len(stale)
    total = max(world.judged_workloads(), policy.limits.disruptive_floor)
    if unrelated * 100 <= policy.limits.disruptive_percent * total:
        return ""
    beside = f", besides {explained} that {largest} explains" if explained > 1 else ""
    return (
        f"{unrelated} of {total} workloads would be recycled for unrelated changes{beside};"
        f" the limit is {policy.limits.disruptive_percent} %"
    )


def must_wait(key: WorkloadKey, sources: tuple[SourceKey, ...], memory: Memory, stale: Stale) -> str:
    """Why this workload waits for another one that tries the same version first; empty: it need not."""
    for other, heal in memory.heals.items():
        if other == key or not set(heal.sources) & set(sources):
            continue
        shared = ", ".join(str(source) for source in sorted(set(heal.sources) & set(sources)))
        if heal.halt is not None and heal.halt.reason == "canary-failed":
            return f"{shared}: the same version made the canary of {other.kind} {other} fail"
        if heal.started and not heal.canary_passed and heal.halt is None:
            return f"{shared}: the canary of {other.kind} {other} tries the same version first"
    return ""
