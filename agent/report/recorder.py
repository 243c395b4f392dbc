"""Core/v1 Event objects: one per (object, reason, key), counted up rather than repeated.

The server keeps an Event for an hour after its last change, so the count is read from there: a restarted agent goes on
counting, and one that is gone begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agent.model import ObjectKey
from agent.report.notes import Ref, Type
from agent.times import stamp

COMPONENT = "secret-drift-agent"

Read = Callable[[ObjectKey], bytes | None]
Create = Callable[[str, str, Mapping[str, object]], object]
Patch = Callable[[str, ObjectKey, Mapping[str, object]], object]


class _Stored(msgspec.Struct):
    count: int | None = None


class Recorder:
    """Implements ``EventWriter`` with three plain requests.

    ``read`` returns the Event's JSON, None if there is none; ``create`` and ``patch`` are those of the cluster's writer
    (resource first). Raises what they raise. Needs the rights get, create and patch on events.
    """

    def __init__(self, *, read: Read, create: Create, patch: Patch) -> None:
        self._read, self._create, self._patch = read, create, patch

    def event(
        self, regarding: Ref, type: Type, reason: str, message: str, at: float, *, name: str, times: int = 1
    ) -> None:
        """Count ``times`` more of the Event ``name``, creating it if need be; the newest message stands."""
        key = ObjectKey(regarding.namespace, name)
        stored = self._read(key)
        if stored is None:
            self._create("events", key.namespace, event_body(regarding, type, reason, message, at, name, times))
            return
        count = (msgspec.json.decode(stored, type=_Stored).count or 1) + times
        self._patch("events", key, {"count": count, "lastTimestamp": stamp(at), "message": message, "type": type})


def event_body(
    regarding: Ref, type: Type, reason: str, message: str, at: float, name: str, count: int
) -> dict[str, Any]:
    """A new Event as the API server takes it. Without ``eventTime`` it is of the counted kind that kubectl sums up."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": regarding.namespace},
        "involvedObject": {
            "apiVersion": regarding.api_version,
            "kind": regarding.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
        },
        "type": type,
        "reason": reason,
        "message": message,
        "source": {"component": COMPONENT},
        "firstTimestamp": stamp(at),
        "lastTimestamp": stamp(at),
        "count": count,
    }
