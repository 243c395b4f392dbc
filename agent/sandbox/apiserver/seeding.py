"""Worlds that begin in the past: objects put in place as they are, without HTTP."""

from __future__ import annotations

import uuid

import msgspec

from agent.sandbox.apiserver import defaults
from agent.sandbox.apiserver.kinds import BY_NAME
from agent.sandbox.apiserver.managedfields import Manager, after_update
from agent.sandbox.apiserver.store import Object, Store
from agent.sandbox.clock import WorldClock

MANAGER = "seed"


def seed(store: Store, clock: WorldClock, obj: Object) -> None:
    """Store a copy of an object as given; raises KeyError for kinds that are not served.

    Kept: uid, creationTimestamp, managedFields, generation, status, deletionTimestamp. Filled in where missing: those
    the server sets, the kind's defaults, and managedFields (writer ``seed``, at the object's creation).
    """
    kind = BY_NAME[obj["apiVersion"], obj["kind"]]
    new: Object = msgspec.json.decode(msgspec.json.encode(obj))
    metadata = new["metadata"]
    metadata.setdefault("uid", str(uuid.uuid4()))
    metadata.setdefault("creationTimestamp", clock.rfc3339())
    if kind.generation:
        metadata.setdefault("generation", 1)
    if kind.namespaced:
        metadata.setdefault("namespace", "default")
    status = new.get("status")
    defaults.fill(kind, new)
    defaults.first_status(kind, new)
    if status is not None:
        new["status"] = status
    if "managedFields" not in metadata:
        writer = Manager(MANAGER, "Update", kind.api_version)
        metadata["managedFields"] = after_update(kind, None, new, writer, metadata["creationTimestamp"])
    store.put(kind, new)
