"""S03: a connection string changes, and the canary's log decides."""

from __future__ import annotations

from typing import Any

from support.scenario import Scenario
from support.told import healed, refusals, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS, APP = "klinematrix-test", "backend"
SECRET = "mongodb-connection-string-test"
POLICY: dict[str, Any] = {
    "vaults": ("klinematrix-test-kv",),
    "recycle": {"canary": {"log": {"success": "^MongoDB connected", "failure": "auth(entication)? failed"}}},
}


def _world(s: Scenario, *, replicas: int = 3, **app: Any) -> None:
    behaviour = {"env": "MONGODB_URI", "backend": "mongodb", "success": ["starting", "MongoDB connected to 1"], **app}
    at_rest(
        s,
        {f"klinematrix-test-kv/{SECRET}": "mongodb://old"},
        [
            b.secret_store("klinematrix-test-kv", NS),
            b.external_secret("app-secrets", NS, {"MONGODB_URI": SECRET}),
        ],
        [b.deployment(APP, NS, replicas, env={"MONGODB_URI": ("app-secrets", "MONGODB_URI")}, app=behaviour)],
        NS,
    )


def _logs_read(s: Scenario) -> list[str]:
    return [e.name for e in s.requests() if e.subresource == "log" and e.code == 200]


def test_s03_the_canary_passes_by_its_log_line_and_the_others_follow() -> None:
    """The new pod's success line lets the others go; only pods that came after the change are ever read."""
    with Scenario() as s:
        _world(s)
        s.policy(**POLICY)
        agent = watching(s)
        old = {pod["metadata"]["name"] for pod in s.pods(NS, APP)}

        s.rotate("klinematrix-test-kv", SECRET, "mongodb://new")
        s.wait(lambda: healed(agent, APP), why="backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, APP, "app-secrets", "MONGODB_URI", "mongodb://new")
        assert s.writes()[0] == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert len(s.writes()) == 4
        assert set(s.evicted(NS)) == old
        assert stages(agent, APP) == [("canary", 1), ("batch", 1), ("batch", 1)]
        assert healed(agent, APP) == [3]
        assert refusals(agent) == []
        assert _logs_read(s)
        assert not set(_logs_read(s)) & old


def test_s03_a_canary_that_is_ready_without_its_line_halts_the_rest() -> None:
    """Ready is not enough where the policy names a line: one pod goes, none follows, and the line is never quoted."""
    with Scenario() as s:
        _world(s, probe=False, onReject="unready", failure="user root: authentication failed")
        s.policy(**POLICY)
        agent = watching(s)
        s.call(s.sandbox.backends.reject, "mongodb", "mongodb://bad")

        s.rotate("klinematrix-test-kv", SECRET, "mongodb://bad")
        halted = agent.until(workload=APP, reason="canary-failed")
        s.cycles(agent)

        assert len(s.evicted(NS)) == 1
        assert len(s.writes()) == 2
        assert stages(agent, APP) == []
        held = sorted(r.source["app-secrets", "MONGODB_URI"] or b"" for r in s.running(NS, APP))
        assert held == [b"mongodb://bad", b"mongodb://old", b"mongodb://old"]
        assert "klinematrix-test-kv/mongodb-connection-string-test" in halted["event"]
        assert "user root" not in agent.err
        assert APP in [e["involvedObject"]["name"] for e in s.events(NS, "CanaryFailed")]


def test_s03_a_canary_that_stays_silent_fails_when_its_time_is_over() -> None:
    """No line at all within the policy's time is a failed canary, though the pod is ready."""
    with Scenario() as s:
        _world(s, replicas=2, success="something else")
        s.policy(vaults=POLICY["vaults"], recycle={"canary": {"log": {"success": "MongoDB connected", "within": "2s"}}})
        agent = watching(s)

        s.rotate("klinematrix-test-kv", SECRET, "mongodb://new")
        halted = agent.until(workload=APP, reason="canary-failed")
        s.cycles(agent, 2)

        assert "did not show the success line within 2 s" in halted["event"]
        assert len(s.evicted(NS)) == 1
        assert len(s.writes()) == 2
