"""S05, S05b: ESO says that all is well, and the Secret cannot be written: it is immutable."""

from __future__ import annotations

import pytest
from support.scenario import Scenario
from support.told import findings, healed, propagated, refusals, sample, stages
from support.worlds import at_rest, refresh, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.client import SECRETS
from agent.sandbox.world import Options

NS = "shop"
RECREATE = {"steps": ["force-sync", "recreate"]}
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
DELETE = ("delete", "secrets", "", f"{NS}/app-secrets")


def frozen(s: Scenario, replicas: int, *, one_per_node: bool) -> None:
    """An immutable Secret at rest, with a Deployment that takes a key of it into its environment."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [
            b.secret_store("prod-kv", NS),
            b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, target={"immutable": True}),
        ],
        [b.deployment("backend", NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")}, one_per_node=one_per_node)],
        NS,
    )


def test_s05_a_stuck_secret_is_recreated_and_its_pods_land_on_nodes_that_serve_the_new_one() -> None:
    """A Secret that target.immutable froze is proved readable, deleted once, and its pods move to clean nodes."""
    with Scenario(Options(nodes=("node-1", "node-2", "node-3", "node-4"))) as s:
        frozen(s, 3, one_per_node=True)
        before = s.get("Secret", NS, "app-secrets")
        s.policy(sync=RECREATE)
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS)}

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        after = s.get("Secret", NS, "app-secrets")
        assert before is not None
        assert after is not None
        assert before["metadata"]["uid"] != after["metadata"]["uid"]
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}
        assert s.is_ready(NS, "backend")
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        force_sync, delete, *evictions = s.writes()
        assert (force_sync, delete) == (FORCE_SYNC, DELETE)
        assert {(verb, resource, sub) for verb, resource, sub, _ in evictions} == {("create", "pods", "eviction")}
        assert len(evictions) == 3
        assert set(s.evicted(NS)) == old
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1), ("batch", 1)]
        assert findings(agent) == [("vault", "stale"), ("secret", "stuck"), ("container", "stale-pod")]
        assert propagated(agent, "vault_to_secret") == ["prod-kv/api-key"]
        assert propagated(agent, "total") == ["prod-kv/api-key"]
        assert refusals(agent) == []
        assert {"SecretRecreating", "SecretRecreated"} <= {event["reason"] for event in s.events(NS)}
        metrics = s.metrics(agent)
        assert sample(metrics, "secret_drift_actions_total", result="done", step="recreate") == 1
        assert "secret_drift_drift{" not in metrics


def test_s05_nothing_is_deleted_where_the_policy_does_not_allow_it() -> None:
    """Recreate is off by default: the stuck Secret is reported with its remedy, refused, and not synced again."""
    with Scenario() as s:
        frozen(s, 1, one_per_node=False)
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: refusals(agent), why="the recreate is refused")
        s.advance(120)  # what proved that ESO can read everything is too old by now
        s.cycles(agent)

        assert s.writes() == [FORCE_SYNC]
        assert refusals(agent) == [("recreate", "step-not-allowed")]
        assert findings(agent) == [("vault", "stale"), ("secret", "stuck")]
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}


@pytest.mark.parametrize("once", [False, True], ids=["run", "once"])
def test_s05_many_stuck_secrets_are_recreated_one_after_the_other(once: bool) -> None:
    """Each waits for the one before it, and goes as soon as that is back: in `run`, and in one `once`."""
    names = [f"frozen-{number}" for number in range(5)]
    with Scenario() as s:
        chains = [b.external_secret(name, NS, {"API_KEY": "api-key"}, target={"immutable": True}) for name in names]
        at_rest(s, {"prod-kv/api-key": "value-one"}, [b.secret_store("prod-kv", NS), *chains], [], NS)
        s.policy(sync=RECREATE)
        if not once:
            watching(s)
            s.rotate("prod-kv", "api-key", "value-two")
            s.wait(lambda: all(s.secret(NS, name) == {"API_KEY": b"value-two"} for name in names), why="all are anew")
        else:
            assert s.once().code == 0
            s.rotate("prod-kv", "api-key", "value-two")
            assert s.once("--deadline", "60s").code == 0
        deleted = [where for verb, resource, _, where in s.writes() if (verb, resource) == ("delete", "secrets")]
        assert sorted(deleted) == [f"{NS}/{name}" for name in names]
        assert all(s.secret(NS, name) == {"API_KEY": b"value-two"} for name in names)


def test_s05_versions_that_follow_one_another_within_the_margin_of_the_clocks_are_told_apart() -> None:
    """A Secret written anew is asked about at once: what the vault gets 10 s later is not in it, and it goes again."""
    with Scenario(Options(nodes=("node-1", "node-2", "node-3", "node-4"))) as s:
        frozen(s, 2, one_per_node=True)
        s.policy(sync=RECREATE, margins={"vault": "30s"})
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}, why="the Secret is written anew")
        s.cycles(agent, 10)  # three seconds
        s.rotate("prod-kv", "api-key", "value-three")
        s.wait(lambda: s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-three"), 60, why="healed")

        assert s.writes().count(DELETE) == 2


def test_s05_what_came_at_the_moment_at_which_the_secret_was_made_is_not_known_and_nothing_is_deleted() -> None:
    """With no answer of the vault from in between, a Secret and a version of one moment may belong together or not."""
    with Scenario() as s:
        frozen(s, 1, one_per_node=False)
        s.policy(sync=RECREATE, margins={"vault": "30s"})
        assert s.once().code == 0
        s.run(s.sandbox.admin.delete(SECRETS, NS, "app-secrets"))
        s.wait(lambda: s.secret(NS, "app-secrets"), why="ESO has written it anew")
        s.advance(8)
        s.rotate("prod-kv", "api-key", "value-two")

        assert "cannot be judged" in s.once().err
        assert s.writes() == [FORCE_SYNC]
        told = s.explain(f"{NS}/app-secrets", "-o", "json").out
        assert "target.immutable keeps it as it was made" in told
        assert '"secret": "unknown"' in told
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}


def test_s05b_a_pod_on_a_node_that_serves_the_old_object_is_not_called_fresh() -> None:
    """Beside its neighbours a new pod still gets the old object: halted after one pod, until all have left the node."""
    with Scenario(Options(nodes=("node-1",))) as s:
        frozen(s, 3, one_per_node=False)
        s.policy(sync=RECREATE)
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        halt = agent.until(reason="immutable-cached-on-node", workload="backend")
        s.ready(NS, "backend")
        s.cycles(agent)

        assert "node-1" in halt["event"]
        assert "kubectl drain" in halt["event"]
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-one")  # the judge: kubelet served the old one
        assert s.writes()[:2] == [FORCE_SYNC, DELETE]
        assert len(s.evicted(NS)) == 1
        assert len(s.writes()) == 3
        halted = {"namespace": NS, "workload": "backend", "reason": "immutable-cached-on-node"}
        assert sample(s.metrics(agent), "secret_drift_halted", **halted) == 1
        assert "RolloutHalted" in {event["reason"] for event in s.events(NS)}

        scale(s, 0)
        s.wait(lambda: not s.objects("Pod", NS), why="no pod is left, terminating ones included")
        scale(s, 3)
        s.ready(NS, "backend")
        s.wait(lambda: "secret_drift_halted{" not in s.metrics(agent), why="the halt is over")
        assert [line for line in agent.lines(workload="backend") if "the halt (" in line["event"]]
        s.cycles(agent)
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert len(s.writes()) == 3
        assert "secret_drift_drift{" not in s.metrics(agent)


def scale(s: Scenario, replicas: int) -> None:
    """What a person does by ``kubectl scale``."""
    s.apply(b.deployment("backend", NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")}))


def test_s05b_an_immutable_secret_without_target_immutable_needs_a_hand() -> None:
    """A Secret that someone made immutable cannot be updated by ESO: reported with the command, never deleted by us."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        make_immutable(s)
        s.policy(sync=RECREATE)
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        found = agent.until(kind="stuck-needs-hand")
        s.cycles(agent)

        assert f"kubectl -n {NS} delete secret app-secrets" in found["event"]
        assert s.writes() == [FORCE_SYNC]
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}
        assert ("recreate", "not-immutable") not in refusals(agent)
        assert "stuck-needs-hand" in s.metrics(agent)


