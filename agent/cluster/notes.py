"""Kubernetes Events: those we leave on objects, and the warnings that others left."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.resources import RESOURCES
from agent.model import ObjectKey

_LONGEST_MESSAGE = 1000
_MOST_WARNINGS = 200


class ObjectRef(NamedTuple):
    """What an Event is about. ``namespace`` is empty for cluster-scoped objects."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def event_namespace(self) -> str:
        """Where its Events live."""
        return self.namespace or "default"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """An Event of ours, before it is written."""

    regarding: ObjectRef
    type: Literal["Normal", "Warning"]
    reason: str
    message: str

    @property
    def key(self) -> ObjectKey:
        """Equal Events have equal names, so that a repetition raises a count instead of adding an object."""
        digest = hashlib.sha256("\0".join((*self.regarding, self.type, self.reason, self.message)).encode()).hexdigest()
        return ObjectKey(self.regarding.event_namespace, f"{self.regarding.name[:200].rstrip('-.')}.{digest[:16]}")

    def body(self, component: str, at: float) -> dict[str, object]:
        """The API's JSON form of its first occurrence."""
        regarding = self.regarding
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
            "involvedObject": {
                "apiVersion": regarding.api_version,
                "kind": regarding.kind,
                "name": regarding.name,
                "uid": regarding.uid,
            }
            | ({"namespace": regarding.namespace} if regarding.namespace else {}),
            "type": self.type,
            "reason": self.reason,
            "message": self.message[:_LONGEST_MESSAGE],
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": component,
            "firstTimestamp": rfc3339(at),
            "lastTimestamp": rfc3339(at),
            "count": 1,
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
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadAnswer(f"the Events of {key} cannot be read") from None
    return sorted((_warning(wire) for wire in found), key=lambda event: event.last_seen, reverse=True)


def count_of(body: bytes) -> int:
    """How often an Event, as the API answers it, has occurred."""
    try:
        return msgspec.json.decode(body, type=_Counted).count or 1
    except (msgspec.DecodeError, UnicodeDecodeError):
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
