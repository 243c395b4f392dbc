"""What many stale workloads have in common, and how many are too many. Pure.

Workloads made stale by one vault secret's version are one campaign: one of them tries it before the others. What is not
explained by the largest campaign is unrelated change, and too much of that at once is a storm: then nothing disruptive
is done, because one cause that we do not understand is likelier than many that we do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from agent.diagnose.containers import counts
from agent.engine.world import World
from agent.memory import Memory, StormMemory
from agent.model import Finding, Kind, ObjectKey, Pod, SourceKey, Use, WorkloadKey
from agent.policy import Policy

Stale = Mapping[WorkloadKey, frozenset[SourceKey]]


def with_those_to_come(stale: Stale, findings: Iterable[Finding], world: World, policy: Policy) -> Stale:
    """Also the workloads that the next syncs of what is stale upstream will make so: they count before the first goes.

    Consumers of a key alone whose vault secret has a newer version; by a plain volume, where that is left behind.
    """
    found = defaultdict(set, {workload: set(sources) for workload, sources in stale.items()})
    for finding in findings:
        es = world.external_secrets.get(finding.chain)
        if finding.kind is not Kind.STALE or es is None:
            continue
        target = ObjectKey(es.key.namespace, es.target)
        rule, secret = policy.recycle_rule(es.key.namespace), world.secrets.get(target)
        left_behind = partial(
            counts, immutable=secret is not None and secret.immutable, volumes=rule.volumes if rule else "ignore"
        )
        pods = world.pods_of_secret(target)
        for use, source in world.sources_of(es):
            if isinstance(source, SourceKey) and source in finding.sources:
                for pod in pods:
                    if not pod.deleting and _reads(pod, es.target, use.secret_keys, left_behind):
                        found[world.workload_of(pod)].add(source)
    return {workload: frozenset(sources) for workload, sources in found.items()}


def together(parts: Iterable[Stale]) -> Stale:
    """What several chains have to do with it, by workload."""
    found: dict[WorkloadKey, frozenset[SourceKey]] = {}
    for part in parts:
        for workload, sources in part.items():
            found[workload] = found[workload] | sources if workload in found else sources
    return found


def _reads(pod: Pod, secret: str, keys: tuple[str, ...] | None, left_behind: Callable[[Use], bool]) -> bool:
    """Whether a container reads one of these keys (None: any), and does not follow a change by itself."""
    return any(
        use.secret == secret
        and left_behind(use)
        and (keys is None or any(key in use.keys if use.keys is not None else key not in use.without for key in keys))
        for spec in pod.containers
        for use in spec.uses
    )


def blast_radius(stale: Stale, recyclable: Callable[[], int], policy: Policy) -> str:
    """Why the blast radius forbids disruption; empty: it does not.

    ``stale``: with those to come, of the ``recyclable`` ones, whose number is asked for only where it decides.
    """
    if len(stale) * 100 <= policy.limits.disruptive_percent * policy.limits.disruptive_floor:
        return ""
    if not policy.limits.disruptive_percent:  # not even one campaign
        return f"{len(stale)} workloads would be recycled; a limit of 0 % forbids every one"
    shared = Counter(source for sources in stale.values() for source in sources)
    largest, explained = max(shared.items(), key=lambda item: item[1], default=(None, 0))
    unrelated = len(stale) - explained if explained > 1 else len(stale)
    if unrelated * 100 <= policy.limits.disruptive_percent * policy.limits.disruptive_floor:
        return ""
    total = max(recyclable(), policy.limits.disruptive_floor)
    if unrelated * 100 <= policy.limits.disruptive_percent * total:
        return ""
    beside = f", besides {explained} that {largest} explains" if explained > 1 else ""
    return (
        f"{unrelated} of {total} workloads would be recycled for unrelated changes{beside};"
        f" the limit is {policy.limits.disruptive_percent} %"
    )


def storm(known: StormMemory | None, *, exceeded: bool, wanted: bool, now: float, calm: float) -> StormMemory | None:
    """What is remembered of a storm: it ends when a person wants it, or ``calm`` seconds after it was last exceeded.

    For a moment the ratio falls with each pod that is replaced by somebody else, too.
    """
    if wanted:
        return None
    if exceeded:
        return known if known is not None and known.over else StormMemory(over=True, since=now)
    if known is None:
        return None
    since = now if known.over else known.since
    return StormMemory(over=False, since=since) if now < since + calm else None


def goes_before(other: WorkloadKey, key: WorkloadKey, memory: Memory) -> bool:
    """Whether ``key`` waits for ``other``, whose heal has begun, where not both may go.

    Pods of it are under way, or it has begun earlier: so no two wait for each other, or go at once.
    """
    theirs, own = memory.heals[other], memory.heals.get(key)
    began = own.started if own is not None and own.started else float("inf")
    return theirs.in_flight or (theirs.started, other) < (began, key)


def must_wait(
    key: WorkloadKey,
    sources: tuple[SourceKey, ...],
    memory: Memory,
    begun: Iterable[WorkloadKey],
    refused: Callable[[WorkloadKey], bool],
) -> str:
    """Why this workload waits for another one that tries the same version first; empty: it need not.

    ``begun``: those whose heal has, which alone are waited for; ``refused``: whether the next step of another one is,
    so that it tries nothing however long it is waited for.
    """
    for other in begun:
        heal = memory.heals[other]
        if other == key or not any(source in sources for source in heal.sources):
            continue
        shared = ", ".join(str(source) for source in sorted(set(heal.sources) & set(sources)))
        if heal.halt is not None and heal.halt.reason == "canary-failed":
            return f"{shared}: the same version made the canary of {other.kind} {other} fail"
        trying = heal.started and not heal.canary_passed and heal.halt is None
        if trying and (heal.in_flight or not refused(other)) and goes_before(other, key, memory):
            return f"{shared}: the canary of {other.kind} {other} tries the same version first"
    return ""
