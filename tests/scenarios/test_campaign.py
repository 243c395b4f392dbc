"""Several workloads read one secret: one tries its new version first, the others follow as soon as it works."""

from __future__ import annotations

from support.scenario import Scenario
from support.worlds import at_rest

from agent.sandbox import builders as b

NS = "shop"


def test_once_heals_all_that_wait_for_one_anothers_canary() -> None:
    """The first is a single replica, which is restarted: nothing but the end of its canary tells the others to go."""
    names = ("one", "three", "two")
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [
                b.deployment(name, NS, replicas, env={"API_KEY": ("app-secrets", "API_KEY")})
                for name, replicas in (("one", 1), ("two", 2), ("three", 1))
            ],
            NS,
        )
        s.policy()
        assert s.once().code == 0
        s.rotate("prod-kv", "api-key", "value-two")
        result = s.once("--deadline", "60s")

        assert result.code == 0, result.out
        assert all(s.all_hold(NS, name, "app-secrets", "API_KEY", "value-two") for name in names)
        assert len(s.evicted(NS)) == 2
