"""S27: windows of the policy, sync windows of the owner, and what a clock on the wall shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from support.scenario import Scenario
from support.told import healed, refusals, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.world import Options

NS = "shop"
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def _world(s: Scenario, replicas: int = 2, chain: dict[str, Any] | None = None, **workload: Any) -> None:
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, **(chain or {}))],
        [b.deployment("backend", NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")}, **workload)],
        NS,
    )


def _window(opens: float, closes: float, **more: Any) -> dict[str, Any]:
    """A window from one moment (unix seconds, whole minutes) to another, in UTC."""
    return {"from": _clock(opens), "to": _clock(closes), "timeZone": "UTC", **more}


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M")


def _minute(s: Scenario, ahead: float) -> float:
    """The full minute that lies so many seconds ahead in the world."""
    return (s.sandbox.clock.now() + ahead) // 60 * 60


def _until(s: Scenario, moment: float) -> None:
    s.advance(moment - s.sandbox.clock.now())


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_s27_outside_the_window_no_pod_is_touched_until_it_opens() -> None:
    """The Secret is healed at any time; the recycle is refused with the time of the opening, and done then."""
    with Scenario() as s:
        _world(s)
        opens = _minute(s, 2 * HOUR)
        s.policy(recycle={"windows": [_window(opens, opens + HOUR)]})
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="outside-window", workload="backend")
        s.cycles(agent)

        assert told["until"] == _stamp(opens)
        assert _stamp(opens) in told["event"]
        assert s.writes() == [FORCE_SYNC]
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-two"}
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-one")

        _until(s, opens - 20)
        s.cycles(agent)
        assert s.writes() == [FORCE_SYNC]

        _until(s, opens + 1)
        s.wait(lambda: healed(agent, "backend"), why="healed in the window")
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert len(s.writes()) == 3
        assert refusals(agent) == [("recycle", "outside-window")]
        (event,) = s.events(NS, "HealRefused")
        assert event["type"] == "Normal", "its end is known"


def test_s27_a_batch_that_has_begun_finishes_and_then_the_workload_holds() -> None:
    """The window ends while two pods are under way: they are followed to their end, the fourth waits."""
    with Scenario(Options(node_settings=Settings(ready=4.0))) as s:
        _world(s, 4, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 0}})
        closes = _minute(s, HOUR)
        s.policy(recycle={"windows": [_window(closes - 2 * HOUR, closes)], "canary": {"readyWithin": "5m"}})
        _until(s, closes - 50)
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: len(s.evicted(NS)) == 3, why="the canary, and a batch of two")
        s.wait(lambda: len(s.running(NS, "backend")) == 4, why="their successors have begun, before time flies")
        s.cycles(agent, 1)
        faults = s.sandbox.api.faults  # that time has flown is known before anything that happened in it
        silent = s.call(faults.add, FaultRule(user="agent", effect="half-open", verb="watch", resource="pods"))
        _until(s, closes + 1)
        s.cycles(agent, 3)
        s.call(faults.remove, silent)
        s.call(faults.add, FaultRule(user="agent", effect="break-watches", resource="pods"))
        told = agent.until(reason="outside-window", workload="backend")
        s.cycles(agent)

        assert len(s.evicted(NS)) == 3
        assert stages(agent, "backend") == [("canary", 1), ("batch", 2)]
        assert told["until"] == _stamp(closes + 22 * HOUR)
        assert s.is_ready(NS, "backend")
        assert _held(s) == ["value-one", "value-two", "value-two", "value-two"]

        _until(s, closes + 22 * HOUR + 1)
        s.wait(lambda: healed(agent, "backend"), why="healed in the next window")
        assert _held(s) == ["value-two"] * 4
        assert len(s.evicted(NS)) == 4
        assert stages(agent, "backend") == [("canary", 1), ("batch", 2), ("batch", 1)]
        assert refusals(agent) == [("recycle", "outside-window")]


def _held(s: Scenario) -> list[str]:
    return sorted((each.source["app-secrets", "API_KEY"] or b"").decode() for each in s.running(NS, "backend"))


def test_s27_broken_pods_may_go_at_any_time_and_the_healthy_wait() -> None:
    """With `brokenPods: any-time` the pod that is stale and not ready goes outside the window, and no other."""
    with Scenario() as s:
        _world(s, 3, app={"env": "API_KEY", "backend": "api", "onReject": "unready"})
        opens = _minute(s, 2 * HOUR)
        s.policy(recycle={"windows": [_window(opens, opens + HOUR)], "brokenPods": "any-time"})
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        agent.until(reason="outside-window", workload="backend")
        assert s.writes() == [FORCE_SYNC]

        s.call(s.sandbox.backends.accept_only, "api", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="the broken pods are replaced")

        went = stages(agent, "backend")  # all at once, or as they break
        assert {stage for stage, _ in went} == {"broken"}
        assert sum(pods for _, pods in went) == 3
        assert len(s.writes()) == 4


def test_s27_the_owners_sync_window_denies_a_force_sync() -> None:
    """A force-sync would bypass ESO's own syncWindows: refused until the window ends, then done once."""
    with Scenario() as s:
        began = _minute(s, 660)  # within the denied span when the world is at rest
        ends = began + 2 * HOUR
        schedule = datetime.fromtimestamp(began, UTC).strftime("%-M %-H * * *")
        windows = {"kind": "deny", "windows": [{"schedule": schedule, "duration": "2h"}]}
        _world(s, chain={"syncWindows": windows, "refreshInterval": "12h"})
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="sync-window")
        s.cycles(agent)

        assert told["until"] == _stamp(ends)
        assert schedule in told["event"]
        assert s.writes() == []
        assert refusals(agent) == [("force-sync", "sync-window")]

        _until(s, ends + 1)
        s.wait(lambda: healed(agent, "backend"), why="healed after the sync window")
        assert s.writes()[0] == FORCE_SYNC
        assert len(s.writes()) == 3


