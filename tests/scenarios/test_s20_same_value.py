"""S20: new versions that bring no new value."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import findings, healed, propagated, refusals
from support.worlds import at_rest, next_second, watching

from agent.sandbox import builders as b

NS = "shop"
SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")


def _world(s: Scenario) -> set[str]:
    at_rest(
        s,
        {"prod-kv/api-key": "value-a"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )
    return {pod["metadata"]["uid"] for pod in s.pods(NS)}


def test_s20_a_new_version_with_the_same_value_is_synced_and_nothing_else() -> None:
    """The vault's list cannot tell that the value is the same: one force-sync finds out, and no pod is touched."""
    with Scenario() as s:
        pods = _world(s)
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-a")
        s.wait(lambda: propagated(agent, "vault_to_secret"), why="synced")
        s.cycles(agent, 6)

        assert s.writes() == [SYNC]
        assert {pod["metadata"]["uid"] for pod in s.pods(NS)} == pods
        assert findings(agent) == [("vault", "stale")]
        assert refusals(agent) == []
        assert healed(agent, "backend") == []
        assert propagated(agent, "total") == []


def test_s20_a_value_that_flips_a_b_a_between_two_looks_touches_no_pod() -> None:
    """Two versions in one look, the second with the first's value: one force-sync, and no pod is touched."""
    with Scenario() as s:
        pods = _world(s)
        s.policy()
        agent = watching(s)
        now = s.sandbox.clock.now()

        def flip() -> None:
            s.sandbox.vaults.vault("prod-kv").set("api-key", "value-b", created=now - 2)
            s.sandbox.vaults.vault("prod-kv").set("api-key", "value-a", created=now - 1)

        s.call(flip)
        s.wait(lambda: propagated(agent, "vault_to_secret"), why="synced")
        s.cycles(agent, 6)

        assert s.writes() == [SYNC]
        assert {pod["metadata"]["uid"] for pod in s.pods(NS)} == pods
        assert findings(agent) == [("vault", "stale")]
        assert refusals(agent) == []


def test_s20_a_value_that_is_set_back_before_it_settled_leaves_alone_who_holds_it() -> None:
    """A, B, A seen one by one: who started on the first A holds the current value, so nothing is recycled."""
    with Scenario() as s:
        pods = _world(s)
        s.policy(recycle={"settle": "4s"})
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-b")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-b"}, why="B synced")
        next_second(s)
        s.rotate("prod-kv", "api-key", "value-a")
        s.wait(lambda: s.secret(NS, "app-secrets") == {"API_KEY": b"value-a"}, why="A synced again")
        s.wait(lambda: len(propagated(agent, "vault_to_secret")) == 2, why="both told")
        s.cycles(agent, 6)

        assert s.writes() == [SYNC, SYNC]
        assert {pod["metadata"]["uid"] for pod in s.pods(NS)} == pods
        assert refusals(agent) == []
        assert sample_stale(s.metrics(agent)) == ""


def sample_stale(metrics: str) -> str:
    """The lines of a scrape that tell of containers with an old value."""
    return "\n".join(line for line in metrics.splitlines() if line.startswith("secret_drift_stale_containers{"))
