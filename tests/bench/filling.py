"""The benchmark's objects put into a real API server, as ESO, the controllers and the kubelets would leave them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from agent.sandbox.apiserver.kinds import BY_NAME
from agent.sandbox.client import DEPLOYMENTS, KubeClient, Object, Resource
from tests.bench.objects import DAY, PODS_EACH, Size, every_object

_AT_ONCE = 32
_WAITS = 240
_OF_THE_SERVER = ("uid", "creationTimestamp", "managedFields", "generation", "resourceVersion")
_ACCOUNTS = Resource(group="", version="v1", plural="serviceaccounts", namespaced=True)


class Filling:
    """Objects by kind, created in the order that their owners ask for. Belongs to the loop of its client."""

    def __init__(self, client: KubeClient, size: Size) -> None:
        self._client = client
        self._kinds: dict[str, list[Object]] = defaultdict(list)
        self._uids: dict[str, str] = {}  # as the objects were built -> as the server has made them
        for obj in every_object(size, time.time() - DAY):
            self._kinds[obj["kind"]].append(obj)
        self.count = sum(len(objects) for objects in self._kinds.values())

    async def namespaces(self) -> None:
        """Namespaces, with the account that pods need, and nodes. Takes running controllers."""
        names = {namespace["metadata"]["name"] for namespace in self._kinds["Namespace"]}
        for namespace in self._kinds["Namespace"]:
            del namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]  # these pods would not be let in
        await self._create("Namespace", "Node")
        await _until(lambda: self._have_accounts(names))

    async def chains(self) -> None:
        """Stores, ExternalSecrets as synced just now, and their Secrets."""
        await self._create("SecretStore", "ExternalSecret", "Secret")

    async def workloads(self) -> None:
        """Deployments, their ReplicaSets and pods that run. Controllers would make their own: none may run."""
        for deployment, owned in zip(self._kinds["Deployment"], self._kinds["ReplicaSet"], strict=True):
            template = deployment["spec"]["template"]
            template["spec"].pop("serviceAccountName", None)
            labels = owned["spec"]["template"]["metadata"]["labels"]
            owned["spec"]["template"] = {**template, "metadata": {**template["metadata"], "labels": labels}}
        for place, pod in enumerate(self._kinds["Pod"]):
            template = self._kinds["ReplicaSet"][place // PODS_EACH]["spec"]["template"]
            pod["spec"] = {**template["spec"], "nodeName": pod["spec"]["nodeName"]}
        await self._create("Deployment", "ReplicaSet", "Pod")

    async def settled(self) -> None:
        """Wait until the controllers, running again, have said of every Deployment that it is ready."""
        await _until(self._all_ready)

    async def _have_accounts(self, names: set[str]) -> bool:
        found = await self._client.list(_ACCOUNTS)
        return names <= {each["metadata"]["namespace"] for each in found if each["metadata"]["name"] == "default"}

    async def _all_ready(self) -> bool:
        found = await self._client.list(DEPLOYMENTS)
        return all((each.get("status") or {}).get("readyReplicas") == PODS_EACH for each in found)

    async def _create(self, *kinds: str) -> None:
        for kind in kinds:
            await _all(self._kinds[kind], self._created)

    async def _created(self, obj: Object) -> None:
        kind = BY_NAME[obj["apiVersion"], obj["kind"]]
        res = Resource(group=kind.group, version=kind.version, plural=kind.plural, namespaced=kind.namespaced)
        meta, status = obj["metadata"], obj.get("status")
        manager = meta["managedFields"][0]["manager"]
        bare = {key: value for key, value in meta.items() if key not in _OF_THE_SERVER}
        owners = [{**owner, "uid": self._uids[owner["uid"]]} for owner in meta.get("ownerReferences", ())]
        body = {**obj, "metadata": bare | ({"ownerReferences": owners} if owners else {})}
        body.pop("status", None)
        path = res.path(meta.get("namespace"))
        made = await self._client.request("POST", path, query={"fieldManager": manager}, body=body)
        self._uids[meta["uid"]] = made["metadata"]["uid"]
        if status is not None and kind.kind in ("ExternalSecret", "SecretStore", "Pod", "Node"):
            writer = meta["managedFields"][-1]["manager"]
            await self._client.request(
                "PATCH", res.path(meta.get("namespace"), meta["name"], "status"), query={"fieldManager": writer},
                body={"status": _now(status)}, content_type="application/merge-patch+json",
            )  # fmt: skip


def _now(status: Any) -> Any:
    """A status whose times are all now."""
    if isinstance(status, dict):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {key: now if key.endswith(("Time", "At")) and value else _now(value) for key, value in status.items()}
    return [_now(each) for each in status] if isinstance(status, list) else status


async def _all(objects: Iterable[Object], work: Callable[[Object], Awaitable[None]]) -> None:
    waiting = iter(objects)

    async def one_after_another() -> None:
        for obj in waiting:
            await work(obj)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(one_after_another())


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(_WAITS):
        if await holds():
            return
        await asyncio.sleep(1)
    raise TimeoutError("the controllers do not do their part")
