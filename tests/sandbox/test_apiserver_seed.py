"""Worlds that begin in the past, and big ones."""

from __future__ import annotations

from apiserver_harness import NS, World, in_world, pod, secret, until, watching

from agent.sandbox.client import PODS, SECRETS


@in_world
async def test_seeded_objects_are_as_given(made: World) -> None:
    """uid, creationTimestamp, managedFields and status are kept; what is missing is filled in."""
    fields = [
        {
            "manager": "m",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2020-01-01T00:00:00Z",
            "fieldsV1": {"f:type": {}},
        }
    ]
    meta = {
        "name": "s",
        "namespace": NS,
        "uid": "u-1",
        "creationTimestamp": "2020-01-01T00:00:00Z",
        "managedFields": fields,
    }
    made.server.seed({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"k": "dTE="}})
    running = {"phase": "Running", "containerStatuses": [{"name": "main", "restartCount": 2}]}
    body = {"apiVersion": "v1", "kind": "Pod", **pod("p", node="n1"), "status": running}
    body["metadata"] |= {"namespace": NS, "creationTimestamp": "2021-01-01T00:00:00Z"}
    made.server.seed(body)
    got = await made.client.get(SECRETS, NS, "s")
    assert {key: got["metadata"][key] for key in meta} == meta
    assert got["type"] == "Opaque"
    seeded = await made.client.get(PODS, NS, "p")
    assert seeded["status"] == running
    assert seeded["metadata"]["uid"]
    assert seeded["metadata"]["managedFields"][0]["time"] == "2021-01-01T00:00:00Z"


@in_world
async def test_seeding_is_seen_by_watches(made: World) -> None:
    """An object seeded into a running world arrives like any other."""
    async with watching(made.client, SECRETS) as watched:
        await until(lambda: made.server.running_watches)
        made.server.seed({"apiVersion": "v1", "kind": "Secret", **secret("s")})
        await until(watched.of)
    assert watched.of() == [("ADDED", "s")]


@in_world
async def test_a_seeded_dependant_may_come_before_its_owner(made: World) -> None:
    """Order does not matter within one batch of seeds: nothing is collected whose owner follows."""
    owner = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "o", "namespace": NS, "uid": "u-1"}}
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "o", "uid": "u-1"}
    child = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "c", "namespace": NS, "ownerReferences": [reference]},
    }
    made.server.seed(child)
    made.server.seed(owner)
    await made.client.list(SECRETS)
    assert await made.client.get_or_none(SECRETS, NS, "c") is not None


@in_world
async def test_what_is_read_cannot_change_what_is_stored(made: World) -> None:
    """The object handed to seed may be changed afterwards without effect."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": NS}, "data": {"k": "dTE="}}
    made.server.seed(body)
    body["data"] = {}
    assert (await made.client.get(SECRETS, NS, "s"))["data"] == {"k": "dTE="}
