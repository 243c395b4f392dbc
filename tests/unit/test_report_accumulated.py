"""Counters that go on where the last run's ended, whatever a Pushgateway kept of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from agent.pushgateway import former_of
from agent.report.accumulated import NOTHING, Accumulated, Former
from agent.report.exposition import exposition

GROUP = {"job": "once", "agent_namespace": "home"}
COUNTER, HISTOGRAM = "secret_drift_actions_total", "secret_drift_cycle_seconds"


def run() -> CollectorRegistry:
    """One run: two evictions, a refusal without a cause, and a comparison of 0.3 s."""
    registry = CollectorRegistry()
    actions = Counter(COUNTER, "Actions.", ("step", "cause"), registry=registry)
    actions.labels("evict", "stale").inc(2)
    actions.labels("refuse", "").inc()
    Histogram(HISTOGRAM, "Cycles.", buckets=(0.1, 1, 10), registry=registry).observe(0.3)
    Gauge("secret_drift_leader", "Leader.", registry=registry).set(1)
    return registry


def told(former: Former, registry: CollectorRegistry | None = None) -> list[str]:
    """The samples, as they are pushed."""
    text = exposition(Accumulated(registry or run(), former, lambda metric: True)).decode()
    return sorted(line for line in text.splitlines() if not line.startswith("#"))


def answer(*groups: tuple[dict[str, str], dict[str, Any]]) -> bytes:
    """As a Pushgateway tells of its groups."""
    return json.dumps({"status": "success", "data": [{"labels": labels, **told} for labels, told in groups]}).encode()


def counter(value: Any, **labels: str) -> dict[str, Any]:
    """A family of one series."""
    return {"type": "COUNTER", "metrics": [{"labels": {**GROUP, "instance": "", **labels}, "value": value}]}


def histogram(**buckets: str) -> dict[str, Any]:
    """A family of one series."""
    bounds = {name.removeprefix("le_").replace("_", "."): value for name, value in buckets.items()}
    bounds = {"+Inf" if bound == "inf" else bound: value for bound, value in bounds.items()}
    return {"type": "HISTOGRAM", "metrics": [{"labels": GROUP, "buckets": bounds, "count": "4", "sum": "1.5"}]}


def test_a_first_run_tells_what_it_counted() -> None:
    """With nothing before it, and without the library's own times of creation."""
    assert told(NOTHING) == [
        'secret_drift_actions_total{cause="stale",step="evict"} 2',
        'secret_drift_actions_total{step="refuse"} 1',
        'secret_drift_cycle_seconds_bucket{le="+Inf"} 1',
        'secret_drift_cycle_seconds_bucket{le="0.1"} 0',
        'secret_drift_cycle_seconds_bucket{le="1.0"} 1',
        'secret_drift_cycle_seconds_bucket{le="10.0"} 1',
        "secret_drift_cycle_seconds_count 1",
        "secret_drift_cycle_seconds_sum 0.3",
        "secret_drift_leader 1",
    ]


def test_the_next_run_goes_on_from_there() -> None:
    """Counters and histograms are sums; a gauge is what it is now."""
    families = {
        COUNTER: counter("2", step="evict", cause="stale"),
        HISTOGRAM: histogram(le_0_1="1", le_1="2", le_10="4", le_inf="4"),
        "secret_drift_leader": {"type": "GAUGE", "metrics": [{"labels": GROUP, "value": "0"}]},
    }
    found = told(former_of(answer((GROUP, families)), GROUP))
    assert 'secret_drift_actions_total{cause="stale",step="evict"} 4' in found
    assert [line.partition("} ")[2] for line in found if "_bucket" in line] == ["5", "1", "3", "5"]
    assert {"secret_drift_cycle_seconds_count 5", "secret_drift_cycle_seconds_sum 1.8"} < set(found)
    assert "secret_drift_leader 1" in found


def test_what_only_former_runs_counted_is_kept_and_bounded() -> None:
    """A series that goes away and comes back would be a reset; a thousand of a metric are enough."""
    kept = former_of(answer((GROUP, {COUNTER: counter("7", step="restart")})), GROUP)
    assert 'secret_drift_actions_total{step="restart"} 7' in told(kept)
    many = [{"labels": {**GROUP, "step": str(number)}, "value": "1"} for number in range(5000)]
    family = {COUNTER: {"type": "COUNTER", "metrics": many}}
    assert sum(line.startswith(COUNTER) for line in told(former_of(answer((GROUP, family)), GROUP))) == 1002


def test_a_histogram_with_other_bounds_begins_anew() -> None:
    """Another objective makes other buckets, whose counts cannot be added."""
    former = former_of(answer((GROUP, {HISTOGRAM: histogram(le_0_1="1", le_5="2", le_inf="4")})), GROUP)
    assert "secret_drift_cycle_seconds_count 1" in told(former)


def test_another_group_is_not_ours() -> None:
    """Not even one that is ours and more."""
    others = [
        ({**GROUP, "group": "east"}, {COUNTER: counter("5", step="evict", cause="stale")}),
        ({"job": "once"}, {COUNTER: counter("5", step="evict", cause="stale")}),
        ({**GROUP, "agent_namespace": "elsewhere"}, {COUNTER: counter("5", step="evict", cause="stale")}),
    ]
    assert former_of(answer(*others), GROUP) == NOTHING


@pytest.mark.parametrize("value", ["-1", "NaN", "+Inf", "x", None, 7, [], "1e999"])
def test_a_count_that_is_none_spoils_all(value: Any) -> None:
    """Then everything begins anew, which Prometheus understands, in place of a sum with rubbish."""
    with pytest.raises((ValueError, msgspec.DecodeError)):
        former_of(answer((GROUP, {COUNTER: counter(value, step="evict")})), GROUP)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data": 1}', b'{"data": [{"labels": []}]}', b"\xff", b"[" * 99999]
)
def test_an_answer_that_is_none_is_told(body: bytes) -> None:
    """By the two errors that the caller knows, however deep it is nested."""
    with pytest.raises((ValueError, msgspec.DecodeError)):
        former_of(body, GROUP)
