"""Indexed copies of the API server's collections.

A controller decides from its copy, which trails the server by a watch event. Kubernetes bridges that gap
with "expectations"; here a controller simply waits, after each write, until its store has seen it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agent.sandbox.client import KubeClient, Mirror, Object, Resource

Subscriber = Callable[[str, Object], None]

# A write that never shows up (created and gone within a gap of the watch) must not stop a controller for ever.
_VISIBILITY_TIMEOUT = 5.0


def controller_uid(obj: Object) -> str:
    """The uid of the managing owner, "" where there is none."""
    for ref in obj["metadata"].get("ownerReferences") or []:
        if ref.get("controller"):
            return str(ref.get("uid", ""))
    return ""


@dataclass(eq=False)
class _Waiter:
    version: int
    deletion: bool
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def is_met_by(self, kind: str, obj: Object) -> bool:
        if kind == "DELETED":
            return True
        if self.deletion:
            return "deletionTimestamp" in obj["metadata"]
        return int(obj["metadata"]["resourceVersion"]) >= self.version


class Store:
    """All objects of one resource, by namespace, by uid and by managing owner."""

    def __init__(self, client: KubeClient, res: Resource) -> None:
        self._mirror = Mirror(client, res, self._changed)
        self._by_namespace: dict[str, dict[str, Object]] = {}
        self._by_uid: dict[str, Object] = {}
        self._by_owner: dict[str, dict[str, Object]] = {}
        self._waiters: dict[str, set[_Waiter]] = {}
        self._subscribers: list[Subscriber] = []

    @property
    def synced(self) -> asyncio.Event:
        """Set after the first complete list."""
        return self._mirror.synced

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        await self._mirror.run()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call ``subscriber(type, object)`` for each change from now on, and for what is already known."""
        self._subscribers.append(subscriber)
        for obj in list(self):
            subscriber("ADDED", obj)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._by_uid.values()))

    def get(self, namespace: str, name: str) -> Object | None:
        return self._by_namespace.get(namespace, {}).get(name)

    def by_uid(self, uid: str) -> Object | None:
        return self._by_uid.get(uid)

    def in_namespace(self, namespace: str) -> list[Object]:
        return list(self._by_namespace.get(namespace, {}).values())

    def owned_by(self, uid: str) -> list[Object]:
        """The objects whose controller has this uid, the terminating ones included."""
        return list(self._by_owner.get(uid, {}).values())

    async def saw(self, written: Object) -> None:
        """Return once this store is no older than an object the API server has just returned."""
        meta = written["metadata"]
        await self._wait(meta["uid"], _Waiter(int(meta["resourceVersion"]), deletion=False), ever=True)

    async def saw_deletion(self, uid: str) -> None:
        """Return once the object is terminating or gone here too."""
        await self._wait(uid, _Waiter(0, deletion=True), ever=False)

    async def _wait(self, uid: str, waiter: _Waiter, *, ever: bool) -> None:
        known = self._by_uid.get(uid)
        if (known is None and not ever) or (known is not None and waiter.is_met_by("MODIFIED", known)):
            return
        waiters = self._waiters.setdefault(uid, set())
        waiters.add(waiter)
        try:
            async with asyncio.timeout(_VISIBILITY_TIMEOUT):
                await waiter.done.wait()
        except TimeoutError:
            return
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(uid, None)

    def _changed(self, kind: str, obj: Object) -> None:
        meta = obj["metadata"]
        namespace, name, uid = meta.get("namespace", ""), meta["name"], meta["uid"]
        before = self._by_namespace.get(namespace, {}).get(name)
        if before is not None and before["metadata"]["uid"] != uid and kind != "DELETED":
            # A relist shows a successor of the same name where a watch would have shown the end of its predecessor.
            self._tell("DELETED", before)
        elif (
            before is not None
            and kind != "DELETED"
            and before["metadata"]["resourceVersion"] == meta["resourceVersion"]
        ):
            return
        self._tell(kind, obj)

    def _tell(self, kind: str, obj: Object) -> None:
        meta = obj["metadata"]
        namespace, name, uid = meta.get("namespace", ""), meta["name"], meta["uid"]
        before = self._by_uid.pop(uid, None)
        if before is not None:
            self._by_owner.get(controller_uid(before), {}).pop(uid, None)
        if kind == "DELETED":
            if before is not None:
                self._by_namespace.get(namespace, {}).pop(name, None)
        else:
            self._by_uid[uid] = obj
            self._by_namespace.setdefault(namespace, {})[name] = obj
            if owner := controller_uid(obj):
                self._by_owner.setdefault(owner, {})[uid] = obj
        for waiter in self._waiters.get(uid, ()):
            if waiter.is_met_by(kind, obj):
                waiter.done.set()
        for subscriber in self._subscribers:
            subscriber(kind, obj)


class Stores:
    """One store a resource, shared by all actors that are given the same object; who creates it runs it."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._stores: dict[Resource, Store] = {}

    def of(self, res: Resource) -> Store:
        """The store of a resource; has to be asked for before ``run``."""
        return self._stores.setdefault(res, Store(self._client, res))

    async def run(self) -> None:
        """Follow every collection that was asked for, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for store in self._stores.values():
                group.create_task(store.run())

    async def synced(self) -> None:
        """Return once each store holds a complete list."""
        for store in self._stores.values():
            await store.synced.wait()
