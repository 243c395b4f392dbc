"""Metrics, as one subscriber. An object is a label only while it drifts; the number of series is bounded throughout."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from agent import __version__
from agent import events as ev
from agent.model import Link, SourceKey, State, Step
from agent.report.current import Current
from agent.report.drifts import DriftSeries
from agent.report.series import MOST_SERIES, Labels, Series
from agent.report.words import escape

PROPAGATION_BUCKETS = (
    0.1, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200,
    86400,
)  # fmt: skip
"""Seconds. Close together where a heal usually ends, then to a day: a vault's own refresh may take that long."""

CYCLE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Seconds of one comparison, from a handful of chains to a relist of the largest clusters."""

STAGES = ("vault_to_secret", "total")
SYNCS = ("acknowledged", "timed-out", "failed")
OUTCOMES = ("in-time", "late")
RESULTS = ("done", "failed", "dry-run")
WRITES = (Step.FORCE_SYNC, Step.RECREATE, Step.RECYCLE)

_MOST_COMBINATIONS = 1000
_OTHER = "other"


class Metrics:
    """Turns events, and the two hooks for requests, into metrics of ``registry``. Thread-safe."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        refusals: Mapping[Step, Iterable[str]] | None = None,
        objective: float = 900.0,
        most: int = MOST_SERIES,
    ) -> None:
        """``refusals``: the reasons each step may be refused for, counted from zero so that ``rate()`` sees the first.

        ``objective``: seconds within which a rotation should be everywhere; it becomes a bucket's bound, so that the
        share within it is exact. ``most``: series per metric whose labels name objects.
        """
        self._drifts = DriftSeries(registry, most=most)
        self._links = Gauge("secret_drift_links", "Links of all chains by state.", ("link", "state"), registry=registry)
        self._stale = Series(
            "secret_drift_stale_containers", "Containers that run an old value.", ("namespace", "workload"), most=most
        )
        registry.register(self._stale)
        self._current = Current(registry, most=most)
        self._actions = _Counts(
            registry, "secret_drift_actions", "Steps that were attempted, by result.", ("step", "result")
        )
        self._refusals = _Counts(
            registry,
            "secret_drift_refusals",
            "Steps that were due and refused, told anew each hour.",
            ("step", "reason"),
        )
        self._syncs = _Counts(
            registry, "secret_drift_syncs", "Force-syncs that ended: acknowledged by ESO, or not in time.", ("result",)
        )
        self._propagation = Histogram(
            "secret_drift_propagation_seconds", "From the creation of a vault version to its arrival.", ("stage",),
            buckets=sorted({*PROPAGATION_BUCKETS, objective}), registry=registry,
        )  # fmt: skip
        self._rotations = _Counts(
            registry,
            "secret_drift_rotations",
            "New versions that came to every container of a chain within the objective, or are late.",
            ("result",),
        )
        self._cycle = Histogram(
            "secret_drift_cycle_duration_seconds",
            "How long a comparison took.",
            buckets=CYCLE_BUCKETS,
            registry=registry,
        )
        self._last = Gauge(
            "secret_drift_last_cycle_timestamp_seconds",
            "When the last comparison ended, unix seconds by the API server's clock.", registry=registry,
        )  # fmt: skip
        self._api = _Counts(
            registry,
            "secret_drift_api_requests",
            "Requests to the API server; code 0: no answer.",
            ("verb", "resource", "code"),
        )
        self._vault = _Counts(
            registry,
            "secret_drift_vault_requests",
            "Requests to vaults; code 0: no answer.",
            ("vault", "operation", "code"),
        )
        self._policy = Gauge(
            "secret_drift_policy_valid", "1 if the policy file is the policy in force.", registry=registry
        )
        self._mode = Gauge("secret_drift_policy_info", "Mode of the policy in force.", ("mode",), registry=registry)
        self._interval = Gauge("secret_drift_interval_seconds", "Time between two comparisons.", registry=registry)
        self._objective = Gauge(
            "secret_drift_objective_seconds", "Time within which a rotation should be everywhere.", registry=registry
        )
        self._limit = Gauge(
            "secret_drift_vault_requests_per_second_limit", "What the policy allows us to ask of a vault.", ("vault",),
            registry=registry,
        )  # fmt: skip
        self._bounded = Gauge(
            "secret_drift_writes_bounded",
            "1 if admission policies bound each right of this agent to write, 0 if RBAC alone does one, -1 if unknown.",
            registry=registry,
        )
        self._bounded.set(-1)
        self._leader = Gauge("secret_drift_leader", "1 while this process holds the Lease and acts.", registry=registry)
        self._leader.set(0)
        build = Info("secret_drift_build", "What is running.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._start(refusals or {})
        own: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.CycleEnded: self._cycle_ended,
            ev.DriftFound: self._drift_found,
            ev.DriftGone: self._drift_gone,
            ev.Propagated: self._propagated,
            ev.Refused: self._refused,
            ev.StepDone: self._step_done,
            ev.Synced: lambda _: self._syncs.add(SYNCS[0]),
            ev.SyncTimedOut: lambda event: self._syncs.add(SYNCS[2 if event.failed else 1]),
            ev.RotationCounted: self._rotation_counted,
            ev.PolicyChanged: self._policy_changed,
            ev.LeadershipChanged: self._leadership_changed,
            ev.BoundsRead: self._bounds_read,
        }
        self.handlers: dict[type[ev.Event], list[Callable[[Any], None]]] = {kind: [one] for kind, one in own.items()}
        for kind in self._current.handlers:
            self.handlers.setdefault(kind, []).append(self._current)

    ignored: frozenset[type[ev.Event]] = frozenset(
        {
            ev.SecretBack, ev.SecretNotBack, ev.DataChanged, ev.StagePassed, ev.Healed, ev.Malformed, ev.Troubled,
            ev.Recovered, ev.StormAcknowledged, ev.HolderChanged,
        }
    )  # fmt: skip
    """Events that no metric is made of: what is counted of them comes as StepDone, or in the links by state."""

    def __call__(self, event: ev.Event) -> None:
        """Take in one event."""
        for handler in self.handlers.get(type(event), ()):
            handler(event)

    def lead_by(self, leading: Callable[[], bool]) -> None:
        """Ask this, at each scrape, whether this process leads."""
        self._leader.set_function(lambda: float(leading()))

    def api_request(self, verb: str, resource: str, code: int, seconds: float, size: int) -> None:
        """The API client's hook: one request. ``seconds`` and ``size`` (bytes) have no metric of their own."""
        del seconds, size
        self._api.add(verb, resource, str(code))

    def vault_request(self, vault: str, operation: str, code: int, seconds: float) -> None:
        """The vault client's hook: one request. ``vault`` is the host."""
        del seconds
        self._vault.add(SourceKey(vault, "").vault_name, operation, str(code))

    def vault_limit(self, vault: str, per_second: float) -> None:
        """How many requests a second the policy allows for a vault, by its host."""
        self._limit.labels(escape(SourceKey(vault, "").vault_name, 256)).set(per_second)

    def _start(self, refusals: Mapping[Step, Iterable[str]]) -> None:
        for link in Link:
            for state in State:
                self._links.labels(link.value, state.value)
        for step in WRITES:
            for result in RESULTS:
                self._actions.add(step.value, result, by=0)
        for step, reasons in refusals.items():
            for reason in reasons:
                self._refusals.add(step.value, reason, by=0)
        for stage in STAGES:
            self._propagation.labels(stage)
        for ending in SYNCS:
            self._syncs.add(ending, by=0)
        for outcome in OUTCOMES:
            self._rotations.add(outcome, by=0)
        self._policy.set(1)

    def _cycle_ended(self, event: ev.CycleEnded) -> None:
        for link in Link:
            for state in State:
                self._links.labels(link.value, state.value).set(event.links.get((link, state), 0))
        stale: dict[Labels, float] = {}
        for workload, containers in event.stale_containers.items():
            if containers:
                labels = (workload.namespace, workload.name)
                stale[labels] = stale.get(labels, 0) + containers
        self._stale.replace(stale)
        self._cycle.observe(event.seconds)
        self._last.set(event.at)

    def _drift_found(self, event: ev.DriftFound) -> None:
        if event.finding.is_drift:
            self._drifts.found(event.finding)

    def _drift_gone(self, event: ev.DriftGone) -> None:
        if event.finding.is_drift:
            self._drifts.gone(event.finding)

    def _rotation_counted(self, event: ev.RotationCounted) -> None:
        self._rotations.add(OUTCOMES[0] if event.in_time else OUTCOMES[1])

    def _propagated(self, event: ev.Propagated) -> None:
        stage = event.stage if event.stage in STAGES else _OTHER
        self._propagation.labels(stage).observe(event.seconds)

    def _refused(self, event: ev.Refused) -> None:
        self._refusals.add(event.refusal.step.value, event.refusal.reason)

    def _step_done(self, event: ev.StepDone) -> None:
        self._actions.add(event.step.value, event.result)

    def _bounds_read(self, event: ev.BoundsRead) -> None:
        self._bounded.set(-1 if event.missing is None else float(not event.missing))

    def _leadership_changed(self, event: ev.LeadershipChanged) -> None:
        """Everything has been read anew, and what is there is told again."""
        del event
        self._drifts.clear()
        self._current.clear()
        self._stale.replace({})

    def _policy_changed(self, event: ev.PolicyChanged) -> None:
        self._policy.set(event.valid)
        self._mode.clear()
        self._mode.labels(escape(event.mode, 20)).set(1)
        self._interval.set(event.interval)
        self._objective.set(event.objective)


class _Counts:
    """A counter whose combinations of labels are bounded: whatever comes beyond is counted as ``other``."""

    def __init__(self, registry: CollectorRegistry, name: str, documentation: str, labels: Labels) -> None:
        self._counter = Counter(name, documentation, labels, registry=registry)
        self._others = (_OTHER,) * len(labels)
        self._known: set[Labels] = set()
        self._lock = threading.Lock()

    def add(self, *labels: str, by: float = 1) -> None:
        """Count one more."""
        with self._lock:
            if labels not in self._known:
                safe = tuple(escape(label, 256) for label in labels)
                labels = safe if len(self._known) < _MOST_COMBINATIONS or safe in self._known else self._others
                self._known.add(labels)
        self._counter.labels(*labels).inc(by)
