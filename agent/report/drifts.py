"""Which drifts there are now, as two gauges: that they are, and since when."""

from __future__ import annotations

import threading
from collections import Counter

from prometheus_client import CollectorRegistry

from agent.model import Finding, SourceKey, WorkloadKey
from agent.report.series import MOST_SERIES, Labels, Series

_MOST_NAMED = 3
_Part = tuple[WorkloadKey | None, tuple[SourceKey, ...]]


class DriftSeries:
    """Keeps the gauges in step with what was found and is gone.

    Several findings may share their labels (a Deployment and a StatefulSet of one name): the gauge counts them. Of all
    of a chain's link and kind, the oldest says since when.
    """

    def __init__(self, registry: CollectorRegistry, *, most: int = MOST_SERIES) -> None:
        names = ("namespace", "externalsecret", "link", "kind")
        self._drift = Series(
            "secret_drift_drift",
            "Drifts that there are now. Gone with the drift.",
            (*names, "cause", "vault", "vault_secret", "workload"),
            most=most,
        )
        self._since = Series(
            "secret_drift_drift_since_timestamp_seconds",
            "When the drift began, unix seconds by the API server's clock. Gone with the drift.",
            names,
            others=min,
            most=most,
        )
        registry.register(self._drift)
        registry.register(self._since)
        self._lock = threading.Lock()
        self._found: dict[Labels, dict[_Part, Finding]] = {}

    def clear(self) -> None:
        """Nothing is known to drift."""
        with self._lock:
            self._found.clear()
            self._drift.replace({})
            self._since.replace({})

    def found(self, finding: Finding) -> None:
        """A drift is there; one that is known already under another cause moves to the new one."""
        labels = _labels(finding)
        with self._lock:
            before = self._found.get(labels, {})
            self._show(labels, before, before | {_part(finding): finding})

    def gone(self, finding: Finding) -> None:
        """It is no more. Where the workload is the same, other sources do not make it another drift."""
        labels = _labels(finding)
        with self._lock:
            before = self._found.get(labels, {})
            part = _part(finding)
            if part not in before:
                part = next((other for other in before if other[0] == part[0]), part)
            self._show(labels, before, {other: held for other, held in before.items() if other != part})

    def _show(self, labels: Labels, before: dict[_Part, Finding], after: dict[_Part, Finding]) -> None:
        now = _alike(after)
        for more in _alike(before).keys() - now.keys():
            self._drift.remove(labels + more)
        for more, count in now.items():
            self._drift.set(labels + more, count)
        if after:
            self._since.set(labels, min(finding.since for finding in after.values()))
            self._found[labels] = after
        else:
            self._since.remove(labels)
            self._found.pop(labels, None)


def _labels(finding: Finding) -> Labels:
    return (finding.chain.namespace, finding.chain.name, finding.link.value, finding.kind.value)


def _part(finding: Finding) -> _Part:
    return finding.workload, finding.sources


def _alike(findings: dict[_Part, Finding]) -> Counter[Labels]:
    """How many by cause, vaults, vault secrets and workload; several names share one label, too many are left out."""
    counts: Counter[Labels] = Counter()
    for finding in findings.values():
        vaults = ", ".join(sorted({source.vault_name for source in finding.sources}))
        secrets = finding.sources if len(finding.sources) <= _MOST_NAMED else ()
        named = ", ".join(source.name for source in sorted(secrets))
        workload = finding.workload.name if finding.workload is not None else ""
        counts[finding.cause, vaults, named, workload] += 1
    return counts
