"""Loading and saving the memory, by compare-and-swap.

Whoever else writes these objects makes our next write fail with a conflict: then our memory is no longer the truth, and
nothing may be done on it. The heartbeat is written last: what it confirms has been saved before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.errors import ApiProblem, Conflict, Unreachable
from agent.cluster.stored import Stored, StoredKind, list_stored, read_stored
from agent.cluster.writer import Writer
from agent.ledger import shards
from agent.ledger.keys import LABELS
from agent.memory import Memory, StormMemory
from agent.model import ObjectKey

PREFIX = "secret-drift-agent-ledger"
HEARTBEAT = f"{PREFIX}-heartbeat"
SELECTOR = "secret-drift-agent/ledger=true"
JUDGED_BY = ("history", "heals")
"""Without the whole of these tables nothing may be restarted for what was before."""
_MOST_NAMES = 5


class LedgerProblem(Exception):
    """The ledger could not be written: nothing that must be remembered may be done."""


class LedgerConflict(LedgerProblem):
    """Somebody else writes the ledger: what we hold in memory is not the truth any more."""


class _There(NamedTuple):
    """What is known of an object that is there. Its data would only repeat what the memory holds."""

    digest: bytes
    resource_version: str
    uid: str


def _there(stored: Stored) -> _There:
    return _There(_digest(stored.data), stored.resource_version, stored.uid)


def _digest(data: Mapping[str, bytes]) -> bytes:
    made = blake2b(digest_size=16)
    for name in sorted(data):
        made.update(f"{name}\0{len(data[name])}\0".encode() + data[name])
    return made.digest()


class Ledger:
    """The memory on disk, so to speak. ``writer`` None: read-only, as `scan` uses it."""

    def __init__(
        self, conn: Connection, namespace: str, writer: Writer | None, *, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._conn, self._namespace, self._writer, self._tell = conn, namespace, writer, tell
        self._there: dict[str, _There] = {}
        self._counts: dict[str, int] = {}
        self._dirty: dict[str, set[tuple[str, ...]]] = {table: set() for table in shards.TABLES}
        self._anew: set[str] = set()  # tables that begin anew: written whole with the next save
        self._growing: set[str] = set()  # tables of which some shards may be of a former number: written whole, too
        self._unusable: dict[str, list[str]] = {}  # why -> names
        self._key_id = ""

    def load(self, key_id: str, *, new_key: bool = False) -> Memory:
        """The memory as last saved. What cannot be used is unknown: told once, and begun anew.

        ``new_key``: the installation's key has just been made, so nothing can be known of a history before it.
        Read-only, what may not be read is unknown, too. Raises ApiProblem, Unreachable, BadAnswer.
        """
        memory = Memory(key_id=key_id)
        self._key_id = key_id
        self._unusable.clear()
        kinds: tuple[StoredKind, ...] = ("configmaps", "secrets")
        objects = {stored.key.name: stored for kind in kinds for stored in self._listed(kind)}
        self._there = {name: _there(stored) for name, stored in objects.items()}
        for table, target in _tables(memory).items():
            self._load_table(table, target, objects, new_key=new_key)
        self._load_heartbeat(memory, objects)
        if not self._anew.isdisjoint(JUDGED_BY):
            self._begin_anew(memory)
        if self._unusable:
            said = "; ".join(f"{_some(names)} ({why})" for why, names in self._unusable.items())
            self._tell(f"not used: {said}. What they knew is unknown now, and nothing is restarted for it")
        if cut := sorted(str(key) for key, known in memory.secrets.items() if shards.was_cut(known)):
            self._tell(f"there was no room for the history of {_some(cut)}: it is unknown, and begins anew")
        return memory

    @property
    def found(self) -> bool:
        """Whether there was anything of a ledger when it was loaded."""
        return bool(self._there)

    def _listed(self, kind: StoredKind) -> list[Stored]:
        try:
            return list_stored(self._conn, kind, self._namespace, label_selector=SELECTOR)
        except ApiProblem as error:
            if self._writer is not None or error.code != 403:
                raise
        if kind == "secrets":
            self._anew.add("history")
        self._tell(f"its {kind} in namespace {self._namespace} may not be read")
        return []

    def note(self, table: str, key: tuple[str, ...]) -> None:
        """An entry of a table has changed, or is gone."""
        self._dirty[table].add(tuple(key))

    @property
    def dirty(self) -> bool:
        """Something has changed since the last save."""
        return any(self._dirty.values()) or bool(self._anew)

    def save(
        self,
        memory: Memory,
        *,
        only: str | None = None,
        key: tuple[str, ...] | None = None,
        heartbeat: bool = False,
    ) -> None:
        """Write what has changed (of one table where ``only`` is given). Raises LedgerProblem.

        What was seen is written before what is about to be done because of it: a step's evidence outlives us. ``key``:
        of that table what is remembered of this alone has to be written now.
        """
        if self._writer is None:
            return
        for table, entries in _tables(memory).items():
            wanted = only in (None, table) or table == "history" or (only, table) == ("heals", "recycled")
            if wanted and (self._dirty[table] or table in self._anew):
                self._save_table(table, entries, None if table == "history" else key)
        if heartbeat and only is None:
            beat = {"heartbeat": msgspec.json.encode(memory.heartbeat), "storm": msgspec.json.encode(memory.storm)}
            self._put(HEARTBEAT, "configmaps", beat)

    def _load_table(
        self, table: str, target: MutableMapping[Any, Any], objects: dict[str, Stored], *, new_key: bool
    ) -> None:
        prefix = f"{PREFIX}-{table}-"
        numbers = {name: shards.number_of(name) for name in objects if name.startswith(prefix)}
        there = sorted((number, name) for name, number in numbers.items() if number is not None)
        found: list[shards.Shard] = []
        for number, name in there:
            try:
                shard = shards.decode(table, number, objects[name].data.get("entries", b""))
            except shards.Unreadable as error:
                self._lose(table, name, str(error))
                continue
            if table != "history" or shard.key_id == self._key_id:
                found.append(shard)
            elif new_key:
                self._anew.add(table)  # that the key is a new one says it all
            else:
                self._lose(table, name, "of another key")
        if table in JUDGED_BY and not there and table not in self._anew:
            # It is there from the first save on, also while it holds nothing; else it has been taken away.
            if HEARTBEAT in objects and not new_key:
                self._lose(table, f"{prefix}0", "not there")
            self._anew.add(table)
        if table not in self._anew:
            for number in shards.missing(found):
                self._lose(table, f"{prefix}{number}", "not there")
        target.update(shards.merged(found))
        if len({shard.of for shard in found}) > 1:
            self._growing.add(table)
        most = 1 + max((number for number, _ in there), default=0)
        self._counts[table] = shards.covering(most) if table in self._anew else max((s.of for s in found), default=1)

    def _load_heartbeat(self, memory: Memory, objects: dict[str, Stored]) -> None:
        beat = objects.get(HEARTBEAT)
        if beat is None:
            return
        try:
            heartbeat = msgspec.json.decode(beat.data.get("heartbeat", b""), type=dict[str, float])
            storm = msgspec.json.decode(beat.data.get("storm", b"null"), type=StormMemory | None)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._lose("", HEARTBEAT, shards.NOT_OURS)
        else:
            memory.heartbeat, memory.storm = heartbeat, storm

    def _lose(self, table: str, name: str, why: str) -> None:
        """A part of the ledger cannot be used: its table is written anew, whole, with the next save."""
        if table:
            self._anew.add(table)
        self._unusable.setdefault(why, []).append(name)

    def _begin_anew(self, memory: Memory) -> None:
        """The histories, or what was tried because of them, are not known whole: so no container can be called stale.

        A halt stays what it is: nothing is done under it, and its page must not resolve by this.
        """
        self._anew.update(JUDGED_BY)
        memory.secrets.clear()
        memory.heartbeat.clear()
        for key in [key for key, heal in memory.heals.items() if heal.halt is None]:
            del memory.heals[key]

    def _save_table(self, table: str, entries: Mapping[Any, Any], key: tuple[str, ...] | None) -> None:
        count = max(self._counts.get(table, 1), shards.shard_count(len(entries)))
        while (parts := self._parts(table, entries, count, key)) is None:
            count *= 2
        if count != self._counts.get(table):
            # From the first of them on: those that are written count, whatever becomes of the rest.
            self._counts[table] = count
            self._growing.add(table)
        # The highest first: while a table grows, those below still hold what goes to those above.
        for number, data in sorted(parts.items(), reverse=True):
            self._put(f"{PREFIX}-{table}-{number}", shards.TABLES[table][0], {"entries": data})
        self._dirty[table] = {entry for entry in self._dirty[table] if shards.shard_of(entry, count) not in parts}
        self._anew.discard(table)
        self._growing.discard(table)

    def _parts(
        self, table: str, entries: Mapping[Any, Any], count: int, key: tuple[str, ...] | None
    ) -> dict[int, bytes] | None:
        """The shards to write, by number; None: one of them is too large, and more of them would help."""
        whole = count != self._counts.get(table) or table in self._anew or table in self._growing
        dirty = self._dirty[table] if key is None else self._dirty[table] & {tuple(key)}
        wanted = set(range(count)) if whole else {shards.shard_of(entry, count) for entry in dirty}
        divide = shards.divisible(len(entries), count)
        parts: dict[int, bytes] = {}
        for number, keys in shards.split(entries, count, wanted).items():
            part = {key: entries[key] for key in keys}
            data = shards.fitting(table, part, count, self._key_id, divide=divide)
            if data is None:
                return None
            parts[number] = data
        return parts

    def _put(self, name: str, kind: StoredKind, data: dict[str, bytes]) -> None:
        assert self._writer is not None
        former = self._there.get(name)
        if former is not None and former.digest == _digest(data):
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
            made = self._writer.replace_stored(stored) if former else self._writer.create_stored(stored)
        except Conflict as error:
            made = self._adopt(stored, error)
        except (ApiProblem, Unreachable) as error:
            raise LedgerProblem(f"{name} could not be written: {error}") from error
        self._there[name] = _there(made)

    def _adopt(self, wanted: Stored, error: Conflict) -> Stored:
        """Our own write whose answer was lost looks like a conflict; anybody else's is one."""
        try:
            there = read_stored(self._conn, wanted.kind, wanted.key)
        except (ApiProblem, Unreachable) as problem:
            raise LedgerProblem(f"{wanted.key.name} could not be read again: {problem}") from error
        if there is None or there.data != wanted.data:
            raise LedgerConflict(f"{wanted.key.name} was written by somebody else: another agent is active") from error
        return there


def _tables(memory: Memory) -> dict[str, MutableMapping[Any, Any]]:
    return {
        "history": memory.secrets, "sources": memory.sources, "chains": memory.chains, "heals": memory.heals,
        "recycled": memory.recycled,
    }  # fmt: skip


def _some(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
