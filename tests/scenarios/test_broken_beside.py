"""A chain that is broken for longer than a day holds its workload up no more, and its vault is not waited for."""

from __future__ import annotations

import pytest
from support.scenario import Scenario
from support.worlds import at_rest

from agent.sandbox import builders as b

NS, APP = "shop", "backend"
DAY = 86400.0


@pytest.mark.parametrize("listed", [True, False])
def test_beside_a_chain_that_is_unknown_for_a_day_the_workload_is_healed_without_its_vault(listed: bool) -> None:
    """Denied, it is not waited for right before the eviction; not listed in the policy, it is never asked at all."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one", "other-kv/x": "one"},
            [
                b.secret_store("prod-kv", NS), b.secret_store("other-kv", NS, name="other"),
                b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, refreshInterval="1000h"),
                b.external_secret("other", NS, {"X": "x"}, store="other", refreshInterval="1000h"),
            ],
            [b.deployment(APP, NS, 2, env={"API_KEY": ("app-secrets", "API_KEY"), "X": ("other", "X")})],
            NS,
        )  # fmt: skip
        s.call(s.sandbox.vaults.fault, "403", identity="agent", vault="other-kv")
        s.policy(vaults=("prod-kv", "other-kv") if listed else ("prod-kv",))
        s.once()
        s.advance(DAY + 3600)
        s.rotate("prod-kv", "api-key", "value-two")
        s.advance(60)
        result = s.once("--deadline", "20s")
        assert len(s.evicted(NS)) == 2, result.out + result.err
        assert s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")
        assert "recycled-beside-broken-chain shop/other" in result.err
        asked = s.call(lambda: [e for e in s.sandbox.vaults.audit if (e.vault, e.identity) == ("other-kv", "agent")])
        assert bool(asked) == listed
