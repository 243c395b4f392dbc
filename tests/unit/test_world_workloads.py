"""Which workload a pod belongs to, in whatever order its owners become known; and what is gone leaves nothing."""

from decode_builders import external_secret, page
from msgspec.structs import replace

from agent.cluster.decode import decode_page
from agent.engine.index import Index
from agent.engine.nodes import RETURNS, Nodes
from agent.engine.world import World
from agent.model import ContainerRun, ContainerSpec, Node, ObjectKey, Owner, Pod, ReplicaSet, Use, WorkloadKey

NAMESPACE, RS_UID = "payments", "rs-uid"


def _pod(name: str) -> Pod:
    use = Use("app", "env", ("KEY",))
    return Pod(
        key=ObjectKey(NAMESPACE, name), uid=f"uid-{name}", created=1.0, node="node-1",
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


def test_a_namesake_of_another_api_group_is_another_workload() -> None:
    """OpenKruise, too, has a StatefulSet and a DaemonSet: their pods are not those of the one that we know."""
    world = World()
    for name, group in (("db-0", "apps"), ("db-1", "apps.kruise.io")):
        world.put("pods", replace(_pod(name), owner=Owner("StatefulSet", "db", f"uid-{group}", group)))
    known = world.pods_of_workload(WorkloadKey(NAMESPACE, "StatefulSet", "db"))
    assert [pod.key.name for pod in known] == ["db-0"]
    assert world.workload_of(world.pods[ObjectKey(NAMESPACE, "db-1")]).kind == "StatefulSet.apps.kruise.io"


def test_a_pod_that_is_gone_before_its_replica_set_comes_is_not_brought_back() -> None:
    """A dropped pod belongs to no workload, also when its owner becomes known afterwards."""
    world = World()
    world.put("pods", _pod("a"))
    world.drop("pods", _pod("a"))
    world.put("replicasets", _replica_set())
    assert world.pods_of_workload(BACKEND) == ()


def test_a_replica_set_that_is_adopted_later_takes_its_pods_along() -> None:
    """Known without an owner, then with one, then with another: its pods are those of whoever owns it now."""
    world = World()
    world.put("pods", _pod("a"))
    for owner in (None, Owner("Deployment", "backend", "uid", "apps"), Owner("Deployment", "other", "uid-2", "apps")):
        world.put("replicasets", replace(_replica_set(), owner=owner))
        name, kind = (owner.name, owner.kind) if owner is not None else ("backend-7c9", "ReplicaSet")
        assert world.pods_of_workload(WorkloadKey(NAMESPACE, kind, name)) == (_pod("a"),)
        assert list(world.consumers()) == [WorkloadKey(NAMESPACE, kind, name)]
    world.drop("pods", _pod("a"))
    world.drop("replicasets", _replica_set())
    assert _kept(world) == {}


def test_a_node_that_was_away_is_known_by_when_it_came_back() -> None:
    """Seen not ready and then ready, it has come back; one that was never seen otherwise, or is gone, has not."""
    nodes = World().nodes
    for name, ready, at in (
        ("a", False, 95.0),
        ("b", True, 95.0),
        ("a", True, 97.0),
        ("b", True, 97.0),
        ("a", True, 99.0),
    ):
        _see(nodes, Node(name=name, ready=ready), at)
    assert [nodes.returning_until(name) for name in ("a", "b")] == [97.0 + RETURNS, 0.0]
    nodes.drop(Node(name="a", ready=True))
    assert nodes.returning_until("a") == 0.0


def test_after_a_start_a_node_is_believed_that_it_has_just_come_back() -> None:
    """First seen ready, it may have been away a moment ago: it says since when it is. A new one has not."""
    nodes = World().nodes
    for name, since in (("just now", 995.0), ("long ago", 900.0), ("by a fast clock", 5000.0), ("says nothing", 0.0)):
        _see(nodes, Node(name=name, ready=True, ready_since=since), 1000.0)
    _see(nodes, Node(name="made a minute ago", ready=True, ready_since=995.0, created=940.0), 1000.0)
    assert {name: nodes.returning_until(name) for name in nodes} == {
        "just now": 995.0 + RETURNS, "long ago": 0.0, "by a fast clock": 1000.0 + RETURNS, "says nothing": 0.0,
        "made a minute ago": 0.0,
    }  # fmt: skip


def _see(nodes: Nodes, node: Node, at: float) -> None:
    nodes.note(node, at)
    nodes.put(node)


def _kept(world: World) -> dict[str, object]:
    return {name: kept for name, kept in vars(world).items() if isinstance(kept, dict | Index) and list(kept)}


def test_of_a_pod_that_is_gone_nothing_is_kept() -> None:
    """After a pod with many references came, changed and went, neither its Secrets' names nor its owner's are left."""
    world = World()
    old = replace(_pod("a"), references=tuple(f"app-{number}" for number in range(100)))
    other = Owner("ReplicaSet", "backend-8d0", "another-uid", "apps")
    new = replace(old, uid="uid-new", references=("app-7", "elsewhere"), owner=other)
    world.put("pods", old, seen_at=1.0)
    world.put("pods", new, seen_at=1.0)
    assert [world.pods_of_secret(ObjectKey(NAMESPACE, name)) for name in ("app-7", "app-8")] == [(new,), ()]
    world.drop("pods", new)
    assert _kept(world) == {}


def test_a_pod_that_changed_in_nothing_that_matters_is_not_looked_at_again() -> None:
    """Read anew as it was, a pod makes no work; with one thing changed that a decision asks for, it does."""
    world = World()
    world.put("pods", _pod("a"))
    world.dirty_workloads.clear()
    world.put("pods", _pod("a"), seen_at=9.0)
    assert world.dirty_workloads == set()
    world.put("pods", replace(_pod("a"), ready=False))
    assert len(world.dirty_workloads) == 1


def test_asking_about_what_is_not_there_leaves_nothing() -> None:
    """Questions about a pod, a Secret or a workload that is gone add nothing to what is kept."""
    world = World()
    world.put("pods", _pod("a"))
    world.drop("pods", _pod("a"))
    assert world.workload_of(_pod("a")) == WorkloadKey(NAMESPACE, "ReplicaSet", "backend-7c9")
    assert world.pods_of_secret(ObjectKey(NAMESPACE, "app")) == world.pods_of_workload(BACKEND) == ()
    assert world.chains_of_workload(BACKEND) == set()
    world.drop("pods", _pod("a"))
    assert _kept(world) == {}


def test_of_a_chain_that_is_gone_nothing_is_kept() -> None:
    """After an ExternalSecret moved from one store to another and went, neither store's name is left."""
    world = World()
    for version, store in (("7", "prod"), ("8", "test")):
        item = external_secret(spec={"secretStoreRef": {"name": store}}, resourceVersion=version)
        (chain,) = decode_page("externalsecrets", page(item)).items
        world.put("externalsecrets", chain)
    world.drop("externalsecrets", chain)
    assert _kept(world) == {}
