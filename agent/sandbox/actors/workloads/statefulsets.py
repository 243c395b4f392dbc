"""The StatefulSet controller: named pods, made in order, updated from the last to the first.

Volume claims are not made; nothing in the sandbox stores anything.
"""

from __future__ import annotations

from agent.sandbox.actors.controller.objects import (
    available_since,
    key_of,
    labels_of,
    owner_reference,
    pod_from_template,
    ready,
    terminating,
)
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.actors.workloads.revisions import HASH_LABEL, remember, remembered_template
from agent.sandbox.client import PODS, STATEFUL_SETS, Object
from agent.sandbox.clock import WorldClock


class StatefulSets:
    """Reconciles one StatefulSet at a time."""

    def __init__(self, hands: Hands, clock: WorldClock) -> None:
        self._hands, self._clock = hands, clock
        self._sets, self._pods = hands.stores.of(STATEFUL_SETS), hands.stores.of(PODS)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """The next step towards the spec. The answer is when a pod becomes available by waiting."""
        found = self._sets.get(namespace, name)
        if found is None:
            return None
        update = await remember(self._hands, "StatefulSet", found)
        current = (found.get("status") or {}).get("currentRevision") or update
        if not terminating(found):
            await self._step(found, current, update)
        return await self._tell(found, current, update)

    def _by_ordinal(self, found: Object) -> dict[int, Object]:
        prefix = found["metadata"]["name"] + "-"
        pods = self._pods.owned_by(found["metadata"]["uid"])
        named = ((p["metadata"]["name"].removeprefix(prefix), p) for p in pods)
        return {int(ordinal): pod for ordinal, pod in named if ordinal.isdigit()}

    async def _step(self, found: Object, current: str, update: str) -> None:
        """Everything that may be done now. OrderedReady waits for each pod before it touches the next."""
        parallel = found["spec"].get("podManagementPolicy") == "Parallel"
        pods = self._by_ordinal(found)
        replicas = found["spec"].get("replicas", 1)
        for ordinal in range(replicas):
            pod = pods.get(ordinal)
            if pod is None:
                await self._create(found, ordinal, current, update)
            elif (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed") and not terminating(pod):
                await self._hands.delete(PODS, pod)
            elif self._is_fine(found, pod):
                continue
            if not parallel:
                return
        for ordinal in sorted((o for o in pods if o >= replicas), reverse=True):
            if not terminating(pods[ordinal]):
                await self._hands.delete(PODS, pods[ordinal])
            if not parallel:
                return
        await self._update(found, self._by_ordinal(found), update)

    async def _update(self, found: Object, pods: dict[int, Object], update: str) -> None:
        strategy = found["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        first = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        for ordinal in range(found["spec"].get("replicas", 1) - 1, first - 1, -1):
            pod = pods.get(ordinal)
            if pod is None:
                return
            if labels_of(pod).get(HASH_LABEL) != update and not terminating(pod):
                await self._hands.delete(PODS, pod)
                return
            if not self._is_fine(found, pod):
                return

    async def _create(self, found: Object, ordinal: int, current: str, update: str) -> None:
        strategy = found["spec"].get("updateStrategy") or {}
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        keeps = strategy.get("type") != "OnDelete" and ordinal < partition
        revision = current if keeps else update
        name = f"{found['metadata']['name']}-{ordinal}"
        body = pod_from_template(
            remembered_template(self._hands, found, revision),
            owner_reference("apps/v1", "StatefulSet", found),
            name=name,
            extra_labels={
                HASH_LABEL: revision,
                "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": str(ordinal),
            },
        )
        body["spec"] |= {"hostname": name, "subdomain": found["spec"].get("serviceName", "")}
        await self._hands.create(PODS, key_of(found)[0], body)

    def _available_at(self, found: Object, pod: Object) -> float | None:
        return None if terminating(pod) else available_since(pod, found["spec"].get("minReadySeconds", 0))

    def _is_fine(self, found: Object, pod: Object) -> bool:
        since = self._available_at(found, pod)
        return since is not None and since <= self._clock.now()

    async def _tell(self, found: Object, current: str, update: str) -> float | None:
        everyone = list(self._by_ordinal(found).values())
        pods = [p for p in everyone if not terminating(p)]
        revisions = [labels_of(p).get(HASH_LABEL) for p in pods]
        status: Object = {
            "replicas": len(everyone),
            "readyReplicas": sum(map(ready, everyone)),
            "availableReplicas": sum(self._is_fine(found, p) for p in pods),
            "updatedReplicas": revisions.count(update),
            "currentReplicas": revisions.count(current),
            "currentRevision": current,
            "updateRevision": update,
            "observedGeneration": found["metadata"].get("generation", 1),
        }
        rolls = (found["spec"].get("updateStrategy") or {}).get("type") != "OnDelete"
        wanted = found["spec"].get("replicas", 1)
        if rolls and wanted == len(everyone) == status["updatedReplicas"] == status["readyReplicas"]:
            status |= {"currentRevision": update, "currentReplicas": status["updatedReplicas"]}
        await self._hands.tell(STATEFUL_SETS, found, status)
        times = [t for p in pods if (t := self._available_at(found, p)) is not None and t > self._clock.now()]
        return min(times, default=None)
