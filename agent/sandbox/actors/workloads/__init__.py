"""The workload controllers of kube-controller-manager, as far as pods and their owners' status need them.

A real cluster brings its own; this actor is for the sandbox's API server.
"""

from __future__ import annotations

import asyncio
from functools import partial

from agent.sandbox.actors.controller import Stores, WorkQueue
from agent.sandbox.actors.controller.objects import key_of
from agent.sandbox.actors.workloads.deployments import Deployments
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.actors.workloads.replicasets import ReplicaSets
from agent.sandbox.client import DEPLOYMENTS, PODS, REPLICA_SETS, KubeClient, Object
from agent.sandbox.clock import WorldClock

_Key = tuple[str, str, str]


class WorkloadController:
    """Runs Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs.

    ``stores`` may be shared with other actors; then whoever made them runs them.
    """

    def __init__(self, client: KubeClient, clock: WorldClock, *, stores: Stores | None = None) -> None:
        self._own_stores = stores is None
        self._stores = stores or Stores(client)
        hands = Hands(client, self._stores)
        self._kinds = {
            "Deployment": Deployments(hands, clock).reconcile,
            "ReplicaSet": ReplicaSets(hands, clock).reconcile,
        }
        self._queue: WorkQueue[_Key] = WorkQueue(clock, self._reconcile)
        for kind, res in (("Deployment", DEPLOYMENTS), ("ReplicaSet", REPLICA_SETS)):
            self._stores.of(res).subscribe(partial(self._changed, kind))
        self._stores.of(PODS).subscribe(partial(self._changed, "Pod"))

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._own_stores:
                group.create_task(self._stores.run())
            await self._stores.synced()
            group.create_task(self._queue.run())

    def _changed(self, kind: str, _: str, obj: Object) -> None:
        namespace, name = key_of(obj)
        if kind in self._kinds:
            self._queue.add((kind, namespace, name))
        for owner in obj["metadata"].get("ownerReferences") or []:
            if owner.get("controller") and owner["kind"] in self._kinds:
                self._queue.add((owner["kind"], namespace, owner["name"]))

    async def _reconcile(self, key: _Key) -> float | None:
        kind, namespace, name = key
        return await self._kinds[kind](namespace, name)
