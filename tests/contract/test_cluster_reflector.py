"""A collection followed by list and watch, through everything that can happen to a watch."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from support.servers import Cluster, eventually

from agent.cluster.reader import list_all
from agent.cluster.reflector import (
    Changed,
    Confirmed,
    Listed,
    Malfunction,
    Message,
    Pace,
    Recovered,
    Reflector,
    Scope,
    Spoiled,
)
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.apiserver.faults import FaultRule

M = TypeVar("M")


class Follower:
    """A reflector of SecretStores, with all it told."""

    def __init__(self, api: Cluster, namespace: str | None = None, **options: Any) -> None:
        self.messages: list[Message] = []
        self.conn = api.connect()
        self.reflector = Reflector(self.conn, Scope("secretstores", namespace), self.messages.append, **options)
        self.reflector.start()

    def told(self, kind: type[M]) -> list[M]:
        return [message for message in list(self.messages) if isinstance(message, kind)]

    def await_(self, kind: type[M], count: int = 1) -> M:
        """The count-th message of this kind."""
        eventually(lambda: len(self.told(kind)) >= count)
        return self.told(kind)[count - 1]

    def changes(self) -> list[tuple[str, str]]:
        return [(change.type, change.object.key.name) for change in self.told(Changed)]


@pytest.fixture
def follow(api: Cluster) -> Iterator[Callable[..., Follower]]:
    """Starts followers and stops them after the test."""
    started: list[Follower] = []

    def start(**options: Any) -> Follower:
        follower = Follower(api, **options)
        started.append(follower)
        follower.await_(Listed)
        eventually(lambda: watches(api))
        return follower

    yield start
    for follower in started:
        follower.reflector.stop()


def store(name: str, url: object = "https://kv.vault.azure.net", namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": {"azurekv": {"vaultUrl": url}}},
    }


def watches(api: Cluster) -> int:
    return len(api.asked("secretstores", "watch"))


def lists(api: Cluster) -> int:
    return len(api.asked("secretstores", "list"))


def create(api: Cluster, body: dict[str, Any]) -> None:
    path = f"/apis/external-secrets.io/v1/namespaces/{body['metadata']['namespace']}/secretstores"
    api.connect().request("POST", path, body=json.dumps(body).encode())


def fault(api: Cluster, **rule: Any) -> FaultRule:
    return api.loop.call(api.server.faults.add, FaultRule(resource="secretstores", **rule))


def test_every_change_is_told_in_order(api: Cluster, follow: Callable[..., Follower]) -> None:
    """After the list come additions, modifications and deletions, each with the server's time."""
    api.seed(store("a"))
    follower = follow()
    (listed,) = follower.told(Listed)
    assert ([item.key.name for item in listed.listing.items], listed.gap) == (["a"], True)
    create(api, store("b"))
    path = "/apis/external-secrets.io/v1/namespaces/default/secretstores/b"
    patch = b'{"metadata":{"annotations":{"x":"y"}}}'
    api.connect().request("PATCH", path, body=patch, content_type="application/merge-patch+json")
    api.connect().request("DELETE", path)
    follower.await_(Changed, 3)
    assert follower.changes() == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
    assert abs(follower.told(Changed)[0].observed_at - api.world_clock.now()) < 60


def test_who_has_a_list_already_only_watches(api: Cluster) -> None:
    """A follower that is given the version of a list goes on from there, without another list."""
    api.seed(store("a"))
    listing = list_all(api.connect(), "secretstores")
    create(api, store("b"))
    already = lists(api)
    follower = Follower(api, resume=listing.resource_version)
    try:
        follower.await_(Changed)
        assert follower.changes() == [("ADDED", "b")]
        assert lists(api) == already
    finally:
        follower.reflector.stop()


def test_a_broken_watch_resumes_where_it_was(api: Cluster, follow: Callable[..., Follower]) -> None:
    """A reconnect goes on from the last version seen: nothing is missed, nothing is listed again."""
    follower = follow()
    create(api, store("a"))
    follower.await_(Changed)
    fault(api, effect="break-watches")
    create(api, store("b"))
    follower.await_(Changed, 2)
    assert follower.changes() == [("ADDED", "a"), ("ADDED", "b")]
    assert lists(api) == 1
    assert not follower.told(Malfunction)


