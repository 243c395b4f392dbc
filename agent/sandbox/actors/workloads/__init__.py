"""The workload controllers of kube-controller-manager, as far as pods and their owners' status need them.

A real cluster brings its own; this actor is for the sandbox's API server. CronJobs are objects only: nothing starts
their Jobs.
"""

from __future__ import annotations

import asyncio
from functools import partial

from agent.sandbox.actors.controller import Stores, WorkQueue
from agent.sandbox.actors.controller.objects import controller_uid, key_of
from agent.sandbox.actors.workloads.daemonsets import DaemonSets
from agent.sandbox.actors.workloads.deployments import Deployments
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.actors.workloads.jobs import Jobs
from agent.sandbox.actors.workloads.replicasets import ReplicaSets
from agent.sandbox.actors.workloads.revisions import CONTROLLER_REVISIONS
from agent.sandbox.actors.workloads.statefulsets import StatefulSets
from agent.sandbox.client import (
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    KubeClient,
    Object,
)
from agent.sandbox.clock import WorldClock

_Key = tuple[str, str, str]
_RESOURCES = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
    "Job": JOBS,
}


class WorkloadController:
    """Runs Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs.

    ``stores`` may be shared with other actors; then whoever made them runs them.
    """

    def __init__(self, client: KubeClient, clock: WorldClock, *, stores: Stores | None = None) -> None:
        self._own_stores = stores is None
        self._stores = stores or Stores(client)
        self._stores.of(CONTROLLER_REVISIONS)
        hands = Hands(client, self._stores)
        self._kinds = {
            "Deployment": Deployments(hands, clock).reconcile,
            "ReplicaSet": ReplicaSets(hands, clock).reconcile,
            "StatefulSet": StatefulSets(hands, clock).reconcile,
            "DaemonSet": DaemonSets(hands, clock).reconcile,
            "Job": Jobs(hands, clock).reconcile,
        }
        self._queue: WorkQueue[_Key] = WorkQueue(clock, self._reconcile)
        for kind, res in _RESOURCES.items():
            self._stores.of(res).subscribe(partial(self._changed, kind))
        self._stores.of(PODS).subscribe(partial(self._changed, "Pod"))
        self._stores.of(NODES).subscribe(self._node_changed)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._own_stores:
                group.create_task(self._stores.run())
            await self._stores.synced()
            group.create_task(self._queue.run())

    def _changed(self, kind: str, event: str, obj: Object) -> None:
        namespace, name = key_of(obj)
        if kind in self._kinds:
            self._queue.add((kind, namespace, name))
        for owner in obj["metadata"].get("ownerReferences") or []:
            if owner.get("controller") and owner["kind"] in self._kinds:
                self._queue.add((owner["kind"], namespace, owner["name"]))
        if event != "DELETED" and not controller_uid(obj):
            self._offer_orphan(kind, namespace)
        if event == "DELETED" and (parent := self._stores.of(REPLICA_SETS).by_uid(controller_uid(obj))):
            # A Recreate rollout goes on when the last old pod is gone, which no ReplicaSet's status shows.
            self._changed("", "MODIFIED", parent)

    def _offer_orphan(self, kind: str, namespace: str) -> None:
        """Whoever may adopt an object without a controller looks at its namespace."""
        parent = {"Pod": "ReplicaSet", "ReplicaSet": "Deployment"}.get(kind)
        if parent:
            for obj in self._stores.of(_RESOURCES[parent]).in_namespace(namespace):
                self._queue.add((parent, namespace, obj["metadata"]["name"]))

    def _node_changed(self, _: str, __: Object) -> None:
        for obj in self._stores.of(DAEMON_SETS):
            self._queue.add(("DaemonSet", *key_of(obj)))

    async def _reconcile(self, key: _Key) -> float | None:
        kind, namespace, name = key
        return await self._kinds[kind](namespace, name)
