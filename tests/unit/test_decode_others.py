"""Stores, workloads, budgets, namespaces, nodes, ReplicaSets and PushSecrets."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from decode_builders import CREATED_AT, Object, body, meta, owned, pod

from agent.cluster.decode import decode_object
from agent.labels import Selector
from agent.model import (
    Budget,
    Namespace,
    Node,
    ObjectKey,
    Owner,
    Pod,
    PushSource,
    ReplicaSet,
    SecretStore,
    StoreKey,
    Workload,
    WorkloadKey,
)


def store(provider: Object, resource: str = "secretstores", **spec: Any) -> SecretStore:
    item = {"metadata": meta("prod"), "spec": {"provider": provider, **spec}}
    if resource == "clustersecretstores":
        del item["metadata"]["namespace"]
    found = decode_object(resource, body(item))
    assert isinstance(found, SecretStore), found
    return found


def test_a_store_names_its_vault() -> None:
    """Host, controller class and the time of the last change, for stores of a namespace and of the cluster."""
    azure = {"azurekv": {"vaultUrl": "https://Prod-KV.vault.azure.net/", "tenantId": "t"}}
    here = store(azure, controller="blue")
    assert here.key == StoreKey("SecretStore", "shop", "prod")
    assert (here.provider, here.host, here.controller, here.refused) == (
        "azurekv",
        "prod-kv.vault.azure.net",
        "blue",
        "",
    )
    assert here.changed == CREATED_AT
    assert store(azure, "clustersecretstores").key == StoreKey("ClusterSecretStore", "", "prod")


def test_a_store_that_is_not_followed_says_why() -> None:
    """A foreign host is refused, another provider is named, a store without either is no Key Vault."""
    assert store({"azurekv": {"vaultUrl": "https://10.0.0.1"}}).refused == "vaultUrl is an IP address"
    assert store({"azurekv": {}}).refused == "vaultUrl is missing"
    assert (store({"vault": {"server": "x"}}).provider, store({}).provider) == ("vault", "")


DEPLOYMENT: Object = {
    "metadata": meta("backend", generation=4, annotations={"deployment.kubernetes.io/revision": "7"}),
    "spec": {
        "template": {
            "metadata": {"labels": {"app": "backend"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "x"}},
            "spec": {
                "containers": [{"name": "app"}],
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e"}],
            },
        }
    },
    "status": {"observedGeneration": 4, "updatedReplicas": 1, "readyReplicas": 1},
}


def workload(resource: str, item: Object) -> Workload:
    found = decode_object(resource, body(item))
    assert isinstance(found, Workload), found
    return found


def changed(item: Object, *path: str, to: Any) -> Object:
    item = copy.deepcopy(item)
    holder = item
    for step in path[:-1]:
        holder = holder.setdefault(step, {})
    holder[path[-1]] = to
    return item


def test_a_deployment_with_its_defaults() -> None:
    """One replica, a quarter unavailable, a quarter more: what the API means where nothing is said."""
    found = workload("deployments", DEPLOYMENT)
    assert found.key == WorkloadKey("shop", "Deployment", "backend")
    assert (found.replicas, found.updated, found.ready, found.rolling) == (1, 1, 1, False)
    assert (found.strategy, found.max_unavailable, found.max_surge) == ("RollingUpdate", "25%", "25%")
    assert (found.claims, found.revision, found.paused) == (("data",), "7", False)
    assert found.template_annotations == {"kubectl.kubernetes.io/restartedAt": "x"}


def test_strategies_are_read_where_each_kind_has_them() -> None:
    """Numbers and percentages of a Deployment; partition of a StatefulSet; counts of a DaemonSet."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2, "partition": 3}}
    found = workload("deployments", changed(DEPLOYMENT, "spec", "strategy", to=rolling))
    assert (found.max_unavailable, found.max_surge) == ("0", "2")
    ordered = workload("statefulsets", changed(DEPLOYMENT, "spec", "updateStrategy", to=rolling))
    assert (ordered.key.kind, ordered.partition) == ("StatefulSet", 3)
    nodes = {"desiredNumberScheduled": 5, "updatedNumberScheduled": 4, "numberReady": 3, "observedGeneration": 4}
    everywhere = workload("daemonsets", changed(DEPLOYMENT, "status", to=nodes))
    assert (everywhere.replicas, everywhere.updated, everywhere.ready) == (5, 4, 3)
    assert (everywhere.max_unavailable, everywhere.max_surge, everywhere.rolling) == ("1", "0", True)


