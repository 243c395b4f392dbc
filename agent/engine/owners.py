"""What the owners of a chain's parts say: whether any of them wants the agent to leave it alone."""

from __future__ import annotations

from collections.abc import Iterable

from agent.engine.context import Context
from agent.memory import SourceMemory
from agent.model import ExternalSecret, SourceKey
from agent.plan.optout import opted_out


def sources_known(context: Context, es: ExternalSecret) -> list[SourceMemory]:
    """What is remembered of the vault secrets that the chain reads."""
    sources = (source for _, source in context.world.sources_of(es) if isinstance(source, SourceKey))
    found = (context.memory.sources.get(source) for source in sources)
    return [known for known in found if known is not None]


def objection(es: ExternalSecret, sources: Iterable[SourceMemory]) -> str:
    """Why an owner does not want what the chain feeds to be healed; empty: nobody objects.

    The owner of the ExternalSecret by its annotation, the vault's by a tag on any secret that it reads.
    """
    if why := opted_out([(f"ExternalSecret {es.key}", es.mode)]):
        return why
    tagged = any(source.state.ignored for source in sources)
    return "a vault secret it reads carries the tag secret-drift-agent=ignore" if tagged else ""
