"""Counters and histograms that go on where those of the last run ended.

A process that lives for seconds counts from zero each time: two evictions in one run and two in the next would be 2 and
2 to Prometheus, and ``increase()`` would see nothing. With what the former runs counted added, they are 2 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Labels = frozenset[tuple[str, str]]
"""Without the empty ones, which are none to Prometheus."""
_MOST_KEPT = 1000
"""Series of a metric that only former runs had. Their names come from outside, and they are kept for ever."""


class Counted(NamedTuple):
    """One series of a histogram; buckets are cumulative."""

    buckets: Mapping[float, float]
    sum: float
    number: float


class Former(NamedTuple):
    """What former runs counted, by the name of the metric as it is told."""

    counters: Mapping[str, Mapping[Labels, float]]
    histograms: Mapping[str, Mapping[Labels, Counted]]


NOTHING = Former({}, {})


class Accumulated(Collector):
    """The metrics of a registry that are wanted, with what former runs counted; without ``_created`` gauges."""

    def __init__(self, registry: Collector, former: Former, wanted: Callable[[Metric], bool]) -> None:
        self._registry, self._former, self._wanted = registry, former, wanted

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        for metric in self._registry.collect():
            if self._wanted(metric):
                told = Metric(metric.name, metric.documentation, metric.type)
                told.samples = list(self._samples(metric))
                yield told

    def _samples(self, metric: Metric) -> Iterator[Sample]:
        if metric.type == "counter":
            name = f"{metric.name}_total"
            return _counters(name, metric.samples, self._former.counters.get(name, {}))
        if metric.type == "histogram":
            return _histograms(metric.name, metric.samples, self._former.histograms.get(metric.name, {}))
        return (Sample(sample.name, _named(sample.labels), sample.value) for sample in metric.samples)


def labels_of(labels: Mapping[str, str]) -> Labels:
    """As they are compared."""
    return frozenset((name, value) for name, value in labels.items() if value != "")


def _counters(name: str, samples: Iterable[Sample], former: Mapping[Labels, float]) -> Iterator[Sample]:
    values = {labels_of(sample.labels): sample.value for sample in samples if sample.name == name}
    for labels in [*values, *_kept(former.keys() - values.keys())]:
        yield Sample(name, dict(sorted(labels)), values.get(labels, 0.0) + former.get(labels, 0.0))


def _histograms(name: str, samples: Iterable[Sample], former: Mapping[Labels, Counted]) -> Iterator[Sample]:
    """A series whose buckets have other bounds now begins anew: their counts cannot be told apart."""
    found = _counted(name, samples)
    bounds = {frozenset(each.buckets) for each in found.values()}
    alike = {labels: each for labels, each in former.items() if frozenset(each.buckets) in bounds}
    nothing = Counted({}, 0.0, 0.0)
    for labels in [*found, *_kept(alike.keys() - found.keys())]:
        now, then = found.get(labels, nothing), alike.get(labels, nothing)
        for bound in sorted(now.buckets or then.buckets):
            value = now.buckets.get(bound, 0.0) + then.buckets.get(bound, 0.0)
            yield Sample(f"{name}_bucket", {**dict(sorted(labels)), "le": _bound(bound)}, value)
        yield Sample(f"{name}_sum", dict(sorted(labels)), now.sum + then.sum)
        yield Sample(f"{name}_count", dict(sorted(labels)), now.number + then.number)


def _counted(name: str, samples: Iterable[Sample]) -> dict[Labels, Counted]:
    buckets: dict[Labels, dict[float, float]] = {}
    others: dict[tuple[str, Labels], float] = {}
    for sample in samples:
        if sample.name == f"{name}_bucket":
            labels = labels_of({label: value for label, value in sample.labels.items() if label != "le"})
            buckets.setdefault(labels, {})[float(sample.labels["le"])] = sample.value
        else:
            others[sample.name, labels_of(sample.labels)] = sample.value
    return {
        labels: Counted(held, others.get((f"{name}_sum", labels), 0.0), others.get((f"{name}_count", labels), 0.0))
        for labels, held in buckets.items()
    }


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(bound)


def _kept(labels: Iterable[Labels]) -> list[Labels]:
    return sorted(labels, key=sorted)[:_MOST_KEPT]


def _named(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if value != ""}


def number(text: object) -> float:
    """A count as a Pushgateway writes it. Raises ValueError for what no count can be."""
    value = float(text) if isinstance(text, str) else math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError("no count")
    return value
