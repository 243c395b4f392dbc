"""Deletions, evictions, and what follows from them."""

from __future__ import annotations

import pytest
from support.apiservers import ApiServerWorld, Object

from agent.cluster.errors import ApiProblem, Conflict, EvictionRefused
from agent.cluster.writer import Writer
from agent.model import ObjectKey

NOBODY = "00000000-0000-0000-0000-000000000000"
LABELS = {"app": "backend"}


def _budget(server: ApiServerWorld, name: str, minimum: int) -> None:
    spec = {"minAvailable": minimum, "selector": {"matchLabels": LABELS}}
    server.create("poddisruptionbudgets", {"metadata": {"name": name}, "spec": spec})


def _allowed(server: ApiServerWorld, name: str, healthy: int) -> Object | None:
    found: Object = server.get("poddisruptionbudgets", name)
    status = found.get("status") or {}
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    return found if current and status.get("currentHealthy") == healthy else None


def _owned(name: str, *owners: Object) -> Object:
    refs = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]}
        for o in owners
    ]
    return {"metadata": {"name": name, "ownerReferences": refs}}


def test_a_secret_is_deleted_only_in_the_state_it_was_judged_in(server: ApiServerWorld) -> None:
    """A delete that names another uid or version conflicts; with both right the Secret goes."""
    meta = server.create("secrets", {"metadata": {"name": "s"}})["metadata"]
    key, version = ObjectKey(server.namespace, "s"), meta["resourceVersion"]
    for uid, seen in ((NOBODY, version), (meta["uid"], "1")):
        with pytest.raises(Conflict):
            server.writer.delete_secret(key, uid=uid, resource_version=seen)
    server.writer.delete_secret(key, uid=meta["uid"], resource_version=version)
    assert server.find("secrets", "s") is None
    with pytest.raises(ApiProblem) as caught:
        server.writer.delete_secret(key, uid=meta["uid"], resource_version=version)
    assert caught.value.code == 404


def test_finalizers_hold_an_object(server: ApiServerWorld) -> None:
    """A deleted object with finalizers stays, marked, until the last finalizer is taken off."""
    server.create("configmaps", {"metadata": {"name": "c", "finalizers": ["a.example/b"]}})
    marked = server.delete("configmaps", "c")
    assert marked["metadata"]["deletionTimestamp"]
    assert server.get("configmaps", "c")["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    server.patch("configmaps", "c", {"metadata": {"finalizers": None}})
    assert server.find("configmaps", "c") is None


def test_dependants_follow_their_owners(server: ApiServerWorld) -> None:
    """An object goes when its last owner is gone; with one left it only loses the reference."""
    first = server.create("configmaps", {"metadata": {"name": "first"}})
    second = server.create("configmaps", {"metadata": {"name": "second"}})
    child = server.create("configmaps", _owned("child", first))
    server.create("configmaps", _owned("grandchild", child))
    server.create("configmaps", _owned("shared", first, second))
    server.delete("configmaps", "first")
    server.eventually(lambda: server.find("configmaps", "grandchild") is None, "the grandchild goes")
    assert server.find("configmaps", "child") is None
    left = server.eventually(
        lambda: refs if len(refs := server.get("configmaps", "shared")["metadata"]["ownerReferences"]) == 1 else None,
        "the shared one loses a reference",
    )
    assert [ref["name"] for ref in left] == ["second"]


def test_an_object_whose_owner_never_was_is_collected(server: ApiServerWorld) -> None:
    """An ownerReference to a uid that is not there gets the object deleted."""
    server.create("configmaps", _owned("orphan", {"metadata": {"name": "ghost", "uid": NOBODY}}))
    server.eventually(lambda: server.find("configmaps", "orphan") is None, "the orphan goes")


def test_a_bound_pod_is_given_its_grace(server: ApiServerWorld) -> None:
    """Deleting a running pod marks it for its grace period, and its node takes it away."""
    server.running_pod("p", terminationGracePeriodSeconds=20)
    marked = server.delete("pods", "p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    assert marked["metadata"]["deletionTimestamp"]
    server.eventually(lambda: server.find("pods", "p") is None, "the pod goes")


def test_an_eviction_deletes_the_pod_that_was_meant(server: ApiServerWorld) -> None:
    """Without a budget an eviction is a delete; of another uid it conflicts, of an absent pod it is 404."""
    uid, key = server.running_pod("p")["metadata"]["uid"], ObjectKey(server.namespace, "p")
    with pytest.raises(Conflict):
        server.writer.evict(key, uid=NOBODY)
    assert "deletionTimestamp" not in server.get("pods", "p")["metadata"]
    Writer(server.conn, dry_run=True).evict(key, uid=uid)
    assert "deletionTimestamp" not in server.get("pods", "p")["metadata"]
    server.writer.evict(key, uid=uid)
    server.eventually(lambda: server.find("pods", "p") is None, "the pod goes")
    with pytest.raises(ApiProblem) as absent:
        server.writer.evict(key, uid=uid)
    assert absent.value.code == 404


def test_a_budget_that_forbids_an_eviction_is_named(server: ApiServerWorld) -> None:
    """The first eviction uses the one allowed disruption up; the next is refused with the budget's name."""
    uids = [server.running_pod(name, labels=LABELS)["metadata"]["uid"] for name in ("p0", "p1")]
    _budget(server, "backend-pdb", 1)
    server.eventually(lambda: _allowed(server, "backend-pdb", 2), "the budget is computed")
    server.writer.evict(ObjectKey(server.namespace, "p0"), uid=uids[0])
    with pytest.raises(EvictionRefused) as refused:
        server.writer.evict(ObjectKey(server.namespace, "p1"), uid=uids[1])
    assert refused.value.budgets == ("backend-pdb",)
    assert refused.value.retry_after is None
    assert "deletionTimestamp" not in server.get("pods", "p1")["metadata"]


def test_a_dry_run_of_an_eviction_asks_the_budget(server: ApiServerWorld) -> None:
    """In dry-run the budget refuses as in earnest."""
    uid = server.running_pod("p", labels=LABELS)["metadata"]["uid"]
    _budget(server, "all", 1)
    server.eventually(lambda: _allowed(server, "all", 1), "the budget is computed")
    with pytest.raises(EvictionRefused) as refused:
        Writer(server.conn, dry_run=True).evict(ObjectKey(server.namespace, "p"), uid=uid)
    assert refused.value.budgets == ("all",)
    assert "The disruption budget all needs 1 healthy pods and has 1 currently" in refused.value.detail


def test_two_budgets_over_one_pod_are_told_as_what_they_are(server: ApiServerWorld) -> None:
    """The API's 500 for a pod under two budgets is a refusal that waiting does not end."""
    uid = server.running_pod("p", labels=LABELS)["metadata"]["uid"]
    _budget(server, "one", 0)
    _budget(server, "two", 0)
    with pytest.raises(EvictionRefused, match="more than one PodDisruptionBudget") as refused:
        server.writer.evict(ObjectKey(server.namespace, "p"), uid=uid)
    assert refused.value.retry_after is None


def test_a_collection_is_deleted_by_selector(server: ApiServerWorld) -> None:
    """DELETE on a collection deletes what the selector chooses and nothing else."""
    for name, labels in (("a", {"x": "1"}), ("b", {})):
        server.create("secrets", {"metadata": {"name": name, "labels": labels}})
    server.request("DELETE", server.path("secrets"), labelSelector="x=1")
    assert [s["metadata"]["name"] for s in server.list("secrets")["items"]] == ["b"]
