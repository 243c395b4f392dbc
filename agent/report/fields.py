"""What an event is about, as the flat fields of a log line. Pure.

The field's name follows from its type, so that a new event needs nothing here. Prose (evidence, detail, remedy) is no
field: the sentence holds it.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from agent.events import Event
from agent.model import Finding, ObjectKey, Refusal, SourceKey, Trouble, WorkloadKey
from agent.times import stamp

Fields = dict[str, Any]

PROSE = frozenset({"evidence", "detail", "remedy", "why", "message", "problems", "cycle"})
"""Not fields of their own: what the sentence says; and the cycle, which is said once, of every event."""

TIMES = frozenset({"at", "since", "until", "next_at"})
"""Fields that hold a time, not a span: RFC 3339."""

_MOST_LISTED = 20
_KEY_NAMES = {"chain": "externalsecret", "secret": "secret", "pod": "pod", "key": "name"}


def fields(event: Event) -> Fields:
    """All that identifies and measures the event; ``chain`` (``namespace/name``) and ``cycle`` join lines together."""
    made: Fields = {"cycle": event.cycle} if event.cycle else {}
    _take_struct(made, event)
    return made


def _take_struct(made: Fields, struct: msgspec.Struct) -> None:
    for name in struct.__struct_fields__:
        if name not in PROSE:
            _take(made, name, getattr(struct, name))


def _take(made: Fields, name: str, value: object) -> None:
    match value:
        case ObjectKey():
            made["namespace"] = value.namespace
            made[_KEY_NAMES.get(name, name)] = value.name
            if name == "chain":
                made["chain"] = str(value)
        case WorkloadKey():
            made |= {"namespace": value.namespace, "workload": value.name, "workload_kind": value.kind}
        case Finding() | Refusal() | Trouble():
            _take_struct(made, value)
        case SourceKey():
            made[name] = str(value)
        case tuple() if value:
            made[name] = [str(item) for item in value[:_MOST_LISTED]]
        case bool() | int():
            made[name] = value
        case float():
            made[name] = stamp(value) if name in TIMES else _seconds(value)
        case str() if value:
            made[name] = str(value)
        case _:
            pass  # nothing there, or counts per object: those are metrics


def _seconds(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
