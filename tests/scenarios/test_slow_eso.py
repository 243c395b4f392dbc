"""ESO answers more slowly than a force-sync is waited for: it is asked for less at once, and its late answers count."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import refusals
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS = "shop"
NAMES = [f"key-{number}" for number in range(10)]


def test_a_slow_eso_is_not_asked_again_and_again_for_what_it_is_at() -> None:
    """One sync takes half of what each is waited for, and all wait in one queue: each is asked for once or twice."""
    with Scenario() as s:
        at_rest(
            s,
            {f"prod-kv/{name}": "value-one" for name in NAMES},
            [b.secret_store("prod-kv", NS), *(b.external_secret(name, NS, {"KEY": name}) for name in NAMES)],
            [],
            NS,
        )
        s.policy(timing={"syncTimeout": "2s", "retryBackoff": "1s"})
        agent = watching(s)
        s.call(setattr, s.sandbox.eso, "delay", 1.0)
        for name in NAMES:
            s.rotate("prod-kv", name, "value-two")
        s.wait(lambda: all(s.secret(NS, name) == {"KEY": b"value-two"} for name in NAMES), 60, "ESO has synced all")
        s.wait(lambda: "secret_drift_drift{" not in s.metrics(agent), why="the drift is over")

        assert len(s.writes()) <= 16
        assert refusals(agent).count(("force-sync", "attempts")) == 0
