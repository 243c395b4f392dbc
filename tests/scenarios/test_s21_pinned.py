"""S21: ExternalSecrets that ESO will never sync again."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import findings, healed, refusals
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.client import Object

NS = "shop"


def chains() -> dict[str, Object]:
    """One ExternalSecret of each kind of pin, by a part of the words in which it is reported."""
    fixed = {"key": "fixed-key", "version": "a" * 32}
    return {
        "CreatedOnce": b.external_secret("once", NS, {"KEY": "once-key"}, refreshPolicy="CreatedOnce"),
        "refreshInterval is 0": b.external_secret("never", NS, {"KEY": "never-key"}, refreshInterval="0s"),
        "fixed version": b.external_secret("fixed", NS, {"KEY": fixed}),
    }


def test_s21_what_is_pinned_is_reported_and_never_healed() -> None:
    """CreatedOnce, interval 0 and fixed versions are reported as pinned when their vault secrets rotate; no action."""
    with Scenario() as s:
        s.rotate("prod-kv", "fixed-key", "value-one", version="a" * 32)
        at_rest(
            s,
            {"prod-kv/once-key": "value-one", "prod-kv/never-key": "value-one"},
            [b.secret_store("prod-kv", NS), *chains().values()],
            [b.deployment("backend", NS, 2, env={"A": ("once", "KEY"), "B": ("never", "KEY"), "C": ("fixed", "KEY")})],
            NS,
        )
        s.policy()
        agent = watching(s)
        for name in ("once", "never", "fixed"):
            s.rotate("prod-kv", f"{name}-key", "value-two")
        s.cycles(agent, 6)
        s.advance(7200)
        s.cycles(agent)

        assert findings(agent) == [("vault", "pinned")] * 3
        for said, chain in chains().items():
            (line,) = agent.lines(kind="pinned", externalsecret=chain["metadata"]["name"])
            assert said in line["event"]
            assert line["level"] == "info"
        assert s.writes() == []
        assert refusals(agent) == []
        assert "secret_drift_drift{" not in s.metrics(agent)
        for name in ("once", "never", "fixed"):
            assert s.secret(NS, name) == {"KEY": b"value-one"}


def test_s21_a_pinned_chain_does_not_hold_its_workload_up() -> None:
    """A workload that consumes a pinned Secret beside another one is recycled for the other one's rotation."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/once-key": "value-one", "prod-kv/api-key": "value-one"},
            [
                b.secret_store("prod-kv", NS),
                chains()["CreatedOnce"],
                b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
            ],
            [b.deployment("backend", NS, 2, env={"A": ("once", "KEY"), "B": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy()
        agent = watching(s)
        s.rotate("prod-kv", "once-key", "value-two")
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert s.all_hold(NS, "backend", "once", "KEY", "value-one")
        assert s.writes()[0] == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert len(s.writes()) == 1 + len(s.evicted(NS)) == 3
        assert refusals(agent) == []
