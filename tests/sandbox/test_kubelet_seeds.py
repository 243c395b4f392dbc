"""Worlds that begin with a history: what was there before is taken over, and nothing is restarted."""

from typing import Any

from actors_world import NS, env, pod, run, template, workload, world

from agent.sandbox.client import DEPLOYMENTS, PODS, REPLICA_SETS, Object

NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}
MORNING, NOON = "2026-01-01T07:00:00Z", "2026-01-01T12:00:00Z"


def owned(obj: Object, by: Object) -> Object:
    reference = {"apiVersion": by["apiVersion"], "kind": by["kind"], "controller": True}
    reference |= {k: by["metadata"][k] for k in ("name", "uid")}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}


def running(name: str, node: str, *, labels: dict[str, str], **status: Any) -> Object:
    made = pod(name, labels=labels)
    made["spec"]["nodeName"] = node
    made["metadata"] |= {"creationTimestamp": MORNING, "uid": f"uid-{name}"}
    state = {"running": {"startedAt": MORNING}}
    container = {"name": "app", "ready": True, "started": True, "restartCount": 0, "image": "i", "imageID": "x"}
    made["status"] = {
        "phase": "Running",
        "startTime": MORNING,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": MORNING}],
        "containerStatuses": [{**container, "state": state, "lastState": {}}],
        **status,
    }
    return made


@run
async def test_a_seeded_deployment_with_its_pods_is_taken_as_finished() -> None:
    """A Deployment, its ReplicaSet and its pods from this morning count as they are; none is made or removed."""
    labels = {"app": "shop", "pod-template-hash": "abc"}
    deployment = workload("Deployment", "shop", template(), replicas=2)
    deployment["metadata"] |= {"uid": "uid-d", "creationTimestamp": MORNING}
    old = workload("ReplicaSet", "shop-abc", template(labels=labels), replicas=2)
    old["metadata"] |= {"uid": "uid-rs", "creationTimestamp": MORNING, "labels": labels}
    pods = [owned(running(f"shop-abc-{i}", f"node-{i}", labels=labels), old) for i in (1, 2)]
    async with world(seeds=[NAMESPACE, deployment, owned(old, deployment), *pods]) as w:
        await w.settled("shop", 2)
        assert [p["metadata"]["uid"] for p in w.pods()] == ["uid-shop-abc-1", "uid-shop-abc-2"]
        assert len(w.stores.of(REPLICA_SETS).in_namespace(NS)) == 1
        assert not w.kubelet.record
        assert all(w.container(p["metadata"]["name"])["state"]["running"]["startedAt"] == MORNING for p in w.pods())
        assert w.get(DEPLOYMENTS, "shop")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"


@run
async def test_an_init_container_that_ran_this_morning_is_put_on_record_by_its_own_run() -> None:
    """A completed init container can be told what it received: its entry begins and ends with its own run."""
    made = running("old", "node-1", labels={"app": "shop"})
    made["spec"]["initContainers"] = [{"name": "migrate", "image": "i", "env": [env("PASSWORD", "db", "password")]}]
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": MORNING, "finishedAt": NOON}
    init = {"name": "migrate", "ready": True, "restartCount": 0, "image": "i", "imageID": "x", "containerID": "y"}
    made["status"]["initContainerStatuses"] = [{**init, "state": {"terminated": ended}, "lastState": {}}]
    async with world(seeds=[NAMESPACE, made]) as w:
        w.kubelet.adopt(NS, "old", "migrate", {("db", "password"): "ancient"})
        entry = (await w.until(lambda: w.kubelet.record))[0]
        assert (entry.kind, entry.run, entry.env) == ("init", 0, {("db", "password"): b"ancient"})
        assert w.clock.rfc3339(entry.started_at) == MORNING
        assert w.clock.rfc3339(w.kubelet.ended_at(entry)) == NOON
        await w.until(lambda: w.pod("old")["status"].get("podIP"))
        assert w.pod("old")["status"]["phase"] == "Running"
        assert len(w.kubelet.record) == 1


@run
async def test_a_pod_that_makes_no_sense_stops_nobody_else() -> None:
    """A malformed pod is left alone, and the pods beside it start."""
    broken = pod("broken", volumes=[{"name": "v", "secret": {}}])
    broken["spec"]["nodeName"] = "node-1"
    odd = pod("odd", {"name": "app", "image": "i", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {}}}]})
    odd["spec"]["nodeName"] = "node-2"
    async with world(seeds=[NAMESPACE, broken, odd]) as w:
        await w.secret(password="one")
        await w.create(PODS, pod("fine"))
        await w.until(lambda: w.is_ready("fine"))
