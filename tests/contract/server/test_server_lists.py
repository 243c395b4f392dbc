"""What the agent reads: lists in pages, states of the past, metadata alone."""

from __future__ import annotations

import threading

import pytest
from support.apiservers import ApiServerWorld, Object, event

from agent.cluster.errors import ApiProblem
from agent.cluster.reader import list_all
from agent.cluster.resources import PARTIAL_LIST, RESOURCES


def _fill(server: ApiServerWorld, plural: str, count: int) -> None:
    for i in range(count):
        labels = {"odd": "yes" if i % 2 else "no"}
        about = event(server.namespace, "x") if plural == "events" else {}
        server.create(plural, {**about, "metadata": {"name": f"s{i}", "labels": labels}})


def _secret(name: str) -> Object:
    return {"metadata": {"name": name}}


def _names(listed: Object) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def test_pages_are_one_consistent_list(server: ApiServerWorld) -> None:
    """What is created, changed or deleted between two pages does not show in the later; all name one version."""
    _fill(server, "secrets", 5)
    first = server.list("secrets", limit="2")
    assert (_names(first), first["metadata"]["remainingItemCount"]) == (["s0", "s1"], 3)
    server.delete("secrets", "s2")
    server.create("secrets", _secret("s22"))
    server.patch("secrets", "s3", {"data": {"k": "eA=="}})
    second = server.list("secrets", limit="2", **{"continue": first["metadata"]["continue"]})
    assert (_names(second), second["metadata"]["remainingItemCount"]) == (["s2", "s3"], 1)
    assert "data" not in second["items"][1]
    third = server.list("secrets", limit="2", **{"continue": second["metadata"]["continue"]})
    assert _names(third) == ["s4"]
    assert not {"continue", "remainingItemCount"} & set(third["metadata"])
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, third)}) == 1


def test_pages_of_a_selection_do_not_count_the_rest(server: ApiServerWorld) -> None:
    """With a selector a page has only chosen objects and does not say how many are left."""
    _fill(server, "secrets", 6)
    page = server.list("secrets", limit="2", labelSelector="odd=yes")
    assert _names(page) == ["s1", "s3"]
    assert "remainingItemCount" not in page["metadata"]
    rest = server.list("secrets", limit="2", labelSelector="odd=yes", **{"continue": page["metadata"]["continue"]})
    assert _names(rest) == ["s5"]
    assert "continue" not in rest["metadata"]


def test_a_continue_token_expires(server: ApiServerWorld) -> None:
    """Once the past is compacted a page's continuation is 410 Expired."""
    _fill(server, "events", 4)
    page = server.list("events", limit="2")
    server.create("events", event(server.namespace, "s11"))
    server.compact()
    with pytest.raises(ApiProblem) as caught:
        server.list("events", limit="2", **{"continue": page["metadata"]["continue"]})
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def test_a_token_that_is_none_is_a_bad_request(server: ApiServerWorld) -> None:
    """A continuation that the server never gave is 400."""
    with pytest.raises(ApiProblem) as caught:
        server.list("secrets", limit="2", **{"continue": "rubbish"})
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")


def test_the_agents_reader_reads_all_pages(server: ApiServerWorld) -> None:
    """The agent's own listing gives every object once, whatever the size of a page."""
    _fill(server, "secrets", 7)
    listing = list_all(server.conn, "secrets", server.namespace, page=2)
    assert [secret.key.name for secret in listing.items] == [f"s{i}" for i in range(7)]
    assert listing.resource_version


def test_the_agents_reader_reads_a_whole_list_though_the_past_is_compacted_between_two_pages(
    server: ApiServerWorld,
) -> None:
    """Whether the server still has that state in its cache or answers 410 midway: one state, each object once."""
    _fill(server, "secrets", 9)
    compacted = threading.Event()

    def compacting(_: object) -> bool:
        if not compacted.is_set():
            compacted.set()
            server.create("secrets", _secret("s9"))
            server.compact()
        return True

    listing = list_all(server.conn, "secrets", server.namespace, page=2, keep=compacting)
    found = [secret.key.name for secret in listing.items]
    before = [f"s{i}" for i in range(9)]
    assert found in (before, [*before, "s9"])


