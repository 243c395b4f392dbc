"""Attempts that are remembered for a while, though what they were for is over."""

from __future__ import annotations

from support.engines import looking

from agent.memory import ChainMemory, Memory, Tries
from agent.model import ExternalSecret, ObjectKey
from agent.policy import Policy

CHAIN = ExternalSecret(
    key=ObjectKey("shop", "app-secrets"), uid="es", resource_version="1", generation=1, created=1.0, stores=(),
    uses=(), target="app", excluded="it has a generator",
)  # fmt: skip


def test_attempts_are_forgotten_when_their_time_is_over_though_nothing_else_happens() -> None:
    """Else somebody's edit of the Secret, hours after the former one, was taken for one more of the same."""
    engine = looking(Memory(), Policy())
    context = engine.context
    ends = context.now + 600
    context.memory.chains[CHAIN.key] = ChainMemory(tries=Tries(key="k", count=2, kept_until=ends))
    context.world.put("externalsecrets", CHAIN)
    engine.step()
    assert context.chain_memory(CHAIN.key).tries is not None
    assert context.timers.due(ends) == [CHAIN.key]
