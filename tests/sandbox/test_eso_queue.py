"""How ESO gets through its work: one at a time, each once, nothing without need."""

import asyncio

from eso_world import NS, external_secret, run, start, world

from agent.esohash import created_by, data_hash, field_manager, synced_resource_version
from agent.sandbox.actors.eso.queue import WorkQueue
from agent.sandbox.client import EXTERNAL_SECRETS
from agent.sandbox.clock import WorldClock

A, B = ("shop", "a"), ("shop", "b")


@run
async def test_a_key_is_queued_once_and_never_worked_on_twice_at_a_time() -> None:
    """What is added twice is got once; what is added during its work comes again after it."""
    queue = WorkQueue(WorldClock())
    for key in (A, B, A):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == [A, B]
    queue.add(A)
    queue.done(B)
    assert not queue.idle
    queue.done(A)
    assert await queue.get() == A
    queue.done(A)
    assert queue.idle


@run
async def test_later_keys_come_in_the_order_of_their_times_when_the_clock_gets_there() -> None:
    """Of two times for one key the earlier holds; moving the clock brings all that is due."""
    clock = WorldClock()
    queue = WorkQueue(clock)
    runner = asyncio.create_task(queue.run())
    queue.add_after(A, 3600)
    queue.add_after(B, 60)
    queue.add_after(A, 30)
    queue.add_after(A, 900)
    await asyncio.sleep(0)
    clock.advance(31)
    assert await asyncio.wait_for(queue.get(), 5) == A
    clock.advance(30)
    assert await asyncio.wait_for(queue.get(), 5) == B
    queue.done(A)
    queue.done(B)
    clock.advance(7200)
    await asyncio.sleep(0.01)
    assert queue.idle
    runner.cancel()


@run
async def test_failures_wait_up_to_seven_minutes_and_are_forgotten() -> None:
    """1, 2, 4 ... 420 seconds; after a success it begins at 1 again."""
    clock = WorldClock()
    queue = WorkQueue(clock)
    runner = asyncio.create_task(queue.run())
    for wait in (1, 2, 4, 8, 16, 32, 64, 128, 256, 420, 420):
        queue.add_backed_off(A)
        await asyncio.sleep(0)
        clock.advance(wait - 0.5)
        await asyncio.sleep(0.001)
        assert queue.idle, wait
        clock.advance(0.6)
        assert await asyncio.wait_for(queue.get(), 5) == A
        queue.done(A)
    queue.forget(A)
    queue.add_backed_off(A)
    await asyncio.sleep(0)
    clock.advance(1)
    assert await asyncio.wait_for(queue.get(), 5) == A
    runner.cancel()


@run
async def test_a_paused_eso_does_nothing_until_it_is_resumed() -> None:
    """While ESO is down an annotation stays unanswered; when it is back it catches up."""
    async with world() as w:
        vault = w.vaults.vault("prod-kv")
        vault.set("api-key", "v1")
        before = await w.apply("app", "key=api-key")
        w.eso.pause()
        vault.set("api-key", "v2")
        version = await w.force_sync("app")
        await w.client.create(EXTERNAL_SECRETS, NS, external_secret("new", "key=api-key"))
        w.clock.advance(7200)
        await asyncio.sleep(0.05)
        assert (await w.external_secret("app"))["status"] == before["status"]
        assert await w.secret("new") is None
        w.eso.resume()
        await w.acknowledged("app", version)
        await w.until(lambda: w.secret("new"))
        assert await w.data("app") == {"key": b"v2"}


@run
async def test_one_slow_sync_holds_up_all_others() -> None:
    """With a single worker every ExternalSecret waits for the one in hand; delay is the world's time."""
    async with world() as w:
        w.vaults.vault("prod-kv").set("api-key", "v1")
        w.eso.delay = 60
        for name in ("one", "two"):
            await w.client.create(EXTERNAL_SECRETS, NS, external_secret(name, "key=api-key"))

        async def first() -> bool:
            return "finalizers" in (await w.external_secret("one"))["metadata"]

        await w.until(first)
        assert "finalizers" not in (await w.external_secret("two"))["metadata"]
        await asyncio.sleep(0.02)
        w.clock.advance(61)
        await w.until(lambda: w.secret("one"))
        w.eso.delay = 0
        w.clock.advance(61)
        await w.until(lambda: w.secret("two"))


@run
async def test_a_big_cluster_in_order_costs_nothing_at_start() -> None:
    """With a thousand synced ExternalSecrets that are not due ESO reads no vault and writes nothing."""
    async with world(started=False) as w:
        now = w.clock.rfc3339()
        for number in range(1000):
            name = f"app-{number}"
            w.server.seed(
                {
                    **external_secret(name, "k=api-key", refreshInterval="1h0m0s"),
                    "metadata": {
                        "name": name, "namespace": NS, "generation": 1, "uid": f"uid-{number}",
                        "finalizers": ["externalsecrets.external-secrets.io/externalsecret-cleanup"],
                    },
                    "status": {
                        "refreshTime": now, "binding": {"name": name},
                        "syncedResourceVersion": synced_resource_version(1, {}, {}),
                        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
                    },
                }
            )  # fmt: skip
            marks = {
                "reconcile.external-secrets.io/managed": "true",
                "reconcile.external-secrets.io/created-by": created_by(NS, name),
            }
            annotations = {"reconcile.external-secrets.io/data-hash": data_hash({"k": b"v1"})}
            w.server.seed(
                {
                    "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"k": "djE="},
                    "metadata": {
                        "name": name, "namespace": NS, "labels": marks, "annotations": annotations,
                        "managedFields": [{"manager": field_manager(name), "operation": "Update"}],
                    },
                }
            )  # fmt: skip
        seeded = len(w.server.audit)
        start(w)
        w.vaults.vault("prod-kv").set("api-key", "v1")
        await w.apply("last", "k=api-key")
        writes = [entry for entry in w.server.audit[seeded:] if entry.verb not in ("get", "list", "watch")]
        assert {entry.name for entry in writes if entry.resource != "secretstores"} <= {"last", None, ""}
        assert w.gets() == 1
        assert w.eso.refused == {}
