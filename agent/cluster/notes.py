"""Kubernetes Events: those we leave on objects, and the warnings that others left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.resources import RESOURCES
from agent.model import ObjectKey

_LONGEST_MESSAGE = 1000
_MOST_WARNINGS = 200


EventType = Literal["Normal", "Warning"]


class ObjectRef(Protocol):
    """What an Event is about (``involvedObject``). ``namespace`` is empty for cluster-scoped objects."""

    @property
    def api_version(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


class Occurrence(NamedTuple):
    """What an Event says, and when (unix seconds of the API server's clock) how many more times."""

    type: EventType
    reason: str
    message: str
    at: float
    times: int

    def body(self, key: ObjectKey, regarding: ObjectRef, component: str) -> dict[str, object]:
        """The API's JSON form of a new Event."""
        involved = {
            "apiVersion": regarding.api_version,
            "kind": regarding.kind,
            "name": regarding.name,
            "uid": regarding.uid,
        }
        if regarding.namespace:
            involved["namespace"] = regarding.namespace
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "involvedObject": involved,
            "reason": self.reason,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": component,
            "firstTimestamp": rfc3339(self.at),
        } | self.patch(0)

    def patch(self, before: int) -> dict[str, object]:
        """The merge patch for an Event that had been counted ``before`` times."""
        return {
            "type": self.type,
            "message": self.message[:_LONGEST_MESSAGE],
            "lastTimestamp": rfc3339(self.at),
            "count": before + self.times,
        }


def rfc3339(at: float) -> str:
    """Unix seconds as the API prints them: whole seconds, rounded down."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class WarningEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A Warning on an object. Anyone who may write Events can forge it: a hint, never evidence; never republished."""

    reason: str
    message: str
    last_seen: float
    count: int


class _Series(msgspec.Struct, rename="camel"):
    count: int = 1
    last_observed_time: datetime | None = None


class _Wire(msgspec.Struct, rename="camel"):
    reason: str | None = None
    message: str | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    count: int | None = None
    series: _Series | None = None


class _List(msgspec.Struct):
    items: list[_Wire] | None


class _Counted(msgspec.Struct):
    count: int | None = None


def warning_events(conn: Connection, key: ObjectKey, uid: str, *, kind: str = "ExternalSecret") -> list[WarningEvent]:
    """The Warnings on one object, newest first, at most 200. Raises ApiProblem, Unreachable, BadAnswer."""
    selector = {
        "involvedObject.kind": kind,
        "involvedObject.name": key.name,
        "involvedObject.uid": uid,
        "type": "Warning",
    }
    query = {"fieldSelector": ",".join(f"{k}={v}" for k, v in selector.items()), "limit": str(_MOST_WARNINGS)}
    answer = conn.request("GET", RESOURCES["events"].path(key.namespace), query=query)
    try:
        found = msgspec.json.decode(answer.body, type=_List).items or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer(f"the Events of {key} cannot be read") from None
    return sorted((_warning(wire) for wire in found), key=lambda event: event.last_seen, reverse=True)


def count_of(body: bytes) -> int:
    """How often an Event, as the API answers it, has occurred."""
    try:
        return msgspec.json.decode(body, type=_Counted).count or 1
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 1


def _warning(wire: _Wire) -> WarningEvent:
    series = wire.series or _Series()
    seen = [time.timestamp() for time in (wire.last_timestamp, wire.event_time, series.last_observed_time) if time]
    return WarningEvent(
        reason=wire.reason or "",
        message=(wire.message or "")[:4096],
        last_seen=max(seen, default=0.0),
        count=max(wire.count or 1, series.count),
    )
