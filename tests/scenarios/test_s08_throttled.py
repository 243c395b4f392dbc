"""S08: a vault throttles."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import findings, healed, refusals, sample
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS = "shop"
VAULTS = ("prod-kv", "other-kv")


def world(s: Scenario) -> None:
    """Two chains over two vaults, each with a workload."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one", "other-kv/password": "pass-one"},
        [
            b.secret_store("prod-kv", NS),
            b.secret_store("other-kv", NS, name="other"),
            b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}),
            b.external_secret("db-secrets", NS, {"PASSWORD": "password"}, store="other"),
        ],
        [
            b.deployment("backend", NS, 1, env={"API_KEY": ("app-secrets", "API_KEY")}),
            b.deployment("database", NS, 1, env={"PASSWORD": ("db-secrets", "PASSWORD")}),
        ],
        NS,
    )


def asked(s: Scenario, vault: str) -> list[tuple[float, int]]:
    """When the agent asked a vault, and the status of the answer."""
    return s.call(
        lambda: [
            (entry.at, entry.code)
            for entry in s.sandbox.vaults.audit
            if entry.identity == "agent" and entry.vault == vault and entry.operation != "challenge"
        ]
    )


def test_s08_a_throttled_vault_is_left_in_peace_as_long_as_it_asks_while_others_go_on() -> None:
    """After a 429 with Retry-After nothing is sent for that long; the other vault's rotation is healed meanwhile."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=VAULTS)
        agent = watching(s)
        begun = len(asked(s, "prod-kv"))
        s.call(s.sandbox.vaults.fault, "429:1", vault="prod-kv", identity="agent", times=2)
        s.wait(lambda: len(asked(s, "prod-kv")) > begun, why="the vault has throttled us")
        s.rotate("prod-kv", "api-key", "value-two")
        s.rotate("other-kv", "password", "pass-two")

        s.wait(lambda: healed(agent, "database"), why="the other vault's chain is healed")
        assert len([code for _, code in asked(s, "prod-kv") if code == 429]) <= 2
        s.wait(lambda: healed(agent, "backend"), why="the throttled one is healed, too")
        s.cycles(agent)

        times = asked(s, "prod-kv")
        throttled = [index for index, (_, code) in enumerate(times) if code == 429]
        assert len(throttled) == 2
        for index in throttled:
            assert times[index + 1][0] - times[index][0] >= 1.0
        assert sorted(s.writes()) == [
            ("patch", "deployments", "", f"{NS}/backend"),
            ("patch", "deployments", "", f"{NS}/database"),
            ("patch", "externalsecrets", "", f"{NS}/app-secrets"),
            ("patch", "externalsecrets", "", f"{NS}/db-secrets"),
        ]
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert s.all_hold(NS, "database", "db-secrets", "PASSWORD", "pass-two")
        assert refusals(agent) == []


def test_s08_a_start_does_not_wait_for_a_vault_that_wants_long_peace() -> None:
    """The agent starts while a vault asks for half a minute: it says so, and heals what the other vault feeds."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=VAULTS)
        assert s.once().code == 0
        s.pass_time(60)
        s.rotate("prod-kv", "api-key", "value-two")
        s.rotate("other-kv", "password", "pass-two")
        s.call(s.sandbox.vaults.fault, "429:30", vault="prod-kv", identity="agent", times=1)
        begun = len(asked(s, "prod-kv"))

        agent = s.start_agent()
        s.wait(lambda: healed(agent, "database"), why="the other vault's chain is healed")
        assert [code for _, code in asked(s, "prod-kv")[begun:]] == [429]
        assert "vault prod-kv: throttled" in agent.err
        troubles = s.metrics(agent)
        assert sample(troubles, "secret_drift_trouble", subject="vault prod-kv", cause="throttled") == 1
        assert not healed(agent, "backend")

        s.wait(lambda: healed(agent, "backend"), 60, why="the throttled one is healed when its peace is over")
        (refused_at, _), (next_at, _), *_ = asked(s, "prod-kv")[begun:]
        assert next_at - refused_at >= 30.0


def test_s08_once_ends_within_its_deadline_though_the_vault_asks_for_more() -> None:
    """A vault that asks for a minute of peace is unknown, its chain not touched, and `once` ends in time."""
    with Scenario() as s:
        world(s)
        s.policy(vaults=VAULTS)
        s.call(s.sandbox.vaults.fault, "429:60", vault="prod-kv", identity="agent")
        ended = s.once("--deadline", "3s", timeout=30)
        assert ended.code == 1  # not everything could be looked at
        assert len(asked(s, "prod-kv")) == 1
        assert "vault prod-kv: throttled" in ended.err
        assert "throttles us" in ended.out
        assert s.writes() == []


def test_s08_a_vault_that_throttles_eso_brings_no_storm_of_force_syncs() -> None:
    """A dozen stale chains of a vault that throttles ESO: one force-sync each, never more than five under way."""
    with Scenario() as s:
        names = [f"app-{number:02}" for number in range(12)]
        at_rest(
            s,
            {f"prod-kv/{name}": "value-one" for name in names},
            [b.secret_store("prod-kv", NS), *(b.external_secret(name, NS, {"KEY": name}) for name in names)],
            [],
            NS,
        )
        s.policy()
        agent = watching(s)
        s.call(s.sandbox.vaults.fault, "429:1", vault="prod-kv", identity="eso", times=2)
        for name in names:
            s.rotate("prod-kv", name, "value-two")
        s.wait(lambda: all(s.secret(NS, name) == {"KEY": b"value-two"} for name in names), why="all are synced")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="all drift is over")
        s.cycles(agent)

        assert sorted(where for *_, where in s.writes()) == [f"{NS}/{name}" for name in names]
        assert most_under_way(s) <= 5
        assert findings(agent) == [("vault", "stale")] * len(names)


def most_under_way(s: Scenario) -> int:
    """The most force-syncs that were written and not yet acknowledged by ESO at any one time."""
    audit = s.call(lambda: list(s.sandbox.api.audit))
    open_, most = set(), 0
    for entry in audit:
        if entry.resource != "externalsecrets" or entry.code >= 400:
            continue
        if entry.user == "agent" and entry.verb == "patch":
            open_.add(entry.name)
        elif entry.user == "system:eso" and entry.subresource == "status":
            open_.discard(entry.name)
        most = max(most, len(open_))
    return most
