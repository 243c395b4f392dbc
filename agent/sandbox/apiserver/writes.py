"""Create, replace, patch and apply: what becomes of an object when somebody writes it.

Every method is one plain call without waiting, so that each request is atomic. Answers are encoded objects.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from agent.sandbox.apiserver import defaults, validation
from agent.sandbox.apiserver.fieldpaths import without
from agent.sandbox.apiserver.kinds import NAMESPACES, Kind
from agent.sandbox.apiserver.managedfields import FieldConflicts, Manager, after_apply, after_update, given_up
from agent.sandbox.apiserver.patching import apply_merge, merge_patch, without_nulls
from agent.sandbox.apiserver.status import (
    Cause,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    object_details,
)
from agent.sandbox.apiserver.store import Object, Store, Stored, full, with_type
from agent.sandbox.clock import WorldClock

_KEPT = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_encode = msgspec.json.encode


@dataclass(frozen=True, kw_only=True)
class Write:
    """How a write is meant: the object's place, the writer's field manager, the subresource ("" or "status"), dry-run."""

    kind: Kind
    namespace: str
    name: str
    manager: str
    subresource: str = ""
    dry_run: bool = False
    force: bool = False


def encoded(kind: Kind, obj: Object) -> bytes:
    """The JSON of an object that is not (yet) stored."""
    return _encode(with_type(kind, obj))


class Writes:
    """The writing verbs on a store."""

    def __init__(self, store: Store, clock: WorldClock) -> None:
        self.store = store
        self.clock = clock

    def existing(self, kind: Kind, namespace: str, name: str) -> Stored:
        """The newest version. Raises StatusError 404."""
        stored = self.store.get(kind, namespace, name)
        if stored is None:
            raise not_found(kind.group, kind.plural, name)
        return stored

    def create(self, write: Write, body: Object) -> bytes:
        """POST. Raises StatusError 400, 403, 404, 409 or 422."""
        obj, kind = self._newborn(write, body), write.kind
        name = obj["metadata"]["name"]
        self.require_namespace(kind, write.namespace, name)
        if self.store.get(kind, write.namespace, name):
            raise already_exists(kind.group, kind.plural, name)
        obj["metadata"]["managedFields"] = after_update(kind, None, obj, self._writer(write), self.clock.rfc3339())
        return self._commit(write, obj)

    def replace(self, write: Write, body: Object) -> bytes:
        """PUT. Raises StatusError 400, 404, 409 or 422."""
        kind = write.kind
        _check_type(kind, body)
        validation.check_shape(kind, body)
        metadata = body.setdefault("metadata", {})
        if metadata.setdefault("name", write.name) != write.name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({write.name})"
            )
        _check_namespace(write, metadata)
        stored = self.store.get(kind, write.namespace, write.name)
        if stored is None and kind.create_on_update and not write.subresource:
            metadata.pop("resourceVersion", None)
            return self.create(write, body)
        stored = stored or self.existing(kind, write.namespace, write.name)
        if not metadata.get("resourceVersion") and not kind.unconditional_update:
            wrong = validation.wrong("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(kind.group, kind.kind, write.name, [wrong])
        return self._revise(write, stored, body)

    def merge(self, write: Write, patch: Object) -> bytes:
        """PATCH with a JSON merge patch. Raises StatusError 400, 404, 409 or 422."""
        stored = self.existing(write.kind, write.namespace, write.name)
        if not isinstance(patch, dict):
            raise bad_request("json: cannot unmarshal the patch into Go value of type map[string]interface {}")
        current = with_type(write.kind, stored.decoded())
        merged = merge_patch(current, patch)
        _check_type(write.kind, merged)
        validation.check_shape(write.kind, merged)
        if merged.get("metadata", {}).get("name", write.name) != write.name:
            raise invalid(write.kind.group, write.kind.kind, write.name, [
                validation.wrong("metadata.name", merged["metadata"]["name"], "field is immutable"),
            ])  # fmt: skip
        return self._revise(write, stored, merged)

    def apply(self, write: Write, config: Object) -> tuple[bytes, bool]:
        """PATCH by server-side apply; also whether the object was created. Raises StatusError, 409 for field conflicts."""
        kind, stored = write.kind, self.store.get(write.kind, write.namespace, write.name)
        config.setdefault("metadata", {}).setdefault("name", write.name)
        config = without_nulls(config)
        _check_type(kind, config)
        validation.check_shape(kind, config)
        if stored is None:
            obj = self._newborn(write, msgspec.json.decode(_encode(config)))
            self.require_namespace(kind, write.namespace, write.name)
            obj["metadata"]["managedFields"] = self._applied(write, None, obj, config)
            return self._commit(write, obj), True
        live = stored.decoded()
        kept = without(kind, live, given_up(kind, live, config, self._writer(write, applies=True)))
        return self._revise(write, stored, apply_merge(kind, kept, config), config), False

    def change(
        self, kind: Kind, stored: Stored, edit: Callable[[Object], None], *, manager: str, subresource: str = ""
    ) -> None:
        """A write by the server itself, such as the PodDisruptionBudget's count at an eviction."""
        obj = stored.decoded()
        edit(obj)
        write = Write(kind=kind, namespace=stored.namespace, name=stored.name, manager=manager, subresource=subresource)
        self._revise(write, stored, obj)

    def require_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        """Raise StatusError 404 or 403 where nothing can be created in the namespace."""
        if not kind.namespaced:
            return
        home = self.existing(NAMESPACES, "", namespace).decoded()
        if home.get("status", {}).get("phase") == "Terminating":
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = forbidden(kind.group, kind.plural, name, why)
            cause = Cause(reason="NamespaceTerminating", message=f"namespace {namespace} is being terminated")
            error.details["causes"] = [{**cause.encoded(), "field": "metadata.namespace"}]
            raise error

    def _newborn(self, write: Write, body: Object) -> Object:
        kind = write.kind
        _check_type(kind, body)
        validation.check_shape(kind, body)
        obj = without_nulls(body)
        metadata = obj.setdefault("metadata", {})
        _check_namespace(write, metadata)
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        for member in (
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "managedFields",
            "resourceVersion",
        ):
            metadata.pop(member, None)
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise invalid(
                    kind.group,
                    kind.kind,
                    "",
                    [validation.required("metadata.name", "name or generateName is required")],
                )
            metadata["name"] = metadata["generateName"][:58] + "".join(random.choices(_SUFFIX, k=5))
        if kind.namespaced:
            metadata["namespace"] = write.namespace
        else:
            metadata.pop("namespace", None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.clock.rfc3339()}
        metadata.pop("generation", None)
        if kind.generation:
            metadata["generation"] = 1
        defaults.fill(kind, obj)
        defaults.first_status(kind, obj)
        validation.check(kind, obj)
        return obj

    def _revise(self, write: Write, stored: Stored, wanted: Object, config: Object | None = None) -> bytes:
        """The next version of an object out of what the writer wants; nothing is written where nothing changes."""
        kind, old = write.kind, stored.decoded()
        new = _reconciled(write, stored, old, without_nulls(wanted))
        defaults.fill(kind, new)
        validation.check(kind, new)
        validation.check_update(kind, old, new)
        if config is None:
            new["metadata"]["managedFields"] = after_update(kind, old, new, self._writer(write), self.clock.rfc3339())
        else:
            new["metadata"]["managedFields"] = self._applied(write, old, new, config)
        if new == old:
            return full(kind, stored)
        if kind.generation and _meaning(kind, old) != _meaning(kind, new):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return self._commit(write, new, stored)

    def _commit(self, write: Write, obj: Object, before: Stored | None = None) -> bytes:
        metadata = obj["metadata"]
        if write.dry_run:
            return encoded(write.kind, obj)
        going = "deletionTimestamp" in metadata and not metadata.get("deletionGracePeriodSeconds")
        if before is not None and going and not metadata.get("finalizers") and write.kind is not NAMESPACES:
            self.store.remove(write.kind, before)
            return encoded(write.kind, obj)
        return full(write.kind, self.store.put(write.kind, obj))

    def _writer(self, write: Write, *, applies: bool = False) -> Manager:
        operation = "Apply" if applies else "Update"
        return Manager(write.manager, operation, write.kind.api_version, write.subresource)  # type: ignore[arg-type]

    def _applied(self, write: Write, old: Object | None, new: Object, config: Object) -> list[Object]:
        writer = self._writer(write, applies=True)
        try:
            return after_apply(write.kind, old, new, config, writer, self.clock.rfc3339(), force=write.force)
        except FieldConflicts as error:
            raise _apply_conflict(write.kind, error) from None


def _apply_conflict(kind: Kind, error: FieldConflicts) -> StatusError:
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


def _check_type(kind: Kind, body: Any) -> None:
    if not isinstance(body, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): the body is no object")
    version, name = body.get("apiVersion"), body.get("kind")
    if version and version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        )
    if name and name != kind.kind:
        raise bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): {name} was sent")


def _check_namespace(write: Write, metadata: Object) -> None:
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if write.kind.namespaced and metadata.setdefault("namespace", write.namespace) != write.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _reconciled(write: Write, stored: Stored, old: Object, wanted: Object) -> Object:
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


def _meaning(kind: Kind, obj: Object) -> Any:
    """The part of an object whose changes the generation counts."""
    if kind.custom:
        return {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    return obj.get("spec")
