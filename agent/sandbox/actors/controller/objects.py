"""Readers of the shapes that controllers share: owners, selectors, pod conditions, int-or-percent."""

from __future__ import annotations

import json
import math
from datetime import datetime

from agent.sandbox.actors.controller.store import controller_uid
from agent.sandbox.client import Object

__all__ = [
    "active",
    "annotations_of",
    "available_since",
    "condition",
    "controller_uid",
    "key_of",
    "labels_of",
    "matches",
    "owner_reference",
    "pod_from_template",
    "ready",
    "scaled",
    "set_condition",
    "status_patch",
    "template_hash",
    "terminating",
    "unix",
]

_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def unix(stamp: str) -> float:
    """Unix seconds of an RFC 3339 time stamp."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def key_of(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def labels_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def terminating(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def active(pod: Object) -> bool:
    """Counts as a replica: neither ended nor being deleted."""
    return not terminating(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def condition(obj: Object, kind: str) -> Object | None:
    """The status condition of this type."""
    return next((c for c in (obj.get("status") or {}).get("conditions") or [] if c.get("type") == kind), None)


def ready(obj: Object) -> bool:
    """Ready=True: of a pod, and of ESO's kinds as well."""
    found = condition(obj, "Ready")
    return found is not None and found.get("status") == "True"


def available_since(pod: Object, min_ready_seconds: int) -> float | None:
    """World time from which a pod counts as available (it may lie ahead); None while it is not ready."""
    found = condition(pod, "Ready")
    if found is None or found.get("status") != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    return unix(found["lastTransitionTime"]) + min_ready_seconds


def matches(selector: Object | None, having: dict[str, str]) -> bool:
    """metav1.LabelSelector semantics: None selects nothing, {} selects everything."""
    if selector is None:
        return False
    if any(having.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(e, having) for e in selector.get("matchExpressions") or [])


def _expression(expression: Object, having: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return having.get(key) in values
        case "NotIn":
            return having.get(key) not in values
        case "Exists":
            return key in having
        case "DoesNotExist":
            return key not in having
    raise ValueError(f"label selector operator {expression['operator']!r} is unknown")


def scaled(value: int | str, of: int, *, round_up: bool) -> int:
    """An int-or-percent (``2``, ``"25%"``) of a replica count. Raises ValueError for anything else."""
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"{value!r} is neither a number nor a percentage")
    exact = int(value[:-1]) * of / 100
    return math.ceil(exact) if round_up else math.floor(exact)


def owner_reference(api_version: str, kind: str, owner: Object) -> Object:
    """The reference by which ``owner`` manages an object."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_from_template(
    template: Object, owner: Object, *, name: str = "", extra_labels: dict[str, str] | None = None
) -> Object:
    """A pod as a controller creates it; without a name the API server makes one up from its owner's.

    ``owner`` is the owner reference.
    """
    meta = template.get("metadata") or {}
    naming = {"name": name} if name else {"generateName": owner["name"] + "-"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **naming,
            "labels": {**(meta.get("labels") or {}), **(extra_labels or {})},
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [owner],
        },
        "spec": json.loads(json.dumps(template["spec"])),
    }


def template_hash(template: Object, collisions: int = 0) -> str:
    """A short name for a template, in the alphabet Kubernetes uses (no vowels, so no words). FNV-1a, 32 bit."""
    digest = 0x811C9DC5
    for byte in json.dumps([template, collisions], sort_keys=True).encode():
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_SAFE[int(c) % len(_SAFE)] for c in str(digest))


def status_patch(now: Object, wanted: Object) -> Object | None:
    """The merge patch that turns one status into the other; None where they are the same.

    Counters at zero are left out, as Go's omitempty leaves them out; only ``replicas`` is always written.
    """
    target = {k: v for k, v in wanted.items() if k in ("replicas", *_ALWAYS) or v not in (0, None)}
    patch = {k: v for k, v in target.items() if now.get(k) != v}
    patch.update({k: None for k in wanted if k not in target and k in now})
    return patch or None


_ALWAYS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
)  # fmt: skip


def set_condition(conditions: list[Object], new: Object, now: str) -> list[Object]:
    """The list with one condition replaced; lastTransitionTime moves only when its status does.

    ``new`` holds type, status, reason and message.
    """
    old = next((c for c in conditions if c["type"] == new["type"]), None)
    if old and all(old.get(k) == v for k, v in new.items()):
        return conditions
    since = old["lastTransitionTime"] if old and old["status"] == new["status"] and "lastTransitionTime" in old else now
    changed = {**(old or {}), **new, "lastTransitionTime": since}
    if old is None:
        return [*conditions, changed]
    return [changed if c is old else c for c in conditions]
