"""Every write of the agent, against an API server over TLS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.servers import Cluster

from agent.cluster.errors import ApiProblem, Conflict, EvictionRefused
from agent.cluster.reader import get
from agent.cluster.resources import RESOURCES
from agent.cluster.stored import Stored, list_stored, read_stored
from agent.cluster.writer import Writer
from agent.model import ObjectKey, WorkloadKey
from agent.sandbox.apiserver.faults import FaultRule

SECRETS = ObjectKey("default", "app-secrets")
POD = ObjectKey("default", "backend-1")


def external_secret() -> dict[str, Any]:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "app-secrets", "namespace": "default", "uid": "es-uid", "annotations": {"a": "b"}},
        "spec": {
            "secretStoreRef": {"name": "kv"},
            "data": [{"secretKey": "k", "remoteRef": {"key": "k"}}],
        },
    }


def pod(name: str = "backend-1") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}", "labels": {"app": "backend"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "x"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def budget(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "backend"}}},
        "status": {
            "observedGeneration": 1, "disruptionsAllowed": 0,
            "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
        },
    }  # fmt: skip


def deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "backend", "namespace": "default", "uid": "d-uid"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "backend"}},
            "template": {
                "metadata": {"labels": {"app": "backend"}},
                "spec": {"containers": [{"name": "app", "image": "x"}]},
            },
        },
    }


def raw(api: Cluster, path: str) -> Any:
    return json.loads(api.connect().request("GET", path).body)


def annotations_of(api: Cluster) -> dict[str, str]:
    """Of the ExternalSecret, as it is there now."""
    path = RESOURCES["externalsecrets"].path(*SECRETS)
    found: dict[str, str] = raw(api, path)["metadata"]["annotations"]
    return found


def test_a_force_sync_sets_one_annotation_and_nothing_else(api: Cluster) -> None:
    """The annotation is added under our own field manager; the answer shows it."""
    api.seed(external_secret())
    answered = Writer(api.connect()).force_sync(SECRETS, uid="es-uid", stamp="1700000000")
    assert answered.force_sync == "1700000000"
    assert annotations_of(api) == {"a": "b", "force-sync": "1700000000"}
    (patch,) = api.asked("externalsecrets", "patch")
    assert json.loads(patch.body) == {"metadata": {"uid": "es-uid", "annotations": {"force-sync": "1700000000"}}}
    assert patch.query["fieldManager"] == "secret-drift-agent"


def test_a_force_sync_meant_for_an_object_since_replaced_fails(api: Cluster) -> None:
    """The uid in the patch keeps a decision from hitting the successor of the object it was made on."""
    api.seed(external_secret())
    with pytest.raises(Conflict):
        Writer(api.connect()).force_sync(SECRETS, uid="another-uid", stamp="1")
    assert annotations_of(api) == {"a": "b"}


def test_a_dry_run_writes_nothing(api: Cluster) -> None:
    """In dry-run the server judges the write and keeps none of it."""
    api.seed(external_secret(), pod(), deployment())
    writer = Writer(api.connect(), dry_run=True)
    writer.force_sync(SECRETS, uid="es-uid", stamp="1")
    writer.evict(POD, uid="uid-of-backend-1")
    before = raw(api, "/apis/apps/v1/namespaces/default/deployments/backend")
    key = WorkloadKey("default", "Deployment", "backend")
    writer.restart(key, uid="d-uid", resource_version=before["metadata"]["resourceVersion"], stamp="now")
    assert annotations_of(api) == {"a": "b"}
    assert not get(api.connect(), "pods", POD).deleting
    assert raw(api, "/apis/apps/v1/namespaces/default/deployments/backend") == before


def test_a_dry_run_of_one_eviction_is_told_to_webhooks_too(api: Cluster) -> None:
    """By the query: one that acts on evictions would take it for a real one, whatever the body says."""
    api.seed(pod())
    Writer(api.connect()).evict(POD, uid="uid-of-backend-1", dry_run=True)
    assert not get(api.connect(), "pods", POD).deleting
    asked = [entry.query for entry in api.server.audit if entry.subresource == "eviction"]
    assert asked == [{"fieldManager": "secret-drift-agent", "dryRun": "All"}]


def test_a_secret_is_deleted_only_in_the_state_it_was_judged_in(api: Cluster) -> None:
    """A Secret that moved since it was read is not deleted."""
    api.seed(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app-secrets", "namespace": "default", "uid": "s"}}
    )
    writer = Writer(api.connect())
    version = raw(api, "/api/v1/namespaces/default/secrets/app-secrets")["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        writer.delete_secret(SECRETS, uid="s", resource_version="1")
    with pytest.raises(Conflict):
        writer.delete_secret(SECRETS, uid="other", resource_version=version)
    writer.delete_secret(SECRETS, uid="s", resource_version=version)
    assert get(api.connect(), "secrets", SECRETS) is None


def test_an_eviction_deletes_the_pod_that_was_meant(api: Cluster) -> None:
    """The pod goes if it still is the one that was judged; its namesake stays."""
    api.seed(pod())
    writer = Writer(api.connect())
    with pytest.raises(Conflict):
        writer.evict(POD, uid="another")
    writer.evict(POD, uid="uid-of-backend-1")
    assert get(api.connect(), "pods", POD).deleting
    with pytest.raises(ApiProblem) as absent:
        writer.evict(ObjectKey("default", "no-such-pod"), uid="x")
    assert absent.value.code == 404


def test_a_budget_that_forbids_an_eviction_is_named(api: Cluster) -> None:
    """A refusal by a PodDisruptionBudget says which one, and when to come again."""
    api.seed(pod(), budget("backend-pdb"))
    with pytest.raises(EvictionRefused) as refused:
        Writer(api.connect()).evict(POD, uid="uid-of-backend-1")
    assert refused.value.budgets == ("backend-pdb",)
    assert "backend-pdb" in refused.value.detail


def test_two_budgets_over_one_pod_are_told_as_what_they_are(api: Cluster) -> None:
    """The API's 500 for a pod under two budgets is a refusal that waiting does not end."""
    api.seed(pod(), budget("one"), budget("two"))
    with pytest.raises(EvictionRefused, match="more than one PodDisruptionBudget") as refused:
        Writer(api.connect()).evict(POD, uid="uid-of-backend-1")
    assert refused.value.retry_after is None


