"""S33: GitOps owns the objects, another restarter or an operator handles the workload: nobody is in the other's way."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.programs import program
from support.scenario import Scenario
from support.told import healed, refusals
from support.worlds import at_rest, watching

from agent.model import RESTARTED_AT
from agent.sandbox import builders as b
from agent.sandbox.apply import resource_of
from agent.sandbox.client import Object

NS, APP = "shop", "backend"
SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
WAYS = {
    "argocd, server-side": ("argocd-controller", APPLY),
    "flux, server-side": ("kustomize-controller", APPLY),
    "kubectl, client-side": ("kubectl-client-side-apply", MERGE),
}


def manifests(replicas: int) -> list[Object]:
    """What stands in somebody's repository."""
    return [
        b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
        b.deployment(APP, NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")}),
    ]


def reconcile(s: Scenario, way: str, objects: list[Object]) -> list[Object]:
    """Apply them again, as the owner's controller does every few minutes; returns them as they are then."""
    manager, kind = WAYS[way]
    query = {"fieldManager": manager} | ({"force": "true"} if kind == APPLY else {})
    found = []
    for obj in objects:
        path = resource_of(obj).path(NS, obj["metadata"]["name"])
        found.append(s.run(s.sandbox.admin.request("PATCH", path, query=query, body=obj, content_type=kind)))
    return found


def owned(obj: Object, way: str) -> Any:
    """The fields that the owner's controller has, by managedFields; none where its patch had nothing to change."""
    return [one["fieldsV1"] for one in obj["metadata"]["managedFields"] if one["manager"] == WAYS[way][0]]


def said(obj: Object) -> Object:
    """All of it that no controller writes, at whatever time, without a change of it: not its status nor its version."""
    bookkeeping = ("resourceVersion", "managedFields")
    metadata = {name: value for name, value in obj["metadata"].items() if name not in bookkeeping}
    return {"spec": obj["spec"], "metadata": metadata}


def world(s: Scenario, replicas: int, way: str = "", **fields: Any) -> list[Object]:
    """At rest, from the owner's repository; returns what stands there."""
    objects = manifests(replicas)
    objects[1]["metadata"].update(fields)
    at_rest(s, {"prod-kv/api-key": "value-one"}, [b.secret_store("prod-kv", NS), objects[0]], [objects[1]], NS)
    if way:
        reconcile(s, way, objects)
    s.policy()
    return objects


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("replicas", [3, 1])
def test_s33_what_the_repository_says_is_untouched_and_what_we_wrote_is_not_reverted(way: str, replicas: int) -> None:
    """After a heal the owner's controller has no diff and removes nothing: the pods are recycled once, and no more."""
    with Scenario() as s:
        objects = world(s, replicas, way)
        before = reconcile(s, way, objects)
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, APP), 40, "backend healed")
        s.wait(lambda: s.is_ready(NS, APP), why="at rest")
        written = s.writes()
        there = [s.get(obj["kind"], NS, obj["metadata"]["name"]) for obj in objects]

        after = reconcile(s, way, objects)
        s.cycles(agent, 3)
        for known, now, first in zip(there, after, before, strict=True):
            assert known is not None
            assert said(now) == said(known), "nothing to change"
            assert owned(now, way) == owned(first, way)
        assert "force-sync" in after[0]["metadata"]["annotations"]
        stamped = RESTARTED_AT in (after[1]["spec"]["template"]["metadata"].get("annotations") or {})
        assert stamped == (replicas == 1)
        assert s.writes() == written
        assert s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")


@pytest.mark.parametrize("replicas", [3, 1])
def test_s33_kubectl_apply_finds_nothing_to_change_and_prunes_nothing_of_ours(replicas: int) -> None:
    """By kubectl itself, client-side: what it applied last is on the object, and our annotations are no part of it."""
    with Scenario() as s:
        kubeconfig = s.plane.kubeconfig
        objects = world(s, replicas)
        _kubectl_apply(kubeconfig, objects)
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, APP), 40, "backend healed")
        s.wait(lambda: s.is_ready(NS, APP), why="at rest")
        written = s.writes()

        assert [line.split()[-1] for line in _kubectl_apply(kubeconfig, objects).splitlines()] == ["unchanged"] * 2
        s.cycles(agent, 3)
        chain, deployment = (s.get(obj["kind"], NS, obj["metadata"]["name"]) for obj in objects)
        assert chain is not None
        assert "force-sync" in chain["metadata"]["annotations"]
        assert deployment is not None
        stamped = RESTARTED_AT in (deployment["spec"]["template"]["metadata"].get("annotations") or {})
        assert stamped == (replicas == 1)
        assert s.writes() == written


def _kubectl_apply(kubeconfig: Path, objects: list[Object]) -> str:
    command = [str(program("kubectl")), "--kubeconfig", str(kubeconfig), "apply", "-f", "-"]
    return subprocess.check_output(command, input=yaml.safe_dump_all(objects), text=True)


def test_s33_a_workload_that_another_restarter_handles_is_left_to_it() -> None:
    """The Secret is synced, the pods are left to the restarter, and the refusal names it."""
    _left_alone("other-restarter", "stakater/Reloader handles it", annotations={"reloader.stakater.com/auto": "true"})


def test_s33_a_workload_that_an_operator_owns_is_left_to_it() -> None:
    """The Secret is synced, the pods are left to the operator, and the refusal names the owner."""
    _left_alone("operator-owned", "ConfigMap orders owns it", owner="orders")


def _left_alone(reason: str, who: str, owner: str = "", **fields: Any) -> None:
    with Scenario() as s:
        if owner:
            s.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": owner, "namespace": NS}})
            found = s.get("ConfigMap", NS, owner)
            assert found is not None
            reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": found["metadata"]["uid"]}
            fields["ownerReferences"] = [{**reference, "controller": True}]
        world(s, 3, **fields)
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason=reason)
        s.cycles(agent, 3)
        assert who in told["event"]
        assert s.writes() == [SYNC]
        assert ("recycle", reason) in refusals(agent)
