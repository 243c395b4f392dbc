"""Metrics of a run of `once`, for who looks at it later: the process is gone by then."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

PREFIX = "secret_drift_once_"


class OnceMetrics:
    """How the run ended. Times are unix seconds by the API server's clock, by our own where that never answered."""

    def __init__(self, registry: CollectorRegistry, deadline: float) -> None:
        """``deadline``: seconds."""
        self._ended = Gauge(
            f"{PREFIX}last_end_timestamp_seconds", "When the last run ended, however it ended.", registry=registry
        )
        self._succeeded = Gauge(
            f"{PREFIX}last_success_timestamp_seconds",
            "When the last run ended that compared everything, or found that another acts.",
            registry=registry,
        )
        self._lasted = Gauge(f"{PREFIX}duration_seconds", "How long the last run took.", registry=registry)
        self._code = Gauge(
            f"{PREFIX}exit_code", "Exit code of the last run: 0 nothing left, 2 drift remains, 1 an error.",
            registry=registry,
        )  # fmt: skip
        Gauge(f"{PREFIX}deadline_seconds", "The deadline that the last run was given.", registry=registry).set(deadline)

    def ended(self, at: float, seconds: float, code: int, *, success: bool) -> None:
        """The run is over."""
        self._ended.set(at)
        self._lasted.set(seconds)
        self._code.set(code)
        if success:
            self._succeeded.set(at)
