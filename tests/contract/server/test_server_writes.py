"""What the agent writes, and what keeps its writes from hitting the wrong thing."""

from __future__ import annotations

from typing import Any

import pytest
from support.apiservers import ApiServerWorld, Object

from agent.cluster.errors import ApiProblem, Conflict
from agent.cluster.stored import Stored, read_stored
from agent.cluster.writer import Writer
from agent.model import ObjectKey, WorkloadKey


def external_secret(name: str = "e") -> Object:
    """An ExternalSecret that reads one key from a store that is not there."""
    spec = {"secretStoreRef": {"name": "kv"}, "data": [{"secretKey": "k", "remoteRef": {"key": "k"}}]}
    return {
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": name, "annotations": {"a": "b"}}, "spec": spec,
    }  # fmt: skip


def deployment(name: str = "backend", replicas: int = 0) -> Object:
    """A Deployment of no pods."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "x"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _managers(obj: Object) -> dict[str, Any]:
    return {each["manager"]: each for each in obj["metadata"].get("managedFields") or []}


def _refused(code: int, reason: str, call: Any, *arguments: Any, **named: Any) -> ApiProblem:
    with pytest.raises(ApiProblem) as caught:
        call(*arguments, **named)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    return caught.value


def test_a_force_sync_sets_one_annotation_under_our_own_name(server: ApiServerWorld) -> None:
    """The annotation is added, and managedFields say that secret-drift-agent owns it and nothing else."""
    uid = server.create("externalsecrets", external_secret())["metadata"]["uid"]
    answered = server.writer.force_sync(ObjectKey(server.namespace, "e"), uid=uid, stamp="1700000000")
    assert answered.force_sync == "1700000000"
    now = server.get("externalsecrets", "e")
    assert now["metadata"]["annotations"] == {"a": "b", "force-sync": "1700000000"}
    ours = _managers(now)["secret-drift-agent"]
    assert ours["operation"] == "Update"
    assert ours["fieldsV1"] == {"f:metadata": {"f:annotations": {"f:force-sync": {}}}}


def test_a_force_sync_meant_for_an_object_since_replaced_conflicts(server: ApiServerWorld) -> None:
    """The uid in the patch keeps a decision from hitting the successor of the object it was made on."""
    server.create("externalsecrets", external_secret())
    with pytest.raises(Conflict):
        server.writer.force_sync(
            ObjectKey(server.namespace, "e"), uid="00000000-0000-0000-0000-000000000000", stamp="1"
        )
    assert server.get("externalsecrets", "e")["metadata"]["annotations"] == {"a": "b"}


def test_a_merge_patch_may_carry_a_version(server: ApiServerWorld) -> None:
    """With the current resourceVersion it passes, with an old one it conflicts, without one it passes."""
    old = server.create("configmaps", {"metadata": {"name": "c"}})["metadata"]["resourceVersion"]
    new = server.patch("configmaps", "c", {"metadata": {"resourceVersion": old}, "data": {"k": "1"}})
    _refused(409, "Conflict", server.patch, "configmaps", "c", {"metadata": {"resourceVersion": old}, "data": {}})
    server.patch("configmaps", "c", {"data": {"k": "2"}})
    assert new["data"] == {"k": "1"}
    assert server.get("configmaps", "c")["data"] == {"k": "2"}


def test_merge_patch_follows_its_rfc(server: ApiServerWorld) -> None:
    """null removes a member, objects merge, lists are replaced; removing what is absent is fine."""
    server.create("configmaps", {"metadata": {"name": "c", "finalizers": ["x/a"]}, "data": {"a": "1", "b": "2"}})
    patch = {"metadata": {"finalizers": ["x/b"]}, "data": {"a": None, "c": "3", "z": None}}
    patched = server.patch("configmaps", "c", patch)
    assert patched["data"] == {"b": "2", "c": "3"}
    assert patched["metadata"]["finalizers"] == ["x/b"]
    assert "finalizers" not in server.patch("configmaps", "c", {"metadata": {"finalizers": None}})["metadata"]


def test_a_write_that_changes_nothing_is_not_a_version(server: ApiServerWorld) -> None:
    """Putting back what was read keeps the resourceVersion."""
    made = server.create("configmaps", {"metadata": {"name": "c"}, "data": {"k": "1"}})
    again = server.replace("configmaps", made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    patched = server.patch("configmaps", "c", {"data": {"k": "1"}})
    assert patched["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_put_of_a_stale_copy_conflicts(server: ApiServerWorld) -> None:
    """A PUT with an old resourceVersion is 409 Conflict and changes nothing."""
    made = server.create("configmaps", {"metadata": {"name": "c"}, "data": {"k": "1"}})
    server.patch("configmaps", "c", {"data": {"k": "2"}})
    _refused(409, "Conflict", server.replace, "configmaps", {**made, "data": {"k": "3"}})
    assert server.get("configmaps", "c")["data"] == {"k": "2"}


def test_a_name_is_taken_once(server: ApiServerWorld) -> None:
    """A second create of a name is 409 AlreadyExists."""
    server.create("configmaps", {"metadata": {"name": "c"}})
    _refused(409, "AlreadyExists", server.create, "configmaps", {"metadata": {"name": "c"}})


@pytest.mark.parametrize("kind", ["configmaps", "secrets"])
def test_the_ledger_is_swapped_only_from_the_state_it_was_read_in(server: ApiServerWorld, kind: Any) -> None:
    """Of two writers that read the same state the second is refused; the delete names the state as well."""
    key = ObjectKey(server.namespace, "ledger")
    created = server.writer.create_stored(Stored(kind=kind, key=key, data={"a": b"1"}, labels={"ledger": "yes"}))
    first = server.writer.replace_stored(
        Stored(kind=kind, key=key, data={"a": b"2"}, resource_version=created.resource_version)
    )
    with pytest.raises(Conflict):
        server.writer.replace_stored(
            Stored(kind=kind, key=key, data={"a": b"3"}, resource_version=created.resource_version)
        )
    assert read_stored(server.conn, kind, key) == first
    with pytest.raises(Conflict):
        server.writer.delete_stored(kind, key, uid=first.uid, resource_version=created.resource_version)
    server.writer.delete_stored(kind, key, uid=first.uid, resource_version=first.resource_version)
    assert read_stored(server.conn, kind, key) is None


def test_a_restart_changes_the_template_of_the_version_judged(server: ApiServerWorld) -> None:
    """The rollout starts by one annotation of the pod template, unless the workload moved meanwhile."""
    server.create("deployments", deployment())
    made = server.eventually(
        lambda: found if (found := server.get("deployments", "backend"))["status"].get("observedGeneration") else None,
        "the controller has seen it",
    )
    key, version = WorkloadKey(server.namespace, "Deployment", "backend"), made["metadata"]["resourceVersion"]
    server.writer.restart(key, uid=made["metadata"]["uid"], resource_version=version, stamp="2026-11-23T22:49:00Z")
    changed = server.get("deployments", "backend")
    assert changed["spec"]["template"]["metadata"]["annotations"] == {
        "secret-drift-agent/restarted-at": "2026-11-23T22:49:00Z"
    }
    assert changed["metadata"]["generation"] == made["metadata"]["generation"] + 1
    with pytest.raises(Conflict):
        server.writer.restart(key, uid=made["metadata"]["uid"], resource_version=version, stamp="again")


def test_a_dry_run_writes_nothing(server: ApiServerWorld) -> None:
    """In dry-run every write is judged as the real one would be, refusals included, and none is kept."""
    made = server.create("externalsecrets", external_secret())
    server.create("deployments", deployment())
    writer, key = Writer(server.conn, dry_run=True), ObjectKey(server.namespace, "e")
    assert writer.force_sync(key, uid=made["metadata"]["uid"], stamp="1").force_sync == "1"
    with pytest.raises(Conflict):
        writer.force_sync(key, uid="00000000-0000-0000-0000-000000000000", stamp="1")
    assert server.get("externalsecrets", "e") == made
    server.create("secrets", {"metadata": {"name": "s"}}, dryRun="All")
    assert server.find("secrets", "s") is None
    kept = server.create("secrets", {"metadata": {"name": "s"}})["metadata"]
    writer.delete_secret(ObjectKey(server.namespace, "s"), uid=kept["uid"], resource_version=kept["resourceVersion"])
    assert server.find("secrets", "s")
    _refused(409, "AlreadyExists", server.create, "secrets", {"metadata": {"name": "s"}}, dryRun="All")


def test_an_immutable_secret_keeps_its_data(server: ApiServerWorld) -> None:
    """Neither data nor the mark itself can be changed; labels and annotations can."""
    server.create("secrets", {"metadata": {"name": "s"}, "data": {"k": "dTE="}, "immutable": True})
    for change in ({"data": {"k": "eA=="}}, {"data": {"l": "eA=="}}, {"immutable": False}, {"immutable": None}):
        _refused(422, "Invalid", server.patch, "secrets", "s", change)
    server.patch("secrets", "s", {"metadata": {"annotations": {"a": "b"}}})
    kept = server.get("secrets", "s")
    assert (kept["data"], kept["immutable"], kept["metadata"]["annotations"]) == ({"k": "dTE="}, True, {"a": "b"})


def test_string_data_becomes_data(server: ApiServerWorld) -> None:
    """stringData is stored as base64 under data, wins over it, and is never shown."""
    made = server.create("secrets", {"metadata": {"name": "s"}, "data": {"k": "dTE="}, "stringData": {"k": "new"}})
    assert (made["data"], made["type"]) == ({"k": "bmV3"}, "Opaque")
    assert "stringData" not in server.get("secrets", "s")


def test_the_status_of_an_external_secret_has_an_endpoint_of_its_own(server: ApiServerWorld) -> None:
    """A write to the object leaves the status alone, one to its status leaves spec, labels and generation alone."""
    made = server.create("externalsecrets", {**external_secret(), "status": {"refreshTime": "2026-01-01T00:00:00Z"}})
    assert "status" not in made
    condition = {"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "ok"}
    patch = {
        "status": {"conditions": [condition]},
        "metadata": {"labels": {"a": "b"}},
        "spec": {"refreshInterval": "9h"},
    }
    told = server.patch("externalsecrets", "e", patch, subresource="status")
    assert told["status"]["conditions"] == [condition]
    assert told["metadata"]["generation"] == 1
    assert "labels" not in told["metadata"]
    assert "refreshInterval" not in told["spec"] or told["spec"]["refreshInterval"] != "9h"
    moved = server.patch("externalsecrets", "e", {"spec": {"refreshInterval": "9h"}, "status": None})
    assert (moved["metadata"]["generation"], moved["status"]) == (2, told["status"])


def test_the_status_of_a_built_in_kind_has_an_endpoint_of_its_own(server: ApiServerWorld) -> None:
    """A Deployment's status is not changed through the object."""
    server.create("deployments", deployment())
    server.patch("deployments", "backend", {"status": {"replicas": 7}, "metadata": {"labels": {"x": "y"}}})
    found = server.get("deployments", "backend")
    assert found["status"].get("replicas", 0) == 0
    assert found["metadata"]["labels"]["x"] == "y"


def test_a_rejected_secret_is_never_quoted(server: ApiServerWorld) -> None:
    """Whatever the server says about a Secret it rejects, the agent's error holds none of it."""
    secret = Stored(kind="secrets", key=ObjectKey(server.namespace, "s"), data={"not a key!": b"hunter2"})
    error = _refused(422, "Invalid", server.writer.create_stored, secret)
    assert "hunter2" not in repr(error) + str(error)
    assert "withheld" in error.message


def test_a_namespace_that_is_not_there_takes_nothing(server: ApiServerWorld) -> None:
    """A create in an absent namespace is 404."""
    body = {"metadata": {"name": "s"}}
    _refused(404, "NotFound", server.request, "POST", "/api/v1/namespaces/no-such-namespace/secrets", body)
