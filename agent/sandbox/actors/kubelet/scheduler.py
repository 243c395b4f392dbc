"""The scheduler: binds pods to nodes, and says on the pod why it cannot."""

from __future__ import annotations

import asyncio

import aiohttp

from agent.sandbox.actors.controller import Stores
from agent.sandbox.actors.controller.objects import condition, set_condition, terminating
from agent.sandbox.actors.kubelet.placement import Unschedulable, place
from agent.sandbox.actors.kubelet.settings import Settings
from agent.sandbox.client import NODES, PODS, ApiError, KubeClient, Object
from agent.sandbox.clock import WorldClock


class Scheduler:
    """Looks at all unbound pods whenever something changes that may matter to them."""

    def __init__(
        self, client: KubeClient, clock: WorldClock, stores: Stores, *, nodes: tuple[str, ...], settings: Settings
    ) -> None:
        self._client, self._clock, self._nodes, self._settings = client, clock, nodes, settings
        self._pods, self._node_store = stores.of(PODS), stores.of(NODES)
        self._wake = asyncio.Event()
        self._assumed: dict[str, str] = {}

    def serves(self, pod: Object) -> bool:
        """Whether a pod asks for this scheduler, as one does that says nothing."""
        return self._settings.scheduler == (pod["spec"].get("schedulerName") or "default-scheduler")

    def poke(self) -> None:
        """A pod came or went, or a node changed."""
        self._wake.set()

    async def run(self) -> None:
        """Schedule until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                await asyncio.sleep(0)
                self._wake.clear()
                self._round(group)

    def _round(self, group: asyncio.TaskGroup) -> None:
        nodes = [n for name in self._nodes if (n := self._node_store.get("", name))]
        if not nodes:
            return
        on_node: dict[str, list[Object]] = {name: [] for name in self._nodes}
        waiting: list[Object] = []
        for pod in self._pods:
            node = pod["spec"].get("nodeName") or self._assumed.get(pod["metadata"]["uid"])
            if node:
                on_node.setdefault(node, []).append(pod)
                if pod["spec"].get("nodeName"):
                    self._assumed.pop(pod["metadata"]["uid"], None)
            elif not terminating(pod) and self.serves(pod):
                waiting.append(pod)
        for pod in sorted(waiting, key=lambda p: (p["metadata"]["creationTimestamp"], p["metadata"]["name"])):
            try:
                node = place(pod, nodes, on_node, capacity=self._settings.pods_per_node)
            except Unschedulable as reason:
                group.create_task(self._refuse(pod, str(reason)))
                continue
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                group.create_task(self._refuse(pod, f"the pod cannot be understood: {error}"))
                continue
            on_node[node].append(pod)
            self._assumed[pod["metadata"]["uid"]] = node
            group.create_task(self._bind(pod, node))

    async def _bind(self, pod: Object, node: str) -> None:
        try:
            await self._write_binding(pod, node)
        except (ApiError, aiohttp.ClientError, TimeoutError):
            await self._clock.sleep(0.1)
            self._assumed.pop(pod["metadata"]["uid"], None)
            self.poke()

    async def _write_binding(self, pod: Object, node: str) -> None:
        meta = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        identity = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": identity, "target": target}
        await self._client.request("POST", PODS.path(meta["namespace"], meta["name"], "binding"), body=body)

    async def _refuse(self, pod: Object, reason: str) -> None:
        new = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason}
        old = condition(pod, "PodScheduled")
        if old and all(old.get(k) == v for k, v in new.items()):
            return
        conditions = set_condition((pod.get("status") or {}).get("conditions") or [], new, self._clock.rfc3339())
        meta = pod["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": conditions}}
        try:
            await self._client.merge_patch(PODS, meta["namespace"], meta["name"], body, subresource="status")
        except (ApiError, aiohttp.ClientError, TimeoutError):
            await self._clock.sleep(0.1)
            self.poke()
