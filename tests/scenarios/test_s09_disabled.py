"""S09: the newest version of a vault secret is disabled."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import findings, refusals, sample
from support.worlds import WEEK, at_rest, watching

from agent.sandbox import builders as b
from agent.times import stamp

NS = "shop"
HOUR = 3600.0
DRIFT = {"namespace": NS, "externalsecret": "app-secrets", "link": "vault", "kind": "sync-failed", "cause": "disabled"}


def test_s09_a_disabled_version_is_reported_with_the_newest_enabled_one_and_nothing_is_deleted() -> None:
    """Disabled is told with the version to go back to, also when ESO's sync has failed for it; nothing is touched."""
    with Scenario() as s:
        born = int(s.sandbox.clock.now() - 2 * WEEK)
        s.rotate("prod-kv", "api-key", "value-zero", created=born)
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy()
        agent = watching(s)
        vault = s.vault("prod-kv")

        s.call(lambda: vault.update("api-key", enabled=False))
        note = agent.until(kind="disabled")
        assert f"the newest enabled one is of {stamp(born)}" in note["event"]
        s.cycles(agent)
        assert findings(agent) == [("vault", "disabled")]
        assert "secret_drift_drift{" not in s.metrics(agent)  # the Secret still holds what ESO has read

        s.advance(HOUR)  # ESO's refresh, which gets a 403
        failed = agent.until(kind="sync-failed")
        s.cycles(agent)
        assert failed["cause"] == "disabled"
        assert sample(s.metrics(agent), "secret_drift_drift", **DRIFT) == 1
        assert s.writes() == []
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}

        s.call(lambda: vault.update("api-key", enabled=True))
        s.external_secret_ready(NS, "app-secrets")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")
        s.cycles(agent)
        assert s.writes() in ([], [("patch", "externalsecrets", "", f"{NS}/app-secrets")])
        # Where ESO's own retry was first, its sync and the version's return lie within the margin of the clocks.
        assert findings(agent)[:2] == [("vault", "disabled"), ("vault", "sync-failed")]
        assert findings(agent)[2:] in ([], [("vault", "stale")])
        assert refusals(agent) == []


def test_s09_a_first_look_names_the_newest_enabled_version_too() -> None:
    """A version that was disabled before the agent ever looked is reported with the version to go back to."""
    with Scenario() as s:
        born = int(s.sandbox.clock.now() - 2 * WEEK)
        s.rotate("prod-kv", "api-key", "value-zero", created=born)
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [],
            NS,
        )
        vault = s.vault("prod-kv")
        s.call(lambda: vault.update("api-key", enabled=False))
        s.policy()
        ended = s.once("--deadline", "5s")
        assert f"the newest enabled one is of {stamp(born)}" in ended.err
        assert s.writes() == []
