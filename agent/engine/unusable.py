"""Objects that are there and cannot be used: a field is missing, or of a type or a form that nobody expects.

Nothing is known of such an object, which is something else than that it is not there: what depends on it is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from agent.cluster.decode import Malformed
from agent.model import Namespace, Node, ObjectKey, StoreKey, Trouble


class Unusable:
    """Each with what is wrong with it. ``changed`` is told when one comes or goes: its resource, and its key."""

    def __init__(self, changed: Callable[[str, ObjectKey], None]) -> None:
        self._changed = changed
        self._known: dict[tuple[str, ObjectKey | str], Malformed] = {}  # by key; by all of its words without one

    def found(self, malformed: Malformed) -> bool:
        """One was seen. False: just so it was before."""
        name = _name(malformed)
        if self._known.get(name) == malformed:
            return False
        self._known[name] = malformed
        self._tell(name)
        return True

    def gone(self, malformed: Malformed) -> None:
        """One was deleted."""
        self._remove(_name(malformed))

    def mended(self, resource: str, obj: Any) -> None:
        """An object can be used."""
        if self._known:
            self._remove((resource, place_of(obj)))

    def listed(self, resource: str, namespace: str | None, found: Iterable[Malformed]) -> list[Malformed]:
        """The collection (of one namespace) was read anew, and these are in it; returns those that are news."""
        now = list(found)
        still = {_name(malformed) for malformed in now}
        for name in [name for name in self._known if name[0] == resource and name not in still]:
            key = name[1]
            if namespace is None or (isinstance(key, ObjectKey) and key.namespace == namespace):
                self._remove(name)
        return [malformed for malformed in now if self.found(malformed)]

    def trouble(self, resource: str, key: ObjectKey) -> Trouble | None:
        """Why this object cannot be used although it is there, if so."""
        found = self._known.get((resource, key))
        return None if found is None else Trouble(cause="malformed", detail=f"{found.kind} {found.said}")

    def trouble_in(self, resource: str, namespace: str) -> Trouble | None:
        """The same of the first such object of a namespace."""
        keys = sorted(key for known, key in self._known if known == resource and isinstance(key, ObjectKey))
        return next((self.trouble(resource, key) for key in keys if key.namespace == namespace), None)

    def store(self, key: StoreKey) -> str:
        """The same of a store, in words; empty: it can be used, or is not there."""
        resource = "clustersecretstores" if key.kind == "ClusterSecretStore" else "secretstores"
        trouble = self.trouble(resource, ObjectKey(key.namespace, key.name))
        return trouble.detail if trouble is not None else ""

    def told(self) -> list[str]:
        """All of them, in words."""
        return sorted(str(malformed) for malformed in self._known.values())

    def _remove(self, name: tuple[str, ObjectKey | str]) -> None:
        if self._known.pop(name, None) is not None:
            self._tell(name)

    def _tell(self, name: tuple[str, ObjectKey | str]) -> None:
        resource, key = name
        if isinstance(key, ObjectKey):
            self._changed(resource, key)


def place_of(obj: Any) -> ObjectKey:
    """Namespace (empty for objects of the whole cluster) and name."""
    if isinstance(obj, Namespace | Node):
        return ObjectKey("", obj.name)
    return ObjectKey(obj.key.namespace, obj.key.name)


def _name(malformed: Malformed) -> tuple[str, ObjectKey | str]:
    return malformed.resource, malformed.key or str(malformed)
