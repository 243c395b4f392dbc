"""The ReplicaSet controller: keeps the count of pods, adopts orphans, tells its status."""

from __future__ import annotations

from collections import Counter

from agent.sandbox.actors.controller.objects import (
    active,
    annotations_of,
    available_since,
    condition,
    controller_uid,
    labels_of,
    matches,
    owner_reference,
    pod_from_template,
    ready,
    terminating,
)
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.client import PODS, REPLICA_SETS, Object
from agent.sandbox.clock import WorldClock

_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


class ReplicaSets:
    """Reconciles one ReplicaSet at a time."""

    def __init__(self, hands: Hands, clock: WorldClock) -> None:
        self._hands, self._clock = hands, clock
        self._sets, self._pods = hands.stores.of(REPLICA_SETS), hands.stores.of(PODS)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring the pods of one ReplicaSet to its count. The answer is when a pod becomes available by waiting."""
        found = self._sets.get(namespace, name)
        if found is None:
            return None
        if not terminating(found):
            await self._adopt(found)
            await self._scale(found)
        return await self._tell(found)

    async def _adopt(self, found: Object) -> None:
        owner = owner_reference("apps/v1", "ReplicaSet", found)
        for pod in self._pods.in_namespace(found["metadata"]["namespace"]):
            if not controller_uid(pod) and active(pod) and matches(found["spec"]["selector"], labels_of(pod)):
                await self._hands.adopt(PODS, pod, owner)

    def _replicas(self, found: Object) -> list[Object]:
        return [p for p in self._pods.owned_by(found["metadata"]["uid"]) if active(p)]

    async def _scale(self, found: Object) -> None:
        pods = self._replicas(found)
        missing = found["spec"].get("replicas", 1) - len(pods)
        if missing > 0:
            body = pod_from_template(found["spec"]["template"], owner_reference("apps/v1", "ReplicaSet", found))
            await self._hands.create_pods(found["metadata"]["namespace"], [body] * missing)
        elif missing < 0:
            crowd = Counter(p["spec"].get("nodeName", "") for p in pods)
            pods.sort(key=lambda p: deletion_rank(p, crowd[p["spec"].get("nodeName", "")]))
            await self._hands.delete_pods(pods[:-missing])

    async def _tell(self, found: Object) -> float | None:
        pods = self._replicas(found)
        template_labels = labels_of(found["spec"]["template"])
        now = self._clock.now()
        times = [available_since(p, found["spec"].get("minReadySeconds", 0)) for p in pods]
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(template_labels.items() <= labels_of(p).items() for p in pods),
            "readyReplicas": sum(map(ready, pods)),
            "availableReplicas": sum(t is not None and t <= now for t in times),
            "observedGeneration": found["metadata"].get("generation", 1),
        }
        await self._hands.tell(REPLICA_SETS, found, status)
        return min((t for t in times if t is not None and t > now), default=None)


def deletion_rank(pod: Object, crowd: int) -> tuple[object, ...]:
    """Who goes first when a set shrinks, in Kubernetes' order; ``crowd`` is how many of the set share the node."""
    status = pod.get("status") or {}
    restarts = sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or [])
    return (
        bool(pod["spec"].get("nodeName")),
        _PHASE_RANK.get(status.get("phase", "Pending"), 0),
        ready(pod),
        int(annotations_of(pod).get("controller.kubernetes.io/pod-deletion-cost", "0")),
        -crowd,
        _newest_first((condition(pod, "Ready") or {}).get("lastTransitionTime", "")),
        -restarts,
        _newest_first(pod["metadata"].get("creationTimestamp", "")),
    )


def _newest_first(stamp: str) -> tuple[int, ...]:
    return tuple(-ord(c) for c in stamp)
