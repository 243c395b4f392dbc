"""The ledger and its key, against an API server over TLS: what was taken away, broken or replaced is unknown."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.servers import Cluster

from agent.cluster.connection import Connection
from agent.cluster.stored import Stored, list_stored, read_stored
from agent.cluster.writer import Writer
from agent.ledger import KEY_NAME, Ledger, installation_key
from agent.memory import ChainMemory, Halt, HealMemory, Memory, SecretMemory
from agent.model import ObjectKey, WorkloadKey

NS = "default"
PREFIX = "secret-drift-agent-ledger"
LABEL = "secret-drift-agent/ledger=true"
UNDER_WAY, HALTED = WorkloadKey("shop", "Deployment", "backend"), WorkloadKey("shop", "Deployment", "worker")
KNOWN = SecretMemory(uid="u", resource_version="1", touched=1000.0, first_look=1000.0, keys={})


def filled(conn: Connection, secrets: int = 1) -> Memory:
    """A ledger with histories, one chain, a heal that is under way and one that has halted; saved."""
    ledger = Ledger(conn, NS, Writer(conn))
    memory = ledger.load("key-one")
    for number in range(secrets):
        memory.secrets[ObjectKey("shop", f"secret-{number}")] = KNOWN
        ledger.note("history", ("shop", f"secret-{number}"))
    memory.chains[ObjectKey("shop", "app-secrets")] = ChainMemory(acknowledged="1-a")
    memory.heals[UNDER_WAY] = HealMemory(key="h", since=1000.0, started=1001.0)
    memory.heals[HALTED] = HealMemory(key="h", since=1000.0, halt=Halt(reason="canary-failed", detail="", at=1002.0))
    memory.heartbeat["secrets"] = 1003.0
    for table, keys in (("chains", memory.chains), ("heals", memory.heals)):
        for key in keys:
            ledger.note(table, key)
    ledger.save(memory, heartbeat=True)
    return memory


def loaded(conn: Connection, key: str = "key-one", *, new_key: bool = False) -> tuple[Memory, list[str], Ledger]:
    """The memory as the next process reads it, what is said of that, and its ledger."""
    said: list[str] = []
    ledger = Ledger(conn, NS, Writer(conn), tell=said.append)
    return ledger.load(key, new_key=new_key), said, ledger


def objects(conn: Connection) -> dict[str, Stored]:
    """All objects of the ledger."""
    found = [*list_stored(conn, "secrets", NS, label_selector=LABEL)]
    found += list_stored(conn, "configmaps", NS, label_selector=LABEL)
    return {stored.key.name: stored for stored in found}


def spoil(conn: Connection, name: str) -> None:
    """Put something else in the place of an object's content."""
    stored = objects(conn)[name]
    Writer(conn).replace_stored(replace(stored, data=dict.fromkeys(stored.data, b"something else")))


def take_away(conn: Connection, name: str) -> None:
    """Delete an object."""
    stored = objects(conn)[name]
    Writer(conn).delete_stored(stored.kind, stored.key, uid=stored.uid)


def test_before_a_step_what_is_remembered_of_it_is_written_and_nothing_of_a_thousand_others(api: Cluster) -> None:
    """The others follow with the next save; whoever loads in between has them as they were."""
    conn = api.connect()
    memory, _, ledger = loaded(conn, new_key=True)
    workloads = [WorkloadKey("shop", "Deployment", f"app-{number}") for number in range(1000)]
    for stage in ("pending", "canary"):
        for key in workloads:
            memory.heals[key] = HealMemory(key=stage, since=1000.0)
            ledger.note("heals", key)
        if stage == "pending":
            ledger.save(memory, heartbeat=True)
    before = objects(conn)
    ledger.save(memory, only="heals", key=workloads[0])
    (written,) = [name for name, stored in objects(conn).items() if stored != before[name]]
    assert (ledger.dirty, written.startswith(f"{PREFIX}-heals-")) == (True, True)
    between, said, _ = loaded(conn)
    assert (between.heals[workloads[0]].key, said, set(between.heals)) == ("canary", [], set(workloads))
    ledger.save(memory, heartbeat=True)
    assert (ledger.dirty, loaded(conn)[0].heals) == (False, memory.heals)


def test_a_new_installation_has_nothing_to_say(api: Cluster) -> None:
    """There is nothing that could be unknown; its first save makes what must be there from then on."""
    conn = api.connect()
    memory, said, ledger = loaded(conn, new_key=True)
    assert (memory.secrets, said, ledger.found) == ({}, [], False)
    ledger.save(memory, heartbeat=True)
    assert set(objects(conn)) == {f"{PREFIX}-history-0", f"{PREFIX}-heals-0", f"{PREFIX}-heartbeat"}
    _, said, ledger = loaded(conn)
    assert (said, ledger.found, ledger.dirty) == ([], True, False)


