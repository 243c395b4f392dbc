"""The Node objects of the kubelet's nodes."""

from __future__ import annotations

import aiohttp

from agent.sandbox.actors.controller.objects import condition
from agent.sandbox.actors.kubelet.settings import Settings
from agent.sandbox.client import NODES, PODS, ApiError, KubeClient, Object
from agent.sandbox.clock import WorldClock


def _ready(up: bool, now: str) -> Object:
    if up:
        told = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    else:
        told = {"status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
    return {"type": "Ready", **told, "lastHeartbeatTime": now, "lastTransitionTime": now}


def node_object(name: str, now: str, settings: Settings) -> Object:
    """A node as its kubelet registers it. Only the InternalIP, for a Hostname would be looked up and preferred."""
    capacity = {"cpu": "64", "memory": "256Gi", "pods": str(settings.pods_per_node)}
    status: Object = {
        "capacity": capacity,
        "allocatable": dict(capacity),
        "addresses": [{"type": "InternalIP", "address": settings.address}],
        "conditions": [_ready(True, now)],
    }
    if settings.log_port:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": settings.log_port}}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **settings.node_labels}
    taints = [{"key": key, "value": value, "effect": "NoSchedule"} for key, value in settings.node_labels.items()]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints} if taints else {},
        "status": status,
    }


async def _create(client: KubeClient, node: Object) -> None:
    """Create it, or take over the one that is there, without a taint but our own.

    A real API server taints each new node as not ready, and leaves it to a controller to take that back.
    """
    name, wanted = node["metadata"]["name"], node["spec"].get("taints") or []
    try:
        there = await client.create(NODES, None, node)
    except ApiError as error:
        if error.code != 409:
            raise
        there = await client.get(NODES, None, name)
    if (there["spec"].get("taints") or []) != wanted:
        await client.merge_patch(NODES, None, name, {"spec": {"taints": wanted}})


async def register(client: KubeClient, clock: WorldClock, node: Object) -> None:
    """Create the Node, or take over the one that is there; an API server in trouble is asked again."""
    while True:
        try:
            await _create(client, node)
            body = {"status": node["status"]}
            await client.merge_patch(NODES, None, node["metadata"]["name"], body, subresource="status")
            return
        except (aiohttp.ClientError, TimeoutError):
            await clock.sleep(0.2)
        except ApiError as error:
            if error.code < 500 and error.code != 429:
                raise
            await clock.sleep(0.2)


async def report_ready(client: KubeClient, clock: WorldClock, name: str, up: bool) -> None:
    """Say that a node's kubelet is heard of, or is not any more."""
    body = {"status": {"conditions": [_ready(up, clock.rfc3339())]}}
    await client.merge_patch(NODES, None, name, body, subresource="status")


async def heartbeat(client: KubeClient, clock: WorldClock, name: str) -> None:
    """Say that a node's kubelet is still heard of; what cannot be said now is said the next time."""
    found = _ready(True, clock.rfc3339())
    body = {"status": {"conditions": [{key: found[key] for key in ("type", "status", "lastHeartbeatTime")}]}}
    try:
        await client.request(
            "PATCH", NODES.path(None, name, "status"), body=body,
            content_type="application/strategic-merge-patch+json",
        )  # fmt: skip
    except (aiohttp.ClientError, TimeoutError, ApiError):
        return


async def mark_unready(client: KubeClient, clock: WorldClock, pod: Object) -> None:
    """What the node lifecycle controller does to the pods of a lost node: Ready becomes False, nothing else."""
    found = condition(pod, "Ready")
    if not found or found["status"] != "True":
        return
    changed = {**found, "status": "False", "lastTransitionTime": clock.rfc3339()}
    conditions = [changed if c is found else c for c in pod["status"]["conditions"]]
    meta = pod["metadata"]
    body = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": conditions}}
    try:
        await client.merge_patch(PODS, meta["namespace"], meta["name"], body, subresource="status")
    except ApiError as error:
        if error.code not in (404, 409):
            raise
