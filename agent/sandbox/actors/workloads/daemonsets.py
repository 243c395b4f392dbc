"""The DaemonSet controller: one pod on each eligible node, updated a few at a time (no surge)."""

from __future__ import annotations

from agent.sandbox.actors.controller.objects import (
    active,
    available_since,
    labels_of,
    owner_reference,
    pod_from_template,
    ready,
    scaled,
    template_hash,
    terminating,
)
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.actors.workloads.revisions import HASH_LABEL
from agent.sandbox.client import DAEMON_SETS, NODES, PODS, Object
from agent.sandbox.clock import WorldClock


def node_of(pod: Object) -> str:
    """The node that a daemon pod is bound to, or meant for while it is not."""
    if name := pod["spec"].get("nodeName"):
        return str(name)
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or []:
        for field in term.get("matchFields") or []:
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


class DaemonSets:
    """Reconciles one DaemonSet at a time."""

    def __init__(self, hands: Hands, clock: WorldClock) -> None:
        self._hands, self._clock = hands, clock
        stores = hands.stores
        self._sets, self._pods, self._nodes = stores.of(DAEMON_SETS), stores.of(PODS), stores.of(NODES)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """The next step towards a pod of the present template on each node."""
        found = self._sets.get(namespace, name)
        if found is None:
            return None
        if not terminating(found):
            await self._place(found)
            await self._update(found)
        return await self._tell(found)

    def _eligible(self, found: Object) -> list[str]:
        selector = found["spec"]["template"]["spec"].get("nodeSelector") or {}
        return sorted(n["metadata"]["name"] for n in self._nodes if selector.items() <= labels_of(n).items())

    def _on_node(self, found: Object) -> dict[str, list[Object]]:
        """All its pods by node, the terminating ones included: a node's next pod waits for the last to be gone."""
        there: dict[str, list[Object]] = {}
        for pod in self._pods.owned_by(found["metadata"]["uid"]):
            there.setdefault(node_of(pod), []).append(pod)
        return there

    async def _place(self, found: Object) -> None:
        there, eligible = self._on_node(found), self._eligible(found)
        ended = [p for pods in there.values() for p in pods if not active(p) and not terminating(p)]
        misplaced = [p for node, pods in there.items() if node not in eligible for p in pods if active(p)]
        surplus = [p for node in eligible for p in [p for p in there.get(node, ()) if active(p)][1:]]
        await self._hands.delete_pods([*ended, *misplaced, *surplus])
        empty = [n for n in eligible if not there.get(n)]
        await self._hands.create_pods(found["metadata"]["namespace"], [self._pod(found, n) for n in empty])

    def _pod(self, found: Object, node: str) -> Object:
        digest = template_hash(found["spec"]["template"])
        owner = owner_reference("apps/v1", "DaemonSet", found)
        pod = pod_from_template(found["spec"]["template"], owner, extra_labels={HASH_LABEL: digest})
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        pod["spec"]["affinity"] = {**(pod["spec"].get("affinity") or {}), "nodeAffinity": required}
        return pod

    async def _update(self, found: Object) -> None:
        """Old pods that are not available go at once, of the others as many as maxUnavailable leaves."""
        strategy = found["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        eligible, there = self._eligible(found), self._on_node(found)
        limit = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
        left = max(1, scaled(limit, len(eligible), round_up=True))
        digest = template_hash(found["spec"]["template"])
        healthy_old: list[Object] = []
        sick_old: list[Object] = []
        for node in eligible:
            pod = next((p for p in there.get(node, ()) if active(p)), None)
            if pod is None or not self._is_available(found, pod):
                left -= 1
            if pod is not None and labels_of(pod).get(HASH_LABEL) != digest:
                (healthy_old if self._is_available(found, pod) else sick_old).append(pod)
        await self._hands.delete_pods([*sick_old, *healthy_old[: max(0, left)]])

    def _is_available(self, found: Object, pod: Object) -> bool:
        since = available_since(pod, found["spec"].get("minReadySeconds", 0))
        return since is not None and since <= self._clock.now()

    async def _tell(self, found: Object) -> float | None:
        eligible, there = self._eligible(found), self._on_node(found)
        pods = [p for n in eligible for p in there.get(n, ()) if active(p)][: len(eligible)]
        available = sum(self._is_available(found, p) for p in pods)
        digest = template_hash(found["spec"]["template"])
        status: Object = {
            "desiredNumberScheduled": len(eligible),
            "currentNumberScheduled": len(pods),
            "numberMisscheduled": sum(active(p) for n, ps in there.items() if n not in eligible for p in ps),
            "numberReady": sum(map(ready, pods)),
            "numberAvailable": available,
            "numberUnavailable": len(eligible) - available,
            "updatedNumberScheduled": sum(labels_of(p).get(HASH_LABEL) == digest for p in pods),
            "observedGeneration": found["metadata"].get("generation", 1),
        }
        await self._hands.tell(DAEMON_SETS, found, status)
        times = (available_since(p, found["spec"].get("minReadySeconds", 0)) for p in pods)
        return min((t for t in times if t is not None and t > self._clock.now()), default=None)
