"""DELETE: preconditions, grace, finalizers."""

from __future__ import annotations

import calendar
import time
from typing import Any

import msgspec

from agent.sandbox.apiserver.kinds import NAMESPACES, PODS, Kind
from agent.sandbox.apiserver.status import bad_request, conflict, object_details, success
from agent.sandbox.apiserver.store import Object, Store, Stored, full
from agent.sandbox.apiserver.writes import encoded
from agent.sandbox.clock import WorldClock


class DeleteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to delete: grace in seconds (None: the object's own), preconditions, dry-run, what becomes of dependants."""

    grace: int | None = None
    uid: str | None = None
    rv: str | None = None
    dry_run: bool = False
    orphan: bool = False


def delete_options(body: Any, query: dict[str, str]) -> DeleteOptions:
    """DeleteOptions out of the body, with the query filling gaps. Raises StatusError 400."""
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise bad_request("the body of a delete must be a DeleteOptions object")
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    preconditions = body.get("preconditions") or {}
    dry_run = body.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy", "")
    try:
        return DeleteOptions(
            grace=None if grace is None else int(grace),
            uid=preconditions.get("uid"),
            rv=preconditions.get("resourceVersion"),
            dry_run="All" in dry_run,
            orphan=propagation == "Orphan" or bool(body.get("orphanDependents")),
        )
    except (TypeError, ValueError) as error:
        raise bad_request("gracePeriodSeconds must be a whole number") from error


def check_preconditions(kind: Kind, stored: Stored, options: DeleteOptions) -> None:
    """Raise StatusError 409 if the object is not the one, or not the version, that the caller means."""
    if options.uid is not None and options.uid != stored.uid:
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {stored.uid}"
        raise conflict(kind.group, kind.plural, stored.name, why)
    if options.rv is not None and options.rv != str(stored.rv):
        why = f"ResourceVersion in precondition: {options.rv}, ResourceVersion in object meta: {stored.rv}"
        raise conflict(kind.group, kind.plural, stored.name, f"Precondition failed: {why}")


def _grace(pod: Object, options: DeleteOptions) -> int:
    """Seconds a pod gets: none before it is bound to a node or once it has ended."""
    spec = pod.get("spec", {})
    if not spec.get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    grace = options.grace if options.grace is not None else spec.get("terminationGracePeriodSeconds", 30)
    return int(grace) if grace >= 0 else 1


class Deletion:
    """The delete verb on a store."""

    def __init__(self, store: Store, clock: WorldClock) -> None:
        self.store = store
        self.clock = clock

    def delete(self, kind: Kind, stored: Stored, options: DeleteOptions) -> bytes:
        """Delete, or mark as being deleted. Raises StatusError 409. The answer is the object, or a Status."""
        check_preconditions(kind, stored, options)
        obj = stored.decoded()
        metadata = obj["metadata"]
        grace = _grace(obj, options) if kind is PODS else 0
        waits = bool(grace or metadata.get("finalizers") or kind is NAMESPACES)
        if not waits:
            return self._remove(kind, stored, options)
        already = "deletionTimestamp" in metadata
        if already and (kind is not PODS or grace >= metadata.get("deletionGracePeriodSeconds", 0)):
            return full(kind, stored)
        self._mark(kind, obj, grace, already)
        if options.dry_run:
            return encoded(kind, obj)
        if options.orphan:
            self._orphan(stored.uid)
        return full(kind, self.store.put(kind, obj))

    def _mark(self, kind: Kind, obj: Object, grace: int, already: bool) -> None:
        metadata = obj["metadata"]
        asked = self.clock.now()
        if already:  # grace can only be shortened, and counts from the first request
            first = calendar.timegm(time.strptime(metadata["deletionTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))
            asked = first - metadata.get("deletionGracePeriodSeconds", 0)
        elif metadata.get("generation"):
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = self.clock.rfc3339(asked + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if kind is NAMESPACES:
            metadata.pop("deletionGracePeriodSeconds")
            obj.setdefault("status", {})["phase"] = "Terminating"

    def _remove(self, kind: Kind, stored: Stored, options: DeleteOptions) -> bytes:
        if not options.dry_run:
            if options.orphan:
                self._orphan(stored.uid)
            stored = self.store.remove(kind, stored)
        if kind is PODS:
            return full(kind, stored)
        details = {**object_details(kind.group, kind.plural, stored.name), "uid": stored.uid}
        return msgspec.json.encode(success(details))

    def _orphan(self, owner: str) -> None:
        for kind, key in list(self.store.dependants.get(owner, {})):
            namespace, _, name = key.partition("/")
            if dependant := self.store.get(kind, namespace, name):
                obj = dependant.decoded()
                kept = [ref for ref in obj["metadata"]["ownerReferences"] if ref.get("uid") != owner]
                obj["metadata"]["ownerReferences"] = kept
                if not kept:
                    del obj["metadata"]["ownerReferences"]
                self.store.put(kind, obj)
