"""S18, S18b: the new value is bad, and then a person sets the old one again."""

from __future__ import annotations

from typing import Any

from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import findings, healed, refusals, sample, stages
from support.worlds import at_rest, next_second, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.client import SECRETS
from agent.sandbox.world import AGENT_NAMESPACE, Options

NS = "shop"
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
SLOW_BACKOFF = Options(node_settings=Settings(crash_backoff=30.0, crash_backoff_max=30.0))
"""As patient as a real kubelet: a crashed container starts again well after the Secret's next change."""
BOTH = [("Deployment", "backend"), ("ExternalSecret", "app-secrets")]
"""Who owns the pods looks at the one, who has set the value at the other."""
HALTED = {"namespace": NS, "workload": "backend", "reason": "canary-failed"}


def _world(s: Scenario, replicas: int = 3, **app: Any) -> None:
    at_rest(
        s,
        {"prod-kv/db-password": "good", "prod-kv/api-key": "key-one"},
        [
            b.secret_store("prod-kv", NS),
            b.external_secret("app-secrets", NS, {"DB_PASSWORD": "db-password", "API_KEY": "api-key"}),
        ],
        [
            b.deployment(
                "backend", NS, replicas, app={"env": "DB_PASSWORD", "backend": "db", **app},
                env={"DB_PASSWORD": ("app-secrets", "DB_PASSWORD"), "API_KEY": ("app-secrets", "API_KEY")},
            )
        ],
        NS,
    )  # fmt: skip


def _halt(s: Scenario, agent: AgentProcess) -> dict[str, Any]:
    """Rotate to a value that the database does not accept, and wait until the canary's failure is told."""
    s.call(s.sandbox.backends.reject, "db", "bad")
    s.rotate("prod-kv", "db-password", "bad")
    halted = agent.until(workload="backend", reason="canary-failed")
    s.cycles(agent)
    return halted


def _held(s: Scenario) -> list[str]:
    """What the pods hold that are ready."""
    serving = {pod["metadata"]["name"] for pod in s.pods(NS, "backend") if ready(pod)}
    values = [each.source["app-secrets", "DB_PASSWORD"] for each in s.running(NS, "backend") if each.pod in serving]
    return sorted((value or b"").decode() for value in values)


def _about(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((event["involvedObject"]["kind"], event["involvedObject"]["name"]) for event in events)


def test_s18_a_bad_value_stops_at_the_canary_and_the_page_says_what_to_go_back_to() -> None:
    """One pod is lost to the bad value, the rest keep the old one; each report names what changed and what was."""
    with Scenario() as s:
        _world(s)
        s.policy()
        former = s.call(lambda: s.sandbox.vaults.vault("prod-kv").get("db-password")).version
        born = s.call(lambda: s.sandbox.vaults.vault("prod-kv").get("db-password")).created
        agent = watching(s)

        halted = _halt(s, agent)

        assert _held(s) == ["good", "good"]
        assert len(s.evicted(NS)) == 1
        assert s.writes() == [FORCE_SYNC, ("create", "pods", "eviction", f"{NS}/{s.evicted(NS)[0]}")]
        assert stages(agent, "backend") == []
        assert refusals(agent) == []
        assert healed(agent, "backend") == []
        s.wait(lambda: len(s.events(NS, "CanaryFailed")) == 2, why="both Events are written")
        events = s.events(NS, "CanaryFailed")
        assert _about(events) == BOTH
        assert {event["type"] for event in events} == {"Warning"}
        for said in (halted["event"], *(event["message"] for event in events)):
            assert halted["pod"] in said
            assert "prod-kv/db-password" in said
            assert former in said
            assert s.sandbox.clock.rfc3339(born) in said
            assert "starts and fails" in said
            assert "prod-kv/api-key" not in said, "it did not change"
        assert halted["level"] == "error"
        assert sample(s.metrics(agent), "secret_drift_halted", **HALTED) == 1
        assert sample(s.metrics(agent), "secret_drift_stale_containers", namespace=NS, workload="backend") == 2
        assert len(agent.lines(workload="backend", reason="canary-failed")) == 1

        agent.stop()
        again = watching(s)
        s.cycles(again)
        assert len(s.evicted(NS)) == 1
        assert again.lines(workload="backend", reason="canary-failed"), "a page must not resolve by a restart"
        assert sample(s.metrics(again), "secret_drift_halted", **HALTED) == 1


def test_s18_once_does_not_call_a_halted_workload_done_though_its_history_is_lost() -> None:
    """Where no pod can be proved stale any more, the halt alone is drift that remains: `once` and `scan` end with 2."""
    with Scenario(SLOW_BACKOFF) as s:
        _world(s)
        s.policy()
        agent = watching(s)
        _halt(s, agent)
        agent.stop()
        for stored in s.objects("Secret", AGENT_NAMESPACE):
            if "history" in stored["metadata"]["name"]:
                s.run(s.sandbox.admin.delete(SECRETS, AGENT_NAMESPACE, stored["metadata"]["name"]))

        once, scan = s.once(), s.scan()

        for ended in (once, scan):
            assert ended.code == 2, ended.out + ended.err
            assert "0 drifts, 1 suspect" in ended.out
            assert f"Deployment {NS}/backend is halted: canary-failed: pod " in ended.err
        assert len(s.evicted(NS)) == 1


def test_s18_a_canary_that_stays_unready_fails_when_its_time_is_over() -> None:
    """A new pod that runs and never gets ready within the policy's time halts the rest, too."""
    with Scenario() as s:
        _world(s, onReject="unready")
        s.policy(recycle={"canary": {"readyWithin": "2s"}})
        agent = watching(s)

        halted = _halt(s, agent)

        assert "not ready within 2 s" in halted["event"]
        assert _held(s) == ["good", "good"]
        assert len(s.evicted(NS)) == 1
        assert len(s.writes()) == 2


def test_s18_other_workloads_do_not_try_what_failed_one() -> None:
    """The version that made one canary fail is tried by no other workload: refused, with that canary's name."""
    with Scenario() as s:
        _world(s)
        env = {"DB_PASSWORD": ("app-secrets", "DB_PASSWORD")}
        app = {"env": "DB_PASSWORD", "backend": "db"}
        s.apply(b.deployment("worker", NS, 2, env=env, app=app))
        s.ready(NS, "worker")
        s.advance(600)
        s.policy()
        agent = watching(s)

        s.call(s.sandbox.backends.reject, "db", "bad")
        s.rotate("prod-kv", "db-password", "bad")
        failed = agent.until(reason="canary-failed")["workload"]  # whichever was begun first
        (other,) = {"backend", "worker"} - {failed}
        told = agent.until(workload=other, reason="campaign", first=True)
        s.cycles(agent)

        assert f"Deployment shop/{failed}" in agent.lines(workload=other, reason="campaign")[-1]["event"]
        assert told["step"] == "recycle"
        assert len(s.evicted(NS)) == 1
        assert s.all_hold(NS, other, "app-secrets", "DB_PASSWORD", "good")


def test_s18b_the_old_value_as_a_new_version_ends_the_halt_without_another_pod() -> None:
    """The Secret is healed, the canary recovers by itself, and pods that still run that value are left alone."""
    with Scenario(SLOW_BACKOFF) as s:
        _world(s)
        s.policy()
        agent = watching(s)
        before = {pod["metadata"]["uid"] for pod in s.pods(NS)}
        _halt(s, agent)
        kept = {pod["metadata"]["uid"] for pod in s.pods(NS)} & before

        next_second(s)
        s.rotate("prod-kv", "db-password", "good")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"DB_PASSWORD": b"good", "API_KEY": b"key-one"}, why="healed")
        s.cycles(agent)
        assert healed(agent, "backend") == [], "the canary does not run yet"
        s.advance(31)
        s.wait(lambda: s.is_ready(NS, "backend"), why="the canary recovers by itself")
        s.wait(lambda: "secret_drift_halted{" not in s.metrics(agent), why="the halt is over")
        s.cycles(agent)

        assert _held(s) == ["good", "good", "good"]
        assert len(kept) == 2
        assert kept < {pod["metadata"]["uid"] for pod in s.pods(NS)}
        assert len(s.evicted(NS)) == 1
        assert s.writes() == [FORCE_SYNC, ("create", "pods", "eviction", f"{NS}/{s.evicted(NS)[0]}"), FORCE_SYNC]
        assert s.writes(refused=True) == []
        assert "secret_drift_drift{" not in s.metrics(agent)
        assert "secret_drift_stale_containers{" not in s.metrics(agent)
        assert _about(s.events(NS, "HaltEnded")) == BOTH
        assert [f for f in findings(agent) if f[0] == "container"] == [
            ("container", "stale-pod"),
            ("container", "suspect"),  # the canary: when exactly it resolved again between its two runs is not known
        ]
        assert healed(agent, "backend") == [1]
        assert refusals(agent) == []


