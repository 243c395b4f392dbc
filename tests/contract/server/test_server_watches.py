"""Watches: what a client that has listed learns from then on."""

from __future__ import annotations

import itertools

import pytest
from support.apiservers import ApiServerWorld, Object, event

from agent.cluster.errors import ApiProblem


def _version(server: ApiServerWorld, plural: str = "secrets") -> str:
    return str(server.list(plural)["metadata"]["resourceVersion"])


def _names(events: list[tuple[str, Object]]) -> list[tuple[str, str]]:
    return [(kind, obj["metadata"]["name"]) for kind, obj in events]


def test_a_watch_tells_every_change_after_its_version(server: ApiServerWorld) -> None:
    """From a list's version on: ADDED, MODIFIED, DELETED in order; a deletion under a version of its own."""
    server.create("secrets", {"metadata": {"name": "before"}})
    version = _version(server)
    server.create("secrets", {"metadata": {"name": "s"}})
    server.patch("secrets", "s", {"data": {"k": "eA=="}})
    server.delete("secrets", "s")
    events = list(itertools.islice(server.watch("secrets", version), 3))
    assert _names(events) == [("ADDED", "s"), ("MODIFIED", "s"), ("DELETED", "s")]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in events]
    assert versions == sorted(set(versions))
    assert events[-1][1]["data"] == {"k": "eA=="}
    assert (events[0][1]["kind"], events[0][1]["apiVersion"]) == ("Secret", "v1")


def test_a_watch_resumes_where_another_ended(server: ApiServerWorld) -> None:
    """A watch from the version of the last event seen goes on with the next: nothing twice, nothing lost."""
    version = _version(server)
    for name in ("a", "b", "c"):
        server.create("secrets", {"metadata": {"name": name}})
    first = list(itertools.islice(server.watch("secrets", version), 1))
    rest = itertools.islice(server.watch("secrets", first[0][1]["metadata"]["resourceVersion"]), 2)
    assert _names(first) == [("ADDED", "a")]
    assert _names(list(rest)) == [("ADDED", "b"), ("ADDED", "c")]


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_without_a_version_begins_with_what_is_there(server: ApiServerWorld, version: str) -> None:
    """Every object comes as ADDED first."""
    server.create("secrets", {"metadata": {"name": "s"}})
    assert _names(list(itertools.islice(server.watch("secrets", version), 1))) == [("ADDED", "s")]


def test_a_watch_ends_when_its_time_is_over(server: ApiServerWorld) -> None:
    """timeoutSeconds ends the answer in good order; without bookmarks asked for, in silence."""
    assert list(server.watch("secrets", _version(server), timeoutSeconds="1")) == []


def test_initial_events_end_with_a_bookmark(server: ApiServerWorld) -> None:
    """sendInitialEvents sends what is there, then a bookmark that says so, with a version to go on from."""
    server.create("secrets", {"metadata": {"name": "s"}})
    asked = {
        "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true",
    }  # fmt: skip
    events = list(itertools.islice(server.watch("secrets", "", **asked), 2))
    assert [kind for kind, _ in events] == ["ADDED", "BOOKMARK"]
    mark = events[1][1]
    assert mark["kind"] == "Secret"
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["metadata"]["resourceVersion"]) >= int(events[0][1]["metadata"]["resourceVersion"])


def test_a_bookmark_comes_before_the_end(server: ApiServerWorld) -> None:
    """A watch that asked for bookmarks learns the newest version of its kind before its time is over."""
    version = _version(server)
    server.create("secrets", {"metadata": {"name": "s"}})
    events = list(server.watch("secrets", version, allowWatchBookmarks="true", timeoutSeconds="8"))
    assert events[0][0] == "ADDED"
    marks = [obj for kind, obj in events if kind == "BOOKMARK"]
    assert marks
    assert int(marks[-1]["metadata"]["resourceVersion"]) >= int(events[0][1]["metadata"]["resourceVersion"])


def test_a_version_before_the_compaction_is_gone(server: ApiServerWorld) -> None:
    """A watch from a version that is compacted gets one ERROR event of 410 Expired; from the newest it works."""
    server.create("events", event(server.namespace, "first"))
    version = _version(server, "events")
    for name in ("second", "third"):  # a watch begins after its version: one change is not enough
        server.create("events", event(server.namespace, name))
    server.compact()
    (kind, status), *rest = server.watch("events", version)
    assert (kind, status["code"], status["reason"], rest) == ("ERROR", 410, "Expired", [])
    newest = _version(server, "events")
    server.create("events", event(server.namespace, "fourth"))
    assert _names(list(itertools.islice(server.watch("events", newest), 1))) == [("ADDED", "fourth")]


def test_a_selector_turns_changes_into_arrivals_and_departures(server: ApiServerWorld) -> None:
    """An object that enters the selection is ADDED, one that leaves it DELETED."""
    server.create("secrets", {"metadata": {"name": "s"}})
    version = _version(server)
    for on in ("1", "2", None):
        server.patch("secrets", "s", {"metadata": {"labels": {"on": on}}})
    events = list(itertools.islice(server.watch("secrets", version, labelSelector="on"), 3))
    assert _names(events) == [("ADDED", "s"), ("MODIFIED", "s"), ("DELETED", "s")]
    assert events[-1][1]["metadata"]["labels"] == {"on": "2"}


def test_a_timeout_that_is_no_number_is_refused(server: ApiServerWorld) -> None:
    """timeoutSeconds must be whole seconds: 400 before anything is sent."""
    with pytest.raises(ApiProblem) as caught:
        list(server.watch("secrets", "0", timeoutSeconds="1h"))
    assert caught.value.code == 400


def test_metadata_can_be_watched_alone(server: ApiServerWorld) -> None:
    """A watch that accepts PartialObjectMetadata never carries data."""
    server.create("secrets", {"metadata": {"name": "s"}, "data": {"k": "dTE="}})
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    ((kind, obj),) = itertools.islice(server.watch("secrets", "0", accept=accept), 1)
    assert (kind, obj["kind"]) == ("ADDED", "PartialObjectMetadata")
    assert "data" not in obj
