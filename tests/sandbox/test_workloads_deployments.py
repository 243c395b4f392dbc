"""Deployments in a world: rollouts, their limits, and what their status says."""

import asyncio

from actors_world import NS, QUICK, World, run, template, workload, world

from agent.sandbox.actors.kubelet import Kubelet
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.client import DEPLOYMENTS, PODS, REPLICA_SETS, Object

APP = {"app": {"env": "PASSWORD", "backend": "mongodb"}}
RESTART: Object = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}


def condition(w: World, kind: str) -> Object:
    conditions = w.status(DEPLOYMENTS, "shop").get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


@run
async def test_a_rollout_replaces_every_pod_and_counts_the_revision() -> None:
    """A changed template moves all pods to a new ReplicaSet with revision 2 and leaves the old one at zero."""
    async with world() as w:
        await w.secret(password="old")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=3))
        await w.settled("shop", 3)
        assert condition(w, "Progressing")["reason"] == "NewReplicaSetAvailable"
        assert condition(w, "Available")["status"] == "True"
        before = {p["metadata"]["uid"] for p in w.pods()}
        await w.secret(password="new")
        await w.client.merge_patch(DEPLOYMENTS, NS, "shop", RESTART)
        await w.until(lambda: w.get(DEPLOYMENTS, "shop")["metadata"]["generation"] == 2)
        await w.settled("shop", 3)
        assert not before & {p["metadata"]["uid"] for p in w.pods()}
        assert {r.env[("db", "password")] for r in w.kubelet.running(terminating=False)} == {b"new"}
        assert w.get(DEPLOYMENTS, "shop")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        sizes = sorted(s["spec"]["replicas"] for s in w.stores.of(REPLICA_SETS).in_namespace(NS))
        assert sizes == [0, 3]
        hashes = {p["metadata"]["labels"]["pod-template-hash"] for p in w.pods()}
        assert len(hashes) == 1


@run
async def test_a_rollout_with_a_wrong_password_stops_and_keeps_the_old_pods() -> None:
    """When new pods crash-loop the old ones keep serving, and the condition Available stays True."""
    async with world() as w:
        await w.secret(password="old")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(app=APP), replicas=4))
        await w.settled("shop", 4)
        w.kubelet.backends.reject("mongodb", "bad")
        await w.secret(password="bad")
        await w.client.merge_patch(DEPLOYMENTS, NS, "shop", RESTART)
        await w.until(lambda: w.status(DEPLOYMENTS, "shop").get("updatedReplicas") == 2)
        await w.until(lambda: sum(w.waiting(p["metadata"]["name"]) != {} for p in w.pods()) == 2)
        assert w.status(DEPLOYMENTS, "shop")["availableReplicas"] == 3
        assert condition(w, "Available")["status"] == "True"
        assert condition(w, "Progressing")["reason"] == "ReplicaSetUpdated"
        w.clock.advance(700)
        await w.until(lambda: condition(w, "Progressing").get("reason") == "ProgressDeadlineExceeded")


@run
async def test_an_evicted_or_deleted_pod_comes_back_once() -> None:
    """A deleted pod is replaced by exactly one other, and the rollout counts as finished all the while."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=3))
        await w.settled("shop", 3)
        gone = w.pods()[0]["metadata"]["name"]
        await w.client.delete(PODS, NS, gone)
        await w.until(lambda: w.pod(gone) is None)
        await w.until(lambda: len(w.kubelet.record) == 4)
        await w.settled("shop", 3)
        assert len(w.kubelet.record) == 4
        assert condition(w, "Progressing")["reason"] == "NewReplicaSetAvailable"
        await w.until(lambda: len(w.kubelet.running()) == 3)


@run
async def test_recreate_takes_all_down_before_it_starts_anew() -> None:
    """With strategy Recreate no new container starts while an old one runs."""
    async with world() as w:
        await w.secret(password="one")
        body = workload("Deployment", "shop", template(), replicas=2, strategy={"type": "Recreate"})
        await w.create(DEPLOYMENTS, body)
        await w.settled("shop", 2)
        await w.client.merge_patch(DEPLOYMENTS, NS, "shop", RESTART)
        await w.until(lambda: len(w.kubelet.record) == 4)
        await w.settled("shop", 2)
        ends = [w.kubelet.ended_at(r) for r in w.kubelet.record[:2]]
        starts = [r.started_at for r in w.kubelet.record[2:]]
        assert max(e for e in ends if e) <= min(starts)


@run
async def test_a_paused_deployment_does_not_roll_and_a_scaled_one_does_so_at_once() -> None:
    """Paused, a new template changes no pod but a new size does; resumed, the template is rolled out."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=2))
        await w.settled("shop", 2)
        await w.client.merge_patch(
            DEPLOYMENTS, NS, "shop", {"spec": {"paused": True, "replicas": 3, **RESTART["spec"]}}
        )
        await w.until(lambda: w.status(DEPLOYMENTS, "shop").get("availableReplicas") == 3)
        assert len(w.stores.of(REPLICA_SETS).in_namespace(NS)) == 1
        assert condition(w, "Progressing")["reason"] == "DeploymentPaused"
        await w.client.merge_patch(DEPLOYMENTS, NS, "shop", {"spec": {"paused": None}})
        await w.settled("shop", 3)
        await w.until(lambda: len(w.stores.of(REPLICA_SETS).in_namespace(NS)) == 2)
        await w.client.merge_patch(DEPLOYMENTS, NS, "shop", {"spec": {"replicas": 1}})
        await w.settled("shop", 1)
        await w.until(lambda: len(w.pods()) == 1)


