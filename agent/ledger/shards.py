"""How the memory is laid out in objects of at most 1 MiB. Pure.

Each table is cut into shards by a hash of the key, and only shards that changed are written. Their number follows the
size of the table, so that a small cluster has a handful of objects, and a shard of a big one stays small enough to be
rewritten before a single step.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agent.cluster.stored import StoredKind
from agent.memory import ChainMemory, HealMemory, SecretMemory, SourceMemory
from agent.model import ObjectKey, SourceKey, WorkloadKey

FORMAT = 1
PER_SHARD = 400

TABLES: dict[str, tuple[StoredKind, type[Any], type[Any]]] = {
    "history": ("secrets", ObjectKey, SecretMemory),
    "sources": ("configmaps", SourceKey, SourceMemory),
    "chains": ("configmaps", ObjectKey, ChainMemory),
    "heals": ("configmaps", WorkloadKey, HealMemory),
}
"""Table -> (kind of object, type of its keys, type of its values). Fingerprints are in Secrets only."""


class Unreadable(Exception):
    """A shard is of another format, or not what we wrote."""


def shard_count(entries: int) -> int:
    """A power of two, so that growth splits each shard in two."""
    return 1 << max(0, (entries - 1) // PER_SHARD).bit_length()


def shard_of(key: tuple[str, ...], count: int) -> int:
    """Which shard holds a key; the same in every process."""
    return zlib.crc32("\0".join(key).encode()) % count


def split(table: Mapping[Any, Any], count: int, wanted: Iterable[int]) -> dict[int, dict[Any, Any]]:
    """The entries of the wanted shards."""
    shards: dict[int, dict[Any, Any]] = {number: {} for number in wanted}
    for key, value in table.items():
        number = shard_of(tuple(key), count)
        if number in shards:
            shards[number][key] = value
    return shards


def encode(table: str, entries: Mapping[Any, Any], count: int, key_id: str) -> bytes:
    """One shard as bytes."""
    body = {"format": FORMAT, "of": count, "keyId": key_id, "entries": [[tuple(k), v] for k, v in entries.items()]}
    raw = msgspec.json.encode(body)
    return zlib.compress(raw, 1) if TABLES[table][0] == "secrets" else raw


def decode(table: str, data: bytes) -> tuple[dict[Any, Any], int, str]:
    """(entries, number of shards when it was written, key id). Raises Unreadable."""
    kind, key_type, value_type = TABLES[table]
    try:
        raw = zlib.decompress(data) if kind == "secrets" else data
        head = msgspec.json.decode(raw, type=_Head)
        if head.format != FORMAT:
            raise Unreadable(f"it is of format {head.format}, this version writes {FORMAT}")
        pairs = msgspec.json.decode(head.entries, type=list[tuple[key_type, value_type]])  # type: ignore[valid-type]
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"it cannot be read ({type(error).__name__})") from None
    return dict(pairs), head.of, head.keyId


class _Head(msgspec.Struct):
    format: int
    of: int
    keyId: str  # the wire's name
    entries: msgspec.Raw
