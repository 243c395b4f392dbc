"""The projection: what is known of the cluster and the vaults now, with the indexes that decisions need.

Fed by the reflectors' messages and the sweeps, read by the cycle, both in one thread. Decides nothing; notes which
chains and workloads a change touches, so that a cycle in which nothing happened costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from agent import mapping
from agent.engine.index import Index
from agent.engine.nodes import Nodes
from agent.engine.pushes import Pushes
from agent.engine.unusable import Unusable, place_of
from agent.model import (
    ExternalSecret,
    Namespace,
    Node,
    ObjectKey,
    Owner,
    Pod,
    PushSource,
    ReplicaSet,
    SecretStore,
    SecretView,
    SourceKey,
    SourceUse,
    StoreKey,
    Trouble,
    VaultView,
    Workload,
    WorkloadKey,
)

RECENT = 60.0
"""Seconds after a start within which the moment of our seeing it can say more than the node's clock."""


class World:
    """All current objects, by key. ``dirty_chains`` and ``dirty_workloads`` collect what a change may affect."""

    def __init__(self) -> None:
        self.external_secrets: dict[ObjectKey, ExternalSecret] = {}
        self.stores: dict[StoreKey, SecretStore] = {}
        self.secrets: dict[ObjectKey, SecretView] = {}
        self.pods: dict[ObjectKey, Pod] = {}
        self.workloads: dict[WorkloadKey, Workload] = {}
        self.replica_sets: dict[str, ReplicaSet] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.nodes = Nodes()
        self.pushes = Pushes()
        self.vaults: dict[str, VaultView] = {}
        self.seen_running: dict[ObjectKey, float] = {}  # pods seen soon after a start: all runs of theirs began before
        self.troubles: dict[tuple[str, str | None], Trouble] = {}  # (resource, namespace or all) that cannot be read
        self.unusable = Unusable(self._usability_changed)
        self.dirty_chains: set[ObjectKey] = set()
        self.dirty_workloads: set[WorkloadKey] = set()
        self._chains_of_secret: Index[ObjectKey] = Index()
        self._chains_of_store: Index[StoreKey] = Index()
        self._pods_of_secret: Index[ObjectKey] = Index()
        self._pods_of_workload: Index[WorkloadKey] = Index()
        self._workload_of_pod: dict[ObjectKey, WorkloadKey] = {}
        self._orphans: Index[str] = Index()  # uid of a ReplicaSet not seen yet -> pods
        self._shared: dict[WorkloadKey, WorkloadKey] = {}  # one object for all pods of a workload

    # ------------------------------------------------------------------------------------------------- questions

    def chains_of_secret(self, key: ObjectKey) -> Iterable[ObjectKey]:
        """ExternalSecrets whose target this Secret is."""
        return self._chains_of_secret.of(key)

    def pods_of_secret(self, key: ObjectKey) -> tuple[Pod, ...]:
        """Pods that consume the Secret, terminating ones included."""
        return tuple(self.pods[pod] for pod in self._pods_of_secret.of(key))

    def pods_of_workload(self, key: WorkloadKey) -> tuple[Pod, ...]:
        """Pods of a workload that consume any Secret."""
        return tuple(self.pods[pod] for pod in self._pods_of_workload.of(key))

    def workload_of(self, pod: Pod) -> WorkloadKey:
        """The workload that owns the pod; the pod itself where nothing does."""
        return self._workload_of_pod.get(pod.key) or self._owner(pod)

    def chains_of_workload(self, key: WorkloadKey) -> set[ObjectKey]:
        """ExternalSecrets that write a Secret which the workload's pods consume."""
        found: set[ObjectKey] = set()
        for pod in self.pods_of_workload(key):
            for name in consumed_by(pod):
                found.update(self.chains_of_secret(ObjectKey(key.namespace, name)))
        return found

    def consumers(self) -> Iterable[WorkloadKey]:
        """Workloads that consume any Secret."""
        return iter(self._pods_of_workload)

    def trouble(self, resource: str, namespace: str) -> Trouble | None:
        """Why this collection cannot be read for this namespace, if so."""
        if not self.troubles:
            return None
        return self.troubles.get((resource, None)) or self.troubles.get((resource, namespace))

    def sources_of(self, es: ExternalSecret) -> list[tuple[SourceUse, SourceKey | str]]:
        """Each use of the spec with the vault secret it means, or the reason why that is not known."""
        found: list[tuple[SourceUse, SourceKey | str]] = []
        for use in es.uses:
            last = found[-1] if found else None
            if last is not None and last[0].name == use.name and last[0].store == use.store:
                found.append((use, last[1]))  # several keys of one vault secret
            else:
                found.append((use, self.unusable.store(use.store) or mapping.resolve(use, self.stores)))
        return found

    # --------------------------------------------------------------------------------------------------- changes

    def put(self, resource: str, obj: Any, *, seen_at: float = 0.0) -> None:
        """An object was added or modified; ``seen_at``: API server's clock when this state of it was there for sure."""
        if resource == "pods" and seen_at:
            self._note_runs(obj, seen_at)
        if resource == "nodes":
            self.nodes.note(obj, seen_at)
        self.unusable.mended(resource, obj)
        _PUT[resource](self, obj)

    def _note_runs(self, pod: Pod, seen_at: float) -> None:
        """A container that we see running has resolved its Secrets by now, whatever its node's clock says.

        Kept only where it says more than the clock does: for starts of the last seconds.
        """
        old, last = self.pods.get(pod.key), 0.0
        for run in pod.runs:
            if run.started is not None and run.started > last:
                last = run.started
        if old is not None and old.uid == pod.uid and [r.started for r in old.runs] == [r.started for r in pod.runs]:
            return
        if seen_at > last + RECENT:
            self.seen_running.pop(pod.key, None)
        else:
            self.seen_running[pod.key] = seen_at

    def drop(self, resource: str, obj: Any) -> None:
        """One object is gone."""
        _DROP[resource](self, obj)

    def replace_all(self, resource: str, namespace: str | None, items: Iterable[Any], *, seen_at: float = 0.0) -> None:
        """The whole collection (of one namespace) was read anew."""
        keep, identity = set(), _IDENTITIES.get(resource, _KEY)
        for obj in items:
            self.put(resource, obj, seen_at=seen_at)
            keep.add(identity(obj))
        there = self._collection(resource)
        if len(there) == len(keep):
            return  # all that is there was just put
        for obj in [o for o in there if identity(o) not in keep]:
            if namespace is None or getattr(identity(obj), "namespace", namespace) == namespace:
                self.drop(resource, obj)

    def _usability_changed(self, resource: str, key: ObjectKey) -> None:
        """Forget the object as it was before; all of its namespace, or of the cluster, may be judged otherwise now."""
        obj = next((obj for obj in self._collection(resource) if place_of(obj) == key), None)
        if obj is not None:
            self.drop(resource, obj)
        within = key.name if resource == "namespaces" else key.namespace
        self.dirty_chains.update(k for k in self.external_secrets if within in ("", k.namespace))
        self.dirty_workloads.update(k for k in self._pods_of_workload if within in ("", k.namespace))

    def set_trouble(self, resource: str, namespace: str | None, trouble: Trouble | None) -> None:
        """A collection cannot be read any more, or can again."""
        if trouble is None:
            self.troubles.pop((resource, namespace), None)
        else:
            self.troubles[resource, namespace] = trouble
        self.dirty_chains.update(k for k in self.external_secrets if namespace in (None, k.namespace))

    def put_vault(self, view: VaultView) -> None:
        """A sweep has ended; the caller marks the chains whose sources moved."""
        self.vaults[view.host] = view

    def _collection(self, resource: str) -> list[Any]:
        if resource in ("deployments", "statefulsets", "daemonsets"):
            kind = _WORKLOAD_KINDS[resource]
            return [w for w in self.workloads.values() if w.key.kind == kind]
        if resource in ("secretstores", "clustersecretstores"):
            kind = "SecretStore" if resource == "secretstores" else "ClusterSecretStore"
            return [s for s in self.stores.values() if s.key.kind == kind]
        table: dict[Any, Any] = getattr(self, _TABLES[resource])
        return list(table.values())

    def _put_external_secret(self, es: ExternalSecret) -> None:
        old = self.external_secrets.get(es.key)
        if old is not None and old.resource_version == es.resource_version:
            return
        if old is not None:
            self._unlink_chain(old)
        self.external_secrets[es.key] = es
        self._chains_of_secret.link(ObjectKey(es.key.namespace, es.target), es.key)
        for store in es.stores:
            self._chains_of_store.link(store, es.key)
        for name in {es.target} ^ {old.target if old is not None else ""}:  # whoever writes it too is touched by that
            self.dirty_chains.update(self.chains_of_secret(ObjectKey(es.key.namespace, name)))
        self.dirty_chains.add(es.key)

    def _drop_external_secret(self, es: ExternalSecret) -> None:
        old = self.external_secrets.pop(es.key, None)
        if old is not None:
            self._unlink_chain(old)
            self.dirty_chains.add(es.key)
            self.dirty_chains.update(self.chains_of_secret(ObjectKey(es.key.namespace, old.target)))

    def _unlink_chain(self, es: ExternalSecret) -> None:
        target = ObjectKey(es.key.namespace, es.target)
        self._chains_of_secret.unlink(target, es.key)
        self.dirty_workloads.update(self.workload_of(pod) for pod in self.pods_of_secret(target))
        for store in es.stores:
            self._chains_of_store.unlink(store, es.key)

    def _put_store(self, store: SecretStore) -> None:
        if self.stores.get(store.key) != store:
            self.stores[store.key] = store
            self.dirty_chains.update(self._chains_of_store.of(store.key))

    def _drop_store(self, store: SecretStore) -> None:
        if self.stores.pop(store.key, None) is not None:
            self.dirty_chains.update(self._chains_of_store.of(store.key))

    def _put_secret(self, secret: SecretView) -> None:
        self.secrets[secret.key] = secret
        self.dirty_chains.update(self.chains_of_secret(secret.key))

    def _drop_secret(self, secret: SecretView) -> None:
        if self.secrets.pop(secret.key, None) is not None:
            self.dirty_chains.update(self.chains_of_secret(secret.key))

    def _put_pod(self, pod: Pod) -> None:
        old = self.pods.get(pod.key)
        if old == pod:
            return  # read anew, or changed in what no decision asks for
        if old is not None:
            self._unlink_pod(old)
        self.pods[pod.key] = pod
        for name in pod.references:
            secret = ObjectKey(pod.key.namespace, name)
            self._pods_of_secret.link(secret, pod.key)
            self.dirty_chains.update(self.chains_of_secret(secret))
        if pod.owner is not None and pod.owner.kind == "ReplicaSet" and pod.owner.uid not in self.replica_sets:
            self._orphans.link(pod.owner.uid, pod.key)
        owner = self._owner(pod)
        workload = self._shared.setdefault(owner, owner)
        self._workload_of_pod[pod.key] = workload
        self._pods_of_workload.link(workload, pod.key)
        self.dirty_workloads.add(workload)

    def _drop_pod(self, pod: Pod) -> None:
        old = self.pods.pop(pod.key, None)
        self.seen_running.pop(pod.key, None)
        if old is not None:
            self._unlink_pod(old)

    def _unlink_pod(self, pod: Pod) -> None:
        for name in pod.references:
            secret = ObjectKey(pod.key.namespace, name)
            self._pods_of_secret.unlink(secret, pod.key)
            self.dirty_chains.update(self.chains_of_secret(secret))
        if pod.owner is not None:
            self._orphans.unlink(pod.owner.uid, pod.key)
        workload = self._workload_of_pod.pop(pod.key, None)
        if workload is not None:
            self._pods_of_workload.unlink(workload, pod.key)
            if workload not in self._pods_of_workload:
                self._shared.pop(workload, None)
            self.dirty_workloads.add(workload)

    def _owner(self, pod: Pod) -> WorkloadKey:
        owner, namespace = pod.owner, pod.key.namespace
        if owner is None:
            return WorkloadKey(namespace, "Pod", pod.key.name)
        if owner.kind == "ReplicaSet":
            parent = self.replica_sets.get(owner.uid)
            if parent is not None and parent.owner is not None:
                owner = parent.owner
        return _named(namespace, owner)

    def _put_workload(self, workload: Workload) -> None:
        if self.workloads.get(workload.key) != workload:
            self.workloads[workload.key] = workload
            self.dirty_workloads.add(workload.key)

    def _drop_workload(self, workload: Workload) -> None:
        if self.workloads.pop(workload.key, None) is not None:
            self.dirty_workloads.add(workload.key)

    def _put_replica_set(self, replica_set: ReplicaSet) -> None:
        old, uid = self.replica_sets.get(replica_set.uid), replica_set.uid
        self.replica_sets[uid] = replica_set
        moved = self._orphans.of(uid) if old is None else ()
        if old is not None and old.owner != replica_set.owner:  # adopted, or orphaned
            own = WorkloadKey(old.key.namespace, "ReplicaSet", old.key.name)
            pods = self.pods_of_workload(_named(old.key.namespace, old.owner) if old.owner is not None else own)
            moved = [pod.key for pod in pods if pod.owner is not None and pod.owner.uid == uid]
        for key in tuple(moved):
            pod = self.pods.pop(key)
            self._unlink_pod(pod)
            self._put_pod(pod)

    def _drop_replica_set(self, replica_set: ReplicaSet) -> None:
        self.replica_sets.pop(replica_set.uid, None)

    def _put_namespace(self, namespace: Namespace) -> None:
        if self.namespaces.get(namespace.name) != namespace:
            self.namespaces[namespace.name] = namespace
            self._touch_namespace(namespace.name)

    def _drop_namespace(self, namespace: Namespace) -> None:
        self.namespaces.pop(namespace.name, None)

    def _touch_namespace(self, name: str) -> None:
        self.dirty_chains.update(k for k in self.external_secrets if k.namespace == name)
        self.dirty_workloads.update(k for k in self._pods_of_workload if k.namespace == name)

    def _put_node(self, node: Node) -> None:
        if self.nodes.put(node):
            for pod in self.pods.values():
                if pod.node == node.name:
                    for secret in pod.references:
                        self.dirty_chains.update(self.chains_of_secret(ObjectKey(pod.key.namespace, secret)))

    def _drop_node(self, node: Node) -> None:
        self.nodes.drop(node)

    def _put_push_source(self, source: PushSource) -> None:
        before = self.pushes.put(source)
        if before != source:
            self._touch_pushed(source)
            self._touch_pushed(before)

    def _drop_push_source(self, source: PushSource) -> None:
        self._touch_pushed(self.pushes.drop(source))

    def _touch_pushed(self, source: PushSource | None) -> None:
        if source is not None:
            self.dirty_chains.update(self.chains_of_secret(ObjectKey(source.key.namespace, source.secret)))
            if source.selector is not None:
                self.dirty_chains.update(k for k in self.external_secrets if k.namespace == source.key.namespace)


