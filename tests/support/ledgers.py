"""What a ledger makes of a memory, without an API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.ledger import shards
from agent.memory import Memory


def as_read_back(memory: Memory) -> Memory:
    """The memory as the next process finds it: encoded and decoded, so that what does not survive that is missing."""
    tables: dict[str, Mapping[Any, Any]] = {
        "history": memory.secrets,
        "sources": memory.sources,
        "chains": memory.chains,
        "heals": memory.heals,
    }
    back: dict[str, Any] = {
        table: shards.decode(table, 0, shards.encode(table, entries, 1, "key")).entries
        for table, entries in tables.items()
    }
    return Memory(
        heartbeat=dict(memory.heartbeat), secrets=back["history"], sources=back["sources"], chains=back["chains"],
        heals=back["heals"],
    )  # fmt: skip
