"""What a write may touch: the writer's wish, less everything that the API server takes no orders about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.sandbox.apiserver.kinds import Kind
from agent.sandbox.apiserver.managedfields import FieldConflicts
from agent.sandbox.apiserver.status import Cause, StatusError, bad_request, conflict, object_details
from agent.sandbox.apiserver.store import Object, Stored

_KEPT = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


@dataclass(frozen=True, kw_only=True)
class Write:
    """How a write is meant: the object's place, the writer's field manager, subresource ("" or "status"), dry-run."""

    kind: Kind
    namespace: str
    name: str
    manager: str
    subresource: str = ""
    dry_run: bool = False
    force: bool = False


def apply_conflict(kind: Kind, error: FieldConflicts) -> StatusError:
    """409 for a server-side apply that would take fields from others."""
    count = len(error.conflicts)
    first = error.conflicts[0]
    message = (
        f'Apply failed with {count} conflict{"s" if count > 1 else ""}: conflict with "{first[0].name}": {first[1]}'
    )
    if count > 1:
        lines = "\n".join(f'- conflict with "{manager.name}": {path}' for manager, path in error.conflicts)
        message = f"Apply failed with {count} conflicts: {lines}"
    causes = [
        Cause(reason="FieldManagerConflict", message=f'conflict with "{manager.name}"', field=path).encoded()
        for manager, path in error.conflicts
    ]
    return StatusError(409, "Conflict", message, {**object_details(kind.group, kind.kind), "causes": causes})


def check_type(kind: Kind, body: Any) -> None:
    """Raise StatusError 400 unless a body is an object of the kind."""
    if not isinstance(body, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): the body is no object")
    version, name = body.get("apiVersion"), body.get("kind")
    if version and version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    if name and name != kind.kind:
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): {name} was sent")


def check_namespace(write: Write, metadata: Object) -> None:
    """Raise StatusError 400 for a body of another namespace than the URL's; fills it in."""
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if write.kind.namespaced and metadata.setdefault("namespace", write.namespace) != write.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def reconciled(write: Write, stored: Stored, old: Object, wanted: Object) -> Object:
    """``wanted`` less everything that this kind of write cannot touch. Raises StatusError 409 for a stale copy."""
    kind, sent = write.kind, wanted.get("metadata") or {}
    if sent.get("uid", stored.uid) != stored.uid:
        why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: {stored.uid}"
        raise conflict(kind.group, kind.plural, stored.name, why)
    if sent.get("resourceVersion") and sent["resourceVersion"] != str(stored.rv):
        raise conflict(kind.group, kind.plural, stored.name)
    metadata = old["metadata"]
    if write.subresource == "status":
        new = {**old, "metadata": dict(metadata)}
        new.pop("status", None)
        if "status" in wanted:
            new["status"] = wanted["status"]
        if not kind.custom:  # a custom resource's /status ignores all metadata; a built-in one takes these two
            members = ("annotations",) if kind.group == "apps" else ("annotations", "labels")
            _copy(sent, new["metadata"], members)
        return new
    new = {key: value for key, value in wanted.items() if key not in ("kind", "apiVersion", "metadata")}
    new["metadata"] = {key: value for key, value in sent.items() if key not in _KEPT}
    _copy(metadata, new["metadata"], (*_KEPT, "resourceVersion", "managedFields"))
    if kind.status:
        _copy(old, new, ("status",))
    if kind.kind == "Secret":
        new.setdefault("type", old.get("type", "Opaque"))
    return new


def _copy(source: Object, target: Object, members: tuple[str, ...]) -> None:
    for member in members:
        if member in source:
            target[member] = source[member]
        else:
            target.pop(member, None)


def meaning(kind: Kind, obj: Object) -> Any:
    """The part of an object whose changes the generation counts."""
    if kind.custom:
        return {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    return obj.get("spec")
