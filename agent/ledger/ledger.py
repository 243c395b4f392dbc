"""Loading and saving the memory, by compare-and-swap.

Whoever else writes these objects makes our next write fail with a conflict: then our memory is no longer the truth, and
nothing may be done on it. The heartbeat is written last: what it confirms has been saved before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem, Conflict, Unreachable
from agent.cluster.stored import Stored, StoredKind, list_stored, read_stored
from agent.cluster.writer import Writer
from agent.ledger import shards
from agent.ledger.keys import LABELS
from agent.memory import Memory
from agent.model import ObjectKey

PREFIX = "secret-drift-agent-ledger"
HEARTBEAT = f"{PREFIX}-heartbeat"
SELECTOR = "secret-drift-agent/ledger=true"


class LedgerProblem(Exception):
    """The ledger could not be written: nothing that must be remembered may be done."""


class LedgerConflict(LedgerProblem):
    """Somebody else writes the ledger: what we hold in memory is not the truth any more."""


class Ledger:
    """The memory on disk, so to speak. ``writer`` None: read-only, as `scan` uses it."""

    def __init__(
        self, conn: Connection, namespace: str, writer: Writer | None, *, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._conn, self._namespace, self._writer, self._tell = conn, namespace, writer, tell
        self._objects: dict[str, Stored] = {}
        self._counts: dict[str, int] = {}
        self._dirty: dict[str, set[tuple[str, ...]]] = {table: set() for table in shards.TABLES}
        self._key_id = ""

    def load(self, key_id: str) -> Memory:
        """The memory as last saved. What cannot be read is unknown history: said once, and begun anew.

        Read-only, that holds for what may not be read, too. Raises ApiProblem, Unreachable, BadAnswer.
        """
        memory = Memory(key_id=key_id)
        self._key_id = key_id
        self._objects.clear()
        kinds: tuple[StoredKind, ...] = ("configmaps", "secrets")
        for kind in kinds:
            for stored in self._listed(kind):
                self._objects[stored.key.name] = stored
        tables: dict[str, dict[Any, Any]] = {
            "history": memory.secrets, "sources": memory.sources, "chains": memory.chains, "heals": memory.heals,
        }  # fmt: skip
        for table, target in tables.items():
            self._load_table(table, target)
        beat = self._objects.get(HEARTBEAT)
        if beat is not None:
            try:
                memory.heartbeat = msgspec.json.decode(beat.data.get("heartbeat", b"{}"), type=dict[str, float])
            except msgspec.DecodeError:
                self._tell("the ledger's heartbeat cannot be read: what happened while the agent was away is unknown")
        if self._history_lost:
            memory.heartbeat.clear()
        return memory

    def _listed(self, kind: StoredKind) -> list[Stored]:
        try:
            return list_stored(self._conn, kind, self._namespace, label_selector=SELECTOR)
        except ApiProblem as error:
            if self._writer is not None or error.code != 403:
                raise
        table = "history" if kind == "secrets" else ""
        self._lost(table, f"its {kind} in namespace {self._namespace} may not be read")
        return []

    def note(self, table: str, key: tuple[str, ...]) -> None:
        """An entry of a table has changed, or is gone."""
        self._dirty[table].add(tuple(key))

    @property
    def dirty(self) -> bool:
        """Something has changed since the last save."""
        return any(self._dirty.values())

    def save(self, memory: Memory, *, only: str | None = None, heartbeat: bool = False) -> None:
        """Write what has changed (of one table where ``only`` is given). Raises LedgerProblem.

        What was seen is written before what is about to be done because of it: a step's evidence outlives us.
        """
        if self._writer is None:
            return
        tables: dict[str, dict[Any, Any]] = {
            "history": memory.secrets, "sources": memory.sources, "chains": memory.chains, "heals": memory.heals,
        }  # fmt: skip
        for table, entries in tables.items():
            if (only in (None, table) or table == "history") and self._dirty[table]:
                self._save_table(table, entries)
        if heartbeat and only is None:
            self._put(HEARTBEAT, "configmaps", {"heartbeat": msgspec.json.encode(memory.heartbeat)})

    def _load_table(self, table: str, target: dict[Any, Any]) -> None:
        prefix = f"{PREFIX}-{table}-"
        counts = {1}
        for name in sorted(self._objects):
            if not name.startswith(prefix):
                continue
            try:
                entries, count, key_id = shards.decode(table, self._objects[name].data.get("entries", b""))
            except shards.Unreadable as error:
                self._lost(table, f"{name} is not used: {error}; what it knew begins anew, nothing is restarted for it")
                continue
            if table == "history" and key_id != self._key_id:
                self._lost(
                    table, f"{name} is of another key: the history before is unknown, nothing is restarted for it"
                )
                continue
            counts.add(count)
            target.update(entries)
        self._counts[table] = max(counts)

    _history_lost = False

    def _lost(self, table: str, text: str) -> None:
        if table == "history":
            self._history_lost = True
        self._tell(text)

    def _save_table(self, table: str, entries: dict[Any, Any]) -> None:
        count = max(self._counts.get(table, 1), shards.shard_count(len(entries)))
        keys = self._dirty[table]
        if count != self._counts.get(table):
            wanted = set(range(count))
        else:
            wanted = {shards.shard_of(key, count) for key in keys}
        kind: StoredKind = shards.TABLES[table][0]
        for number, part in shards.split(entries, count, wanted).items():
            name = f"{PREFIX}-{table}-{number}"
            self._put(name, kind, {"entries": shards.encode(table, part, count, self._key_id)})
        self._counts[table] = count
        self._dirty[table] = set()

    def _put(self, name: str, kind: StoredKind, data: dict[str, bytes]) -> None:
        assert self._writer is not None
        former = self._objects.get(name)
        if former is not None and former.data == data:
            return
        stored = Stored(
            kind=kind,
            key=ObjectKey(self._namespace, name),
            data=data,
            labels=LABELS | {"secret-drift-agent/ledger": "true"},
            resource_version=former.resource_version if former else "",
            uid=former.uid if former else "",
        )
        try:
            self._objects[name] = self._writer.replace_stored(stored) if former else self._writer.create_stored(stored)
        except Conflict as error:
            self._objects[name] = self._adopt(stored, error)
        except (ApiProblem, Unreachable) as error:
            raise LedgerProblem(f"{name} could not be written: {error}") from error

    def _adopt(self, wanted: Stored, error: Conflict) -> Stored:
        """Our own write whose answer was lost looks like a conflict; anybody else's is one."""
        try:
            there = read_stored(self._conn, wanted.kind, wanted.key)
        except (ApiProblem, Unreachable) as problem:
            raise LedgerProblem(f"{wanted.key.name} could not be read again: {problem}") from error
        if there is None or there.data != wanted.data:
            raise LedgerConflict(f"{wanted.key.name} was written by somebody else: another agent is active") from error
        return there