def test_a_silent_watch_is_taken_for_half_open(api: Cluster, follow: Callable[..., Follower]) -> None:
    """A connection on which nothing comes any more is replaced, and what happened meanwhile arrives."""
    follower = follow(pace=Pace(silence=0.3))
    rule = fault(api, effect="half-open", verb="watch")
    api.loop.call(api.server.faults.remove, rule)
    create(api, store("a"))
    follower.await_(Changed)
    assert follower.changes() == [("ADDED", "a")]
    assert lists(api) == 1


def test_a_version_too_old_is_a_gap(api: Cluster, follow: Callable[..., Follower]) -> None:
    """When the server's history does not reach back, the collection is listed anew and the gap is told."""
    follower = follow()
    fault(api, effect="gone", verb="watch", remaining=1)
    fault(api, effect="break-watches")
    again = follower.await_(Listed, 2)
    assert again.gap
    create(api, store("a"))
    follower.await_(Changed)
    assert follower.changes() == [("ADDED", "a")]


def test_history_compacted_away_during_a_pause_is_a_gap(api: Cluster, follow: Callable[..., Follower]) -> None:
    """The ERROR event with which a real server ends such a watch has the same effect."""
    follower = follow()
    refusing = fault(api, effect="status", code=503, verb="watch")
    fault(api, effect="break-watches")
    create(api, store("a"))
    api.loop.call(api.server.compact)
    api.loop.call(api.server.faults.remove, refusing)
    again = follower.await_(Listed, 2)
    assert (again.gap, [item.key.name for item in again.listing.items]) == (True, ["a"])


def test_bookmarks_confirm_that_nothing_was_missed(api: Cluster, follow: Callable[..., Follower]) -> None:
    """A bookmark is told with the server's time, and a reconnect starts from it."""
    api.server.bookmark_interval = 0.05
    follower = follow()
    confirmed = follower.await_(Confirmed)
    assert abs(confirmed.at - api.world_clock.now()) < 60
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "moves-the-version-on"}})
    version = str(api.server.store.rv)
    follower.await_(Confirmed, len(follower.told(Confirmed)) + 2)
    fault(api, effect="break-watches")
    eventually(lambda: watches(api) >= 2)
    assert api.asked("secretstores", "watch")[-1].query["resourceVersion"] == version


def test_a_forbidden_collection_is_told_once_and_tried_again(api: Cluster) -> None:
    """403 is a malfunction told once, tried again at leisure; its end is told too."""
    rule = ForbidRule(verb="list", resource="secretstores")
    api.server.forbid.append(rule)
    follower = Follower(api, pace=Pace(refused=0.1))
    try:
        eventually(lambda: lists(api) >= 3)
        (malfunction,) = follower.told(Malfunction)
        assert malfunction.trouble.cause == "forbidden"
        assert 'cannot list resource "secretstores"' in malfunction.trouble.detail
        api.loop.call(api.server.forbid.remove, rule)
        follower.await_(Recovered)
        assert [type(m) for m in follower.messages[:3]] == [Malfunction, Listed, Recovered]
    finally:
        follower.reflector.stop()


def test_a_server_that_is_just_back_may_refuse_for_a_moment(api: Cluster, follow: Callable[..., Follower]) -> None:
    """While it starts it knows no roles yet: asked again soon, and nobody is told that a right is missing."""
    follower = follow()
    down = fault(api, effect="drop", verb="watch")
    fault(api, effect="break-watches")
    follower.await_(Malfunction)
    rule = ForbidRule(verb="watch", resource="secretstores")
    api.loop.call(api.server.forbid.append, rule)
    asked = watches(api)
    api.loop.call(api.server.faults.remove, down)
    eventually(lambda: len([entry for entry in api.asked("secretstores", "watch")[asked:] if entry.code == 403]) >= 2)
    api.loop.call(api.server.forbid.remove, rule)
    follower.await_(Recovered)
    assert [told.trouble.cause for told in follower.told(Malfunction)] == ["unreachable"]