def test_the_template_digest_moves_with_the_template_and_not_with_our_restart() -> None:
    """Our own restart annotation is no change of the template; everything else in it is."""
    ours = ("spec", "template", "metadata", "annotations", "secret-drift-agent/restarted-at")
    before = workload("deployments", DEPLOYMENT).template_digest
    restarted = workload("deployments", changed(DEPLOYMENT, *ours, to="1795471200"))
    assert restarted.template_digest == before
    assert restarted.template_annotations["secret-drift-agent/restarted-at"] == "1795471200"
    for path, to in (
        (("spec", "template", "metadata", "annotations", "other"), "x"),
        (("spec", "template", "metadata", "labels", "other"), "x"),
        (("spec", "template", "spec", "containers"), [{"name": "app", "image": "new"}]),
    ):
        assert workload("deployments", changed(DEPLOYMENT, *path, to=to)).template_digest != before


def test_only_annotations_that_decisions_read_are_kept() -> None:
    """The agent's own and those of other restarters; nothing else of what tenants may pile up there."""
    annotations = {
        "secret-drift-agent/mode": "observe",
        "reloader.stakater.com/auto": "true",
        "wave.pusher.com/update-on-config-change": "true",
        "kubectl.kubernetes.io/last-applied-configuration": "x" * 1000,
    }
    found = workload("deployments", changed(DEPLOYMENT, "metadata", "annotations", to=annotations))
    assert found.annotations.keys() == annotations.keys() - {"kubectl.kubernetes.io/last-applied-configuration"}


def test_a_replica_set_leads_from_pod_to_deployment() -> None:
    """Its metadata are enough: uid, controller and the Deployment's revision."""
    item = {
        "metadata": meta(
            "backend-abc",
            ownerReferences=owned("Deployment", "backend", "apps/v1"),
            annotations={"deployment.kubernetes.io/revision": "7"},
        )
    }
    assert decode_object("replicasets", body(item)) == ReplicaSet(
        key=ObjectKey("shop", "backend-abc"),
        uid="uid-of-backend-abc",
        owner=Owner("Deployment", "backend", "uid-of-backend", "apps"),
        revision="7",
    )


def budget(selector: Object | None, **status: Any) -> Budget:
    found = decode_object(
        "poddisruptionbudgets",
        body({"metadata": meta("b", generation=2), "spec": {"selector": selector}, "status": status}),
    )
    assert isinstance(found, Budget), found
    return found


@pytest.mark.parametrize(
    ("selector", "covers"),
    [
        ({}, True),
        (None, False),
        ({"matchLabels": {"app": "backend"}}, True),
        ({"matchLabels": {"app": "other"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "backend"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["backend"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Resembles", "values": ["backend"]}]}, False),
    ],
)
def test_a_budget_covers_the_pods_its_selector_matches(selector: Object | None, covers: bool) -> None:
    """An empty selector covers every pod of the namespace, a missing one none; operators as the API means them."""
    one = decode_object("pods", body(pod(labels={"app": "backend"})))
    assert isinstance(one, Pod)
    assert budget(selector).covers(one) is covers


def test_a_budgets_numbers_count_only_if_they_are_of_this_generation() -> None:
    """What it allows now, and whether its controller has seen its present spec."""
    found = budget({}, disruptionsAllowed=1, currentHealthy=3, desiredHealthy=2, expectedPods=3, observedGeneration=2)
    assert (found.allowed, found.healthy, found.desired, found.expected) == (1, 3, 2, 3)
    assert (found.observed, found.unhealthy_policy) == (True, "IfHealthyBudget")
    assert not budget({}, observedGeneration=1).observed


def test_namespaces_and_nodes() -> None:
    """The owner's mode and the end of a namespace; a node that says nothing is not ready."""
    item: Object = {"metadata": {**meta("shop", annotations={"secret-drift-agent/mode": "ignore"})}}
    assert decode_object("namespaces", body(item)) == Namespace(name="shop", mode="ignore")
    ending = decode_object("namespaces", body({**item, "status": {"phase": "Terminating"}}))
    assert isinstance(ending, Namespace)
    assert ending.deleting
    for said, since in (({}, 0.0), ({"lastTransitionTime": "2026-11-23T22:00:20Z"}, CREATED_AT + 20)):
        ready = {"conditions": [{"type": "Ready", "status": "True", **said}]}
        found = decode_object("nodes", body({"metadata": meta("n"), "status": ready}))
        assert found == Node(name="n", ready=True, ready_since=since, created=CREATED_AT)
    assert decode_object("nodes", body({"metadata": meta("n")})) == Node(name="n", ready=False, created=CREATED_AT)


def test_a_push_secret_names_its_sources() -> None:
    """By name, by label, or, with a generator, none."""

    def source(selector: Object) -> PushSource:
        found = decode_object("pushsecrets", body({"metadata": meta("p"), "spec": {"selector": selector}}))
        assert isinstance(found, PushSource), found
        return found

    assert source({"secret": {"name": "app"}}).secret == "app"
    by_label = source({"secret": {"selector": {"matchLabels": {"push": "yes"}}}})
    assert (by_label.secret, by_label.selector) == ("", Selector(labels=(("push", "yes"),)))
    assert source({"generatorRef": {"kind": "Password"}}) == PushSource(key=ObjectKey("shop", "p"))
