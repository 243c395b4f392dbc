"""How the ledger is laid out: what may be read, what is missing, and what holds while a table is being split."""

from __future__ import annotations

import base64
import json
import random
import zlib
from typing import Any

import pytest
from msgspec.structs import replace

from agent.ledger import shards
from agent.ledger.keys import key_id_of
from agent.ledger.shards import Shard, Unreadable
from agent.memory import ABSENT, ChainMemory, Entry, NodeCache, SecretMemory, SourceMemory
from agent.model import ObjectKey, SourceKey, SourceState

SOURCE = SourceKey("prod-kv.vault.azure.net", "api-key")
SECRET = ObjectKey("shop", "app-secrets")
SEEN = SourceMemory(state=SourceState(created=1000.0), event_at=1000.0, seen_at=1010.0)
KNOWN = SecretMemory(uid="u", resource_version="1", touched=1000.0, first_look=1000.0, keys={})


def names(count: int) -> dict[ObjectKey, int]:
    """A table of so many entries; what they hold does not matter here."""
    return {ObjectKey("shop", f"secret-{number}"): number for number in range(count)}


def cut(table: dict[ObjectKey, int], of: int, *numbers: int) -> list[Shard]:
    """These shards of a table, as they would be read back."""
    parts = shards.split(table, of, numbers)
    return [Shard(number, of, "k", {key: table[key] for key in keys}) for number, keys in parts.items()]


def body(**fields: Any) -> bytes:
    """A shard of sources as JSON, with these fields in place of the right ones."""
    return json.dumps({"format": 1, "of": 1, "keyId": "k", "entries": [], **fields}).encode()


def test_what_was_written_is_read_back() -> None:
    """Entries, key id and number of shards; Secrets' histories compressed, the rest as plain JSON."""
    raw = shards.encode("sources", {SOURCE: SEEN}, 2, "k")
    assert shards.decode("sources", 1, raw) == Shard(1, 2, "k", {SOURCE: SEEN})
    packed = shards.encode("history", {SECRET: KNOWN}, 1, "k")
    assert shards.decode("history", 0, packed) == Shard(0, 1, "k", {SECRET: KNOWN})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (body(format=0), "of format 0, this version reads 1"),
        (b'{"format": 7, "everything": "is elsewhere"}', "of format 7, this version reads 1"),
        (body(entries=[[["v", "n"], {"no": "source"}]]), "not what this agent writes"),
        (body(of=0), "not what this agent writes"),
        (body(of=2**40), "not what this agent writes"),
        (body(of="1"), "not what this agent writes"),
        (b"", "not what this agent writes"),
        (b"\xff\xfe", "not what this agent writes"),
        (b"[" * 100_000, "not what this agent writes"),
        (b'"' + b"\xed\xa0\x80" + b'"', "not what this agent writes"),
    ],
)
def test_what_cannot_be_used_is_said_in_words_of_ours(data: bytes, why: str) -> None:
    """Another format by its number, anything else as what it is not; nothing of it is repeated, nothing else raised."""
    with pytest.raises(Unreadable) as caught:
        shards.decode("sources", 0, data)
    assert str(caught.value) == why
    with pytest.raises(Unreadable) as caught:
        shards.decode("history", 0, zlib.compress(data))
    assert str(caught.value) == why
    with pytest.raises(Unreadable):
        shards.decode("history", 0, data)


def test_a_shard_beyond_its_own_count_is_none() -> None:
    """The fourth of two was written by nobody."""
    with pytest.raises(Unreadable):
        shards.decode("sources", 3, body(of=2))


@pytest.mark.parametrize(
    ("name", "number"),
    [("a-history-0", 0), ("a-history-17", 17), ("a-history-x", None), ("a-history-", None), ("a-history-٣", None),
     ("a-history-4096", None), ("a-history-99999999999", None)],
)  # fmt: skip
def test_a_shard_is_known_by_the_number_in_its_name(name: str, number: int | None) -> None:
    """What bears no such number is none of ours."""
    assert shards.number_of(name) == number


def test_a_shard_that_was_taken_away_is_missed() -> None:
    """By the number of shards that the others tell of."""
    table = names(10)
    assert shards.missing([]) == []
    assert shards.missing(cut(table, 4, 0, 1, 2, 3)) == []
    assert shards.missing(cut(table, 4, 0, 3)) == [1, 2]


@pytest.mark.parametrize("written", range(5))
def test_a_table_that_was_being_split_when_we_died_is_whole(written: int) -> None:
    """The highest shards come first, so what those below held before is there until it is elsewhere."""
    before, after = names(30), {key: number + 100 for key, number in names(40).items()}
    new = range(4)[4 - written :]
    old = [number for number in range(2) if number not in new]
    found = [*cut(before, 2, *old), *cut(after, 4, *new)]
    assert shards.missing(found) == []
    merged = shards.merged(found)
    assert before.keys() <= merged.keys() <= after.keys()
    assert all(merged[key] == after[key] for key in after if shards.shard_of(key, 4) in new)


