"""Events left and read, logs read, budgets read."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from support.servers import Cluster

from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem
from agent.cluster.notes import warning_events
from agent.cluster.reader import budgets, pod_log
from agent.cluster.writer import Writer
from agent.model import ObjectKey


class Ref(NamedTuple):
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


KEY = ObjectKey("default", "app-secrets")
REF = Ref("external-secrets.io/v1", "ExternalSecret", "default", "app-secrets", "es-uid")


def events(api: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(api.connect().request("GET", "/api/v1/events").body)["items"]
    return found


def test_an_event_repeated_is_counted(api: Cluster) -> None:
    """The same Event on the same object is one with a count and the newest words, also for the next process."""
    first, second = Writer(api.connect()), Writer(api.connect())
    first.event(REF, "Normal", "AccessDenied", "the vault refuses us", 1_700_000_000.9, name="app-secrets.1")
    first.event(
        REF, "Warning", "AccessDenied", "the vault still refuses us", 1_700_000_060.0, name="app-secrets.1", times=4
    )
    second.event(REF, "Warning", "AccessDenied", "the vault refuses us for long", 1_700_000_120.0, name="app-secrets.1")
    (event,) = events(api)
    assert (event["count"], event["type"], event["message"]) == (6, "Warning", "the vault refuses us for long")
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:15:20Z")
    assert event["involvedObject"] == {
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "namespace": "default", "name": "app-secrets", "uid": "es-uid",
    }  # fmt: skip
    assert event["source"] == {"component": "secret-drift-agent"}


def test_an_event_that_has_expired_is_left_anew(api: Cluster) -> None:
    """Events live for an hour; the next occurrence makes a new one, and counts from there."""
    writer = Writer(api.connect())
    for _ in range(2):
        writer.event(REF, "Normal", "Synced", "in sync", 1_700_000_000.0, name="e")
    api.connect().request("DELETE", "/api/v1/namespaces/default/events/e")
    for _ in range(2):
        writer.event(REF, "Normal", "Synced", "in sync", 1_700_009_000.0, name="e")
    (event,) = events(api)
    assert (event["count"], event["firstTimestamp"]) == (2, "2023-11-15T00:43:20Z")


def test_warnings_of_one_object_are_read(api: Cluster) -> None:
    """Of all Events, the Warnings on the very object are read, newest first."""

    def warning(name: str, uid: str, kind: str, last: str | None) -> dict[str, Any]:
        return {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "ExternalSecret", "name": "app-secrets", "namespace": "default", "uid": uid},
            "type": kind, "reason": "UpdateFailed", "message": name, "lastTimestamp": last, "count": 2,
        }  # fmt: skip

    api.seed(
        warning("old", "es-uid", "Warning", "2026-11-23T22:00:00Z"),
        warning("new", "es-uid", "Warning", "2026-11-23T23:00:00Z"),
        warning("undated", "es-uid", "Warning", None),
        warning("normal", "es-uid", "Normal", "2026-11-23T23:00:00Z"),
        warning("predecessor", "other-uid", "Warning", "2026-11-23T23:00:00Z"),
    )
    found = warning_events(api.connect(), KEY, "es-uid")
    assert [(event.message, event.count) for event in found] == [("new", 2), ("old", 2), ("undated", 2)]
    assert found[0].last_seen - found[1].last_seen == 3600


def test_a_log_is_read_line_by_line_and_bounded(api: Cluster) -> None:
    """Lines come as they were written, not more bytes of them than asked for; odd bytes do no harm."""
    api.seed(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "backend-1", "namespace": "default"},
            "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "x"}]}, "status": {"phase": "Running"},
        }
    )  # fmt: skip
    now = api.world_clock.now()

    async def logs(namespace: str, pod: str, container: str, previous: bool) -> list[tuple[float, str]]:
        return [(now - 100, "starting"), (now, "MongoDB connected"), (now, "länger")]

    api.server.log_provider = logs
    conn, pod = api.connect(), ObjectKey("default", "backend-1")
    assert list(pod_log(conn, pod, "app")) == ["starting", "MongoDB connected", "länger"]
    assert list(pod_log(conn, pod, "app", since=now - 10)) == ["MongoDB connected", "länger"]
    assert list(pod_log(conn, pod, "app", tail=1)) == ["länger"]
    assert list(pod_log(conn, pod, "app", limit_bytes=5)) == ["start"]
    with pytest.raises(ApiProblem):
        pod_log(conn, ObjectKey("default", "absent"), "app")


def test_an_empty_log_has_no_lines(api: Cluster) -> None:
    """A container that has not written anything yet has no line, not an empty one."""
    api.seed(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "backend-1", "namespace": "default"},
            "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "x"}]}, "status": {"phase": "Running"},
        }
    )  # fmt: skip

    async def logs(namespace: str, pod: str, container: str, previous: bool) -> list[tuple[float, str]]:
        return []

    api.server.log_provider = logs
    assert list(pod_log(api.connect(), ObjectKey("default", "backend-1"), "app")) == []


def test_a_budget_that_cannot_be_read_is_no_permission(api: Cluster) -> None:
    """Budgets are read all or not at all: one that makes no sense is an error, never an absent budget."""
    budget: dict[str, Any] = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}, "status": {"disruptionsAllowed": 0},
    }  # fmt: skip
    api.seed(budget)
    assert [b.key.name for b in budgets(api.connect(), "default")] == ["b"]
    api.seed(budget | {"metadata": {"name": "odd", "namespace": "default"}, "status": {"disruptionsAllowed": "many"}})
    with pytest.raises(BadAnswer, match="odd"):
        budgets(api.connect(), "default")
