"""S19: username and password are two secrets of two vaults, and one workload needs both."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import healed, propagated, refusals, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.kubelet import Received

NS = "shop"
USER, PASSWORD = ("db-user", "USERNAME"), ("db-password", "PASSWORD")


def _world(s: Scenario) -> set[str]:
    """Two chains over two vaults, one Deployment of 3 that uses both. The names of its pods."""
    at_rest(
        s,
        {"users-kv/db-user": "old-user", "passwords-kv/db-password": "old-password"},
        [
            b.secret_store("users-kv", NS, name="users"),
            b.secret_store("passwords-kv", NS, name="passwords"),
            b.external_secret("db-user", NS, {"USERNAME": "db-user"}, store="users"),
            b.external_secret("db-password", NS, {"PASSWORD": "db-password"}, store="passwords"),
        ],
        [b.deployment("backend", NS, 3, env={"DB_USER": USER, "DB_PASSWORD": PASSWORD})],
        NS,
    )
    return {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}


def _pairs(received: list[Received]) -> list[tuple[bytes | None, bytes | None]]:
    return [(each.source[USER], each.source[PASSWORD]) for each in received]


def test_s19_a_pair_rotated_seconds_apart_is_one_recycle_after_both() -> None:
    """The second half comes within the settle time: one recycle, and no container ever starts on half a pair."""
    with Scenario() as s:
        old = _world(s)
        s.policy(vaults=["users-kv", "passwords-kv"], recycle={"settle": "3s"})
        agent = watching(s)

        s.rotate("users-kv", "db-user", "new-user")
        s.wait(lambda: s.secret(NS, "db-user") == {"USERNAME": b"new-user"}, why="the first half synced")
        first = s.sandbox.clock.now()
        s.wait(lambda: s.sandbox.clock.now() > first + 1.2, why="some time")
        s.rotate("passwords-kv", "db-password", "new-password")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        received = _pairs(s.call(lambda: list(s.sandbox.kubelet.record)))
        assert received == [(b"old-user", b"old-password")] * 3 + [(b"new-user", b"new-password")] * 3
        assert s.writes()[:2] == [
            ("patch", "externalsecrets", "", f"{NS}/db-user"),
            ("patch", "externalsecrets", "", f"{NS}/db-password"),
        ]
        assert len(s.writes()) == 2 + 3
        assert set(s.evicted(NS)) == old
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1), ("batch", 1)]
        came = {(line["source"], line["chain"]) for line in agent.lines(stage="total") if "source" in line}
        assert came == {("users-kv/db-user", f"{NS}/db-user"), ("passwords-kv/db-password", f"{NS}/db-password")}
        assert healed(agent, "backend") == [3]
        assert refusals(agent) == []
        assert sorted(propagated(agent, "total")) == ["passwords-kv/db-password", "users-kv/db-user"]


def test_s19_while_one_chain_fails_upstream_nothing_is_recycled() -> None:
    """ESO may not read the password any more: the new username waits, refused as `upstream`, until it may again."""
    with Scenario() as s:
        old = _world(s)
        s.policy(vaults=["users-kv", "passwords-kv"])
        agent = watching(s)

        s.call(s.sandbox.vaults.grant, "eso", "passwords-kv", list=True, get=False)
        s.rotate("passwords-kv", "db-password", "new-password")
        agent.until(kind="sync-failed", externalsecret="db-password")
        s.rotate("users-kv", "db-user", "new-user")
        s.wait(lambda: s.secret(NS, "db-user") == {"USERNAME": b"new-user"}, why="the username synced")
        refused = agent.until(step="recycle", reason="upstream")
        s.cycles(agent, 4)

        assert "db-password" in refused["event"]
        assert {pod["metadata"]["name"] for pod in s.pods(NS, "backend")} == old
        assert s.evicted(NS) == []

        s.call(s.sandbox.vaults.grant, "eso", "passwords-kv", list=True, get=True)
        s.advance(60)  # ESO tries again, its backoff is over
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        received = _pairs(s.call(lambda: list(s.sandbox.kubelet.record)))
        assert received == [(b"old-user", b"old-password")] * 3 + [(b"new-user", b"new-password")] * 3
        assert set(s.evicted(NS)) == old
        assert sorted(s.writes()[:2]) == [
            ("patch", "externalsecrets", "", f"{NS}/db-password"),
            ("patch", "externalsecrets", "", f"{NS}/db-user"),
        ]
        assert len(s.writes()) == 2 + 3
        assert refusals(agent) == [("recycle", "upstream")]
        assert healed(agent, "backend") == [3]
