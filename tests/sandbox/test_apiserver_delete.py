"""Deletes and what follows from them."""

from __future__ import annotations

import asyncio

from apiserver_harness import NS, World, external_secret, in_world, pod, refused, secret, until, watching

from agent.sandbox.client import EXTERNAL_SECRETS, NAMESPACES, PODS, REPLICA_SETS, SECRETS, Object, Resource


async def _gone(made: World, res: Resource, name: str) -> None:
    while await made.client.get_or_none(res, NS, name) is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def _owned(name: str, *owners: Object) -> Object:
    refs = [
        {"apiVersion": "v1", "kind": "X", "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]} for o in owners
    ]
    body = secret(name)
    body["metadata"]["ownerReferences"] = refs
    return body


@in_world
async def test_preconditions_protect_from_deleting_the_wrong_thing(made: World) -> None:
    """A delete that names another uid or version is 409; with both right it passes and answers a Status."""
    meta = (await made.client.create(SECRETS, NS, secret("s")))["metadata"]
    for wrong in ({"uid": "other"}, {"uid": meta["uid"], "resourceVersion": "1"}):
        error = await refused(made.client.delete(SECRETS, NS, "s", preconditions=wrong), 409, "Conflict")
        assert "Precondition failed" in error.status["message"]
    right = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    status = await made.client.delete(SECRETS, NS, "s", preconditions=right)
    assert (status["status"], status["details"]) == ("Success", {"name": "s", "kind": "secrets", "uid": meta["uid"]})
    await refused(made.client.delete(SECRETS, NS, "s"), 404, "NotFound")


@in_world
async def test_finalizers_hold_an_object(made: World) -> None:
    """A deleted object with finalizers stays, marked, its generation one up, until the last finalizer is taken off."""
    body = external_secret("e")
    body["metadata"]["finalizers"] = ["a/b"]
    await made.client.create(EXTERNAL_SECRETS, NS, body)
    marked = await made.client.delete(EXTERNAL_SECRETS, NS, "e")
    assert marked["metadata"]["deletionTimestamp"]
    assert (marked["metadata"]["deletionGracePeriodSeconds"], marked["metadata"]["generation"]) == (0, 2)
    await refused(made.client.merge_patch(EXTERNAL_SECRETS, NS, "e", {"metadata": {"finalizers": ["a/b", "c/d"]}}), 422)
    again = await made.client.delete(EXTERNAL_SECRETS, NS, "e")
    assert again["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    async with watching(made.client, EXTERNAL_SECRETS, again["metadata"]["resourceVersion"]) as watched:
        await made.client.merge_patch(EXTERNAL_SECRETS, NS, "e", {"metadata": {"finalizers": None}})
        await until(lambda: watched.events)
    assert watched.of() == [("DELETED", "e")]
    assert await made.client.get_or_none(EXTERNAL_SECRETS, NS, "e") is None


@in_world
async def test_a_bound_pod_is_given_its_grace(made: World) -> None:
    """Deleting a bound pod marks it for its grace period; the kubelet's delete with grace 0 removes it."""
    await made.client.create(PODS, NS, pod("p", node="n1", terminationGracePeriodSeconds=20))
    marked = (await made.client.delete(PODS, NS, "p"))["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 20
    assert marked["deletionTimestamp"] > made.clock.rfc3339(made.clock.now() + 17)
    shorter = (await made.client.delete(PODS, NS, "p", grace_seconds=5))["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert shorter["deletionTimestamp"] < marked["deletionTimestamp"]
    longer = (await made.client.delete(PODS, NS, "p", grace_seconds=60))["metadata"]
    assert longer["deletionGracePeriodSeconds"] == 5
    await made.client.delete(PODS, NS, "p", grace_seconds=0)
    assert await made.client.get_or_none(PODS, NS, "p") is None


@in_world
async def test_unbound_and_ended_pods_go_at_once(made: World) -> None:
    """A pod without a node, and one that has ended, is removed by the first delete."""
    await made.client.create(PODS, NS, pod("unbound"))
    await made.client.create(PODS, NS, pod("ended", node="n1"))
    await made.client.merge_patch(PODS, NS, "ended", {"status": {"phase": "Succeeded"}}, subresource="status")
    for name in ("unbound", "ended"):
        assert (await made.client.delete(PODS, NS, name))["kind"] == "Pod"
        assert await made.client.get_or_none(PODS, NS, name) is None


@in_world
async def test_dependants_follow_their_owners(made: World) -> None:
    """An object goes when its last owner is gone, over generations; with one left it only loses the reference."""
    first = await made.client.create(SECRETS, NS, secret("first"))
    second = await made.client.create(SECRETS, NS, secret("second"))
    child = await made.client.create(SECRETS, NS, _owned("child", first))
    await made.client.create(SECRETS, NS, _owned("grandchild", child))
    await made.client.create(SECRETS, NS, _owned("shared", first, second))
    await made.client.delete(SECRETS, NS, "first")
    await _gone(made, SECRETS, "grandchild")
    assert await made.client.get_or_none(SECRETS, NS, "child") is None
    shared = await made.client.get(SECRETS, NS, "shared")
    assert [ref["name"] for ref in shared["metadata"]["ownerReferences"]] == ["second"]


@in_world
async def test_an_object_born_after_its_owner_died_is_collected(made: World) -> None:
    """An ownerReference to a uid that is not there gets the object deleted; with gc off it stays."""
    ghost = {"metadata": {"name": "ghost", "uid": "no-such-uid"}}
    made.server.gc = False
    await made.client.create(SECRETS, NS, _owned("kept", ghost))
    made.server.gc = True
    await made.client.create(SECRETS, NS, _owned("orphan", ghost))
    await _gone(made, SECRETS, "orphan")
    assert await made.client.get_or_none(SECRETS, NS, "kept") is not None


@in_world
async def test_orphaning_leaves_the_dependants(made: World) -> None:
    """propagationPolicy Orphan takes the reference off instead of deleting."""
    labels = {"app": "a"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    owner = await made.client.create(REPLICA_SETS, NS, {"metadata": {"name": "r"}, "spec": spec})
    await made.client.create(SECRETS, NS, _owned("s", owner))
    await made.client.request("DELETE", REPLICA_SETS.path(NS, "r"), query={"propagationPolicy": "Orphan"})
    assert "ownerReferences" not in (await made.client.get(SECRETS, NS, "s"))["metadata"]


@in_world
async def test_a_namespace_empties_itself_and_goes(made: World) -> None:
    """A deleted namespace is Terminating while its pods end, takes nothing new, and goes with the last object."""
    await made.client.create(PODS, NS, pod("p", node="n1"))
    await made.client.create(SECRETS, NS, secret("s"))
    marked = await made.client.delete(NAMESPACES, None, NS)
    assert marked["status"]["phase"] == "Terminating"
    await _gone(made, SECRETS, "s")
    error = await refused(made.client.create(SECRETS, NS, secret("t")), 403, "Forbidden")
    assert "because it is being terminated" in error.status["message"]
    assert error.status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await made.client.delete(PODS, NS, "p", grace_seconds=0)
    await _gone(made, NAMESPACES, NS)


@in_world
async def test_a_collection_is_deleted_by_selector(made: World) -> None:
    """DELETE on a collection deletes what the selector chooses and nothing else."""
    for name, labels in (("a", {"x": "1"}), ("b", {})):
        await made.client.create(SECRETS, NS, secret(name, labels=labels))
    await made.client.request("DELETE", SECRETS.path(NS), query={"labelSelector": "x=1"})
    assert [s["metadata"]["name"] for s in await made.client.list(SECRETS, NS)] == ["b"]
    assert made.server.audit[-2].verb == "deletecollection"
