"""Where pods go, and what a lost node means."""

from dataclasses import replace
from typing import Any

import pytest
from actors_world import NS, QUICK, env, pod, run, template, workload, world

from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.actors.kubelet.placement import Unschedulable, place
from agent.sandbox.client import DEPLOYMENTS, NODES, PODS, Object

PLAIN = {"name": "app", "image": "i"}


def node(name: str, *, ready: bool = True, cordoned: bool = False) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {"metadata": {"name": name}, "spec": {"unschedulable": cordoned}, "status": {"conditions": conditions}}


def apart(**labels: str) -> dict[str, Any]:
    """Pod spec fields: never on one node with pods of these labels."""
    rule = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}}
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}}


def test_pods_go_where_the_fewest_are() -> None:
    """The node with the fewest pods gets the next one."""
    there = {"a": [pod("1"), pod("2")], "b": [pod("3")], "c": [pod("4"), pod("5")]}
    assert place(pod("new"), [node(n) for n in "abc"], there, capacity=10) == "b"


def test_the_refusal_counts_the_reasons() -> None:
    """A pod that fits nowhere is told why, node by node, in the scheduler's words."""
    there = {"a": [pod("1")], "b": [pod("2")]}
    nodes = [node("a"), node("b"), node("c", cordoned=True), node("d", ready=False)]
    with pytest.raises(Unschedulable) as caught:
        place(pod("new", PLAIN, **apart(app="shop")), nodes, there, capacity=10)
    assert str(caught.value) == (
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "2 node(s) didn't match pod anti-affinity rules."
    )


def test_existing_pods_keep_newcomers_away_too() -> None:
    """The anti-affinity of a pod that is there already holds against a newcomer without one."""
    there = {"a": [pod("1", PLAIN, **apart(app="shop"))]}
    with pytest.raises(Unschedulable, match="existing pods anti-affinity"):
        place(pod("new"), [node("a")], there, capacity=10)


@run
async def test_one_pod_a_node_leaves_the_fourth_pending_until_a_node_is_free() -> None:
    """With one pod a node the fourth stays Pending as Unschedulable, and is placed when another one goes."""
    async with world() as w:
        for name in ("a", "b", "c", "d"):
            await w.create(PODS, pod(name, PLAIN, **apart(app="shop")))
        await w.until(lambda: all(w.is_ready(n) for n in "abc"))

        def refusal() -> Object | None:
            conditions = (w.pod("d") or {}).get("status", {}).get("conditions") or []
            return next((c for c in conditions if c.get("reason") == "Unschedulable"), None)

        told = await w.until(refusal)
        assert told["message"] == "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
        assert told["status"] == "False"
        await w.client.delete(PODS, NS, "a")
        await w.until(lambda: w.is_ready("d"))


@run
async def test_a_full_node_and_a_cordoned_one_take_nothing() -> None:
    """Capacity and cordons hold pods back; they are placed when the cordon is lifted."""
    settings = Settings(**{**QUICK.__dict__, "pods_per_node": 1})
    async with world(settings=settings, nodes=("node-1", "node-2")) as w:
        await w.client.merge_patch(NODES, None, "node-2", {"spec": {"unschedulable": True}})
        await w.until(lambda: (w.stores.of(NODES).get("", "node-2") or {}).get("spec", {}).get("unschedulable"))
        for name in ("a", "b"):
            await w.create(PODS, pod(name, PLAIN))
        await w.until(lambda: len([n for n in "ab" if w.is_ready(n)]) == 1)
        await w.client.merge_patch(NODES, None, "node-2", {"spec": {"unschedulable": None}})
        await w.until(lambda: w.is_ready("a") and w.is_ready("b"))


@run
async def test_a_lost_node_is_heard_of_no_more_until_it_is_back() -> None:
    """Pods of a lost node become unready, their deletion waits, new pods go elsewhere; all is well when it is back."""
    async with world(nodes=("node-1", "node-2")) as w:
        await w.secret(password="one")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=2))
        await w.settled("shop", 2)
        await w.kubelet.set_node_ready("node-1", False)
        lost = next(p["metadata"]["name"] for p in w.pods() if p["spec"]["nodeName"] == "node-1")
        await w.until(lambda: not w.is_ready(lost))
        await w.client.delete(PODS, NS, lost)
        await w.until(lambda: len([p for p in w.pods() if w.is_ready(p["metadata"]["name"])]) == 2)
        assert {p["spec"]["nodeName"] for p in w.pods()} == {"node-2"}
        assert w.pod(lost) is not None
        await w.kubelet.set_node_ready("node-1", True)
        await w.until(lambda: w.pod(lost) is None)


