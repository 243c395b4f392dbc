"""What a heal is about: so that a retry is told from something new. And whether that is all that can be new."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from agent.diagnose.view import ChainReport
from agent.engine.context import Context
from agent.memory import HealMemory
from agent.model import ObjectKey, SourceKey, State, Workload

Reports = Mapping[ObjectKey, ChainReport]


def heal_key(context: Context, reports: Reports, workload: Workload | None) -> str:
    """The versions of all sources behind the workload, its chains' specs, its template and its uid.

    Halts rest on it: an agent that made it in another way would take each of them for over.
    """
    world, memory = context.world, context.memory
    parts = [workload.uid, workload.template_digest] if workload is not None else []
    for chain in reports:
        es = world.external_secrets[chain]
        parts.append(f"{chain}:{es.generation}")
        for _, source in world.sources_of(es):
            known = memory.sources.get(source) if isinstance(source, SourceKey) else None
            if known is not None:
                parts.append(f"{source}={known.state.identity}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def followed(context: Context, reports: Reports) -> bool:
    """Whether a new value is always a new key: all sources are known, and nothing else fills the Secrets."""
    world, known = context.world, context.memory.sources
    chains = [world.external_secrets[chain] for chain, report in reports.items() if not is_excluded(report)]
    alone = all(es.creation_policy == "Owner" and not es.unsupported and not es.filled_besides for es in chains)
    return alone and all(source in known for es in chains for _, source in world.sources_of(es))


def is_excluded(report: ChainReport) -> bool:
    """Whether the chain is left alone, and holds no workload up."""
    return report.upstream.vault in (State.EXCLUDED, State.PINNED)


def awaits_pod(heal: HealMemory, workload: Workload | None) -> bool:
    """Whether a workload without a pod waits for the one that comes in place of one that a heal has sent away."""
    awaited = heal.in_flight or (heal.halt is not None and heal.halt.reason == "canary-blocked")
    return awaited and workload is not None and workload.replicas > 0 and not workload.deleting
