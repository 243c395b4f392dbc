"""Lists and gets, as the agent reads them from an API server over TLS."""

from __future__ import annotations

from typing import Any

import pytest
from support.servers import Cluster

from agent.cluster.decode import BadAnswer, Malformed
from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.notes import warning_events
from agent.cluster.reader import get, list_all, version_of
from agent.cluster.stored import list_stored
from agent.model import Namespace, ObjectKey
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.apiserver.faults import FaultRule


def namespaces(count: int) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{i:04}"}} for i in range(count)]


def store(name: str, url: object = "https://prod-kv.vault.azure.net") -> dict[str, Any]:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"provider": {"azurekv": {"vaultUrl": url}}},
    }


def test_a_list_gathers_all_pages(api: Cluster) -> None:
    """However many pages a collection has, every object is read once."""
    api.seed(*namespaces(53))
    listing = list_all(api.connect(), "namespaces", page=10)
    names = [item.name for item in listing.items if item.name.startswith("team-")]
    assert names == [f"team-{i:04}" for i in range(53)]
    assert len(api.asked("namespaces", "list")) == 6
    assert listing.resource_version == str(api.server.store.rv)
    assert listing.asked_at <= listing.answered_at


def test_a_filter_drops_what_is_not_needed(api: Cluster) -> None:
    """Objects that the caller does not keep do not stay in memory."""
    api.seed(*namespaces(20))
    listing = list_all(
        api.connect(), "namespaces", keep=lambda item: isinstance(item, Namespace) and item.name == "team-0003"
    )
    assert [item.name for item in listing.items] == ["team-0003"]


def test_a_continuation_that_expires_starts_the_list_anew(api: Cluster) -> None:
    """A 410 between two pages costs a restart, never a part of the list."""
    api.seed(*namespaces(30))
    api.loop.call(api.server.faults.add, FaultRule(effect="gone", resource="namespaces", remaining=2))
    listing = list_all(api.connect(), "namespaces", page=10)
    assert sum(item.name.startswith("team-") for item in listing.items) == 30
    limits = [entry.query.get("limit") for entry in api.asked("namespaces", "list")]
    assert limits == ["10", "10", "20", "20", "40"]


def test_a_list_that_never_gets_to_its_second_page_is_read_in_one(api: Cluster) -> None:
    """Where continuations always expire, the collection is still read, without pages."""
    api.seed(*namespaces(300))
    api.loop.call(api.server.faults.add, FaultRule(effect="gone", resource="namespaces"))
    listing = list_all(api.connect(), "namespaces", page=10)
    assert sum(item.name.startswith("team-") for item in listing.items) == 300


@pytest.mark.parametrize(
    "body",
    [
        b"hunter2",
        b'["hunter2"]',
        b'{"metadata": {"continue": "next\xff"}, "items": ["hunter2"]}',
        b'{"metadata": {"resourceVersion": "9"}, "items": ' + b"[" * 100_000 + b"hunter2",
        b'{"metadata": {"resourceVersion": "9"}, "hunter2": ' + b"[" * 100_000 + b"]" * 100_000 + b', "items": []}',
    ],
    ids=["word", "list", "no-utf8", "cut", "deep"],
)
def test_a_page_that_is_none_is_told_without_it(api: Cluster, body: bytes) -> None:
    """Whatever comes in place of a list or of an object is a bad answer, in words that hold none of it."""
    api.loop.call(api.server.faults.add, FaultRule(effect="answer", code=200, verb="list", body=body))
    with pytest.raises(BadAnswer) as caught:
        list_all(api.connect(), "secretstores")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(BadAnswer) as caught:
        list_stored(api.connect(), "secrets", "default", label_selector="a=b")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(BadAnswer) as caught:
        warning_events(api.connect(), ObjectKey("default", "app"), "uid")
    assert "hunter2" not in str(caught.value)