def test_s18b_another_good_value_ends_the_halt_with_a_canary_of_its_own() -> None:
    """The pod that crash-looped recovers by itself with a third value; only then a canary of its own, and the rest."""
    with Scenario(SLOW_BACKOFF) as s:
        _world(s)
        s.policy()
        agent = watching(s)
        _halt(s, agent)
        (crashed,) = agent.lines(workload="backend", reason="canary-failed")

        next_second(s)
        s.rotate("prod-kv", "db-password", "better")
        agent.until(workload="backend", reason="below-baseline")
        s.cycles(agent)
        assert len(s.evicted(NS)) == 1, "no healthy pod goes while fewer serve than did before"
        s.advance(31)
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.wait(lambda: _held(s) == ["better"] * 3, why="all run the third value")
        s.cycles(agent)

        assert crashed["pod"] not in s.evicted(NS)
        assert len(s.evicted(NS)) == 3
        assert len(s.writes()) == 5
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1)]
        assert refusals(agent) == [("recycle", "below-baseline")]
        assert "secret_drift_halted{" not in s.metrics(agent)


def test_s18_where_a_pod_fails_on_the_new_value_already_none_that_serves_is_replaced() -> None:
    """One restarted by itself and crash-loops: its sibling alone serves, and stays, and the refusal says why."""
    with Scenario() as s:
        _world(s, replicas=2)
        s.policy(recycle={"settle": "5s"})
        agent = watching(s)
        s.call(s.sandbox.backends.reject, "db", "bad")
        s.rotate("prod-kv", "db-password", "bad")
        s.wait(lambda: (s.secret(NS, "app-secrets") or {}).get("DB_PASSWORD") == b"bad", why="ESO has synced")
        first = s.pods(NS, "backend")[0]["metadata"]["name"]
        s.call(s.sandbox.kubelet.restart_container, NS, first, "app")
        s.wait(lambda: sum(ready(pod) for pod in s.pods(NS, "backend")) == 1, why="one crash-loops")
        s.pass_time(10)
        refused = agent.until(workload="backend", reason="pod-failing")
        s.cycles(agent)

        assert s.evicted(NS) == []
        assert f"pod {first}, which is not stale: container app starts and fails" in refused["event"]
        assert sum(ready(pod) for pod in s.pods(NS, "backend")) == 1
