"""Which nodes may still serve the former object of a recreated immutable Secret, told by the watch's order."""

from __future__ import annotations

from agent.cluster.reader import Listing
from agent.cluster.reflector import Changed, Listed, Scope
from agent.engine.observe import Observer
from agent.engine.world import World
from agent.memory import Memory
from agent.model import ObjectKey, Pod, SecretView
from agent.policy import Policy

KEY = ObjectKey("shop", "app")
SECRETS, PODS = Scope("secrets"), Scope("pods")


def secret(uid: str, *, created: float) -> SecretView:
    """An immutable Secret."""
    return SecretView(
        key=KEY, uid=uid, resource_version=uid, created=created, touched=created, prints={"K": uid}, immutable=True
    )


def pod(name: str, node: str) -> Pod:
    """A pod on a node, whose kubelet holds the Secret for it."""
    return Pod(
        key=ObjectKey("shop", name), uid=name, created=50.0, node=node, owner=None,
        phase="Running", ready=True, ready_since=None, deleting=False, containers=(), runs=(), references=("app",),
    )  # fmt: skip


def recreated(*pods: Pod) -> Observer:
    """An observer that saw the Secret deleted and made anew while these pods were there."""
    observer = Observer(World(), Memory(), on_malformed=lambda found: None)
    observer.take(Listed(PODS, Listing(items=list(pods), resource_version="1", asked_at=99, answered_at=99), gap=True))
    first = Listing(items=[secret("old", created=10)], resource_version="1", asked_at=99, answered_at=99)
    observer.take(Listed(SECRETS, first, gap=True))
    observer.settle(Policy())
    observer.take(Changed(SECRETS, "DELETED", secret("old", created=10), 100.0))
    observer.take(Changed(SECRETS, "ADDED", secret("new", created=100), 100.3))
    return observer


def dirty(observer: Observer) -> tuple[str, ...]:
    """Nodes that may still serve the former object."""
    cache = observer.memory.secrets[KEY].cache
    assert cache is not None
    return cache.dirty


def test_every_node_with_a_reference_at_the_delete_may_serve_the_former_object() -> None:
    """Nodes without a reference do not."""
    assert dirty(recreated(pod("a", "node-1"), pod("b", "node-2"))) == ("node-1", "node-2")


def test_a_node_is_clean_once_its_last_reference_is_gone_and_stays_so() -> None:
    """Whoever comes later gets the new object, also within the same second."""
    observer = recreated(pod("a", "node-1"))
    observer.take(Changed(PODS, "DELETED", pod("a", "node-1"), 100.5))
    assert dirty(observer) == ()
    assert observer.nodes_released
    observer.take(Changed(PODS, "ADDED", pod("b", "node-1"), 100.6))
    assert dirty(observer) == ()


def test_a_pod_that_comes_before_the_last_reference_is_gone_keeps_the_former_object_alive() -> None:
    """The node was never without a reference, so it is not clean when the older pod has left."""
    observer = recreated(pod("a", "node-1"))
    observer.take(Changed(PODS, "ADDED", pod("b", "node-1"), 100.5))
    observer.take(Changed(PODS, "DELETED", pod("a", "node-1"), 100.6))
    assert dirty(observer) == ("node-1",)


def test_what_was_dirty_is_remembered_by_the_next_process() -> None:
    """A new observer over the same memory goes on from the nodes that the ledger names."""
    before = recreated(pod("a", "node-1"), pod("b", "node-2"))
    observer = Observer(World(), before.memory, on_malformed=lambda found: None)
    listing = Listing(items=[pod("b", "node-2")], resource_version="2", asked_at=200, answered_at=200)
    observer.take(Listed(PODS, listing, gap=True))
    assert dirty(observer) == ("node-2",)