def test_what_was_saved_is_loaded_with_nothing_to_say(api: Cluster) -> None:
    """Also where a table is of many shards."""
    conn = api.connect()
    memory = filled(conn, secrets=900)
    assert sum("-history-" in name for name in objects(conn)) == 4
    again, said, ledger = loaded(conn)
    assert (again, said, ledger.dirty) == (memory, [], False)


@pytest.mark.parametrize("name", ["history-0", "history-3", "heals-0"])
@pytest.mark.parametrize("harm", [spoil, take_away])
def test_where_histories_or_heals_are_not_whole_no_history_is_used(api: Cluster, harm: object, name: str) -> None:
    """What was tried, or seen, is not known: so nobody may be called stale. Halts stay, as far as they can be read."""
    conn = api.connect()
    filled(conn, secrets=900)
    assert callable(harm)
    harm(conn, f"{PREFIX}-{name}")

    memory, said, ledger = loaded(conn)

    assert (memory.secrets, memory.heartbeat) == ({}, {})
    assert list(memory.heals) == ([] if name == "heals-0" else [HALTED])
    assert list(memory.chains) == [ObjectKey("shop", "app-secrets")]
    assert len(said) == 1
    assert f"{PREFIX}-{name}" in said[0]
    ledger.save(memory, heartbeat=True)
    again, said, ledger = loaded(conn)
    assert (again, said, ledger.dirty) == (memory, [], False), "said once"


def test_a_table_without_bearing_on_restarts_begins_anew_by_itself(api: Cluster) -> None:
    """A broken part of the chains costs what it knew; histories, heals and the heartbeat are used."""
    conn = api.connect()
    before = filled(conn)
    spoil(conn, f"{PREFIX}-chains-0")
    memory, said, ledger = loaded(conn)
    assert (memory.secrets, memory.heals, memory.heartbeat) == (before.secrets, before.heals, before.heartbeat)
    assert memory.chains == {}
    assert said == [
        f"not used: {PREFIX}-chains-0 (not what this agent writes). What they knew is unknown now, and nothing is"
        " restarted for it"
    ]
    ledger.save(memory)
    assert loaded(conn)[1] == [], "said once, though no chain has been remembered since"


def test_a_broken_heartbeat_leaves_open_what_happened_since_each_first_look(api: Cluster) -> None:
    """The histories are used; that nothing happened since the last save is not claimed."""
    conn = api.connect()
    before = filled(conn)
    spoil(conn, f"{PREFIX}-heartbeat")
    memory, said, ledger = loaded(conn)
    assert (memory.secrets, memory.heartbeat) == (before.secrets, {})
    assert len(said) == 1
    ledger.save(memory, heartbeat=True)
    assert not ledger.dirty
    assert loaded(conn)[1] == []


def test_a_history_under_another_key_is_unknown(api: Cluster) -> None:
    """Said once for all its shards; where the key has just been made, whoever made it says so."""
    conn = api.connect()
    filled(conn, secrets=900)
    memory, said, _ = loaded(conn, "key-two", new_key=True)
    assert (memory.secrets, memory.heartbeat, list(memory.heals), said) == ({}, {}, [HALTED], [])
    memory, said, ledger = loaded(conn, "key-two")
    assert (memory.secrets, memory.heartbeat, list(memory.heals)) == ({}, {}, [HALTED])
    assert len(said) == 1
    assert said[0].count("of another key") == 1
    ledger.save(memory, heartbeat=True)
    assert loaded(conn, "key-two")[1] == []


def test_a_shard_that_nobody_needs_any_more_is_written_over(api: Cluster) -> None:
    """Of an installation that was larger once: each of its shards is usable again after one save."""
    conn = api.connect()
    filled(conn, secrets=900)
    for number in range(4):
        spoil(conn, f"{PREFIX}-history-{number}")
    memory, said, ledger = loaded(conn)
    assert len(said) == 1
    ledger.save(memory, heartbeat=True)
    assert loaded(conn)[1] == []


def test_a_key_that_is_none_is_replaced_and_another_key_is_another(api: Cluster) -> None:
    """Too short is no key; whoever puts other bytes in its place has made a new one, whatever stands beside it."""
    conn, place = api.connect(), ObjectKey(NS, KEY_NAME)
    writer = Writer(conn)
    first = installation_key(conn, NS, writer)
    assert (first.found, installation_key(conn, NS, None).found) == (False, True)
    assert installation_key(conn, NS, None).key_id == first.key_id

    stored = read_stored(conn, "secrets", place)
    assert stored is not None
    writer.replace_stored(replace(stored, data={**stored.data, "key": b"x" * 32}))
    second = installation_key(conn, NS, writer)
    assert second.found
    assert second.key_id != first.key_id

    stored = read_stored(conn, "secrets", place)
    assert stored is not None
    writer.replace_stored(replace(stored, data={"key": b"short", "id": b"a:b"}))
    assert not installation_key(conn, NS, None).found
    third = installation_key(conn, NS, writer)
    assert not third.found
    assert third.key_id not in (first.key_id, second.key_id)
    assert installation_key(conn, NS, writer).found
