"""Which workload a pod belongs to, in whatever order its owners become known."""

from agent.engine.world import World
from agent.model import ContainerRun, ContainerSpec, ObjectKey, Owner, Pod, ReplicaSet, Use, WorkloadKey

NAMESPACE, RS_UID = "payments", "rs-uid"


def _pod(name: str, version: str = "1") -> Pod:
    use = Use("app", "env", ("KEY",))
    return Pod(
        key=ObjectKey(NAMESPACE, name), uid=f"uid-{name}", resource_version=version, created=1.0, node="node-1",
        owner=Owner("ReplicaSet", "backend-7c9", RS_UID, "apps"), phase="Running", ready=True, ready_since=2.0,
        deleting=False, containers=(ContainerSpec("app", "container", (use,)),),
        runs=(ContainerRun("running", 1.0),), references=("app",),
    )  # fmt: skip


def _replica_set() -> ReplicaSet:
    return ReplicaSet(
        key=ObjectKey(NAMESPACE, "backend-7c9"), uid=RS_UID, owner=Owner("Deployment", "backend", "uid", "apps")
    )


BACKEND = WorkloadKey(NAMESPACE, "Deployment", "backend")


def test_a_replica_set_that_comes_after_its_pods_gives_them_their_workload() -> None:
    """Pods seen before their ReplicaSet move to its Deployment as soon as it is known, and that one is looked at."""
    world = World()
    for name in ("a", "b"):
        world.put("pods", _pod(name))
    assert world.pods_of_workload(BACKEND) == ()
    world.put("replicasets", _replica_set())
    assert {pod.key.name for pod in world.pods_of_workload(BACKEND)} == {"a", "b"}
    assert BACKEND in world.dirty_workloads


def test_pods_of_a_workload_are_the_same_whichever_owner_was_known_first() -> None:
    """The order in which lists arrive decides nothing."""
    first, second = World(), World()
    first.put("replicasets", _replica_set())
    first.put("pods", _pod("a"))
    second.put("pods", _pod("a"))
    second.put("replicasets", _replica_set())
    assert first.pods_of_workload(BACKEND) == second.pods_of_workload(BACKEND) != ()


def test_a_pod_that_is_gone_before_its_replica_set_comes_is_not_brought_back() -> None:
    """A dropped pod belongs to no workload, also when its owner becomes known afterwards."""
    world = World()
    world.put("pods", _pod("a"))
    world.drop("pods", _pod("a"))
    world.put("replicasets", _replica_set())
    assert world.pods_of_workload(BACKEND) == ()
