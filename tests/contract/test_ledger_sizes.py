"""The ledger against an API server that refuses what is too large: nobody's objects end the writes for the others."""

from __future__ import annotations

import random
from itertools import count, islice

import pytest
from support.servers import Cluster

from agent.cluster.connection import Connection
from agent.cluster.stored import Stored, list_stored
from agent.cluster.writer import Writer
from agent.diagnose import history
from agent.ledger import Ledger, shards
from agent.memory import ChainMemory, Memory, Rotation, SecretMemory, SyncAttempt
from agent.model import ObjectKey, SecretView

NS = "default"
PREFIX = "secret-drift-agent-ledger"
LABEL = "secret-drift-agent/ledger=true"
SMALL = ObjectKey("shop", "small")


def view(key: ObjectKey, version: int, keys: int, *, named: str = "key") -> SecretView:
    """A Secret of so many keys, each of which holds something new in every version."""
    made = random.Random(f"{key} {version}")
    return SecretView(
        key=key,
        uid="u",
        resource_version=str(version),
        created=900.0,
        touched=1000.0 + version,
        prints={f"{named}-{number}": f"k1:{made.getrandbits(132):033x}" for number in range(keys)},
        type="Opaque",
    )


def changed(key: ObjectKey, times: int, keys: int) -> SecretMemory:
    """The history of a Secret that was changed so many times."""
    memory = history.first_look(view(key, 0, keys), at=1000.0, absent_until=None)
    for version in range(1, 1 + times):
        memory = history.watched(memory, view(key, version, keys), since=999.0 + version, seen=1001.0 + version)
    return memory


def put(ledger: Ledger, memory: Memory, key: ObjectKey, known: SecretMemory) -> None:
    """Remember a history."""
    memory.secrets[key] = known
    ledger.note("history", key)


def begun(conn: Connection) -> tuple[Ledger, Memory]:
    """A ledger with one small history; saved."""
    ledger = Ledger(conn, NS, Writer(conn))
    memory = ledger.load("key-one", new_key=True)
    put(ledger, memory, SMALL, changed(SMALL, 1, 2))
    ledger.save(memory, heartbeat=True)
    return ledger, memory


def loaded(conn: Connection) -> tuple[Memory, list[str]]:
    """The memory as the next process reads it, and what is said of that."""
    said: list[str] = []
    return Ledger(conn, NS, Writer(conn), tell=said.append).load("key-one"), said


def parts(conn: Connection, table: str) -> dict[str, Stored]:
    """The objects of one table."""
    found = list_stored(conn, "secrets" if table == "history" else "configmaps", NS, label_selector=LABEL)
    return {stored.key.name: stored for stored in found if f"-{table}-" in stored.key.name}


def meeting(most: int) -> list[ObjectKey]:
    """So many names that are in one shard, however many shards there are."""
    names = (ObjectKey("evil", f"secret-{number}") for number in count())
    return list(islice((key for key in names if shards.shard_of(key, shards.MOST_SHARDS) == 0), most))


def test_many_large_secrets_that_change_again_and_again_are_all_remembered(api: Cluster) -> None:
    """Twelve of 1,900 keys each: their number of shards follows the bytes, and the next process knows all of them."""
    conn = api.connect()
    ledger, memory = begun(conn)
    for times in (1, 3):
        for number in range(12):
            key = ObjectKey("shop", f"large-{number}")
            put(ledger, memory, key, changed(key, times, 1900))
        ledger.save(memory, heartbeat=True)
        assert loaded(conn) == (memory, [])
    there = parts(conn, "history")
    assert 4 <= len(there) <= 32
    assert max(len(stored.data["entries"]) for stored in there.values()) <= shards.LARGEST


def test_a_history_that_no_object_has_room_for_is_remembered_as_unknown(api: Cluster) -> None:
    """One whose keys were others each time: beside it all is as before, and whoever ran before may not be stale."""
    conn = api.connect()
    ledger, memory = begun(conn)
    endless = ObjectKey("evil", "endless")
    known = changed(endless, 0, 1900)
    for version in range(1, 30):
        now = view(endless, version, 1900, named=f"of-{version}")
        known = history.watched(known, now, since=999.0 + version, seen=1001.0 + version)
    put(ledger, memory, endless, known)
    ledger.save(memory, heartbeat=True)
    put(ledger, memory, SMALL, changed(SMALL, 2, 2))
    ledger.save(memory, heartbeat=True)

    again, said = loaded(conn)

    assert again.secrets[SMALL] == memory.secrets[SMALL]
    assert said == ["there was no room for the history of evil/endless: it is unknown, and begins anew"]
    assert len(parts(conn, "history")) == 1, "more of them would not have helped"
    after = history.after_gap(again.secrets[endless], now, confirmed=2000.0, seen=2001.0, born=lambda _: 0.0)
    (newest, *older) = history.of(after, "of-29-0")
    assert (newest.value, newest.lo) == (now.prints["of-29-0"], 2000.0)
    assert {entry.value for entry in older} == {"?"}
    assert history.of(after, "of-7-0")[1].value == "?"


def test_names_that_were_chosen_to_meet_cost_only_themselves(api: Cluster) -> None:
    """No number of shards parts them: the largest become unknown, and neither the others nor the API server suffer."""
    conn = api.connect()
    ledger, memory = begun(conn)
    small, *large = meeting(7)
    put(ledger, memory, small, changed(small, 3, 3))
    for key in large:
        put(ledger, memory, key, changed(key, 3, 1900))
    ledger.save(memory, heartbeat=True)

    again, said = loaded(conn)

    assert [again.secrets[key] for key in (SMALL, small)] == [memory.secrets[key] for key in (SMALL, small)]
    whole = [key for key in large if again.secrets[key] == memory.secrets[key]]
    assert 0 < len(whole) < len(large)
    assert len(said) == 1
    assert len(parts(conn, "history")) <= 32


@pytest.mark.parametrize("field", ["since", "rotations"])
def test_a_chain_that_no_object_has_room_for_keeps_what_was_tried(api: Cluster, field: str) -> None:
    """Since when something is found may be lost; what was done because of it is not, nor are the other chains."""
    conn = api.connect()
    ledger, memory = begun(conn)
    attempt = SyncAttempt(stamp="1", at=1000.0, seen={}, reason="r")
    names = [f"{number}-{'x' * 1000}" for number in range(1200)]
    since = dict.fromkeys(names, 1.0) if field == "since" else {}
    rotations = dict.fromkeys(names, Rotation(begun=1.0)) if field == "rotations" else {}
    large, other = ObjectKey("evil", "large"), ObjectKey("shop", "app")
    memory.chains[large] = ChainMemory(sync=attempt, covered={"a": "b"}, since=since, rotations=rotations)
    memory.chains[other] = ChainMemory(since={"k": 1.0}, acknowledged="1-a")
    for key in (large, other):
        ledger.note("chains", key)
    ledger.save(memory, heartbeat=True)
    again, said = loaded(conn)
    assert again.chains == {large: ChainMemory(sync=attempt, covered={"a": "b"}), other: memory.chains[other]}
    assert said == []
