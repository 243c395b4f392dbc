"""The state of a world in a page of text, for the messages of failed tests. Never a value."""

from __future__ import annotations

from agent.sandbox.apiserver.kinds import KINDS
from agent.sandbox.client import Object
from agent.sandbox.world import Sandbox

_SHOWN = ("ExternalSecret", "Secret", "Deployment", "StatefulSet", "DaemonSet", "Pod", "PodDisruptionBudget")
_MOST = 40


def dump(sandbox: Sandbox) -> str:
    """Objects with their state, and the newest requests of the agent. To be called in the world's loop."""
    lines = [f"world at {sandbox.clock.rfc3339()}; problems: {sandbox.problems}; ESO refused: {sandbox.eso.refused}"]
    for kind in (kind for kind in KINDS if kind.kind in _SHOWN):
        for stored in sandbox.api.store.scan(kind)[:_MOST]:
            obj = stored.decoded()
            lines.append(f"  {kind.kind} {stored.namespace}/{stored.name}: {_told(kind.kind, obj)}")
    for event in [
        stored.decoded() for kind in KINDS if kind.kind == "Event" for stored in sandbox.api.store.scan(kind)
    ][-_MOST:]:
        about = event["involvedObject"]
        lines.append(
            f"  Event {event['reason']} on {about.get('kind')} {about.get('name')}: {event.get('message', '')[:300]}"
        )
    for e in [e for e in sandbox.api.audit if e.user == "agent" and e.verb not in ("get", "list", "watch")][-_MOST:]:
        lines.append(f"  agent: {e.code} {e.verb} {e.resource}/{e.subresource} {e.namespace}/{e.name}")
    return "\n".join(lines)


def _told(kind: str, obj: Object) -> str:
    try:
        return _state(kind, obj)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"malformed: {type(error).__name__}"


def _state(kind: str, obj: Object) -> str:
    status = obj.get("status") or {}
    if kind == "Secret":
        return f"keys {sorted(obj.get('data') or {})} immutable={obj.get('immutable', False)}"
    if kind == "Pod":
        states = [
            f"{c['name']}:{'ready' if c.get('ready') else _waits(c)}" for c in status.get("containerStatuses") or []
        ]
        going = " terminating" if "deletionTimestamp" in obj["metadata"] else ""
        return f"{status.get('phase')}{going} on {obj['spec'].get('nodeName')} {states}"
    conditions = [f"{c['type']}={c['status']}:{c.get('reason')}" for c in status.get("conditions") or []]
    return f"{conditions} { {k: v for k, v in status.items() if isinstance(v, int | str)} }"


def _waits(status: Object) -> str:
    state = status.get("state") or {}
    name = next(iter(state), "unknown")
    return f"{name} {(state.get(name) or {}).get('reason', '')}".strip()
