"""The disruption controller: what each PodDisruptionBudget allows at the moment.

The status is written with the resourceVersion it was computed from, as the real controller does: an eviction counts
``disruptionsAllowed`` down in between, and a write from an older look must not count it up again.
"""

from __future__ import annotations

import asyncio

from agent.sandbox.actors.controller import Stores, WorkQueue
from agent.sandbox.actors.controller.objects import (
    controller_uid,
    key_of,
    labels_of,
    matches,
    ready,
    scaled,
    set_condition,
    terminating,
    unix,
)
from agent.sandbox.client import DEPLOYMENTS, PDBS, PODS, REPLICA_SETS, STATEFUL_SETS, KubeClient, Object
from agent.sandbox.clock import WorldClock

DISRUPTION_TIMEOUT = 120.0
"""Seconds after which an evicted pod that was not deleted counts again, as in Kubernetes."""


class SyncFailed(Exception):
    """The scale behind a budget's pods cannot be found; the budget then allows nothing."""


class BudgetController:
    """Keeps the status of all PodDisruptionBudgets.

    ``stores`` may be shared with other actors; then whoever made them runs them.
    """

    def __init__(self, client: KubeClient, clock: WorldClock, *, stores: Stores | None = None) -> None:
        self._client, self._clock = client, clock
        self._own_stores = stores is None
        self._stores = stores or Stores(client)
        self._budgets, self._pods = self._stores.of(PDBS), self._stores.of(PODS)
        self._queue: WorkQueue[tuple[str, str]] = WorkQueue(clock, self._reconcile)
        self._budgets.subscribe(lambda _, obj: self._queue.add(key_of(obj)))
        for res in (PODS, REPLICA_SETS, DEPLOYMENTS, STATEFUL_SETS):
            self._stores.of(res).subscribe(self._neighbour_changed)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._own_stores:
                group.create_task(self._stores.run())
            await self._stores.synced()
            group.create_task(self._queue.run())

    def _neighbour_changed(self, _: str, obj: Object) -> None:
        for budget in self._budgets.in_namespace(obj["metadata"]["namespace"]):
            self._queue.add(key_of(budget))

    async def _reconcile(self, key: tuple[str, str]) -> float | None:
        budget = self._budgets.get(*key)
        if budget is None or terminating(budget):
            return None
        selector = budget["spec"].get("selector")
        pods = [p for p in self._pods.in_namespace(key[0]) if matches(selector, labels_of(p))]
        pods = [p for p in pods if (p.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
        disrupted, again = self._disrupted(budget, pods)
        status = self._status(budget, pods, disrupted)
        before = budget.get("status") or {}
        if any(before.get(k) != v for k, v in status.items()):
            body = {**budget, "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "status": {**before, **status}}
            await self._budgets.saw(await self._client.replace(PDBS, key[0], body, subresource="status"))
        return again

    def _disrupted(self, budget: Object, pods: list[Object]) -> tuple[dict[str, str], float | None]:
        """Evicted pods whose deletion is still to be seen, and when the first of them is given up."""
        names = {p["metadata"]["name"] for p in pods if not terminating(p)}
        noted = (budget.get("status") or {}).get("disruptedPods") or {}
        kept = {n: at for n, at in noted.items() if n in names and unix(at) + DISRUPTION_TIMEOUT > self._clock.now()}
        return kept, min((unix(at) + DISRUPTION_TIMEOUT for at in kept.values()), default=None)

    def _status(self, budget: Object, pods: list[Object], disrupted: dict[str, str]) -> Object:
        generation = budget["metadata"].get("generation", 1)
        try:
            expected, desired = self._wanted(budget, pods)
        except SyncFailed as error:
            failed = {"status": "False", "reason": "SyncFailed", "message": str(error)}
            return {
                "disruptionsAllowed": 0,
                "observedGeneration": generation,
                "conditions": self._conditions(budget, failed),
            }
        counted = (p for p in pods if not terminating(p) and p["metadata"]["name"] not in disrupted)
        healthy = sum(map(ready, counted))
        allowed = max(0, healthy - desired) if expected > 0 else 0
        told = {
            "status": "True" if allowed else "False",
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
        }
        return {
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": generation,
            "disruptedPods": disrupted or None,
            "conditions": self._conditions(budget, told),
        }

    def _conditions(self, budget: Object, told: Object) -> list[Object]:
        new = {"type": "DisruptionAllowed", **told, "observedGeneration": budget["metadata"].get("generation", 1)}
        return set_condition((budget.get("status") or {}).get("conditions") or [], new, self._clock.rfc3339())

    def _wanted(self, budget: Object, pods: list[Object]) -> tuple[int, int]:
        """How many pods there should be, and how many of them healthy. A percentage is one of the owners' scale."""
        spec = budget["spec"]
        if (limit := spec.get("maxUnavailable")) is not None:
            expected = self._scale(pods)
            return expected, max(0, expected - scaled(limit, expected, round_up=True))
        least = spec.get("minAvailable", 1)
        if isinstance(least, int):
            return len(pods), least
        expected = self._scale(pods)
        return expected, scaled(least, expected, round_up=True)

    def _scale(self, pods: list[Object]) -> int:
        owners: dict[str, int] = {}
        for pod in pods:
            if controller_uid(pod):
                uid, replicas = self._owner(pod)
                owners[uid] = replicas
        return sum(owners.values())

    def _owner(self, pod: Object) -> tuple[str, int]:
        uid = controller_uid(pod)
        if found := self._stores.of(REPLICA_SETS).by_uid(uid):
            deployment = self._stores.of(DEPLOYMENTS).by_uid(controller_uid(found))
            found = deployment or found
        else:
            found = self._stores.of(STATEFUL_SETS).by_uid(uid)
        if found is None:
            ref = next(r for r in pod["metadata"]["ownerReferences"] if r.get("controller"))
            raise SyncFailed(f"{ref['kind']} {pod['metadata']['namespace']}/{ref['name']} has no scale to count by")
        return found["metadata"]["uid"], found["spec"].get("replicas", 1)
