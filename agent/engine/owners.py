"""What the owners of a chain's parts say: whether any of them wants the agent to leave it alone."""

from __future__ import annotations

from agent.engine.context import Context
from agent.model import ExternalSecret, SourceKey
from agent.plan.optout import opted_out


def objection(context: Context, es: ExternalSecret) -> str:
    """Why an owner does not want what the chain feeds to be healed; empty: nobody objects.

    The owner of the ExternalSecret by its annotation, the vault's by a tag on any secret that it reads.
    """
    sources = (source for _, source in context.world.sources_of(es) if isinstance(source, SourceKey))
    known = (context.memory.sources.get(source) for source in sources)
    if why := opted_out([(f"ExternalSecret {es.key}", es.mode)]):
        return why
    tagged = any(found is not None and found.state.ignored for found in known)
    return "a vault secret it reads carries the tag secret-drift-agent=ignore" if tagged else ""
