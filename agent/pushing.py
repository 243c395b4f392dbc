"""How a run of `once` ended, told to a Pushgateway: nobody can scrape a process that lives for seconds.

A run that compared everything replaces the group, so that drifts that are gone are gone there, too. A failed one adds
that it failed, and what it did; what the last good one saw stays as it was.
"""

from __future__ import annotations

import threading
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from agent.clock import Clock
from agent.pushgateway import Address, GatewayProblem, Pushgateway
from agent.report.accumulated import NOTHING, Accumulated, Former
from agent.report.once import PREFIX, OnceMetrics
from agent.report.words import escape

Outcome = Literal["complete", "standing-by", "failed"]

WITHIN = 5.0
"""Seconds for all of it."""
_COUNTED = ("counter", "histogram")
_OF_A_STANDBY = frozenset({"secret_drift_leader", "secret_drift_policy_valid", "secret_drift_build"})
"""What a run that left the work to another knows: of itself, and nothing of the world, at which it did not look."""


class Pushing:
    """What one run tells. Without an address it does nothing."""

    def __init__(self, address: Address | None, clock: Clock, registry: CollectorRegistry, deadline: float) -> None:
        """The run begins now; it has ``deadline`` seconds."""
        self._address, self._clock, self._registry = address, clock, registry
        self._began = clock.monotonic()
        self._ends = self._began + deadline
        self.reserved = min(WITHIN, deadline / 10) if address is not None else 0.0
        """Seconds of the deadline that are kept for this."""
        self._metrics = OnceMetrics(registry, deadline) if address is not None else None

    def ended(self, outcome: Outcome, code: int) -> None:
        """Push, within a few seconds. Never raises: what goes wrong is told in one warning."""
        if self._address is None or self._metrics is None:
            return
        now = self._clock.monotonic()
        at = self._clock.server_now() if self._clock.knows_server else self._clock.machine_now()
        self._metrics.ended(at, now - self._began, code, success=outcome != "failed")
        within = min(WITHIN, max(self.reserved, self._ends - now))
        told: list[list[GatewayProblem]] = []
        over = threading.Event()

        def push(address: Address) -> None:
            try:
                told.append(self._push(address, outcome, now + within))
            except GatewayProblem as problem:
                told.append([problem])
            finally:
                over.set()

        # A thread, since neither looking up a name nor reading a header that trickles in can be bounded otherwise.
        threading.Thread(target=push, args=(self._address,), name="push", daemon=True).start()
        if not self._clock.wait(over, within):
            late = GatewayProblem(f"it has not answered within {within:.0f} s", "see why it is slow or out of reach")
            told.append([late])
        where = escape(self._address.url)
        for problem in told[0] if told else ():
            structlog.get_logger().warning(
                f"Pushgateway {where}: {problem.what}. What to do: {problem.step}", problem="pushgateway"
            )

    def _push(self, address: Address, outcome: Outcome, ends: float) -> list[GatewayProblem]:
        """Answers with what went wrong beside it. Raises GatewayProblem: nothing could be pushed."""
        gateway = Pushgateway(address, self._clock, ends)
        former: Former | None = None
        problems = []
        try:
            now = self._clock.monotonic()
            former = gateway.former(now + (ends - now) / 2)
        except GatewayProblem as problem:
            begin = "; what was counted so far could not be read, and begins anew" if outcome != "failed" else ""
            problems.append(GatewayProblem(problem.what + begin, problem.step))

        def wanted(metric: Metric) -> bool:
            if metric.name.startswith(PREFIX):
                return outcome != "failed" or not metric.name.startswith(f"{PREFIX}last_success")
            if metric.type in _COUNTED:
                return outcome != "failed" or former is not None  # else a count would go back for no reason
            return outcome == "complete" or (outcome == "standing-by" and metric.name in _OF_A_STANDBY)

        metrics = Accumulated(self._registry, former or NOTHING, wanted)
        if outcome == "failed":
            gateway.add(metrics)
        else:
            gateway.replace(metrics)
        return problems
