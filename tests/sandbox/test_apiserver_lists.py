"""Lists: selectors, pages, snapshots, and how kinds are named."""

from __future__ import annotations

from typing import Any

import pytest
from apiserver_harness import NS, World, external_secret, in_world, pod, refused, secret

from agent.sandbox.client import EXTERNAL_SECRETS, NAMESPACES, PODS, SECRETS, Object


def _names(listed: Object) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def _get(made: World, path: str, accept: str = "application/json", **query: str) -> Object:
    async with made.client.session.get(made.client.base_url + path, params=query, headers={"Accept": accept}) as answer:
        assert answer.status == 200
        return await answer.json()  # type: ignore[no-any-return]


async def _fill(made: World, count: int) -> None:
    for index in range(count):
        await made.client.create(SECRETS, NS, secret(f"s{index}", labels={"odd": "yes"} if index % 2 else {}))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=a", ["p1"]), ("app==a", ["p1"]), ("app!=a", ["p2", "p3"]), ("app in (a,b)", ["p1", "p2"]),
        ("app notin (a)", ["p2", "p3"]), ("app", ["p1", "p2"]), ("!app", ["p3"]), ("app,tier=x", ["p2"]),
        ("app in (a,b),tier notin (x)", ["p1"]), ("app=", []), ("", ["p1", "p2", "p3"]),
    ],
)  # fmt: skip
def test_label_selectors_choose(selector: str, expected: list[str]) -> None:
    """Equality and set terms, joined by commas, choose as in a real cluster."""

    @in_world
    async def run(made: World) -> None:
        for name, labels in (("p1", {"app": "a"}), ("p2", {"app": "b", "tier": "x"}), ("p3", {})):
            await made.client.create(PODS, NS, pod(name, labels=labels))
        assert _names(await _get(made, PODS.path(NS), labelSelector=selector)) == expected

    run()


@in_world
async def test_field_selectors_choose(made: World) -> None:
    """Pods by node and phase, Secrets by type, ExternalSecrets by target, anything by name; unknown fields are 400."""
    await made.client.create(PODS, NS, pod("p1", node="n1"))
    await made.client.create(PODS, NS, pod("p2"))
    await made.client.merge_patch(PODS, NS, "p1", {"status": {"phase": "Running"}}, subresource="status")
    await made.client.create(SECRETS, NS, secret("s", type="x/y"))
    await made.client.create(SECRETS, NS, secret("t"))
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e", target={"name": "s"}))
    for res, selector, expected in (
        (PODS, "spec.nodeName=n1", ["p1"]), (PODS, "spec.nodeName=", ["p2"]), (PODS, "status.phase!=Running", ["p2"]),
        (PODS, "metadata.name=p1,spec.nodeName=n1", ["p1"]), (PODS, f"metadata.namespace={NS}", ["p1", "p2"]),
        (SECRETS, "type=x/y", ["s"]), (EXTERNAL_SECRETS, "spec.target.name=s", ["e"]),
        (EXTERNAL_SECRETS, "spec.target.name=t", []),
    ):  # fmt: skip
        assert _names(await _get(made, res.path(), fieldSelector=selector)) == expected, selector
    for query in (
        {"fieldSelector": "spec.hat=x"},
        {"fieldSelector": "bare"},
        {"labelSelector": "a in b"},
        {"limit": "x"},
    ):
        await refused(made.client.request("GET", PODS.path(), query=query), 400, "BadRequest")


@in_world
async def test_lists_are_named_as_the_real_server_names_them(made: World) -> None:
    """Built-in items carry no kind and apiVersion, custom ones do; the list has its own."""
    await made.client.create(SECRETS, NS, secret("s"))
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e"))
    built_in = await _get(made, SECRETS.path())
    assert (built_in["kind"], built_in["apiVersion"]) == ("SecretList", "v1")
    assert set(built_in["items"][0]) == {"metadata", "data", "type"}
    custom = await _get(made, EXTERNAL_SECRETS.path(NS))
    assert (custom["kind"], custom["apiVersion"]) == ("ExternalSecretList", "external-secrets.io/v1")
    assert custom["items"][0]["kind"] == "ExternalSecret"
    assert (await _get(made, SECRETS.path("empty")))["items"] == []


