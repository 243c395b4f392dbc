"""Gauges whose labels name objects: a series lives as long as what it tells of, and their number is bounded.

Names come from tenants. Beyond the bounds the objects of a namespace share one series under the name ``(others)``,
which no object can bear; the bound per namespace keeps one tenant from crowding out the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import TypeVar

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from agent.report.exposition import RenderedLabels
from agent.report.words import escape

OTHERS = "(others)"
MOST_SERIES = 5000
MOST_PER_NAMESPACE = 2000
_LONGEST_LABEL = 256

Labels = tuple[str, ...]
T = TypeVar("T")


class Series(Collector):
    """One gauge whose first label is a namespace and whose second is an object's name. Thread-safe."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Labels,
        *,
        others: Callable[[Iterable[float]], float] = sum,
        most: int = MOST_SERIES,
        most_per_namespace: int = MOST_PER_NAMESPACE,
    ) -> None:
        """``others`` makes one value of those beyond the bounds ``most`` (in all) and ``most_per_namespace``."""
        self._name, self._documentation, self._labels = name, documentation, labels
        self._others, self._most, self._most_per_namespace = others, most, most_per_namespace
        self._lock = threading.Lock()
        self._total = 0
        self._samples: dict[str, dict[Labels, Sample]] = {}
        self._beyond: dict[str, dict[Labels, float]] = {}

    def set(self, labels: Labels, value: float) -> None:
        """Set one series; beyond the bounds it counts among the others until there is room for it."""
        labels = _safe(labels)
        with self._lock:
            if labels in self._samples.get(labels[0], ()) or self._has_room(labels[0]):
                self._beyond.get(labels[0], {}).pop(labels, None)
                self._admit(labels, value)
            else:
                self._beyond.setdefault(labels[0], {})[labels] = value

    def remove(self, labels: Labels) -> None:
        """The series is gone; one of the others takes its place."""
        self._remove(_safe(labels))

    def replace(self, values: dict[Labels, float]) -> None:
        """These series and no others."""
        for labels in self.known() - {_safe(labels) for labels in values}:
            self._remove(labels)
        for labels, value in values.items():
            self.set(labels, value)

    def known(self) -> AbstractSet[Labels]:
        """The labels of all series, those beyond the bounds included."""
        with self._lock:
            return {labels for group in (self._samples, self._beyond) for held in group.values() for labels in held}

    def collect(self) -> Iterable[Metric]:
        """All series, then one per namespace for those beyond the bounds."""
        metric = GaugeMetricFamily(self._name, self._documentation)
        with self._lock:
            metric.samples = [sample for held in self._samples.values() for sample in held.values()]
            beyond = {namespace: self._others(held.values()) for namespace, held in self._beyond.items() if held}
        for namespace, value in beyond.items():
            labels = (namespace, OTHERS, *[""] * (len(self._labels) - 2))
            metric.samples.append(Sample(self._name, self._named(labels), float(value)))
        return [metric]

    def describe(self) -> Iterable[Metric]:
        """The name alone: registering need not collect."""
        return [GaugeMetricFamily(self._name, self._documentation)]

    def _has_room(self, namespace: str) -> bool:
        return self._total < self._most and len(self._samples.get(namespace, ())) < self._most_per_namespace

    def _admit(self, labels: Labels, value: float) -> None:
        held = self._samples.setdefault(labels[0], {})
        former = held.get(labels)
        self._total += former is None
        named = self._named(labels) if former is None else former.labels
        held[labels] = Sample(self._name, named, float(value))

    def _remove(self, labels: Labels) -> None:
        with self._lock:
            _drop(self._beyond, labels)
            if _drop(self._samples, labels):
                self._total -= 1
                self._fill(labels[0])

    def _fill(self, freed: str) -> None:
        for namespace in (freed, *self._beyond):
            if self._beyond.get(namespace) and self._has_room(namespace):
                labels, value = next(iter(self._beyond[namespace].items()))
                _drop(self._beyond, labels)
                self._admit(labels, value)
                return

    def _named(self, labels: Labels) -> RenderedLabels:
        return RenderedLabels(dict(zip(self._labels, labels, strict=True)))


def _safe(labels: Labels) -> Labels:
    return tuple(escape(label, _LONGEST_LABEL) for label in labels)


def _drop(held: dict[str, dict[Labels, T]], labels: Labels) -> bool:
    group = held.get(labels[0], {})
    dropped = group.pop(labels, None) is not None
    if not group:
        held.pop(labels[0], None)
    return dropped