def test_a_server_that_is_back_and_throttles_is_asked_again_soon(api: Cluster, follow: Callable[..., Follower]) -> None:
    """The pauses that have grown while nobody answered do not count against a server that reads its storage."""
    follower = follow()
    fault(api, effect="drop", verb="watch", remaining=5)
    fault(api, effect="break-watches")
    eventually(lambda: not api.server.faults.rules, 30)
    fault(api, effect="status", code=429, verb="watch", remaining=1)
    eventually(lambda: len(follower.told(Malfunction)) == 2, 30)
    answered = api.clock.monotonic()
    eventually(lambda: follower.told(Recovered), 30)
    assert api.clock.monotonic() - answered < 5
    assert [told.trouble.cause for told in follower.told(Malfunction)] == ["unreachable", "throttled"]


def test_a_namespace_forbidden_leaves_the_others_alone(api: Cluster, follow: Callable[..., Follower]) -> None:
    """Each scope is followed by itself: what one namespace forbids does not touch another."""
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    api.server.forbid.append(ForbidRule(verb="list", resource="secretstores", namespace="other"))
    forbidden = Follower(api, namespace="other")
    try:
        follower = follow(namespace="default")
        create(api, store("a"))
        follower.await_(Changed)
        forbidden.await_(Malfunction)
        assert not follower.told(Malfunction)
    finally:
        forbidden.reflector.stop()


def test_failures_are_met_with_growing_pauses(api: Cluster, follow: Callable[..., Follower]) -> None:
    """A watch that is refused again and again is not hammered, told as one malfunction, and recovers."""
    follower = follow()
    fault(api, effect="status", code=500, verb="watch", remaining=3)
    fault(api, effect="break-watches")
    follower.await_(Recovered)
    assert [m.trouble.cause for m in follower.told(Malfunction)] == ["server-error"]
    create(api, store("a"))
    follower.await_(Changed)
    assert lists(api) == 1


def test_a_regular_relist_hides_no_change(api: Cluster, follow: Callable[..., Follower]) -> None:
    """The regular full list is taken at the very version the watch has reached, so it is no gap."""
    follower = follow(pace=Pace(relist=0.0))
    create(api, store("a"))
    follower.await_(Changed)
    fault(api, effect="break-watches")
    relisted = follower.await_(Listed, 2)
    assert (relisted.gap, [item.key.name for item in relisted.listing.items]) == (False, ["a"])
    create(api, store("b"))
    follower.await_(Changed, 2)
    assert follower.changes() == [("ADDED", "a"), ("ADDED", "b")]


def test_an_object_that_turns_unreadable_is_told(api: Cluster, follow: Callable[..., Follower]) -> None:
    """A change into something malformed is not mistaken for no change."""
    follower = follow()
    create(api, store("a", url=["no", "text"]))
    spoiled = follower.await_(Spoiled)
    assert str(spoiled.malformed.key) == "default/a"
    create(api, store("b"))
    follower.await_(Changed)


def test_what_is_not_kept_is_told_as_gone(api: Cluster, follow: Callable[..., Follower]) -> None:
    """An object that the filter does not want is told as deleted, so that an older view of it goes."""
    follower = follow(keep=lambda item: item.key.name != "unwanted")
    create(api, store("unwanted"))
    create(api, store("wanted"))
    follower.await_(Changed, 2)
    assert follower.changes() == [("DELETED", "unwanted"), ("ADDED", "wanted")]


def test_stopping_ends_a_silent_watch_at_once(api: Cluster, follow: Callable[..., Follower]) -> None:
    """A stop does not wait for the next byte, and nothing is told after it."""
    follower = follow()
    follower.reflector.stop()
    assert not [t for t in threading.enumerate() if t.name == "watch secretstores in all namespaces"]
    told = len(follower.messages)
    create(api, store("a"))
    assert len(follower.messages) == told


def test_a_sink_that_fails_is_told_as_a_malfunction(api: Cluster) -> None:
    """A bug in what consumes the messages shows, and the collection is listed anew."""
    messages: list[Message] = []

    def sink(message: Message) -> None:
        messages.append(message)
        if len(messages) == 1:
            raise RuntimeError("a bug")

    reflector = Reflector(api.connect(), Scope("secretstores"), sink)
    reflector.start()
    try:
        eventually(lambda: len(messages) >= 4)
        assert [type(m) for m in messages[:4]] == [Listed, Malfunction, Listed, Recovered]
    finally:
        reflector.stop()
