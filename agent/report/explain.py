"""One chain as a tree: what the vault has, what ESO did, what the Secret holds, what each container runs."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.model import ObjectKey


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `explain` says of one chain."""

    chain: ObjectKey


def gather(engine: Any, key: ObjectKey) -> Told | None:
    """Collect it; None if there is no such ExternalSecret."""
    return Told(chain=key) if key in engine.chains.reports else None


def tree(told: Told) -> str:
    """As text."""
    return f"{told.chain}\n"


def as_json(told: Told) -> bytes:
    """As JSON."""
    return msgspec.json.encode(told)