def test_what_was_forgotten_while_a_table_was_split_stays_forgotten() -> None:
    """An entry that the new shard lacks does not come back out of the old one, which still has it."""
    before = names(30)
    after = {key: number for key, number in before.items() if shards.shard_of(key, 2) != 1}
    assert shards.merged([*cut(before, 1, 0), *cut(after, 2, 1)]) == after


def taking(size: int, seed: int) -> SecretMemory:
    """A history that takes about so many bytes when it is compressed."""
    value = base64.b64encode(random.Random(seed).randbytes(size)).decode()
    return replace(KNOWN, keys={"key": (Entry(value=value, lo=0.0, hi=0.0),)})


@pytest.mark.parametrize(("of", "new"), [(1, 8), (2, 16)])
def test_a_table_that_grew_several_times_at_once_is_whole_wherever_we_died(of: int, new: int) -> None:
    """Doubled again and again before anything was written: the old shards still hold all that is not there yet."""
    table = names(60)
    for written in range(new + 1):
        above = range(new)[new - written :]
        found = [*cut(table, of, *(n for n in range(of) if n not in above)), *cut(table, new, *above)]
        assert shards.missing(found) == []
        assert shards.merged(found) == table


def test_a_shard_is_divided_before_anything_of_it_is_left_out() -> None:
    """Where several entries are too large together; not where one is too large alone, for that would help nothing."""
    both = {ObjectKey("shop", str(n)): taking(600_000, n) for n in range(2)}
    one = {ObjectKey("shop", "0"): taking(2_000_000, 0), ObjectKey("shop", "1"): KNOWN}
    assert shards.fitting("history", both, 1, "k", divide=True) is None
    assert shards.fitting("history", one, 1, "k", divide=True) is not None


@pytest.mark.parametrize("sizes", [(400_000,) * 5, (2_000_000, 10, 10), (300_000, 300_000, 310_000, 10), (10,) * 9])
def test_what_cannot_be_divided_fits_and_loses_its_largest_entries(sizes: tuple[int, ...]) -> None:
    """Every key is still there; those that are whole are no larger than those that are not."""
    entries = {ObjectKey("shop", str(n)): taking(size, n) for n, size in enumerate(sizes)}
    data = shards.fitting("history", entries, 1, "k", divide=False)
    assert data is not None
    assert len(data) <= shards.LARGEST
    kept = shards.decode("history", 0, data).entries
    assert kept.keys() == entries.keys()
    lost = {key for key in kept if shards.was_cut(kept[key])}
    assert all(kept[key] == entries[key] for key in kept.keys() - lost)
    size = {key: sizes[int(key.name)] for key in entries}
    assert max((size[key] for key in kept.keys() - lost), default=0) <= min((size[key] for key in lost), default=10**9)


def test_the_number_of_shards_grows_with_bytes_up_to_a_limit() -> None:
    """Thirty-two times as many as for the number of entries alone, and never more than can be read back."""
    assert shards.divisible(1, 16)
    assert not shards.divisible(1, 32)
    assert shards.divisible(50_000, 2048)
    assert not shards.divisible(1_000_000, shards.MOST_SHARDS)


def test_what_is_left_of_an_entry_still_forbids_what_it_forbade() -> None:
    """A history that is unknown keeps its object and the nodes that may serve a former one; a chain, what was tried."""
    cache = NodeCache(uid="u", at=1.0, dirty=("node-1",))
    history = replace(KNOWN, keys={"a": ()}, others=(Entry(value=ABSENT, lo=1.0, hi=1.0),), cache=cache, immutable=True)
    left = shards.least(history)
    assert (left.uid, left.first_look, left.cache, left.immutable) == ("u", 1000.0, cache, True)
    assert (left.keys, [entry.value for entry in left.others], left.resource_version) == ({}, ["?"], "")
    chain = ChainMemory(covered={"a": "b"}, acknowledged="1-a", since={"k": 1.0}, cleared={"l": 1.0})
    assert shards.least(chain) == ChainMemory(covered={"a": "b"}, acknowledged="1-a")


def test_the_id_of_a_key_is_made_of_the_key() -> None:
    """So another key never bears the id of the one before."""
    one, other = key_id_of(b"a" * 32), key_id_of(b"b" * 32)
    assert one == key_id_of(b"a" * 32) != other
    assert len(one) == 8
    assert one.isalnum()