def test_an_exact_version_can_be_listed(server: ApiServerWorld) -> None:
    """With resourceVersionMatch=Exact a list shows the state of then."""
    server.create("secrets", _secret("s0"))
    version = server.list("secrets")["metadata"]["resourceVersion"]
    server.create("secrets", _secret("s1"))
    server.delete("secrets", "s0")
    assert _names(server.list("secrets", resourceVersion=version, resourceVersionMatch="Exact")) == ["s0"]
    assert _names(server.list("secrets", resourceVersion=version)) == ["s1"]


def test_an_exact_version_that_was_compacted_is_gone(server: ApiServerWorld) -> None:
    """A state that etcd has forgotten is 410 Expired."""
    server.create("events", event(server.namespace, "s0"))
    version = server.list("events")["metadata"]["resourceVersion"]
    server.create("events", event(server.namespace, "s1"))
    server.compact()
    with pytest.raises(ApiProblem) as caught:
        server.list("events", resourceVersion=version, resourceVersionMatch="Exact")
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def test_lists_name_their_kind_and_items_of_built_in_kinds_do_not(server: ApiServerWorld) -> None:
    """Items of built-in kinds carry no kind and apiVersion, custom ones do; the list has its own."""
    server.create("secrets", _secret("s"))
    spec = {"secretStoreRef": {"name": "kv"}, "data": [{"secretKey": "k", "remoteRef": {"key": "k"}}]}
    head = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret"}
    server.create("externalsecrets", {**head, "metadata": {"name": "e"}, "spec": spec})
    built_in = server.list("secrets")
    assert (built_in["kind"], built_in["apiVersion"]) == ("SecretList", "v1")
    assert set(built_in["items"][0]) == {"metadata", "type"}
    custom = server.list("externalsecrets")
    assert (custom["kind"], custom["apiVersion"]) == ("ExternalSecretList", "external-secrets.io/v1")
    assert custom["items"][0]["kind"] == "ExternalSecret"
    assert server.list("configmaps", labelSelector="none=such")["items"] == []


def test_metadata_can_be_asked_for_alone(server: ApiServerWorld) -> None:
    """PartialObjectMetadata answers a list and a get without the data."""
    server.create("secrets", {"metadata": {"name": "s"}, "data": {"k": "dTE="}})
    listed = server.list("secrets", accept=PARTIAL_LIST)
    one = server.get("secrets", "s", accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert [item["metadata"] for item in listed["items"]] == [one["metadata"]]
    assert set(one) == {"kind", "apiVersion", "metadata"}
    assert set(listed["items"][0]) - {"kind", "apiVersion"} == {"metadata"}


def test_fields_select_what_the_agent_asks_for(server: ApiServerWorld) -> None:
    """Secrets are chosen by type and name, Events by what they are about."""
    server.create("secrets", {"metadata": {"name": "a"}, "type": "example.com/a"})
    server.create("secrets", {"metadata": {"name": "b"}})
    assert _names(server.list("secrets", fieldSelector="type=example.com/a")) == ["a"]
    assert _names(server.list("secrets", fieldSelector="metadata.name=b")) == ["b"]
    server.create("events", event(server.namespace, "e"))
    about = "involvedObject.kind=Secret,involvedObject.name=x,type=Normal"
    assert _names(server.list("events", fieldSelector=about)) == ["e"]
    with pytest.raises(ApiProblem) as caught:
        server.list("secrets", fieldSelector="data.k=x")
    assert caught.value.code == 400


def test_every_kind_that_the_agent_knows_is_served(server: ApiServerWorld) -> None:
    """Each collection that the agent names answers a list, under the path and the kind that it expects."""
    for resource in RESOURCES.values():
        listed = server.request("GET", resource.path(server.namespace), limit="1")
        assert (listed["kind"], listed["apiVersion"]) == (f"{resource.kind}List", resource.api_version)


def test_a_kind_that_is_not_served_is_not_found(server: ApiServerWorld) -> None:
    """A path of an unknown kind answers 404, as a cluster without ESO does."""
    with pytest.raises(ApiProblem) as caught:
        server.request("GET", "/apis/external-secrets.io/v1/namespaces/default/nosuchthings")
    assert caught.value.code == 404
