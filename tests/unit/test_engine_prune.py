"""What nobody reads any more is forgotten."""

from __future__ import annotations

from support.engines import looking

from agent.memory import Memory
from agent.model import SourceKey
from agent.policy import Policy

GONE = SourceKey("prod-kv.vault.azure.net", "gone")


def test_of_a_vault_secret_that_nobody_reads_any_more_no_time_is_kept() -> None:
    """Names come and go for as long as the agent runs; when each was asked for would be kept for good."""
    engine = looking(Memory(), Policy())
    engine.context.looked[GONE] = engine.context.asked[GONE] = 1.0
    engine.prune()
    assert (engine.context.looked, engine.context.asked) == ({}, {})
