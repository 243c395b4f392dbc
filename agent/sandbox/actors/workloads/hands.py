"""The writes all workload controllers share. Each returns only when the controller's own stores have seen it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from agent.sandbox.actors.controller import Stores
from agent.sandbox.actors.controller.objects import key_of, status_patch
from agent.sandbox.client import PODS, ApiError, KubeClient, Object, Resource


async def in_parallel(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all of it; the first failure is raised after everything has ended."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


class Hands:
    """Creates, deletes, adopts and reports on behalf of a controller."""

    def __init__(self, client: KubeClient, stores: Stores) -> None:
        self.client, self.stores = client, stores

    async def create(self, res: Resource, namespace: str, body: Object) -> Object:
        created = await self.client.create(res, namespace, body)
        await self.stores.of(res).saw(created)
        return created

    async def create_pods(self, namespace: str, bodies: Iterable[Object]) -> None:
        async def one(body: Object) -> None:
            await self.create(PODS, namespace, body)

        await in_parallel(one(b) for b in bodies)

    async def delete(self, res: Resource, obj: Object) -> None:
        """Delete exactly this object; one that is gone already, or has a successor, is as good."""
        try:
            await self.client.delete(res, *key_of(obj), preconditions={"uid": obj["metadata"]["uid"]})
        except ApiError as error:
            if error.code not in (404, 409):
                raise
        await self.stores.of(res).saw_deletion(obj["metadata"]["uid"])

    async def delete_pods(self, pods: Iterable[Object]) -> None:
        await in_parallel(self.delete(PODS, p) for p in pods)

    async def patch(self, res: Resource, obj: Object, patch: Object) -> Object:
        """Merge patch of this very object (409 where it has a successor of the same name)."""
        namespace, name = key_of(obj)
        body = {**patch, "metadata": {**patch.get("metadata", {}), "uid": obj["metadata"]["uid"]}}
        patched = await self.client.merge_patch(res, namespace, name, body)
        await self.stores.of(res).saw(patched)
        return patched

    async def adopt(self, res: Resource, orphan: Object, owner: Object) -> None:
        """Make ``owner`` (an owner reference) the managing owner of an orphan."""
        references = [*(orphan["metadata"].get("ownerReferences") or []), owner]
        await self.patch(res, orphan, {"metadata": {"ownerReferences": references}})

    async def tell(self, res: Resource, obj: Object, status: Object) -> None:
        """Write the status where it differs from the one last seen."""
        if patch := status_patch(obj.get("status") or {}, status):
            namespace, name = key_of(obj)
            body = {"metadata": {"uid": obj["metadata"]["uid"]}, "status": patch}
            await self.stores.of(res).saw(
                await self.client.merge_patch(res, namespace, name, body, subresource="status")
            )
