"""Objects, their versions and the history that watches replay.

The truth of an object is its encoded bytes: lists and watches are then concatenations of bytes, and nobody can change
an object by keeping a reference to it, since each read of an object decodes a fresh copy.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from agent.sandbox.apiserver.kinds import KINDS, Kind
from agent.sandbox.apiserver.status import expired

Object = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One version of one object.

    ``raw`` is its JSON without kind and apiVersion (built-in lists carry neither); ``rv`` its resourceVersion;
    ``fields`` the values of the kind's selectable fields, in their order; ``owners`` the uids of its ownerReferences.
    """

    key: str
    namespace: str
    name: str
    uid: str
    rv: int
    raw: bytes
    labels: dict[str, str]
    fields: tuple[str, ...]
    owners: tuple[str, ...]

    def decoded(self) -> Object:
        """A copy that belongs to the caller, without kind and apiVersion."""
        return _decode(self.raw)  # type: ignore[no-any-return]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One step of the history: what was there before (None if nothing), and what is, or was last, there."""

    type: EventType
    rv: int
    before: Stored | None
    now: Stored


Listener = Callable[[Kind, Change], None]


def key_of(namespace: str, name: str) -> str:
    """The place of an object in its kind's order: as etcd sorts, by the text NAMESPACE/NAME."""
    return f"{namespace}/{name}"


def full(kind: Kind, stored: Stored) -> bytes:
    """The JSON of an object with kind and apiVersion."""
    return kind.head + stored.raw[1:]


def with_type(kind: Kind, obj: Object) -> Object:
    """An object as a client gets it: kind and apiVersion first."""
    return {"kind": kind.kind, "apiVersion": kind.api_version, **obj}


def _text_at(obj: Object, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""


class _Shelf:
    """The objects of one kind in order, and their recent history."""

    def __init__(self, keep: int) -> None:
        self.objects: dict[str, Stored] = {}
        self.order: list[str] = []
        self.history: deque[Change] = deque()
        self.keep = keep
        self.compacted = 0

    def record(self, change: Change) -> None:
        self.history.append(change)
        if len(self.history) > self.keep:
            self.compacted = self.history.popleft().rv


class Store:
    """All objects of a world under one counter of resourceVersions. Plain calls, no waiting: each is atomic."""

    def __init__(self, *, keep_changes: int = 20_000) -> None:
        self.rv = 1
        self.by_uid: dict[str, tuple[Kind, str]] = {}
        self.dependants: dict[str, dict[tuple[Kind, str], None]] = {}
        self.listeners: list[Listener] = []
        self._shelves = {kind: _Shelf(keep_changes) for kind in KINDS}

    def get(self, kind: Kind, namespace: str, name: str) -> Stored | None:
        """The newest version, or None."""
        return self._shelves[kind].objects.get(key_of(namespace, name))

    def scan(self, kind: Kind, namespace: str | None = None) -> list[Stored]:
        """Every object of a kind (of one namespace) in order."""
        shelf = self._shelves[kind]
        order = shelf.order
        if namespace is not None:
            order = order[bisect_left(order, f"{namespace}/") : bisect_left(order, f"{namespace}0")]
        return [shelf.objects[key] for key in order]

    def count(self, kind: Kind) -> int:
        """How many objects of a kind there are."""
        return len(self._shelves[kind].objects)

    def put(self, kind: Kind, obj: Object) -> Stored:
        """Write the next version of an object; ``obj`` belongs to the store from now on."""
        self.rv += 1
        stored = self._freeze(kind, obj, self.rv)
        shelf = self._shelves[kind]
        before = shelf.objects.get(stored.key)
        if before is None:
            if shelf.order and shelf.order[-1] < stored.key:
                shelf.order.append(stored.key)
            else:
                insort(shelf.order, stored.key)
        else:
            self._forget_owners(kind, before)
        shelf.objects[stored.key] = stored
        self.by_uid[stored.uid] = (kind, stored.key)
        for owner in stored.owners:
            self.dependants.setdefault(owner, {})[kind, stored.key] = None
        self._tell(kind, Change("MODIFIED" if before else "ADDED", stored.rv, before, stored))
        return stored

    def remove(self, kind: Kind, stored: Stored) -> Stored:
        """Take an object away; returns its last state under the resourceVersion of its removal."""
        shelf = self._shelves[kind]
        before = shelf.objects.pop(stored.key)
        del shelf.order[bisect_left(shelf.order, stored.key)]
        self.by_uid.pop(before.uid, None)
        self._forget_owners(kind, before)
        self.rv += 1
        last = self.at_version(kind, before, self.rv)
        self._tell(kind, Change("DELETED", self.rv, before, last))
        return last

    def at_version(self, kind: Kind, stored: Stored, rv: int) -> Stored:
        """The same object under another resourceVersion, as a DELETED event shows it."""
        return self._freeze(kind, stored.decoded(), rv)

    def changes_since(self, kind: Kind, rv: int) -> Iterator[Change]:
        """What happened to a kind after ``rv``. Raises StatusError 410 when that is no longer kept."""
        shelf = self._shelves[kind]
        if rv < shelf.compacted:
            raise expired(f"too old resource version: {rv} ({shelf.compacted})")
        return iter([change for change in shelf.history if change.rv > rv])

    def state_at(self, kind: Kind, rv: int, namespace: str | None = None) -> list[Stored]:
        """The objects as they were at ``rv``, in order. Raises StatusError 410 when that is no longer kept."""
        state = {stored.key: stored for stored in self.scan(kind, namespace)}
        for change in reversed(list(self.changes_since(kind, rv))):
            if namespace is not None and change.now.namespace != namespace:
                continue
            if change.before is None:
                state.pop(change.now.key, None)
            else:
                state[change.now.key] = change.before
        return [state[key] for key in sorted(state)]

    def compact(self) -> None:
        """Forget all history, as etcd's compaction does every five minutes: older resourceVersions answer 410."""
        for shelf in self._shelves.values():
            shelf.history.clear()
            shelf.compacted = self.rv

    def _freeze(self, kind: Kind, obj: Object, rv: int) -> Stored:
        obj.pop("kind", None)
        obj.pop("apiVersion", None)
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(rv)
        namespace = metadata.get("namespace", "")
        owners = tuple(ref.get("uid", "") for ref in metadata.get("ownerReferences") or ())
        fields = tuple(_text_at(obj, path) for path in kind.selectable)
        key = key_of(namespace, metadata["name"])
        labels = metadata.get("labels") or {}
        ordered = {"metadata": metadata, **obj}
        return Stored(key, namespace, metadata["name"], metadata["uid"], rv, _encode(ordered), labels, fields, owners)

    def _forget_owners(self, kind: Kind, stored: Stored) -> None:
        for owner in stored.owners:
            known = self.dependants.get(owner, {})
            known.pop((kind, stored.key), None)
            if not known:
                self.dependants.pop(owner, None)

    def _tell(self, kind: Kind, change: Change) -> None:
        self._shelves[kind].record(change)
        for listener in self.listeners:
            listener(kind, change)
