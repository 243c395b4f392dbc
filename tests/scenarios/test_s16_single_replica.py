"""S16: one replica is replaced only where that leaves no gap."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from support.scenario import Scenario
from support.told import findings, healed, refusals, sample, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.client import Object

NS = "shop"
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
ENV: dict[str, Any] = {"env": {"API_KEY": ("app-secrets", "API_KEY")}}
DATA = {"volumes": {"data": {"persistentVolumeClaim": {"claimName": "data"}}}}


def _world(s: Scenario, workload: Object) -> None:
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [workload],
        NS,
    )


def _claim(s: Scenario, mode: str) -> None:
    s.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": NS},
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
        }
    )


def _restarted(s: Scenario) -> None:
    """The new pod was ready before the old one went, and nothing but the template was written."""
    (old,) = s.pods(NS, "backend")
    agent = watching(s)

    s.rotate("prod-kv", "api-key", "value-two")
    s.wait(lambda: healed(agent, "backend"), why="backend healed")
    s.cycles(agent)

    assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
    assert old["metadata"]["name"] not in {pod["metadata"]["name"] for pod in s.pods(NS)}
    assert s.writes() == [FORCE_SYNC, ("patch", "deployments", "", f"{NS}/backend")]
    assert s.writes(refused=True) == []
    assert refusals(agent) == []
    assert stages(agent, "backend") == [("restart", 1)]
    assert healed(agent, "backend") == [1]
    first, second = [r for r in s.call(lambda: list(s.sandbox.kubelet.record)) if r.namespace == NS]
    assert s.call(s.sandbox.kubelet.ended_at, first) > second.started_at  # type: ignore[operator]
    template = (s.get("Deployment", NS, "backend") or {})["spec"]["template"]
    assert "secret-drift-agent/restarted-at" in template["metadata"]["annotations"]
    assert "RolloutRestarted" in {event["reason"] for event in s.events(NS)}
    assert "secret_drift_drift{" not in s.metrics(agent)


def test_s16_a_single_replica_that_can_surge_is_replaced_by_its_controller() -> None:
    """Its template is stamped once; the new pod is ready before the old one ends, and no pod is evicted."""
    with Scenario() as s:
        _world(s, b.deployment("backend", NS, 1, **ENV))
        s.policy()
        _restarted(s)


def test_s16_a_volume_that_many_nodes_can_mount_is_no_hindrance() -> None:
    """A claim with ReadWriteMany lets the new pod start beside the old one: rollout-restart."""
    with Scenario() as s:
        _world(s, b.deployment("backend", NS, 1, **ENV, **DATA))
        _claim(s, "ReadWriteMany")
        s.policy()
        _restarted(s)


def test_s16_a_gap_that_is_allowed_is_not_taken_where_it_can_be_avoided() -> None:
    """`gap: allow` permits a gap and asks for none: a Deployment that can surge is restarted by rollout."""
    with Scenario() as s:
        _world(s, b.deployment("backend", NS, 1, **ENV))
        s.policy(recycle={"gap": "allow"})
        _restarted(s)


_REFUSED = {
    "recreate": (b.deployment("backend", NS, 1, strategy={"type": "Recreate"}, **ENV), "single-replica", "Recreate"),
    "no-surge": (
        b.deployment("backend", NS, 1, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0}}, **ENV),
        "single-replica",
        "maxSurge 0",
    ),
    "single-attach": (b.deployment("backend", NS, 1, **ENV, **DATA), "single-replica", "volume claim data"),
    "statefulset": (b.statefulset("backend", NS, 1, **ENV), "single-replica", "StatefulSet"),
    "partition": (
        b.statefulset(
            "backend", NS, 3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}, **ENV
        ),
        "partition",
        "partition 2",
    ),
}


@pytest.mark.parametrize("shape", sorted(_REFUSED))
def test_s16_a_workload_that_would_be_away_is_refused_with_its_own_reason(shape: str) -> None:
    """Recreate, no surge, a volume for one node, a StatefulSet, a partition: reported, refused, no pod touched."""
    workload, reason, word = _REFUSED[shape]
    with Scenario() as s:
        _world(s, workload)
        if shape == "single-attach":
            _claim(s, "ReadWriteOnce")
        s.policy()
        agent = watching(s)
        before = {pod["metadata"]["uid"] for pod in s.pods(NS)}

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason=reason, workload="backend")
        s.cycles(agent)

        assert word in told["event"]
        assert s.writes() == [FORCE_SYNC]
        assert s.writes(refused=True) == []
        assert refusals(agent) == [("recycle", reason)]
        assert findings(agent) == [("vault", "stale"), ("container", "stale-pod")]
        assert {pod["metadata"]["uid"] for pod in s.pods(NS)} == before
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-one")
        assert sample(s.metrics(agent), "secret_drift_refusals_total", step="recycle", reason=reason) == 1
        (event,) = s.events(NS, "HealRefused")
        assert (event["involvedObject"]["name"], event["type"]) == ("backend", "Warning")
        assert word in event["message"]


def test_s16_a_gap_is_made_only_where_the_policy_allows_one() -> None:
    """With `gap: allow` the one pod of a Recreate Deployment is evicted, once."""
    with Scenario() as s:
        _world(s, b.deployment("backend", NS, 1, strategy={"type": "Recreate"}, **ENV))
        s.policy(recycle={"gap": "allow"})
        agent = watching(s)
        (old,) = s.pods(NS)

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert s.writes() == [
            FORCE_SYNC, ("create", "pods", "eviction", f"{NS}/{old['metadata']['name']}"),
        ]  # fmt: skip
        assert refusals(agent) == []


def test_s16_a_replica_that_goes_stale_again_under_the_same_versions_is_restarted_again() -> None:
    """A hand changes the Secret, a container takes that value, ESO undoes it: the second restart is one of its own."""
    with Scenario() as s:
        _world(s, b.deployment("backend", NS, 1, **ENV))
        s.policy()
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)
        assert agent.stop().code == 0
        s.pass_time(30)
        secret: Object = {"apiVersion": "v1", "kind": "Secret", **(s.get("Secret", NS, "app-secrets") or {})}
        secret["metadata"] = {
            k: v for k, v in secret["metadata"].items() if k not in ("resourceVersion", "managedFields")
        }
        secret["data"] = {"API_KEY": b64encode(b"by hand").decode()}
        agent = watching(s)

        s.call(setattr, s.sandbox.eso, "delay", 9.0)
        s.apply(secret)
        s.pass_time(4)  # past the margins: what starts now gets the hand's value for sure
        (pod,) = s.pods(NS, "backend")
        s.call(s.sandbox.kubelet.restart_container, NS, pod["metadata"]["name"], "app")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}, 30, why="ESO has undone it")
        s.call(setattr, s.sandbox.eso, "delay", 0.0)
        s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), 40, why="it is fresh again")

        assert [verb for verb, resource, *_ in s.writes() if resource == "deployments"] == ["patch"] * 2
        assert agent.lines(reason="canary-blocked") == []


def test_s16_a_restart_that_a_quota_keeps_from_its_new_pod_is_said_once_and_not_repeated() -> None:
    """The old pod serves on, the template is stamped once however long it takes, and room ends the halt by itself."""
    with Scenario() as s:
        _world(s, b.deployment("backend", NS, 1, **ENV))
        meta = {"name": "tight", "namespace": NS}
        tight: Object = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "1"}}}
        s.apply(tight)
        s.policy()
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: ("patch", "deployments", "", f"{NS}/backend") in s.writes(), why="the restart was sent")
        for _ in range(8):
            s.advance(20)
            s.cycles(agent)

        assert len(agent.lines(reason="canary-blocked")) == 1  # its end would be a second
        assert [verb for verb, resource, *_ in s.writes() if resource == "deployments"] == ["patch"]
        assert len(s.pods(NS, "backend")) == 1

        s.apply({**tight, "spec": {"hard": {"pods": "2"}}})
        s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), 60, why="the new pod came")
        s.wait(lambda: "secret_drift_halted{" not in s.metrics(agent), 30, why="the halt has ended")
        s.cycles(agent)
        assert [verb for verb, resource, *_ in s.writes() if resource == "deployments"] == ["patch"]
