"""A table of the ledger that grows, against an API server: wherever that ends, nothing of it is lost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.servers import Cluster

from agent.cluster.connection import Connection
from agent.cluster.stored import Stored, list_stored
from agent.cluster.writer import Writer
from agent.ledger import Ledger, LedgerConflict, shards
from agent.memory import Memory, SecretMemory
from agent.model import ObjectKey

NS = "default"
PREFIX = "secret-drift-agent-ledger"
LABEL = "secret-drift-agent/ledger=true"
SMALL = ObjectKey("shop", "small")
KNOWN = SecretMemory(uid="u", resource_version="1", touched=1000.0, first_look=1000.0, keys={})


def put(ledger: Ledger, memory: Memory, key: ObjectKey) -> None:
    """Remember a history."""
    memory.secrets[key] = KNOWN
    ledger.note("history", key)


def begun(conn: Connection) -> tuple[Ledger, Memory]:
    """A ledger with one history; saved."""
    ledger = Ledger(conn, NS, Writer(conn))
    memory = ledger.load("key-one", new_key=True)
    put(ledger, memory, SMALL)
    ledger.save(memory, heartbeat=True)
    return ledger, memory


def loaded(conn: Connection) -> tuple[Memory, list[str]]:
    """The memory as the next process reads it, and what is said of that."""
    said: list[str] = []
    return Ledger(conn, NS, Writer(conn), tell=said.append).load("key-one"), said


def parts(conn: Connection) -> dict[str, Stored]:
    """The objects of the histories."""
    found = list_stored(conn, "secrets", NS, label_selector=LABEL)
    return {stored.key.name: stored for stored in found if "-history-" in stored.key.name}


def test_a_table_that_was_growing_when_we_died_is_written_whole_by_the_next_process(api: Cluster) -> None:
    """Those below still hold what goes to those above: writing one of them alone would lose that."""
    conn = api.connect()
    ledger, memory = begun(conn)
    (before,) = parts(conn).values()
    for number in range(900):
        put(ledger, memory, ObjectKey("shop", f"secret-{number}"))
    ledger.save(memory, heartbeat=True)
    there, writer = parts(conn), Writer(conn)
    writer.replace_stored(replace(there[f"{PREFIX}-history-0"], data=before.data))
    for number in (1, 2):
        gone = there[f"{PREFIX}-history-{number}"]
        writer.delete_stored(gone.kind, gone.key, uid=gone.uid)

    said: list[str] = []
    ledger = Ledger(conn, NS, writer, tell=said.append)
    memory = ledger.load("key-one")
    assert SMALL in memory.secrets
    for key in (ObjectKey("shop", f"new-{number}") for number in range(4000)):
        if shards.shard_of(key, 4) == 0:
            put(ledger, memory, key)
            break
    ledger.save(memory, heartbeat=True)

    assert (loaded(conn), said) == ((memory, []), [])


def test_a_table_whose_growth_was_refused_goes_on_with_the_shards_that_are_there(api: Cluster) -> None:
    """Also when there is no need for so many any more: what the upper ones hold counts, so it is kept up to date."""
    conn = api.connect()
    ledger, memory = begun(conn)
    foreign = replace(
        next(iter(parts(conn).values())),
        key=ObjectKey(NS, f"{PREFIX}-history-2"),
        resource_version="",
        uid="",
        data={"entries": b"of somebody else"},
    )
    foreign = Writer(conn).create_stored(foreign)
    added = [ObjectKey("shop", f"secret-{number}") for number in range(900)]
    for key in added:
        put(ledger, memory, key)
    with pytest.raises(LedgerConflict):
        ledger.save(memory, heartbeat=True)
    assert f"{PREFIX}-history-3" in parts(conn)

    Writer(conn).delete_stored("secrets", foreign.key, uid=foreign.uid)
    for key in added:
        del memory.secrets[key]
        ledger.note("history", key)
    ledger.save(memory, heartbeat=True)

    assert loaded(conn) == (memory, [])
