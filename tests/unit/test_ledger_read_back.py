"""What the ledger writes, it reads back as it was: else a restart would forget what a verdict rests on."""

from __future__ import annotations

from typing import Any

import pytest

from agent.diagnose import history
from agent.ledger import shards
from agent.memory import SecretMemory
from agent.model import ObjectKey, SecretView

KEY = ObjectKey("shop", "app-secrets")


def _view(number: int) -> SecretView:
    return SecretView(
        key=KEY, uid="uid", resource_version=str(number), created=1000.0, touched=1000.0 + number,
        prints={"API_KEY": f"print-{number}"},
    )  # fmt: skip


def _read_back(memory: SecretMemory) -> Any:
    return shards.decode("history", 0, shards.encode("history", {KEY: memory}, 1, "key")).entries[KEY]


def test_a_secret_that_came_while_we_looked_is_read_back() -> None:
    """The history of a Secret of which we know that it was not there before survives a restart."""
    memory = history.first_look(_view(0), at=1001.0, absent_until=999.0)
    assert _read_back(memory) == memory


@pytest.mark.parametrize("changes", [1, history.KEPT_ENTRIES, 3 * history.KEPT_ENTRIES])
def test_a_secret_that_changes_without_end_is_read_back(changes: int) -> None:
    """However often a key changed, its history survives a restart."""
    memory = history.first_look(_view(0), at=1001.0, absent_until=None)
    for number in range(1, changes + 1):
        memory = history.watched(memory, _view(number), since=1000.0 + number, seen=1000.5 + number)
    assert len(memory.keys["API_KEY"]) == min(changes + 1, history.KEPT_ENTRIES)
    assert _read_back(memory) == memory
