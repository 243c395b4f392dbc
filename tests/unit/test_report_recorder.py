"""Event objects as an API server stores them, written through the agent's own writer over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from report_events import CHAIN, NOW
from support.servers import Cluster, cluster

from agent.cluster.errors import ApiProblem
from agent.cluster.resources import RESOURCES
from agent.cluster.writer import Writer
from agent.model import ObjectKey
from agent.report.notes import Ref
from agent.report.recorder import Recorder

REF = Ref("external-secrets.io/v1", "ExternalSecret", "default", CHAIN.name, "uid-1")


@pytest.fixture
def api() -> Iterator[Cluster]:
    """A fresh API server."""
    with cluster() as running:
        yield running


def read(api: Cluster, key: ObjectKey) -> dict[str, Any] | None:
    """The stored Event."""
    body = reader(api)(key)
    return None if body is None else msgspec.json.decode(body)


def reader(api: Cluster) -> Any:
    connection = api.connect()

    def read_event(key: ObjectKey) -> bytes | None:
        try:
            return connection.request("GET", RESOURCES["events"].path(*key)).body
        except ApiProblem as error:
            if error.code == 404:
                return None
            raise

    return read_event


def recorder(api: Cluster) -> Recorder:
    """As it is put together in the agent."""
    writer = Writer(api.connect())
    return Recorder(read=reader(api), create=writer.create, patch=writer.patch)


def test_an_event_is_created_once_and_then_counted_up(api: Cluster) -> None:
    """Its first time stays, its last time and message follow; a recorder of another process goes on counting."""
    first, second = recorder(api), recorder(api)
    first.event(REF, "Warning", "DriftDetected", "one", NOW, name="app-secrets.abc")
    first.event(REF, "Warning", "DriftDetected", "two", NOW + 60, name="app-secrets.abc", times=4)
    second.event(REF, "Warning", "DriftDetected", "three", NOW + 90, name="app-secrets.abc")
    stored = read(api, ObjectKey("default", "app-secrets.abc"))
    assert stored is not None
    del stored["metadata"]
    assert stored == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "namespace": "default",
            "name": CHAIN.name,
            "uid": "uid-1",
        },
        "type": "Warning",
        "reason": "DriftDetected",
        "message": "three",
        "source": {"component": "secret-drift-agent"},
        "firstTimestamp": "2026-11-23T22:00:00Z",
        "lastTimestamp": "2026-11-23T22:01:30Z",
        "count": 6,
    }


def test_an_event_that_the_server_has_let_go_begins_anew(api: Cluster) -> None:
    """After its hour the count is one again."""
    writer = recorder(api)
    key = ObjectKey("default", "app-secrets.abc")
    writer.event(REF, "Normal", "HealRefused", "m", NOW, name=key.name, times=5)
    api.connect().request("DELETE", RESOURCES["events"].path(*key))
    writer.event(REF, "Normal", "HealRefused", "m", NOW + 7200, name=key.name)
    stored = read(api, key)
    assert stored is not None
    assert (stored["count"], stored["firstTimestamp"]) == (1, "2026-11-24T00:00:00Z")


def test_a_namespace_that_is_gone_is_the_writers_error(api: Cluster) -> None:
    """It is raised, for the subscriber to count."""
    with pytest.raises(ApiProblem, match="404"):
        recorder(api).event(REF._replace(namespace="nowhere"), "Normal", "R", "m", NOW, name="x.abc")