def seeded_pod(name: str, started: str, **status: Any) -> Object:
    made = pod(name, {"name": "app", "image": "i", "env": [env("PASSWORD", "db", "password")]})
    made["spec"]["nodeName"] = "node-1"
    made["metadata"]["creationTimestamp"] = started
    container = {"name": "app", "ready": True, "started": True, "restartCount": 0, "image": "i", "imageID": "x"}
    made["status"] = {
        "phase": "Running",
        "startTime": started,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": started}],
        "containerStatuses": [{**container, "state": {"running": {"startedAt": started}}, "lastState": {}}],
        **status,
    }
    return made


@run
async def test_a_pod_that_ran_before_the_world_began_is_taken_over_as_it_is() -> None:
    """A seeded running pod is not started again, holds what the test says, and restarts with today's value."""
    started = "2026-01-01T07:00:00Z"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}
    async with world(seeds=[namespace, seeded_pod("old", started)]) as w:
        await w.secret(password="new")
        w.kubelet.adopt(NS, "old", "app", {("db", "password"): "ancient"})
        await w.until(lambda: w.kubelet.running())
        held = w.kubelet.running()[0]
        assert (held.env, held.run) == ({("db", "password"): b"ancient"}, 0)
        assert w.clock.rfc3339(held.started_at) == w.clock.rfc3339(held.at) == started
        await w.until(lambda: w.pod("old")["status"].get("podIP"))
        assert w.container("old")["state"]["running"]["startedAt"] == started
        w.kubelet.restart_container(NS, "old", "app")
        await w.until(lambda: w.container("old")["restartCount"] == 1 and w.is_ready("old"))
        assert w.kubelet.running()[0].env == {("db", "password"): b"new"}
        assert w.kubelet.ended_at(held) is not None


@run
async def test_an_adopted_pod_loses_its_backend_as_any_other() -> None:
    """A taken-over container whose value is revoked becomes unready."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}}
    seeded = seeded_pod("old", "2026-01-01T07:00:00Z")
    seeded["metadata"]["annotations"] = {"sandbox/app": '{"app": {"env": "PASSWORD", "backend": "mongodb"}}'}
    async with world(seeds=[namespace, seeded]) as w:
        w.kubelet.adopt(NS, "old", "app", {("db", "password"): "ancient"})
        await w.until(lambda: w.kubelet.running() and w.is_ready("old"))
        w.kubelet.backends.revoke("mongodb", "ancient")
        await w.until(lambda: not w.is_ready("old"))
        assert "running" in w.container("old")["state"]


@run
async def test_pods_that_ask_for_another_scheduler_are_left_to_it() -> None:
    """Neither placed nor run, on whatever node it puts them; those that ask for this one are."""
    async with world(settings=replace(QUICK, scheduler="mine")) as w:
        for name, theirs in (("unbound", {}), ("bound", {"nodeName": "node-1"})):
            await w.create(PODS, pod(name, PLAIN, **theirs))
        await w.create(PODS, pod("mine", PLAIN, schedulerName="mine"))
        await w.until(lambda: w.is_ready("mine"))
        assert "nodeName" not in (w.pod("unbound") or {})["spec"]
        assert (w.pod("bound") or {})["status"].get("containerStatuses") is None


@run
async def test_nodes_bear_marks_that_keep_the_pods_of_others_away() -> None:
    """A label, and a taint of the same name; a node that was there before loses the taints of others."""
    former = {"metadata": {"name": "node-1"}, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}}
    seed: Object = {"apiVersion": "v1", "kind": "Node", **former}
    async with world(
        settings=replace(QUICK, node_labels={"tests": "yes"}), nodes=("node-1", "node-2"), seeds=[seed]
    ) as w:
        nodes = w.stores.of(NODES)
        await w.until(lambda: (nodes.get("", "node-2") or {}).get("status"))
        taint = {"key": "tests", "value": "yes", "effect": "NoSchedule"}
        assert [(nodes.get("", name) or {})["spec"]["taints"] for name in ("node-1", "node-2")] == [[taint], [taint]]
        assert (nodes.get("", "node-2") or {})["metadata"]["labels"]["tests"] == "yes"