@run
async def test_min_ready_seconds_hold_a_rollout_until_they_are_over() -> None:
    """A ready pod is available only after minReadySeconds of the world's time."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=1, minReadySeconds=600))
        await w.until(lambda: w.status(DEPLOYMENTS, "shop").get("readyReplicas") == 1)
        assert "availableReplicas" not in w.status(DEPLOYMENTS, "shop")
        w.clock.advance(601)
        await w.settled("shop", 1)


@run
async def test_conflicts_and_refusals_of_the_api_server_make_no_surplus_pods() -> None:
    """With creations refused, dropped after the fact and status writes failing, the count still comes out right."""
    async with world() as w:
        await w.secret(password="one")
        w.server.faults.add(FaultRule(effect="status", code=429, verb="create", resource="pods", remaining=2))
        w.server.faults.add(FaultRule(effect="status", code=500, verb="patch", resource="replicasets", remaining=2))
        w.server.faults.add(FaultRule(effect="drop-after", verb="create", resource="replicasets", remaining=1))
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=3))
        await w.settled("shop", 3)
        assert len(w.pods()) == 3
        assert len(w.stores.of(REPLICA_SETS).in_namespace(NS)) == 1


@run
async def test_fifty_replicas_settle_and_roll_without_ever_exceeding_the_surge() -> None:
    """Fifty replicas come up, and a rollout never has more than 63 pods nor fewer than 38 available."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=50))
        await w.settled("shop", 50)
        counts: list[tuple[int, int]] = []

        def note(_: str, __: Object) -> None:
            ready = sum(w.is_ready(p["metadata"]["name"]) for p in w.pods())
            counts.append((len(w.pods()), ready))

        w.stores.of(DEPLOYMENTS).subscribe(note)
        await w.client.merge_patch(DEPLOYMENTS, NS, "shop", RESTART)
        await w.until(lambda: len(w.kubelet.record) == 100)
        await w.settled("shop", 50)
        assert max(total for total, _ in counts) <= 63
        assert min(ready for _, ready in counts) >= 38


@run
async def test_orphans_that_match_are_adopted() -> None:
    """A pod without an owner whose labels match counts as a replica: a seeded history needs no owner's uid."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                **template(),
                "metadata": {"name": "lone", "labels": {"app": "shop"}},
            },
        )
        body = workload("ReplicaSet", "shop", template(), replicas=2)
        await w.create(REPLICA_SETS, body)
        await w.until(lambda: w.status(REPLICA_SETS, "shop").get("readyReplicas") == 2)
        assert len(w.pods()) == 2
        assert w.pod("lone")["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"


@run
async def test_broken_watches_and_a_lost_history_are_caught_up_with() -> None:
    """After all watches broke and old versions were forgotten the actors list anew and finish what was asked."""
    async with world() as w:
        await w.secret(password="old")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=2))
        await w.settled("shop", 2)
        gap = w.server.faults.add(FaultRule(effect="status", code=503, verb="watch"))
        w.server.faults.add(FaultRule(effect="break-watches"))
        await w.secret(password="new")
        await w.client.merge_patch(DEPLOYMENTS, NS, "shop", {"spec": {"replicas": 3, **RESTART["spec"]}})
        await w.client.delete(PODS, NS, w.pods()[0]["metadata"]["name"])
        w.server.compact()
        w.server.faults.remove(gap)
        await w.until(lambda: w.get(DEPLOYMENTS, "shop")["metadata"].get("generation") == 2)
        await w.settled("shop", 3)
        await w.until(lambda: len(w.kubelet.running()) == 3)
        assert {r.env[("db", "password")] for r in w.kubelet.running()} == {b"new"}


@run
async def test_actors_with_stores_of_their_own_need_nobody_else() -> None:
    """Without shared stores each actor follows the API server by itself."""
    async with world(nodes=()) as w:
        kubelet = Kubelet(w.client, w.clock, nodes=("lone",), settings=QUICK)
        actor = asyncio.create_task(kubelet.run())
        await w.secret(password="one")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(), replicas=2))
        await w.settled("shop", 2)
        assert {r.node for r in kubelet.running()} == {"lone"}
        actor.cancel()
        await asyncio.gather(actor, return_exceptions=True)