def test_an_object_that_cannot_be_used_costs_only_itself(api: Cluster) -> None:
    """A malformed object is named with its field; the rest of the list is read."""
    api.seed(store("good"), store("bad", url=["not", "a", "text"]))
    listing = list_all(api.connect(), "secretstores")
    assert [item.key.name for item in listing.items] == ["good"]
    assert [str(each.key) for each in listing.malformed] == ["default/bad"]
    assert "vaultUrl" in listing.malformed[0].field


def test_a_list_at_an_exact_version_shows_the_past(api: Cluster) -> None:
    """A list can be asked for as of a version that was seen before."""
    api.seed(*namespaces(3))
    conn = api.connect()
    before = list_all(conn, "namespaces")
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}})
    again = list_all(conn, "namespaces", resource_version=before.resource_version)
    assert [item.name for item in again.items] == [item.name for item in before.items]
    assert again.resource_version == before.resource_version


def test_a_single_object_is_read_or_told_absent(api: Cluster) -> None:
    """A get gives the object, None where there is none, and Malformed where it makes no sense."""
    api.seed(store("good"), store("bad", url=7))
    conn = api.connect()
    good = get(conn, "secretstores", ObjectKey("default", "good"))
    assert good.host == "prod-kv.vault.azure.net"
    assert get(conn, "secretstores", ObjectKey("default", "absent")) is None
    assert isinstance(get(conn, "secretstores", ObjectKey("default", "bad")), Malformed)


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_a_name_that_would_change_the_path_is_no_object(api: Cluster, name: str) -> None:
    """A name that a tenant made up to reach another path leads nowhere."""
    assert get(api.connect(), "secrets", ObjectKey("default", name)) is None
    assert not api.asked("secrets")


def test_the_version_of_an_object_is_read_for_a_guarded_write(api: Cluster) -> None:
    """A write that must hit one state first learns which state that is."""
    api.seed(store("a"))
    conn, key = api.connect(), ObjectKey("default", "a")
    assert version_of(conn, "secretstores", key) == str(api.server.store.rv)
    with pytest.raises(ApiProblem) as absent:
        version_of(conn, "secretstores", ObjectKey("default", "b"))
    assert absent.value.code == 404


def test_pages_that_get_too_big_get_smaller(api: Cluster) -> None:
    """Huge objects are read a few at a time, so that a page does not fill the memory."""
    text = "x" * 900_000
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"s{i:03}", "namespace": "default"},
            "data": {"k": text},
        }
        for i in range(60)
    ]
    api.seed(*secrets)
    listing = list_all(api.connect(), "secrets", page=20)
    assert len(listing.items) == 60
    assert [entry.query["limit"] for entry in api.asked("secrets", "list")] == ["20", "20", "20"]
    big = list_all(api.connect(), "secrets", page=40)
    assert len(big.items) == 60
    assert api.asked("secrets", "list")[-1].query["limit"] == "25"


def test_a_forbidden_list_says_so(api: Cluster) -> None:
    """A 403 keeps the server's words: who may not do what, and where."""
    api.server.forbid.append(ForbidRule(verb="list", resource="secrets", namespace="default"))
    with pytest.raises(ApiProblem, match='cannot list resource "secrets"') as caught:
        list_all(api.connect(), "secrets", "default")
    assert (caught.value.code, caught.value.reason) == (403, "Forbidden")


def test_replica_sets_are_read_without_their_templates(api: Cluster) -> None:
    """ReplicaSets come as metadata only, a fraction of their bytes."""
    api.server.gc = False
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c" * 40, "image": "i" * 5000}]}}
    api.seed(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": True}
                ],
            },
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
        }
    )
    listing = list_all(api.connect(), "replicasets")
    assert listing.items[0].owner.name == "web"
    assert listing.bytes < 2000


def test_a_server_that_does_not_answer_is_unreachable(api: Cluster) -> None:
    """Silence ends after the read timeout, with the address in the message."""
    api.loop.call(api.server.faults.add, FaultRule(effect="half-open", resource="nodes"))
    conn = api.connect()
    with pytest.raises(Unreachable, match=r"sent nothing for 0\.2 s"):
        conn.request("GET", "/api/v1/nodes", read_timeout=0.2)
