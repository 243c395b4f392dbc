"""One heal in bad weather: what is asked of every outage, whatever it strikes."""

from __future__ import annotations

import time

from support.processes import AgentProcess
from support.scenario import Scenario
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS, APP, REPLICAS = "shop", "backend", 3


class Heal:
    """A workload at rest and an agent that has looked at it; ``begin`` rotates its key."""

    def __init__(self, s: Scenario, *, agent: bool = True, user: str = "agent") -> None:
        self.s, self.user = s, user
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment(APP, NS, REPLICAS, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy()
        self.old = {pod["metadata"]["name"] for pod in s.pods(NS, APP)}
        if agent:
            self.agent: AgentProcess = watching(s)

    def begin(self) -> None:
        """A new version in the vault."""
        self.s.rotate("prod-kv", "api-key", "value-two")

    def stamp(self) -> str | None:
        """The force-sync annotation, None while there is none."""
        found = self.s.get("ExternalSecret", NS, "app-secrets") or {}
        return (found["metadata"].get("annotations") or {}).get("force-sync")

    def done(self) -> bool:
        """Whether the whole workload runs the new value, by the kubelets: a status may be behind."""
        held = self.s.running(NS, APP)
        fresh = self.s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")
        return fresh and len(held) == REPLICAS and self.s.is_ready(NS, APP)

    def ends_well(self, within: float) -> None:
        """In time, in the same process, and with each pod replaced once: by what the kubelets started."""
        began = time.monotonic()
        self.s.wait(self.done, within, "the heal")
        assert time.monotonic() - began <= within + 1
        self.s.wait(lambda: "secret_drift_drift{" not in self.s.metrics(self.agent), 40, "no drift is told any more")
        self.s.cycles(self.agent, 2)
        assert not self.agent.ended
        evicted = [line["pod"] for line in self.agent.lines(level="info") if "evicted pod" in line["event"]]
        assert sorted(evicted) == sorted(self.old)
        assert sorted(self.s.evicted(NS, self.user)) == sorted(self.old)
        record = self.s.call(lambda: list(self.s.sandbox.kubelet.record))
        started = {each.pod for each in record if each.namespace == NS}
        assert self.old < started, started
        assert len(started) == 2 * REPLICAS, started

    def told(self, subject: str = "") -> list[tuple[str, str]]:
        """(subject, cause) of every trouble that the agent has told, in order; of one subject where it is given."""
        lines = [(line["subject"], line["cause"]) for line in self.agent.lines(level="warning") if "subject" in line]
        return [line for line in lines if subject in ("", line[0])]
