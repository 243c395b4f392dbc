"""What the actor knows of the cluster: watched objects, each as new as the watch or its own last write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from agent.sandbox.client import KubeClient, Mirror, Object, Resource

Key = tuple[str, str]


class Cache:
    """A Mirror that also takes in the answers to own writes, so that no sync works on what it has just overwritten.

    ``on_change(type, object)`` is called for watched changes only.
    """

    def __init__(
        self, client: KubeClient, resource: Resource, on_change: Callable[[str, Object], Awaitable[None] | None]
    ) -> None:
        self.resource = resource
        self._client, self._on_change = client, on_change
        self._written: dict[Key, Object] = {}
        self._mirror = Mirror(client, resource, self._changed)

    @property
    def objects(self) -> dict[Key, Object]:
        """All that was watched, by (namespace, name)."""
        return self._mirror.objects

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._mirror.run()

    async def synced(self) -> None:
        """Return when the first list is in."""
        await self._mirror.synced.wait()

    def get(self, key: Key) -> Object | None:
        """The newest state known."""
        written = self._written.get(key)
        watched = self._mirror.objects.get(key)
        if written is None:
            return watched
        if watched is not None and _version(watched) >= _version(written):
            del self._written[key]
            return watched
        return written

    def wrote(self, obj: Object) -> Object:
        """Take in the server's answer to a write."""
        self._written[_key(obj)] = obj
        return obj

    def deleted(self, key: Key) -> None:
        """Take in that the server has deleted it."""
        self._written.pop(key, None)
        self._mirror.objects.pop(key, None)

    def _changed(self, kind: str, obj: Object) -> Awaitable[None] | None:
        if kind == "DELETED" and (written := self._written.get(_key(obj))) and _version(written) <= _version(obj):
            del self._written[_key(obj)]
        return self._on_change(kind, obj)


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _version(obj: Any) -> int:
    """Resource versions are opaque by contract and ascending numbers in fact."""
    return int(obj["metadata"].get("resourceVersion") or 0)