def _clocks_go_forward(after: float) -> datetime:
    """Midnight in Berlin before the next day on which 02:00 is followed by 03:00."""
    day = datetime.fromtimestamp(after, BERLIN).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)
    while day.utcoffset() == (day + timedelta(days=1)).utcoffset() or day.dst():
        day += timedelta(days=1)
    return day


def test_s27_an_hour_that_the_zone_skips_holds_no_window() -> None:
    """On the Sunday on which clocks go from 02:00 to 03:00, 02:15 never comes: the window opens a week later."""
    with Scenario() as s:
        sunday = _clocks_go_forward(s.sandbox.clock.now())
        _until(s, sunday.timestamp())
        _world(s)  # ten minutes and some go by
        window = {"days": ["Sun"], "from": "02:15", "to": "02:45", "timeZone": "Europe/Berlin"}
        s.policy(recycle={"windows": [window]})
        agent = watching(s)
        next_week = (sunday + timedelta(days=7)).replace(hour=2, minute=15).timestamp()

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="outside-window", workload="backend")
        assert told["until"] == _stamp(next_week)

        for minutes in (70, 80, 95):  # 01:10 UTC and on: the wall shows 03:10, where it would have shown 02:10
            _until(s, sunday.timestamp() + minutes * 60 + 15 * 60 * 3)
            s.cycles(agent, 2)
        assert s.writes() == [FORCE_SYNC]

        _until(s, next_week + 1)
        s.wait(lambda: healed(agent, "backend"), why="healed a week later")
        assert len(s.writes()) == 3


def test_s27_a_window_follows_the_wall_when_the_clocks_change() -> None:
    """On the day of the change, too, a window from 04:00 opens when the wall shows 04:00: an hour earlier in UTC."""
    with Scenario() as s:
        sunday = _clocks_go_forward(s.sandbox.clock.now())
        _until(s, sunday.timestamp())
        _world(s)
        window = {"from": "04:00", "to": "05:00", "timeZone": "Europe/Berlin"}
        s.policy(recycle={"windows": [window]})
        agent = watching(s)
        opens = sunday.timestamp() + 3 * HOUR  # midnight, 01:00, 03:00, 04:00

        s.rotate("prod-kv", "api-key", "value-two")
        told = agent.until(reason="outside-window", workload="backend")
        assert told["until"] == _stamp(opens)
        _until(s, opens - 20)
        s.cycles(agent)
        assert s.writes() == [FORCE_SYNC]

        _until(s, opens + 1)
        s.wait(lambda: healed(agent, "backend"), why="healed at four on the wall")