def make_immutable(s: Scenario) -> None:
    """What a person does by ``kubectl patch secret``."""
    s.run(s.sandbox.admin.merge_patch(SECRETS, NS, "app-secrets", {"immutable": True}))


def test_s05b_a_type_that_the_spec_changed_needs_a_hand() -> None:
    """A Secret's type cannot be changed: reported with the command, nothing deleted."""
    with Scenario() as s:
        chain = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), chain],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy(sync=RECREATE)
        agent = watching(s)

        typed = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, target={"template": {"type": "example/x"}})
        s.apply(typed)
        found = agent.until(kind="stuck-needs-hand")
        s.cycles(agent)

        assert f"kubectl -n {NS} delete secret app-secrets" in found["event"]
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}
        assert s.writes() == []
        assert refusals(agent) == []
        assert ("secret", "stuck-needs-hand") in findings(agent)


def test_s05b_nobody_is_told_to_delete_what_eso_could_not_write_again() -> None:
    """The type was changed while ESO is denied the vault: first mend that, says the agent, and shows no command."""
    with Scenario() as s:
        chain = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})
        at_rest(s, {"prod-kv/api-key": "value-one"}, [b.secret_store("prod-kv", NS), chain], [], NS)
        s.call(s.sandbox.vaults.grant, "eso", "prod-kv", list=True, get=False)
        typed = b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, target={"template": {"type": "example/x"}})
        s.apply(typed)
        s.wait(lambda: not ready(s.get("ExternalSecret", NS, "app-secrets") or {}), why="ESO says Ready=False")
        s.policy(sync=RECREATE)
        agent = watching(s)
        agent.until(cause="access-denied")
        s.cycles(agent, 1)

        told = agent.until(kind="stuck-needs-hand")["event"]
        assert "mend first what keeps ESO from writing it (it fails to sync: access-denied)" in told
        assert "delete secret" not in s.explain(f"{NS}/app-secrets").out + agent.err
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}


def test_s05_a_secret_made_from_the_first_version_of_all_is_in_no_doubt() -> None:
    """Applied before its vault secret is there, it is made within a second of it: no clock tells, and none need to."""
    with Scenario() as s:
        s.rotate("prod-kv", "another", "value")
        s.apply(b.secret_store("prod-kv", NS))
        s.apply(b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, target={"immutable": True}))
        s.policy(mode="observe")
        agent = watching(s)
        agent.until(kind="sync-failed", cause="not-found")

        s.rotate("prod-kv", "api-key", "value-one")
        refresh(s, NS, "app-secrets")
        s.external_secret_ready(NS, "app-secrets")
        s.advance(60)
        refresh(s, NS, "app-secrets")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent)
        assert ("secret", "unknown") not in findings(agent)
