"""Watches."""

from __future__ import annotations

import json
from functools import partial

from apiserver_harness import NS, Watched, World, in_world, pod, refused, secret, until, watching

from agent.sandbox.client import NAMESPACES, PODS, SECRETS


def _bookmarked(watched: Watched, times: int) -> bool:
    return len(watched.bookmarks) >= times


@in_world
async def test_a_watch_tells_every_change_after_its_version(made: World) -> None:
    """From a list's version on: ADDED, MODIFIED, DELETED in order, nothing twice, deletions under their own version."""
    await made.client.create(SECRETS, NS, secret("before"))
    _, version = await made.client.list_with_version(SECRETS)
    await made.client.create(SECRETS, NS, secret("replayed"))
    async with watching(made.client, SECRETS, version) as watched:
        await until(lambda: watched.events)
        await made.client.merge_patch(SECRETS, NS, "replayed", {"data": {"k": "eA=="}})
        await made.client.delete(SECRETS, NS, "replayed")
        await until(lambda: len(watched.of()) == 3)
    assert watched.of() == [("ADDED", "replayed"), ("MODIFIED", "replayed"), ("DELETED", "replayed")]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in watched.events]
    assert versions == sorted(set(versions))
    assert watched.events[-1][1]["data"] == {"k": "eA=="}
    assert watched.events[0][1]["kind"] == "Secret"


@in_world
async def test_version_zero_and_no_version_begin_with_what_is_there(made: World) -> None:
    """A watch without a version, or from 0, first sends every object as ADDED."""
    await made.client.create(SECRETS, NS, secret("s"))
    for version in ("", "0"):
        async with watching(made.client, SECRETS, version) as watched:
            await until(watched.events.__len__)
        assert watched.of() == [("ADDED", "s")]


@in_world
async def test_a_selector_turns_changes_into_arrivals_and_departures(made: World) -> None:
    """An object that enters the selection is ADDED, one that leaves it DELETED; namespaces and fields select too."""
    await made.client.create(PODS, NS, pod("p"))
    await made.client.create(NAMESPACES, None, {"metadata": {"name": "other"}})
    _, version = await made.client.list_with_version(PODS)
    async with (
        watching(made.client, PODS, version, NS, labelSelector="on") as by_label,
        watching(made.client, PODS, version, fieldSelector="spec.nodeName=n1") as by_field,
        watching(made.client, PODS, version, "other") as elsewhere,
    ):
        await made.client.merge_patch(PODS, NS, "p", {"metadata": {"labels": {"on": "1"}}})
        await made.client.merge_patch(PODS, NS, "p", {"metadata": {"labels": {"on": "2"}}})
        left = await made.client.merge_patch(PODS, NS, "p", {"metadata": {"labels": {"on": None}}})
        await made.client.merge_patch(PODS, NS, "p", {"spec": {"nodeName": "n1"}})
        await made.client.create(PODS, "other", pod("q"))
        await until(lambda: len(by_label.of()) == 3 and by_field.events and elsewhere.events)
    assert by_label.of() == [("ADDED", "p"), ("MODIFIED", "p"), ("DELETED", "p")]
    last = by_label.events[-1][1]["metadata"]
    assert (last["labels"], last["resourceVersion"]) == ({"on": "2"}, left["metadata"]["resourceVersion"])
    assert by_field.of() == [("ADDED", "p")]
    assert elsewhere.of() == [("ADDED", "q")]


@in_world
async def test_bookmarks_come_regularly_and_right_before_the_end(made: World) -> None:
    """Idle watches learn the newest version at each interval, once more two seconds before the timeout, then end."""
    made.server.bookmark_interval = 60.0
    _, version = await made.client.list_with_version(SECRETS)
    async with watching(made.client, SECRETS, version, timeoutSeconds="100") as watched:
        await until(lambda: made.server.audit[-1].verb == "watch")
        newest = (await made.client.create(PODS, NS, pod("p")))["metadata"]["resourceVersion"]
        for step, count in ((61, 1), (37.5, 2)):
            made.clock.advance(step)
            await until(partial(_bookmarked, watched, count))
        made.clock.advance(2)
        await watched.ended.wait()
    assert [mark["metadata"]["resourceVersion"] for mark in watched.bookmarks] == [newest, newest]
    assert watched.bookmarks[0]["kind"] == "Secret"
    assert watched.error is None


