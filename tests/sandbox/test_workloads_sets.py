"""StatefulSets, DaemonSets and Jobs in a world."""

from actors_world import NS, QUICK, env, run, template, workload, world

from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.client import DAEMON_SETS, JOBS, NODES, PODS, STATEFUL_SETS, Object

RESTART: Object = {"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}
HASH = "controller-revision-hash"


def stateful(**spec: object) -> Object:
    return workload("StatefulSet", "db", template(), serviceName="db", **spec)


@run
async def test_a_stateful_set_starts_in_order_and_updates_from_the_last() -> None:
    """Pods db-0 to db-2 start one after the other, and an update replaces them from the last to the first."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(STATEFUL_SETS, stateful(replicas=3))
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("availableReplicas") == 3)
        assert [r.pod for r in w.kubelet.record] == ["db-0", "db-1", "db-2"]
        first = w.status(STATEFUL_SETS, "db")["currentRevision"]
        await w.client.merge_patch(STATEFUL_SETS, NS, "db", RESTART)
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("currentRevision") not in (None, first))
        assert [r.pod for r in w.kubelet.record[3:]] == ["db-2", "db-1", "db-0"]
        status = w.status(STATEFUL_SETS, "db")
        assert status["currentRevision"] == status["updateRevision"]
        assert {p["metadata"]["labels"][HASH] for p in w.pods()} == {status["updateRevision"]}


@run
async def test_a_partition_keeps_the_lower_ordinals_also_when_they_are_deleted() -> None:
    """Below the partition a deleted pod comes back from the old template, above it everything is new."""
    async with world() as w:
        await w.secret(password="one")
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        await w.create(STATEFUL_SETS, stateful(replicas=2, updateStrategy=strategy))
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("availableReplicas") == 2)
        old = w.status(STATEFUL_SETS, "db")["currentRevision"]
        await w.client.merge_patch(STATEFUL_SETS, NS, "db", RESTART)
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("updatedReplicas") == 1)
        uid = w.pod("db-0")["metadata"]["uid"]
        await w.client.delete(PODS, NS, "db-0")
        await w.until(lambda: (w.pod("db-0") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid)
        await w.until(lambda: w.is_ready("db-0"))
        assert w.pod("db-0")["metadata"]["labels"][HASH] == old
        assert w.pod("db-1")["metadata"]["labels"][HASH] != old
        assert (
            "annotations" not in w.pod("db-0")["metadata"]
            or "restarted" not in w.pod("db-0")["metadata"]["annotations"]
        )


@run
async def test_on_delete_waits_for_somebody_to_delete() -> None:
    """With OnDelete a new template changes nothing until a pod is deleted; that one comes back new."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(STATEFUL_SETS, stateful(replicas=2, updateStrategy={"type": "OnDelete"}))
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("availableReplicas") == 2)
        await w.client.merge_patch(STATEFUL_SETS, NS, "db", RESTART)
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("observedGeneration") == 2)
        assert len(w.kubelet.record) == 2
        await w.client.delete(PODS, NS, "db-0")
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("updatedReplicas") == 1 and w.is_ready("db-0"))
        assert [r.pod for r in w.kubelet.record[2:]] == ["db-0"]


@run
async def test_a_stateful_set_shrinks_from_its_end_and_grows_in_parallel_if_told() -> None:
    """Scaling down removes the highest ordinals; with Parallel all pods start at once."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(STATEFUL_SETS, stateful(replicas=3, podManagementPolicy="Parallel"))
        await w.until(lambda: w.status(STATEFUL_SETS, "db").get("readyReplicas") == 3)
        await w.client.merge_patch(STATEFUL_SETS, NS, "db", {"spec": {"replicas": 1}})
        await w.until(lambda: [p["metadata"]["name"] for p in w.pods()] == ["db-0"])


@run
async def test_a_daemon_set_puts_one_pod_on_each_node_and_rolls_by_its_limit() -> None:
    """Each node gets one pod, cordoned ones too; an update takes down one node's pod at a time."""
    async with world() as w:
        await w.secret(password="one")
        await w.client.merge_patch(NODES, None, "node-3", {"spec": {"unschedulable": True}})
        await w.create(DAEMON_SETS, workload("DaemonSet", "agent", template()))
        await w.until(lambda: w.status(DAEMON_SETS, "agent").get("numberAvailable") == 3)
        assert {r.node for r in w.kubelet.record} == {"node-1", "node-2", "node-3"}
        lows: list[int] = []
        w.stores.of(PODS).subscribe(lambda _, __: lows.append(sum(w.is_ready(p["metadata"]["name"]) for p in w.pods())))
        await w.client.merge_patch(DAEMON_SETS, NS, "agent", RESTART)
        await w.until(lambda: len(w.kubelet.record) == 6)
        await w.until(lambda: w.status(DAEMON_SETS, "agent").get("numberAvailable") == 3)
        assert w.status(DAEMON_SETS, "agent")["updatedNumberScheduled"] == 3
        assert min(lows) >= 2


@run
async def test_a_job_runs_to_its_end() -> None:
    """A Job's pods complete and so does the Job; the value each received is on record."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(JOBS, workload("Job", "once", template(restartPolicy="Never"), completions=2, parallelism=1))
        await w.until(lambda: w.status(JOBS, "once").get("completionTime"))
        status = w.status(JOBS, "once")
        assert status["succeeded"] == 2
        assert status["conditions"][0]["type"] == "Complete"
        assert {p["status"]["phase"] for p in w.pods()} == {"Succeeded"}
        assert [r.env for r in w.kubelet.record] == [{("db", "password"): b"one"}] * 2
        assert not w.kubelet.running()


@run
async def test_a_job_with_a_wrong_password_fails_after_its_limit() -> None:
    """A Job whose value is rejected fails with BackoffLimitExceeded after that many pods."""
    settings = Settings(**{**QUICK.__dict__, "run": 0.01})
    async with world(settings=settings) as w:
        w.kubelet.backends.reject("mongodb", "bad")
        await w.secret(password="bad")
        container = {"name": "app", "image": "i", "env": [env("PASSWORD", "db", "password")]}
        made = template(container, restartPolicy="Never", app={"app": {"env": "PASSWORD", "backend": "mongodb"}})
        await w.create(JOBS, workload("Job", "once", made, backoffLimit=1))
        await w.until(lambda: w.status(JOBS, "once").get("conditions"))
        assert w.status(JOBS, "once")["conditions"][0]["reason"] == "BackoffLimitExceeded"
        assert w.status(JOBS, "once")["failed"] == 2