def _named(namespace: str, owner: Owner) -> WorkloadKey:
    """A namesake from another API group (OpenKruise has a StatefulSet, too) is not the workload of that name."""
    foreign = owner.kind in _WORKLOAD_KINDS.values() and owner.api_group not in ("apps", "")
    return WorkloadKey(namespace, f"{owner.kind}.{owner.api_group}" if foreign else owner.kind, owner.name)


def consumed_by(pod: Pod) -> set[str]:
    """Names of the Secrets that any of the pod's containers consumes."""
    return {use.secret for spec in pod.containers for use in spec.uses}


_KEY = attrgetter("key")
_IDENTITIES = {"replicasets": attrgetter("uid"), "namespaces": attrgetter("name"), "nodes": attrgetter("name")}
"""Under what the world keeps an object, where that is not its key."""

_WORKLOAD_KINDS = {"deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}
_TABLES = {
    "externalsecrets": "external_secrets",
    "secrets": "secrets",
    "pods": "pods",
    "replicasets": "replica_sets",
    "namespaces": "namespaces",
    "nodes": "nodes",
    "pushsecrets": "pushes",
}
_PUT: dict[str, Callable[[World, Any], None]] = {
    "externalsecrets": World._put_external_secret,
    "secretstores": World._put_store,
    "clustersecretstores": World._put_store,
    "secrets": World._put_secret,
    "pods": World._put_pod,
    "deployments": World._put_workload,
    "statefulsets": World._put_workload,
    "daemonsets": World._put_workload,
    "replicasets": World._put_replica_set,
    "namespaces": World._put_namespace,
    "nodes": World._put_node,
    "pushsecrets": World._put_push_source,
}
_DROP: dict[str, Callable[[World, Any], None]] = {
    "externalsecrets": World._drop_external_secret,
    "secretstores": World._drop_store,
    "clustersecretstores": World._drop_store,
    "secrets": World._drop_secret,
    "pods": World._drop_pod,
    "deployments": World._drop_workload,
    "statefulsets": World._drop_workload,
    "daemonsets": World._drop_workload,
    "replicasets": World._drop_replica_set,
    "namespaces": World._drop_namespace,
    "nodes": World._drop_node,
    "pushsecrets": World._drop_push_source,
}
