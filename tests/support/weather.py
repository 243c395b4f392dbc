"""One heal in bad weather: what is asked of every outage, whatever it strikes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from support.processes import AgentProcess
from support.scenario import Scenario
from support.worlds import at_rest, watching

from agent.sandbox import builders as b

NS, APP, REPLICAS = "shop", "backend", 3


class Heal:
    """Workloads at rest, each with a key of its own, and an agent that has looked at them.

    ``begin`` rotates the key of the first, and when that heal is over, of the next: what started in bad weather, while
    nobody looked, may for a minute be suspect after a change, and stay as it is.
    """

    def __init__(
        self,
        s: Scenario,
        *,
        agent: bool = True,
        workloads: int = 1,
        immutable: bool = False,
        replicas: int = REPLICAS,
    ) -> None:
        self.s, self.replicas = s, replicas
        names = [APP, *(f"{APP}-{number}" for number in range(2, workloads + 1))]
        at_rest(
            s,
            {f"prod-kv/{name}-key": "value-one" for name in names},
            [
                b.secret_store("prod-kv", NS),
                *(
                    b.external_secret(
                        f"{name}-secrets", NS, {"API_KEY": f"{name}-key"}, target={"immutable": immutable}
                    )
                    for name in names
                ),
            ],
            [
                b.deployment(
                    name, NS, replicas, env={"API_KEY": (f"{name}-secrets", "API_KEY")}, one_per_node=immutable
                )
                for name in names
            ],
            NS,
        )
        s.policy()
        self._left = names
        self._app = ""
        self._known = set[str]()
        self._evicted = self._lines = self._told = 0
        if agent:
            self.agent: AgentProcess = watching(s)

    def begin(self) -> None:
        """A new version in the vault."""
        self._app = self._left.pop(0)
        self.old = {pod["metadata"]["name"] for pod in self.s.pods(NS, self._app)}
        self._known = self._started()
        self._evicted = len(self.s.evicted(NS))
        self._lines, self._told = len(self.agent.lines(level="info")), len(self.told())
        self.s.rotate("prod-kv", f"{self._app}-key", "value-two")

    def stamp(self) -> str | None:
        """The force-sync annotation, None while there is none."""
        found = self.s.get("ExternalSecret", NS, f"{self._app}-secrets") or {}
        return (found["metadata"].get("annotations") or {}).get("force-sync")

    def done(self) -> bool:
        """Whether the whole workload runs the new value, by the kubelets: a status may be behind."""
        held = self.s.running(NS, self._app)
        fresh = self.s.all_hold(NS, self._app, f"{self._app}-secrets", "API_KEY", "value-two")
        return fresh and len(held) == self.replicas and self.s.is_ready(NS, self._app)

    def ends_well(self, within: float, *, unheard: int = 0) -> None:
        """In time, in the same process, and with each pod replaced once: by what the kubelets started.

        Of all that was told to be wrong, the end is told, too.
        ``unheard``: evictions of which the agent may not know that they were carried out.
        """
        began = time.monotonic()
        self.s.wait(self.done, within, "the heal")
        assert time.monotonic() - began <= within + 1
        self.s.wait(lambda: "secret_drift_drift{" not in self.s.metrics(self.agent), 40, "no drift is told any more")
        self.s.wait(lambda: not self.wrong(), 60, f"all works again: {self.wrong()}")
        self.s.cycles(self.agent, 2)
        assert not self.agent.ended
        told_of = self.told()[self._told :]
        assert len(told_of) == len(set(told_of)), told_of
        lines = self.agent.lines(level="info")[self._lines :]
        told = [line["pod"] for line in lines if "evicted pod" in line["event"]]
        assert len(told) == len(set(told))
        leaves = self.old if self.replicas > 1 else set()  # a single one is replaced by its controller
        assert len(leaves) - unheard <= len(told)
        assert set(told) <= leaves
        assert sorted(self.s.evicted(NS)[self._evicted :]) == sorted(leaves)
        started = self._started()
        assert self.old < started, started
        assert len(started - self._known) == self.replicas, started - self._known

    def _started(self) -> set[str]:
        record = self.s.call(lambda: list(self.s.sandbox.kubelet.record))
        return {each.pod for each in record if each.namespace == NS}

    def wrong(self) -> set[str]:
        """What the agent has told to be wrong, and not yet to work again."""
        wrong = set()
        for line in self.agent.lines():
            if _is_trouble(line):
                wrong.add(line["subject"])
            elif str(line.get("event")).endswith(": works again"):
                wrong.discard(line["subject"])
        return wrong

    def told(self, subject: str = "") -> list[tuple[str, str]]:
        """(subject, cause) of every trouble that the agent has told, in order; of one subject where it is given."""
        lines = [(line["subject"], line["cause"]) for line in self.agent.lines() if _is_trouble(line)]
        return [line for line in lines if subject in ("", line[0])]


def _is_trouble(line: Mapping[str, Any]) -> bool:
    return line.get("level") in ("warning", "error") and "cause" in line and "subject" in line
