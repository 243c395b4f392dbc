"""Create, replace, patch and apply: what becomes of an object when somebody writes it.

Every method is one plain call without waiting, so that each request is atomic. Answers are encoded objects.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

import msgspec

from agent.sandbox.apiserver import validation
from agent.sandbox.apiserver.fieldpaths import without
from agent.sandbox.apiserver.kinds import NAMESPACES, Kind
from agent.sandbox.apiserver.managedfields import FieldConflicts, Manager, after_apply, after_update, given_up
from agent.sandbox.apiserver.patching import apply_merge, merge_patch, without_nulls
from agent.sandbox.apiserver.quota import check_quota
from agent.sandbox.apiserver.reconcile import Write, apply_conflict, check_namespace, check_type, meaning, reconciled
from agent.sandbox.apiserver.status import (
    Cause,
    already_exists,
    bad_request,
    forbidden,
    invalid,
    not_found,
)
from agent.sandbox.apiserver.store import Object, Store, Stored, full, with_type
from agent.sandbox.clock import WorldClock

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_encode = msgspec.json.encode


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
        check_quota(self.store, kind, write.namespace, name)
        if self.store.get(kind, write.namespace, name):
            raise already_exists(kind.group, kind.plural, name)
        obj["metadata"]["managedFields"] = after_update(kind, None, obj, self._writer(write), self.clock.rfc3339())
        return self._commit(write, obj)

    def replace(self, write: Write, body: Object) -> bytes:
        """PUT. Raises StatusError 400, 404, 409 or 422."""
        kind = write.kind
        check_type(kind, body)
        validation.check_shape(kind, body)
        metadata = body.setdefault("metadata", {})
        if metadata.setdefault("name", write.name) != write.name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({write.name})"
            )
        check_namespace(write, metadata)
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
        check_type(write.kind, merged)
        validation.check_shape(write.kind, merged)
        if write.kind.custom and write.subresource:
            merged["metadata"] = current["metadata"] | {"resourceVersion": merged["metadata"].get("resourceVersion")}
        for member, fixed in (("name", write.name), ("uid", stored.uid)):
            # A uid in a patch is no precondition to the server, as one in a PUT is: it is a field that cannot change.
            if (wanted := merged["metadata"].get(member, fixed)) != fixed:
                wrong = validation.wrong(f"metadata.{member}", wanted, "field is immutable")
                raise invalid(write.kind.group, write.kind.kind, write.name, [wrong])
        return self._revise(write, stored, merged)

    def apply(self, write: Write, config: Object) -> tuple[bytes, bool]:
        """PATCH by server-side apply; also whether the object was created. Raises StatusError."""
        kind, stored = write.kind, self.store.get(write.kind, write.namespace, write.name)
        config.setdefault("metadata", {}).setdefault("name", write.name)
        config = without_nulls(config)
        check_type(kind, config)
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
        check_type(kind, body)
        validation.check_shape(kind, body)
        obj: Object = without_nulls(body)
        metadata = obj.setdefault("metadata", {})
        check_namespace(write, metadata)
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
        validation.settle(kind, obj, newborn=True)
        return obj

    def _revise(self, write: Write, stored: Stored, wanted: Object, config: Object | None = None) -> bytes:
        """The next version of an object out of what the writer wants; nothing is written where nothing changes."""
        kind, old = write.kind, stored.decoded()
        new = reconciled(write, stored, old, without_nulls(wanted))
        validation.settle(kind, new, newborn=False)
        validation.check_update(kind, old, new)
        if config is None:
            new["metadata"]["managedFields"] = after_update(kind, old, new, self._writer(write), self.clock.rfc3339())
        else:
            new["metadata"]["managedFields"] = self._applied(write, old, new, config)
        if new == old:
            return full(kind, stored)
        if kind.generation and meaning(kind, old) != meaning(kind, new):
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
            raise apply_conflict(write.kind, error) from None
