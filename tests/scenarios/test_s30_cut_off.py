"""S30: the way to the API server swallows everything, or is closed for a while, the embedded or a real one."""

from __future__ import annotations

from typing import Literal

import pytest
from support.gate import Gate
from support.scenario import Scenario
from support.weather import APP, NS, Heal
from support.worlds import watching

SILENCE = 90.0
"""Seconds without a byte after which a watch is taken for half-open."""
BACK = 60.0
"""Seconds in which a heal goes on to its end once everything works again: reflectors wait up to 30 s between tries."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("phase", "resets"),
    [
        pytest.param("through", False, id="an eviction is lost, and old connections stay silent"),
        pytest.param("after", True, id="its answer is lost, and old connections are reset"),
    ],
)
def test_s30_a_way_that_swallows_everything_is_told_once_and_the_heal_goes_on_by_fresh_connections(
    phase: Literal["through", "after"], resets: bool
) -> None:
    """Connections old and new fall silent in the middle of a heal: when new ones work, nothing is done twice."""
    with Scenario() as s, Gate(s) as gate:
        heal = Heal(s, agent=False)
        heal.agent = watching(s, KUBECONFIG=gate.kubeconfig)
        gate.arm(lambda seen: seen[-1].resource == "pods/eviction", phase, gate.swallow)
        heal.begin()
        s.wait(gate.struck.is_set, 60, "the canary's eviction")
        told = (lambda: "sent nothing for" in heal.agent.err) if resets else (lambda: bool(heal.told()))
        s.wait(told, SILENCE, "it is told, by the eviction first and then by all that follows")
        assert len(s.evicted(NS)) == int(phase == "after")
        if resets:
            gate.shut()
        gate.open()
        heal.ends_well(BACK if resets else SILENCE + BACK, unheard=1)


@pytest.mark.timeout(240)
def test_s30_what_happened_while_the_way_was_closed_and_the_past_was_compacted_is_healed_once() -> None:
    """Watches go on from a version that the API server has forgotten: it answers 410, and everything is read anew."""
    with Scenario() as s, Gate(s) as gate:
        plane = s.plane
        heal = Heal(s, agent=False)
        s.policy(timing={"syncTimeout": "60s"})  # the watch that would tell of its end may be away for half a minute
        heal.agent = watching(s, KUBECONFIG=gate.kubeconfig)
        gate.shut()
        heal.begin()
        path = f"/apis/external-secrets.io/v1/namespaces/{NS}/externalsecrets/{APP}-secrets"
        asked = {"metadata": {"annotations": {"force-sync": "by-somebody-else"}}}
        s.run(s.sandbox.admin.request("PATCH", path, body=asked, content_type="application/merge-patch+json"))
        s.wait(lambda: s.secret(NS, f"{APP}-secrets") == {"API_KEY": b"value-two"}, 60, "the new value")
        plane.forget()
        gate.open()
        heal.ends_well(BACK)
        assert {"secrets", "pods", "externalsecrets"} <= {watch.resource for watch in gate.expired}
        written = [resource for _, resource, _, _ in s.writes()]
        assert written.count("externalsecrets") <= 2  # once for the version, once for what somebody else asked