@in_world
async def test_metadata_can_be_asked_for_alone(made: World) -> None:
    """PartialObjectMetadata answers get and list without the data."""
    await made.client.create(SECRETS, NS, secret("s"))
    listed = await _get(made, SECRETS.path(), "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
    one = await _get(made, SECRETS.path(NS, "s"), "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert listed["items"] == [one]
    assert set(one) == {"kind", "apiVersion", "metadata"}


@in_world
async def test_pages_are_one_consistent_list(made: World) -> None:
    """Objects created, changed or deleted between two pages do not show in the later; all pages name one version."""
    await _fill(made, 5)
    first = await _get(made, SECRETS.path(NS), limit="2")
    assert (_names(first), first["metadata"]["remainingItemCount"]) == (["s0", "s1"], 3)
    await made.client.delete(SECRETS, NS, "s2")
    await made.client.create(SECRETS, NS, secret("s22"))
    await made.client.merge_patch(SECRETS, NS, "s3", {"data": {"k": "eA=="}})
    second = await _get(made, SECRETS.path(NS), limit="2", **{"continue": first["metadata"]["continue"]})
    assert (_names(second), second["metadata"]["remainingItemCount"]) == (["s2", "s3"], 1)
    assert second["items"][1]["data"] == {"k": "dTE="}
    third = await _get(made, SECRETS.path(NS), limit="2", **{"continue": second["metadata"]["continue"]})
    assert _names(third) == ["s4"]
    assert not {"continue", "remainingItemCount"} & set(third["metadata"])
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, third)}) == 1


@in_world
async def test_pages_of_a_selection_do_not_count_the_rest(made: World) -> None:
    """With a selector a page has only chosen objects and no remainingItemCount."""
    await _fill(made, 6)
    page = await _get(made, SECRETS.path(NS), limit="2", labelSelector="odd=yes")
    assert _names(page) == ["s1", "s3"]
    assert "remainingItemCount" not in page["metadata"]
    rest = await _get(
        made, SECRETS.path(NS), limit="2", labelSelector="odd=yes", **{"continue": page["metadata"]["continue"]}
    )
    assert _names(rest) == ["s5"]


@in_world
async def test_a_continue_token_expires(made: World) -> None:
    """After its time, or a compaction, a token answers 410 Expired, offering the inconsistent rest."""

    async def stale(age: Any) -> Object:
        page = await _get(made, SECRETS.path(NS), limit="2")
        age()
        query = {"limit": "2", "continue": page["metadata"]["continue"]}
        error = await refused(made.client.request("GET", SECRETS.path(NS), query=query), 410, "Expired")
        assert "continue parameter is too old" in error.status["message"]
        return error.status

    await _fill(made, 5)
    made.server.continue_ttl = 100.0
    await stale(lambda: made.clock.advance(101))
    status = await stale(made.server.compact)
    await made.client.create(SECRETS, NS, secret("s11"))
    rest = await _get(made, SECRETS.path(NS), **{"continue": status["metadata"]["continue"]})
    assert _names(rest) == ["s11", "s2", "s3", "s4"]
    await refused(made.client.request("GET", SECRETS.path(NS), query={"continue": "rubbish"}), 400, "BadRequest")


@in_world
async def test_objects_are_ordered_as_etcd_orders_them(made: World) -> None:
    """The order over namespaces is that of the text namespace/name, so that shop-b comes before shop."""
    await made.client.create(NAMESPACES, None, {"metadata": {"name": f"{NS}-b"}})
    for namespace in (NS, f"{NS}-b"):
        await made.client.create(SECRETS, namespace, secret("s"))
    listed = await _get(made, SECRETS.path())
    assert [item["metadata"]["namespace"] for item in listed["items"]] == [f"{NS}-b", NS]
    assert _names(await _get(made, SECRETS.path(NS))) == ["s"]


@in_world
async def test_an_exact_version_can_be_listed(made: World) -> None:
    """resourceVersionMatch=Exact gives the past while history is kept, then 410; the future is 504."""
    await made.client.create(SECRETS, NS, secret("s0"))
    version = (await _get(made, SECRETS.path(NS)))["metadata"]["resourceVersion"]
    await made.client.create(SECRETS, NS, secret("s1"))
    await made.client.delete(SECRETS, NS, "s0")
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert _names(await _get(made, SECRETS.path(NS), **exact)) == ["s0"]
    assert _names(await _get(made, SECRETS.path(NS), resourceVersion=version)) == ["s1"]
    made.server.compact()
    await refused(made.client.request("GET", SECRETS.path(NS), query=exact), 410, "Expired")
    error = await refused(
        made.client.request("GET", SECRETS.path(NS), query={"resourceVersion": "99999999"}), 504, "Timeout"
    )
    assert error.status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@in_world
async def test_discovery_says_what_is_served(made: World) -> None:
    """/version, /api, /apis and the resource lists name every kind with its verbs and scope."""
    assert (await _get(made, "/version"))["gitVersion"].startswith("v1.")
    groups = {group["name"] for group in (await _get(made, "/apis"))["groups"]}
    assert {"apps", "policy", "external-secrets.io", "authorization.k8s.io"} <= groups
    core = {item["name"]: item for item in (await _get(made, "/api/v1"))["resources"]}
    assert core["secrets"]["namespaced"] is True
    assert core["pods/eviction"]["group"] == "policy"
    custom = (await _get(made, "/apis/external-secrets.io/v1"))["resources"]
    assert {"externalsecrets", "externalsecrets/status"} <= {item["name"] for item in custom}
    for path in ("/healthz", "/readyz", "/livez"):
        async with made.client.session.get(made.client.base_url + path, headers={"Authorization": ""}) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
