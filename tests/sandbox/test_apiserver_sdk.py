"""The official Python client, over verified TLS, notices nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import kubernetes.client as k8s
import kubernetes.watch
import pytest
from apiserver_harness import NS, external_secret, tls, world
from kubernetes.client.exceptions import ApiException

from agent.sandbox.apiserver import ApiServer

GROUP = ("external-secrets.io", "v1", NS, "externalsecrets")


@contextmanager
def _served() -> Iterator[tuple[ApiServer, k8s.ApiClient]]:
    """A server on a loop of its own in a thread, and the official client of it."""
    ready, done = threading.Event(), []

    async def serve() -> None:
        async with world() as made:
            stop = asyncio.Event()
            done.append((made.server, stop, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    server, stop, loop = done[0]
    settings = k8s.Configuration(host=server.url)
    settings.ssl_ca_cert = tls()[2]
    settings.api_key = {"authorization": "Bearer admin"}
    settings.api_key["BearerToken"] = "Bearer admin"
    try:
        with k8s.ApiClient(settings) as client:
            yield server, client
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def test_custom_objects_live_their_whole_life() -> None:
    """Create (sent without a content type), list, merge patch, status patch and delete of an ExternalSecret."""
    with _served() as (_, client):
        api = k8s.CustomObjectsApi(client)
        api.create_namespaced_custom_object(*GROUP, body=external_secret("e"))
        patch = {"metadata": {"annotations": {"force-sync": "1"}}}
        api.patch_namespaced_custom_object(*GROUP, "e", patch, field_manager="secret-drift-agent")
        api.patch_namespaced_custom_object_status(*GROUP, "e", {"status": {"refreshTime": "2026-01-01T00:00:00Z"}})
        (found,) = api.list_namespaced_custom_object(*GROUP)["items"]
        assert found["metadata"]["annotations"] == {"force-sync": "1"}
        assert "secret-drift-agent" in {entry["manager"] for entry in found["metadata"]["managedFields"]}
        assert found["status"] == {"refreshTime": "2026-01-01T00:00:00Z"}
        api.delete_namespaced_custom_object(*GROUP, "e")
        with pytest.raises(ApiException) as caught:
            api.get_namespaced_custom_object(*GROUP, "e")
        assert caught.value.status == 404


def test_typed_lists_pages_watches_and_writes_work() -> None:
    """Typed create, paged list, replace with conflict, watch with events, eviction and log."""
    with _served() as (server, client):
        core = k8s.CoreV1Api(client)
        for index in range(3):
            meta = k8s.V1ObjectMeta(name=f"s{index}", labels={"i": str(index)})
            core.create_namespaced_secret(NS, k8s.V1Secret(metadata=meta, string_data={"k": "v"}))
        page = core.list_namespaced_secret(NS, limit=2)
        assert [item.metadata.name for item in page.items] == ["s0", "s1"]
        rest = core.list_namespaced_secret(NS, limit=2, _continue=page.metadata._continue)
        assert [item.metadata.name for item in rest.items] == ["s2"]
        stale = page.items[0]
        core.replace_namespaced_secret("s0", NS, core.read_namespaced_secret("s0", NS))
        core.patch_namespaced_secret("s0", NS, {"data": {"k": "eA=="}}, _content_type="application/merge-patch+json")
        with pytest.raises(ApiException) as caught:
            core.replace_namespaced_secret("s0", NS, stale)
        assert caught.value.status == 409
        events = []
        for event in kubernetes.watch.Watch().stream(  # type: ignore[no-untyped-call]
            core.list_namespaced_secret, NS, timeout_seconds=1, resource_version="0"
        ):
            events.append((event["type"], event["object"].metadata.name))
            if len(events) == 3:
                break
        assert events == [("ADDED", "s0"), ("ADDED", "s1"), ("ADDED", "s2")]
        server.log_provider = lambda *_: [(0.0, "hello")]
        spec = k8s.V1PodSpec(containers=[k8s.V1Container(name="main", image="a")], node_name="n1")
        core.create_namespaced_pod(NS, k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="p"), spec=spec))
        assert core.read_namespaced_pod_log("p", NS) == "hello\n"
        eviction = k8s.V1Eviction(metadata=k8s.V1ObjectMeta(name="p", namespace=NS))
        core.create_namespaced_pod_eviction("p", NS, eviction)
        assert core.read_namespaced_pod("p", NS).metadata.deletion_timestamp is not None


def test_the_version_and_reviews_are_understood() -> None:
    """VersionApi and SelfSubjectAccessReview come back typed."""
    with _served() as (_, client):
        assert k8s.VersionApi(client).get_code().major == "1"
        attributes = k8s.V1ResourceAttributes(verb="list", resource="secrets", namespace=NS)
        spec = k8s.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        review = k8s.AuthorizationV1Api(client).create_self_subject_access_review(
            k8s.V1SelfSubjectAccessReview(spec=spec)
        )
        assert review.status.allowed is True