@in_world
async def test_bookmarks_are_only_for_those_who_ask(made: World) -> None:
    """Without allowWatchBookmarks a watch ends at its timeout in silence."""
    _, version = await made.client.list_with_version(SECRETS)
    async with watching(made.client, SECRETS, version, timeoutSeconds="10", allowWatchBookmarks="false") as watched:
        await until(lambda: made.server.audit[-1].verb == "watch")
        made.clock.advance(11)
        await watched.ended.wait()
    assert watched.events == []


@in_world
async def test_initial_events_end_with_their_bookmark(made: World) -> None:
    """sendInitialEvents sends what is there, then a bookmark marked initial-events-end, then changes."""
    await made.client.create(SECRETS, NS, secret("s"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    async with watching(made.client, SECRETS, "", **query) as watched:
        await until(lambda: watched.bookmarks)
        await made.client.create(SECRETS, NS, secret("t"))
        await until(lambda: len(watched.events) == 3)
    assert [kind for kind, _ in watched.events] == ["ADDED", "BOOKMARK", "ADDED"]
    assert watched.bookmarks[0]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    call = made.client.request("GET", SECRETS.path(), query={"watch": "1", "sendInitialEvents": "true"})
    await refused(call, 422, "Invalid")


@in_world
async def test_a_version_before_the_compaction_is_gone(made: World) -> None:
    """After compact() a watch from an older version answers an ERROR event of 410; from the newest version it works."""
    _, version = await made.client.list_with_version(SECRETS)
    await made.client.create(SECRETS, NS, secret("s"))
    made.server.compact()
    async with watching(made.client, SECRETS, version) as watched:
        await watched.ended.wait()
    assert watched.error is not None
    assert (watched.error.code, watched.error.reason) == (410, "Expired")
    assert watched.error.status["message"].startswith("too old resource version: ")
    _, newest = await made.client.list_with_version(SECRETS)
    async with watching(made.client, SECRETS, newest) as again:
        await made.client.create(SECRETS, NS, secret("t"))
        await until(lambda: again.events)
    assert again.of() == [("ADDED", "t")]


@in_world
async def test_a_watch_from_the_future_is_refused(made: World) -> None:
    """A version that this server has not reached is 504, so that clients of a reset server list anew."""
    call = made.client.request("GET", SECRETS.path(), query={"watch": "1", "resourceVersion": "99999999"})
    await refused(call, 504, "Timeout")


@in_world
async def test_a_timeout_that_is_no_number_is_refused(made: World) -> None:
    """timeoutSeconds must be whole seconds: 400 before anything is sent."""
    await refused(made.client.request("GET", SECRETS.path(), query={"watch": "1", "timeoutSeconds": "1h"}), 400)


@in_world
async def test_metadata_can_be_watched_alone(made: World) -> None:
    """A watch that accepts PartialObjectMetadata never carries data."""
    await made.client.create(SECRETS, NS, secret("s"))
    accept = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    url = f"{made.client.base_url}{SECRETS.path()}?watch=1&timeoutSeconds=60"
    async with made.client.session.get(url, headers=accept) as answer:
        event = json.loads(await answer.content.readline())
    assert (event["type"], event["object"]["kind"]) == ("ADDED", "PartialObjectMetadata")
    assert "data" not in event["object"]


@in_world
async def test_a_watch_is_forgotten_when_its_client_goes(made: World) -> None:
    """The server keeps nothing of a watch whose connection is gone."""
    async with watching(made.client):
        await until(lambda: made.server.running_watches == 1)
    await until(lambda: made.server.running_watches == 0)
