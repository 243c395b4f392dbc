"""How the memory is laid out in objects of at most 1 MiB. Pure.

Each table is cut into shards by a hash of the key, and only shards that changed are written. Their number follows the
size of the table, so that a small cluster has a handful of objects, and a shard of a big one stays small enough to be
rewritten before a single step. It follows the bytes, too, up to a limit: names that meet in one shard can be chosen,
and whoever chooses them must cost neither thousands of objects nor what others want remembered. What is still too large
then is remembered as unknown, the largest first.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from agent.cluster.stored import StoredKind
from agent.memory import UNOBSERVED, ChainMemory, Entry, HealMemory, Recycled, SecretMemory, SourceMemory
from agent.model import ObjectKey, SourceKey, WorkloadKey

FORMAT = 1
PER_SHARD = 400
MOST_SHARDS = 4096
"""More than a million entries; whatever claims to be one of more parts is none of ours."""

LARGEST = 900_000
"""Bytes of one shard. The API server takes 1 MiB of data, for a Secret before base64, for a ConfigMap as UTF-8."""
_MOST_BY_SIZE = 32
"""So many times more shards than the number of entries asks for."""

TABLES: dict[str, tuple[StoredKind, type[Any], type[Any]]] = {
    "history": ("secrets", ObjectKey, SecretMemory),
    "sources": ("configmaps", SourceKey, SourceMemory),
    "chains": ("configmaps", ObjectKey, ChainMemory),
    "heals": ("configmaps", WorkloadKey, HealMemory),
    "recycled": ("configmaps", WorkloadKey, Recycled),
}
"""Table -> (kind of object, type of its keys, type of its values). Fingerprints are in Secrets only."""

NOT_OURS = "not what this agent writes"


class Unreadable(Exception):
    """A shard is of another format, or not what we wrote; in words that follow its name."""


def shard_count(entries: int) -> int:
    """A power of two, so that growth splits each shard in two."""
    return covering(-(-entries // PER_SHARD))


def shard_of(key: tuple[str, ...], count: int) -> int:
    """Which shard holds a key; the same in every process."""
    return zlib.crc32("\0".join(key).encode()) % count


def split(table: Iterable[Any], count: int, wanted: Iterable[int]) -> dict[int, list[Any]]:
    """The keys of the wanted shards."""
    shards: dict[int, list[Any]] = {number: [] for number in wanted}
    for key in table:
        number = shard_of(tuple(key), count)
        if number in shards:
            shards[number].append(key)
    return shards


def encode(table: str, entries: Mapping[Any, Any], count: int, key_id: str) -> bytes:
    """One shard as bytes."""
    body = {"format": FORMAT, "of": count, "keyId": key_id, "entries": [[tuple(k), v] for k, v in entries.items()]}
    raw = msgspec.json.encode(body)
    return zlib.compress(raw, 1) if TABLES[table][0] == "secrets" else raw


def divisible(entries: int, count: int) -> bool:
    """Whether a table of so many entries may be cut into twice as many shards because one of them is too large."""
    return count < min(MOST_SHARDS, _MOST_BY_SIZE * shard_count(entries))


def fitting(table: str, entries: Mapping[Any, Any], count: int, key_id: str, *, divide: bool) -> bytes | None:
    """One shard as bytes, with as much of its entries as there is room for. None: it is to be divided first.

    An entry that fills a shard by itself is cut at once: no division helps against that.
    """
    data = encode(table, entries, count, key_id)
    if len(data) <= LARGEST:
        return data
    sizes = {key: len(encode(table, {key: value}, count, key_id)) for key, value in entries.items()}
    kept = {key: least(value) if sizes[key] > LARGEST else value for key, value in entries.items()}
    data = encode(table, kept, count, key_id)
    if divide and len(data) > LARGEST:
        return None
    left = sorted((key for key in sizes if sizes[key] <= LARGEST), key=lambda key: (-sizes[key], key))
    while len(data) > LARGEST and left:
        over = len(data) - LARGEST
        while over > 0 and left:
            key = left.pop(0)
            kept[key] = least(kept[key])
            over -= sizes[key]
        data = encode(table, kept, count, key_id)
    return data


def least(value: Any) -> Any:
    """What must be remembered of an entry that there is no room for, so that nothing is done that it forbids.

    Of a history: that there was one, and that nobody knows what it was. It is of no resourceVersion, so that the next
    look is compared with it. Of a chain: all but since when each finding and each rotation is there.
    """
    if isinstance(value, SecretMemory):
        unknown = (Entry(value=UNOBSERVED, lo=0.0, hi=0.0),)
        return replace(value, resource_version="", keys={}, others=unknown, assumed_from=None)
    if isinstance(value, ChainMemory):
        return replace(value, since={}, cleared={}, rotations={})
    return value


def was_cut(memory: SecretMemory) -> bool:
    """Whether a history is what ``least`` has left of one."""
    return bool(memory.uid) and not memory.resource_version


class Shard(NamedTuple):
    """One shard as it was read. ``of``: the number of shards when it was written."""

    number: int
    of: int
    key_id: str
    entries: dict[Any, Any]

    def holds(self, key: tuple[str, ...]) -> bool:
        """Whether this is the shard for a key, among as many as there were when it was written."""
        return shard_of(key, self.of) == self.number


def decode(table: str, number: int, data: bytes) -> Shard:
    """Raises Unreadable."""
    kind, key_type, value_type = TABLES[table]
    try:
        raw = zlib.decompress(data) if kind == "secrets" else data
        written = msgspec.json.decode(raw, type=_Format).format
        if written != FORMAT:
            raise Unreadable(f"of format {written}, this version reads {FORMAT}")
        head = msgspec.json.decode(raw, type=_Head)
        if not number < head.of <= MOST_SHARDS:
            raise Unreadable(NOT_OURS)
        kept = list[tuple[key_type, value_type]]  # type: ignore[valid-type]
        pairs: list[tuple[Any, Any]] = msgspec.json.decode(head.entries, type=kept)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable(NOT_OURS) from None
    # Thousands of keys begin with one of a few namespaces or vaults.
    entries = {key_type(sys.intern(first), *rest): value for (first, *rest), value in pairs}
    return Shard(number, head.of, head.keyId, entries)


def missing(found: Sequence[Shard]) -> list[int]:
    """The numbers of shards that should be there.

    One that has not been split yet, since we died in the middle of that, still holds what is to go to others.
    """
    count = max((shard.of for shard in found), default=0)
    return [n for n in range(count) if not any(n % shard.of == shard.number for shard in found)]


def merged(found: Sequence[Shard]) -> dict[Any, Any]:
    """The entries of a table; where a shard has been split, those of its parts are the newer ones."""
    entries: dict[Any, Any] = {}
    split = len({shard.of for shard in found}) > 1
    for shard in sorted(found, key=lambda shard: shard.of):
        for key in [key for key in entries if split and shard.holds(tuple(key))]:
            del entries[key]
        entries.update(shard.entries)
    return entries


def covering(numbers: int) -> int:
    """The number of shards among which there are so many; a power of two."""
    return 1 << max(0, numbers - 1).bit_length()


def number_of(name: str) -> int | None:
    """The number at the end of a shard's name; None: it is none of ours."""
    digits = name.rpartition("-")[2]
    ours = digits.isascii() and digits.isdecimal() and len(digits) <= 4 and int(digits) < MOST_SHARDS
    return int(digits) if ours else None


class _Format(msgspec.Struct):
    format: int


class _Head(msgspec.Struct):
    of: int
    keyId: str  # the wire's name
    entries: msgspec.Raw