def test_a_throttled_eviction_is_no_refusal_by_a_budget(api: Cluster) -> None:
    """A plain 429 says nothing of budgets, and is not repeated."""
    api.seed(pod())
    api.loop.call(
        api.server.faults.add, FaultRule(effect="status", code=429, retry_after=1, verb="create", resource="pods")
    )
    with pytest.raises(ApiProblem) as caught:
        Writer(api.connect()).evict(POD, uid="uid-of-backend-1")
    assert (caught.value.code, caught.value.retry_after) == (429, 1.0)
    assert len(api.asked("pods", "create")) == 1


def test_a_restart_changes_the_template_of_the_version_judged(api: Cluster) -> None:
    """The rollout starts by one annotation of the pod template, unless the workload moved meanwhile."""
    api.seed(deployment())
    writer, key = Writer(api.connect()), WorkloadKey("default", "Deployment", "backend")
    path = "/apis/apps/v1/namespaces/default/deployments/backend"
    version = raw(api, path)["metadata"]["resourceVersion"]
    writer.restart(key, uid="d-uid", resource_version=version, stamp="2026-11-23T22:49:00Z")
    annotations = raw(api, path)["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"secret-drift-agent/restarted-at": "2026-11-23T22:49:00Z"}
    with pytest.raises(Conflict):
        writer.restart(key, uid="d-uid", resource_version=version, stamp="again")


@pytest.mark.parametrize("kind", ["configmaps", "secrets"])
def test_what_is_stored_is_swapped_only_from_the_state_it_was_read_in(api: Cluster, kind: Any) -> None:
    """Of two writers that read the same state, the second is refused: nothing is overwritten unseen."""
    conn = api.connect()
    writer, key = Writer(conn), ObjectKey("default", "ledger")
    assert read_stored(conn, kind, key) is None
    created = writer.create_stored(Stored(kind=kind, key=key, data={"a": b"1"}, labels={"ledger": "yes"}))
    with pytest.raises(Conflict):
        writer.create_stored(Stored(kind=kind, key=key, data={}))
    first = writer.replace_stored(
        Stored(kind=kind, key=key, data={"a": b"2"}, resource_version=created.resource_version)
    )
    with pytest.raises(Conflict):
        writer.replace_stored(Stored(kind=kind, key=key, data={"a": b"3"}, resource_version=created.resource_version))
    assert read_stored(conn, kind, key) == first
    assert first.data == {"a": b"2"}
    writer.delete_stored(kind, key, uid=first.uid, resource_version=first.resource_version)
    assert read_stored(conn, kind, key) is None


def test_stored_objects_are_found_by_label(api: Cluster) -> None:
    """The ledger finds its parts again by their label, page by page."""
    conn = api.connect()
    writer = Writer(conn)
    for i in range(3):
        writer.create_stored(
            Stored(kind="configmaps", key=ObjectKey("default", f"part-{i}"), data={}, labels={"l": "1"})
        )
    writer.create_stored(Stored(kind="configmaps", key=ObjectKey("default", "other"), data={}))
    found = list_stored(conn, "configmaps", "default", label_selector="l=1")
    assert [each.key.name for each in found] == ["part-0", "part-1", "part-2"]


def test_a_rejected_secret_is_never_quoted(api: Cluster) -> None:
    """Whatever the server says about a Secret it rejects, the error holds none of it, nor of what was sent."""
    secret = Stored(kind="secrets", key=ObjectKey("default", "ledger"), data={"not a key!": b"hunter2-the-password"})
    with pytest.raises(ApiProblem) as caught:
        Writer(api.connect()).create_stored(secret)
    assert caught.value.code == 422
    assert "hunter2" not in repr(caught.value) + str(caught.value) + repr(secret)
    assert "withheld" in caught.value.message
