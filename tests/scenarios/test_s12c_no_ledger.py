"""S12c: the first run in a cluster with a past that looks like a rotation, and of which nothing is known for sure."""

from __future__ import annotations

from typing import Any

from support.days import DAY, Day
from support.scenario import Scenario
from support.told import findings, refusals
from support.worlds import one_more

from agent.sandbox import builders as b

NS = "shop"
_APART = 5.0
"""Seconds by which, on a real API server, what is before and what is after is told apart for sure."""
KEYS = {
    "adopted": ("SAME", "OTHER"),
    "moved": ("KEY",),
    "purged": ("KEY",),
    "disabled": ("KEY",),
}
"""Workload, and Secret of the same name -> the keys that it uses."""


def _store(vault: str) -> dict[str, Any]:
    return b.secret_store(vault, NS, name="moving")


def _scaled(s: Scenario, workload: str, replicas: int) -> str:
    return one_more(s, b.deployment(workload, NS, replicas, env={key: (workload, key) for key in KEYS[workload]}))


def _vaults(s: Scenario, day: Day) -> None:
    """The versions of a week ago; the vault that ``moved`` moves to holds another value."""
    long_ago = day.at("08:00") - 7 * DAY
    for vault, name, value in (
        ("prod-kv", "same", "same"), ("prod-kv", "other", "of the vault"), ("prod-kv", "purged", "kept"),
        ("prod-kv", "disabled", "one"), ("prod-kv", "moved", "of the old vault"), ("new-kv", "moved", "of the new one"),
    ):  # fmt: skip
        s.rotate(vault, name, value, created=long_ago)


def _past(s: Scenario, day: Day) -> dict[str, list[str]]:
    """What happened from 08:30 to 16:00. Returns workload -> its pods, oldest first.

    A Secret made by hand is adopted at 12:00; a store is pointed at another vault at 13:00, and ESO reads that at its
    next refresh, 13:30; a vault secret is purged and set again with its value; a version is replaced and disabled.
    """
    day.until("08:30")
    s.apply(
        b.secret("adopted", NS, {"SAME": "same", "OTHER": "by hand"}), b.secret_store("prod-kv", NS), _store("prod-kv"),
        b.external_secret("moved", NS, {"KEY": "moved"}, store="moving"),
        b.external_secret("purged", NS, {"KEY": "purged"}), b.external_secret("disabled", NS, {"KEY": "disabled"}),
    )  # fmt: skip
    refreshed = ("moved", "purged", "disabled")
    for name in refreshed:
        s.external_secret_ready(NS, name)
    day.until("09:00")
    pods = {name: [_scaled(s, name, 1)] for name in KEYS}
    for time in ("09:30", "10:30", "11:30"):
        day.synced(time, NS, *refreshed)
    day.until("12:00")
    s.apply(b.external_secret("adopted", NS, {"SAME": "same", "OTHER": "other"}))
    s.external_secret_ready(NS, "adopted")
    (old,) = s.vault("prod-kv").versions("disabled")
    s.rotate("prod-kv", "disabled", "two")
    s.call(s.vault("prod-kv").update, "disabled", old.version, enabled=False)
    s.call(s.vault("prod-kv").delete, "purged")
    s.call(s.vault("prod-kv").purge, "purged")
    s.rotate("prod-kv", "purged", "kept")
    day.synced("12:30", NS, *refreshed)
    day.until("13:00")
    s.apply(_store("new-kv"))
    day.until("13:10")
    pods["moved"].append(_scaled(s, "moved", 2))
    day.synced("13:30", NS, *refreshed)
    day.synced("14:30", NS, *refreshed)
    day.until("15:00")
    for name in KEYS:
        pods[name].append(_scaled(s, name, len(pods[name]) + 1))
    day.synced("15:30", NS, *refreshed)
    day.until("16:00")
    return pods


def _states(s: Scenario, workload: str) -> dict[str, str]:
    """Pod -> the verdict on its container, as ``explain`` shows it."""
    document: dict[str, Any] = s.explain(f"{NS}/{workload}", "-o", "json").json()
    return {pod["name"]: pod["containers"][0]["state"] for pod in document["workloads"][0]["pods"]}


def test_s12c_a_past_that_only_looks_like_a_rotation_makes_nobody_stale() -> None:
    """Adopted, moved to another vault, purged and set again, old version disabled: suspect at most, nothing restarted.

    Of the pods from before, some hold the present value and some do not; which, nothing is left to tell. Who started
    when ESO had surely fetched what is there now, is assumed to hold it.
    """
    with Scenario() as s:
        day = Day(s)
        _vaults(s, day)
        pods = _past(s, day)
        everyone = {pod["metadata"]["uid"] for pod in s.pods(NS)}
        held = {name: [s.holds(NS, pod)[name, KEYS[name][-1]] for pod in pods[name]] for name in KEYS}
        assert held == {
            "adopted": [b"by hand", b"of the vault"],
            "moved": [b"of the old vault", b"of the old vault", b"of the new one"],
            "purged": [b"kept", b"kept"],
            "disabled": [b"one", b"two"],
        }
        s.policy(vaults=["prod-kv", "new-kv"])

        first = s.launch("once")
        result = first.wait()
        for name in KEYS:
            *before, after = pods[name]
            assert _states(s, name) == {**dict.fromkeys(before, "suspect"), after: "assumed"}, name
        second = s.launch("once")
        assert (result.code, second.wait().code) == (0, 0)

        for agent in (first, second):
            assert findings(agent) == [("container", "suspect")] * len(KEYS)
            assert refusals(agent) == []
        assert "0 drifts, 4 suspects, 0 unknown, 0 notes" in result.out
        assert s.writes() == []
        assert s.writes(refused=True) == []
        assert {pod["metadata"]["uid"] for pod in s.pods(NS)} == everyone


def test_s12c_what_was_adopted_before_the_first_look_restarts_nobody() -> None:
    """A Secret that was made by hand, a pod of then, ESO's own value, a pod of now: suspect one, assumed the other."""
    with Scenario() as s:
        s.rotate("prod-kv", "same", "same", created=s.sandbox.clock.now() - 7 * DAY)
        s.rotate("prod-kv", "other", "of the vault", created=s.sandbox.clock.now() - 7 * DAY)
        s.apply(b.secret("adopted", NS, {"SAME": "same", "OTHER": "by hand"}), b.secret_store("prod-kv", NS))
        before = _scaled(s, "adopted", 1)
        s.pass_time(60, least=_APART)
        s.apply(b.external_secret("adopted", NS, {"SAME": "same", "OTHER": "other"}))
        s.external_secret_ready(NS, "adopted")
        s.pass_time(60, least=_APART)
        after = _scaled(s, "adopted", 2)
        s.pass_time(60, least=_APART)
        held = [s.holds(NS, pod)["adopted", "OTHER"] for pod in (before, after)]
        assert held == [b"by hand", b"of the vault"]
        s.policy()

        agent = s.launch("once")
        assert agent.wait().code == 0
        assert findings(agent) == [("container", "suspect")]
        assert _states(s, "adopted") == {before: "suspect", after: "assumed"}
        assert refusals(agent) == []
        assert s.writes() == []
