"""Events, Leases, tokens and logs: what the agent tells, holds and reads besides objects."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.apiservers import ApiServerWorld, Object, event

from agent.cluster.errors import ApiProblem, Conflict
from agent.cluster.notes import warning_events
from agent.cluster.reader import pod_log
from agent.model import ObjectKey


@dataclasses.dataclass(frozen=True)
class About:
    """What an Event is about."""

    namespace: str
    name: str = "app-secrets"
    uid: str = "11111111-2222-3333-4444-555555555555"
    api_version: str = "external-secrets.io/v1"
    kind: str = "ExternalSecret"


def _lease(server: ApiServerWorld, holder: str) -> Object:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-11-23T22:49:00.000000Z"}
    meta = {"name": "leader", "namespace": server.namespace}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def test_an_event_is_counted_and_not_repeated(server: ApiServerWorld) -> None:
    """The first time it is made, then its count, its newest time and its text change."""
    about = About(server.namespace)
    server.writer.event(about, "Normal", "ForceSynced", "asked", 1_700_000_000.0, name="app-secrets.1")
    server.writer.event(about, "Normal", "ForceSynced", "asked again", 1_700_000_060.0, name="app-secrets.1", times=2)
    (told,) = server.list("events")["items"]
    assert (told["count"], told["message"], told["reason"]) == (3, "asked again", "ForceSynced")
    assert (told["firstTimestamp"], told["lastTimestamp"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:14:20Z")
    assert told["involvedObject"]["uid"] == about.uid


def test_a_namespace_that_is_being_deleted_takes_no_events_and_that_is_no_error(server: ApiServerWorld) -> None:
    """Nobody is left to read them; one more of an Event that is there is counted for as long as it is."""
    about = About(server.namespace)
    server.create("configmaps", {"metadata": {"name": "holds-it", "finalizers": ["a.example/b"]}})
    server.request("DELETE", f"/api/v1/namespaces/{server.namespace}")
    server.writer.event(about, "Normal", "DriftGone", "over", 1_700_000_000.0, name="app-secrets.1")
    assert server.list("events")["items"] == []
    with pytest.raises(ApiProblem) as caught:
        server.create("events", event(server.namespace, "e"))
    assert [cause.reason for cause in caught.value.causes] == ["NamespaceTerminating"]
    server.patch("configmaps", "holds-it", {"metadata": {"finalizers": None}})


def test_an_event_about_another_namespace_is_refused(server: ApiServerWorld) -> None:
    """An Event lies in the namespace of what it is about; about cluster-scoped things it lies in default."""
    for namespace in ("default", ""):
        with pytest.raises(ApiProblem) as caught:
            server.create("events", event(namespace, "e"))
        assert caught.value.code == 422
    about = About("", kind="ClusterSecretStore")
    name = f"store.{server.namespace}"
    server.writer.event(about, "Normal", "Tested", "about a store", 1_700_000_000.0, name=name)
    server.request("DELETE", f"/api/v1/namespaces/default/events/{name}")


def test_warnings_about_one_object_are_found(server: ApiServerWorld) -> None:
    """The agent finds the Warnings on an ExternalSecret by its kind, name and uid, and no others."""
    about = About(server.namespace)
    for name, kind, uid in (("a", "Warning", about.uid), ("b", "Normal", about.uid), ("c", "Warning", "other")):
        involved = {
            "apiVersion": about.api_version, "kind": about.kind, "name": about.name, "namespace": about.namespace,
            "uid": uid,
        }  # fmt: skip
        body = {**event(server.namespace, name), "involvedObject": involved, "type": kind, "reason": "UpdateFailed"}
        server.create("events", body)
    found = warning_events(server.conn, ObjectKey(server.namespace, about.name), about.uid)
    assert [warning.reason for warning in found] == ["UpdateFailed"]


def test_a_lease_is_taken_by_compare_and_swap(server: ApiServerWorld) -> None:
    """Of two that saw the same Lease one takes it; a PUT that names no version is refused."""
    key = ObjectKey(server.namespace, "leader")
    server.writer.create("leases", server.namespace, _lease(server, "one"))
    with pytest.raises(Conflict):
        server.writer.create("leases", server.namespace, _lease(server, "two"))
    version = server.get("leases", "leader")["metadata"]["resourceVersion"]
    body = _lease(server, "two")
    body["metadata"]["resourceVersion"] = version
    server.writer.replace("leases", key, body)
    with pytest.raises(Conflict):
        server.writer.replace("leases", key, {**body, "spec": {**body["spec"], "holderIdentity": "one"}})
    with pytest.raises(ApiProblem) as caught:
        server.writer.replace("leases", key, _lease(server, "three"))
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert server.get("leases", "leader")["spec"]["holderIdentity"] == "two"


def test_a_lease_is_made_by_put_where_there_is_none(server: ApiServerWorld) -> None:
    """A PUT of an absent Lease creates it, also by a holder that knew its version; one of an absent Secret is 404."""
    server.replace("leases", _lease(server, "one"))
    assert server.get("leases", "leader")["spec"]["holderIdentity"] == "one"
    body = _lease(server, "two")
    body["metadata"]["resourceVersion"] = server.get("leases", "leader")["metadata"]["resourceVersion"]
    server.request("DELETE", server.path("leases", "leader"))
    server.replace("leases", body)
    assert server.get("leases", "leader")["spec"]["holderIdentity"] == "two"
    with pytest.raises(ApiProblem) as caught:
        server.replace("secrets", {"metadata": {"name": "s"}})
    assert caught.value.code == 404


def test_a_token_is_given_for_a_service_account(server: ApiServerWorld) -> None:
    """TokenRequest answers a token for the audiences asked for, and when it expires; for an absent account 404."""
    server.create("serviceaccounts", {"metadata": {"name": "agent"}})
    body = {"spec": {"audiences": ["api://AzureADTokenExchange"], "expirationSeconds": 3600}}
    answer = server.request("POST", server.path("serviceaccounts", "agent", "token"), body)
    assert answer["kind"] == "TokenRequest"
    assert answer["status"]["token"].count(".") == 2
    assert answer["status"]["expirationTimestamp"].endswith("Z")
    assert answer["spec"]["audiences"] == ["api://AzureADTokenExchange"]
    with pytest.raises(ApiProblem) as caught:
        server.request("POST", server.path("serviceaccounts", "nobody", "token"), body)
    assert caught.value.code == 404


def test_a_token_lets_in_as_its_service_account(server: ApiServerWorld) -> None:
    """Whoever holds a token of an account is that account."""
    server.create("serviceaccounts", {"metadata": {"name": "agent"}})
    answer = server.request("POST", server.path("serviceaccounts", "agent", "token"), {"spec": {}})
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with server.logged_in(answer["status"]["token"]) as conn:
        told = conn.request(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=json.dumps(review).encode()
        )
    user = json.loads(told.body)["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{server.namespace}:agent"
    assert "system:serviceaccounts" in user["groups"]


def test_a_log_is_cut_as_asked(server: ApiServerWorld) -> None:
    """The agent reads the last lines, those since a time, and no more bytes than it asked for."""
    pod = server.running_pod("p")
    key = ObjectKey(server.namespace, "p")
    lines = server.eventually(lambda: list(pod_log(server.conn, key, "app")), "the container has said something")
    assert list(pod_log(server.conn, key, "app", tail=1)) == lines[-1:]
    assert "".join(pod_log(server.conn, key, "app", limit_bytes=3)) == lines[0][:3]
    assert list(pod_log(server.conn, key, "app", since=4_000_000_000.0)) == []
    assert pod["status"]["phase"] == "Running"


def test_a_log_that_is_not_there_is_refused_with_the_cause(server: ApiServerWorld) -> None:
    """No pod is 404; an unknown container and a run that never was are 400."""
    server.running_pod("p")
    for name, container, previous, code in (
        ("none", "app", False, 404),
        ("p", "other", False, 400),
        ("p", "app", True, 400),
    ):
        with pytest.raises(ApiProblem) as caught:
            list(pod_log(server.conn, ObjectKey(server.namespace, name), container, previous=previous))
        assert caught.value.code == code
