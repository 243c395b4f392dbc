"""What is so now beside the drifts, as gauges: what is refused, halted and in trouble, and what was done so far.

Together with the drifts they are what a page says: what is wrong, since when, what was done, what was refused and why.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from agent import events as ev
from agent.model import Finding, ObjectKey, SourceKey, Step, WorkloadKey
from agent.report.series import MOST_SERIES, Labels, Series

_MOST_TROUBLES = 200
_Named = tuple[ObjectKey | None, WorkloadKey | None]


class Current:
    """Gauges that follow events. Thread-safe: events come from the engine's thread and from the Lease's."""

    def __init__(self, registry: CollectorRegistry, *, most: int = MOST_SERIES) -> None:
        def gauge(name: str, documentation: str, labels: Labels, most: int = most) -> Series:
            series = Series(name, documentation, labels, most=most)
            registry.register(series)
            return series

        self._halted = gauge(
            "secret_drift_halted", "1 while recycling is halted. back_to: the version to go back to.",
            ("namespace", "workload", "reason", "vault_secret", "back_to"),
        )  # fmt: skip
        self._refused = gauge(
            "secret_drift_refused", "1 while a step is due and refused.",
            ("namespace", "externalsecret", "workload", "step", "reason"),
        )  # fmt: skip
        self._steps = gauge(
            "secret_drift_steps", "Steps taken so far on what drifts now, by this process.",
            ("namespace", "externalsecret", "workload", "step"),
        )  # fmt: skip
        self._sources = gauge(
            "secret_drift_stale_source", "1 while a workload runs an old version of this vault secret.",
            ("namespace", "workload", "vault", "vault_secret"),
        )  # fmt: skip
        self._troubles = gauge(
            "secret_drift_trouble", "1 for what could not be read or written at the end of the last comparison.",
            ("subject", "cause"), _MOST_TROUBLES,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._halts: dict[WorkloadKey, Labels] = {}
        self._refusals: dict[_Named, Labels] = {}
        self._taken: dict[ObjectKey | WorkloadKey, Counter[Step]] = {}
        self._drifting: dict[ObjectKey | WorkloadKey, dict[tuple[ObjectKey, str], tuple[SourceKey, ...]]] = {}
        self.handlers: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.DriftFound: self._drift_found,
            ev.DriftGone: self._drift_gone,
            ev.Halted: self._halt_began,
            ev.HaltEnded: self._halt_ended,
            ev.Refused: self._refusal_began,
            ev.RefusalEnded: self._refusal_ended,
            ev.CycleEnded: lambda event: self._troubles.replace(dict.fromkeys(event.troubles.items(), 1)),
            ev.SyncRequested: lambda event: self._step(event.chain, Step.FORCE_SYNC),
            ev.SecretDeleted: lambda event: self._step(event.chain, Step.RECREATE),
            ev.Evicted: lambda event: self._step(event.workload, Step.RECYCLE),
            ev.RolloutRestarted: lambda event: self._step(event.workload, Step.RECYCLE),
        }

    def __call__(self, event: ev.Event) -> None:
        """Take in one event of a type that is handled."""
        with self._lock:
            self.handlers[type(event)](event)

    def clear(self) -> None:
        """Everything has been read anew, and what is there is told again."""
        with self._lock:
            for known in (self._halts, self._refusals, self._taken, self._drifting):
                known.clear()
            for series in (self._halted, self._refused, self._steps, self._sources):
                series.replace({})

    # --------------------------------------------------------------------------------------------------- details

    def _halt_began(self, event: ev.Halted) -> None:
        key = event.workload
        labels = (key.namespace, key.name, event.reason, ", ".join(event.secrets), event.back_to)
        self._replace(self._halted, self._halts, key, labels)

    def _halt_ended(self, event: ev.HaltEnded) -> None:
        self._replace(self._halted, self._halts, event.workload, None)

    def _refusal_began(self, event: ev.Refused) -> None:
        refusal = event.refusal
        chain, workload = refusal.chain, refusal.workload
        about = workload or chain
        if about is not None:
            named = chain.name if chain else "", workload.name if workload else ""
            labels = (about.namespace, *named, refusal.step.value, refusal.reason)
            self._replace(self._refused, self._refusals, (chain, workload), labels)

    def _refusal_ended(self, event: ev.RefusalEnded) -> None:
        self._replace(self._refused, self._refusals, (event.refusal.chain, event.refusal.workload), None)

    def _step(self, about: ObjectKey | WorkloadKey, step: Step) -> None:
        """A step counts for what drifts now: one that was taken to find out about nothing leaves no series."""
        if about not in self._drifting:
            return
        taken = self._taken.setdefault(about, Counter())
        taken[step] += 1
        self._steps.set(_step_labels(about, step), taken[step])

    def _drift_found(self, event: ev.DriftFound) -> None:
        finding = event.finding
        if not finding.is_drift:
            return
        about = finding.workload or finding.chain
        parts = self._drifting.setdefault(about, {})
        shown = parts.get(_part(finding), ())
        parts[_part(finding)] = finding.sources
        self._show_sources(about, shown)

    def _drift_gone(self, event: ev.DriftGone) -> None:
        finding = event.finding
        about = finding.workload or finding.chain
        parts = self._drifting.get(about, {})
        shown = parts.pop(_part(finding), None) if finding.is_drift else None
        if shown is None:
            return
        self._show_sources(about, shown)
        if not parts:
            del self._drifting[about]
            for step in self._taken.pop(about, ()):
                self._steps.remove(_step_labels(about, step))

    def _show_sources(self, about: ObjectKey | WorkloadKey, shown: tuple[SourceKey, ...]) -> None:
        if not isinstance(about, WorkloadKey):
            return
        now = {source for sources in self._drifting[about].values() for source in sources}
        for source in now:
            self._sources.set(_source_labels(about, source), 1)
        for source in set(shown) - now:
            self._sources.remove(_source_labels(about, source))

    def _replace(self, series: Series, known: dict[Any, Labels], key: Any, labels: Labels | None) -> None:
        before = known.pop(key, None)
        if before is not None and before != labels:
            series.remove(before)
        if labels is not None:
            known[key] = labels
            series.set(labels, 1)


def _part(finding: Finding) -> tuple[ObjectKey, str]:
    return finding.chain, finding.kind.value


def _step_labels(about: ObjectKey | WorkloadKey, step: Step) -> Labels:
    if isinstance(about, WorkloadKey):
        return about.namespace, "", about.name, step.value
    return about.namespace, about.name, "", step.value


def _source_labels(workload: WorkloadKey, source: SourceKey) -> Labels:
    return workload.namespace, workload.name, source.vault_name, source.name
