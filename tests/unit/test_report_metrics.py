"""Metrics: their names, their life and their number."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from report_events import BACKEND, CHAIN, NOW, SOURCE, found, gone, refusal

from agent import events as ev
from agent.model import Kind, Link, ObjectKey, SourceKey, State, Step, WorkloadKey
from agent.report.exposition import RenderedLabels, exposition
from agent.report.metrics import Metrics
from agent.report.series import OTHERS, Series

LABELS = {
    "secret_drift_links": {"link", "state"},
    "secret_drift_drift": {"namespace", "externalsecret", "link", "kind", "cause", "vault", "vault_secret", "workload"},
    "secret_drift_drift_since_timestamp_seconds": {"namespace", "externalsecret", "link", "kind"},
    "secret_drift_stale_containers": {"namespace", "workload"},
    "secret_drift_stale_source": {"namespace", "workload", "vault", "vault_secret"},
    "secret_drift_steps": {"namespace", "workload", "step"},
    "secret_drift_actions_total": {"step", "result"},
    "secret_drift_syncs_total": {"result"},
    "secret_drift_refused": {"namespace", "workload", "step", "reason"},
    "secret_drift_refusals_total": {"step", "reason"},
    "secret_drift_halted": {"namespace", "workload", "reason", "vault_secret", "back_to"},
    "secret_drift_trouble": {"subject", "cause"},
    "secret_drift_propagation_seconds_count": {"stage"},
    "secret_drift_rotations_total": {"result"},
    "secret_drift_cycle_duration_seconds_count": set(),
    "secret_drift_last_cycle_timestamp_seconds": set(),
    "secret_drift_api_requests_total": {"verb", "resource", "code"},
    "secret_drift_vault_requests_total": {"vault", "operation", "code"},
    "secret_drift_vault_requests_per_second_limit": {"vault"},
    "secret_drift_policy_valid": set(),
    "secret_drift_policy_info": {"mode"},
    "secret_drift_interval_seconds": set(),
    "secret_drift_objective_seconds": set(),
    "secret_drift_build_info": {"version", "python"},
    "secret_drift_leader": set(),
    "secret_drift_writes_bounded": set(),
}
"""The metrics a dashboard may name."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class World:
    """A registry with the subscriber on it."""

    def __init__(self, **more: Any) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, **more)

    def value(self, name: str, **labels: str) -> float | None:
        """One sample, None if it is not there."""
        return _samples(exposition(self.registry)).get((name, frozenset(labels.items())))

    def named(self, name: str) -> list[dict[str, str]]:
        """The labels of all samples of a name."""
        return [dict(labels) for found_name, labels in _samples(exposition(self.registry)) if found_name == name]


def _samples(text: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def stale_pod(**more: Any) -> ev.DriftFound:
    """The workload BACKEND runs an old version."""
    return found(link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND, **more)


def cycle(**more: Any) -> ev.CycleEnded:
    usual: dict[str, Any] = {"seconds": 0.2, "chains": 2, "links": {}, "stale_containers": {}, "findings": 0}
    return ev.CycleEnded(at=NOW, **(usual | more))


def test_the_metrics_are_those_that_are_documented_and_no_others() -> None:
    """After something of everything has happened, names and labels are exactly the published ones."""
    world = World()
    for event in (
        cycle(stale_containers={BACKEND: 2}, troubles={"the ledger": "ledger"}), stale_pod(cause="x"),
        ev.Evicted(at=NOW, workload=BACKEND, pod=CHAIN, stage="canary", evidence=""),
        ev.Halted(
            at=NOW, workload=BACKEND, reason="canary-failed", detail="", remedy="", secrets=(str(SOURCE),), back_to="v1"
        ),
        ev.PolicyChanged(at=NOW, valid=True, digest=""),
        ev.Refused(at=NOW, refusal=refusal()), ev.StepDone(at=NOW, step=Step.RECYCLE, result="done"),
        ev.Propagated(at=NOW, source=SOURCE, chain=CHAIN, stage="total", seconds=40.0),
    ):  # fmt: skip
        world.metrics(event)
    world.metrics.api_request("GET", "pods", 200, 0.1, 1000)
    world.metrics.vault_request("prod-kv.vault.azure.net", "list", 429, 0.1)
    world.metrics.vault_limit("prod-kv.vault.azure.net", 20)
    samples = _samples(exposition(world.registry))
    assert {name: set(dict(labels)) for name, labels in samples if not name.endswith(("_bucket", "_sum"))} == LABELS


def test_an_object_is_a_label_only_while_it_drifts() -> None:
    """The series of a drift comes with it and goes with it."""
    world = World()
    named = {"namespace": CHAIN.namespace, "externalsecret": CHAIN.name, "link": "vault", "kind": "stale"}
    world.metrics(found())
    assert world.value("secret_drift_drift", **named, vault="klinematrix-test-kv", vault_secret=SOURCE.name) == 1
    assert world.value("secret_drift_drift_since_timestamp_seconds", **named) == NOW - 200
    world.metrics(gone())
    assert CHAIN.name.encode() not in exposition(world.registry)


@pytest.mark.parametrize("kind", [Kind.SUSPECT, Kind.UNKNOWN, Kind.PINNED, Kind.EXCLUDED, Kind.EXPIRING])
def test_what_is_no_drift_is_no_series_of_its_own(kind: Kind) -> None:
    """Ten thousand excluded objects cost nothing."""
    world = World()
    world.metrics(found(kind=kind))
    assert world.named("secret_drift_drift") == []


def test_a_drift_whose_cause_turns_out_later_is_one_series() -> None:
    """The series under the former cause goes when the new one comes."""
    world = World()
    world.metrics(found(kind=Kind.SYNC_FAILED, cause="unknown"))
    world.metrics(found(kind=Kind.SYNC_FAILED, cause="access-denied"))
    assert [labels["cause"] for labels in world.named("secret_drift_drift")] == ["access-denied"]


def test_two_stale_workloads_of_one_chain_are_named_and_dated_by_the_older() -> None:
    """Each is a series of its own while it is stale; since when is said of the chain."""
    world = World()
    labels = {"namespace": CHAIN.namespace, "externalsecret": CHAIN.name, "link": "container", "kind": "stale-pod"}
    more = {**labels, "vault": "klinematrix-test-kv", "vault_secret": SOURCE.name}
    pods: dict[str, Any] = {"link": Link.CONTAINER, "kind": Kind.STALE_POD}
    other = WorkloadKey(CHAIN.namespace, "Deployment", "worker")
    world.metrics(found(**pods, workload=BACKEND, since=NOW - 50))
    world.metrics(found(**pods, workload=other, since=NOW - 90))
    assert world.value("secret_drift_drift", **more, workload="backend") == 1
    assert world.value("secret_drift_drift", **more, workload="worker") == 1
    assert world.value("secret_drift_drift_since_timestamp_seconds", **labels) == NOW - 90
    world.metrics(gone(**pods, workload=other))
    assert world.value("secret_drift_drift", **more, workload="worker") is None
    assert world.value("secret_drift_drift_since_timestamp_seconds", **labels) == NOW - 50


def test_a_drift_of_many_vault_secrets_names_their_vaults_alone() -> None:
    """Three names fit a label and a phone; a hundred do not."""
    world = World()
    sources = tuple(SourceKey(f"kv-{number % 2}.vault.azure.net", f"s{number}") for number in range(4))
    world.metrics(found(sources=sources[:3]))
    world.metrics(found(sources=sources, chain=ObjectKey("shop", "many")))
    named = {labels["externalsecret"]: labels for labels in world.named("secret_drift_drift")}
    assert (named[CHAIN.name]["vault"], named[CHAIN.name]["vault_secret"]) == ("kv-0, kv-1", "s0, s2, s1")
    assert named["many"]["vault"] == "kv-0, kv-1"
    assert "vault_secret" not in named["many"]


def test_two_workloads_of_one_name_are_one_series_that_counts_them() -> None:
    """A StatefulSet may bear the name of a Deployment."""
    world = World()
    pods: dict[str, Any] = {"link": Link.CONTAINER, "kind": Kind.STALE_POD}
    world.metrics(found(**pods, workload=BACKEND))
    world.metrics(found(**pods, workload=BACKEND._replace(kind="StatefulSet")))
    (series,) = world.named("secret_drift_drift")
    assert world.value("secret_drift_drift", **series) == 2


def test_a_drift_that_ends_with_other_sources_than_it_began_with_is_gone() -> None:
    """A third secret rotated meanwhile leaves no series behind."""
    world = World()
    world.metrics(found())
    world.metrics(gone(sources=(SOURCE, SourceKey("other-kv.vault.azure.net", "x"))))
    assert world.named("secret_drift_drift") == []


def test_links_are_counted_by_state_and_those_without_any_are_zero() -> None:
    """A state that no link is in any more does not keep its old count."""
    world = World()
    world.metrics(cycle(links={(Link.VAULT, State.STALE): 3, (Link.VAULT, State.FRESH): 5}))
    world.metrics(cycle(links={(Link.VAULT, State.FRESH): 8}))
    assert world.value("secret_drift_links", link="vault", state="fresh") == 8
    assert world.value("secret_drift_links", link="vault", state="stale") == 0
    assert world.value("secret_drift_last_cycle_timestamp_seconds") == NOW
    assert world.value("secret_drift_cycle_duration_seconds_count") == 2


def test_stale_containers_are_those_of_the_last_comparison() -> None:
    """A workload that is fresh again is no label any more."""
    world = World()
    other = WorkloadKey("shop", "StatefulSet", "db")
    world.metrics(cycle(stale_containers={BACKEND: 3, other: 1}))
    world.metrics(cycle(stale_containers={other: 2, BACKEND: 0}))
    assert world.named("secret_drift_stale_containers") == [{"namespace": "shop", "workload": "db"}]
    assert world.value("secret_drift_stale_containers", namespace="shop", workload="db") == 2


def test_a_halt_is_shown_while_it_lasts() -> None:
    """The page ends with the halt."""
    world = World()
    world.metrics(ev.Halted(at=NOW, workload=BACKEND, reason="canary-failed", detail="", remedy=""))
    labels = {"namespace": BACKEND.namespace, "workload": BACKEND.name, "reason": "canary-failed"}
    assert world.value("secret_drift_halted", **labels) == 1
    world.metrics(ev.HaltEnded(at=NOW, workload=BACKEND, reason="canary-failed", why="fresh"))
    assert world.named("secret_drift_halted") == []


def test_a_halt_names_what_changed_and_the_version_to_go_back_to() -> None:
    """Whoever is paged need not look them up."""
    world = World()
    halted = ev.Halted(
        at=NOW, workload=BACKEND, reason="canary-failed", detail="", remedy="", secrets=("kv/uri",), back_to="b3a1"
    )
    world.metrics(halted)
    (labels,) = world.named("secret_drift_halted")
    assert (labels["vault_secret"], labels["back_to"]) == ("kv/uri", "b3a1")


def test_what_is_refused_now_is_a_series_with_its_reason_and_one_at_a_time() -> None:
    """Another reason takes the place of the former, and the end of the refusal takes it away."""
    world = World()
    world.metrics(ev.Refused(at=NOW, refusal=refusal()))
    world.metrics(ev.Refused(at=NOW, refusal=refusal(reason="budget")))
    named = {"namespace": BACKEND.namespace, "workload": BACKEND.name, "step": "recycle", "reason": "budget"}
    assert world.named("secret_drift_refused") == [named]
    world.metrics(ev.RefusalEnded(at=NOW, refusal=refusal(reason="budget")))
    assert world.named("secret_drift_refused") == []


def test_steps_are_counted_on_what_drifts_and_go_with_it() -> None:
    """A page says what was tried; steps taken where nothing drifts are no series."""
    world = World()
    asked = ev.SyncRequested(at=NOW, chain=CHAIN, reason="stale", evidence="", attempt=1)
    world.metrics(asked)
    assert world.named("secret_drift_steps") == []
    world.metrics(found())
    world.metrics(asked)
    world.metrics(asked)
    labels = {"namespace": CHAIN.namespace, "externalsecret": CHAIN.name, "step": "force-sync"}
    assert world.value("secret_drift_steps", **labels) == 2
    world.metrics(gone())
    assert world.named("secret_drift_steps") == []


def test_a_workload_names_each_vault_secret_of_which_it_runs_an_old_version() -> None:
    """Two chains may name the same one: it goes with the last of them."""
    world = World()
    pods: dict[str, Any] = {"link": Link.CONTAINER, "kind": Kind.STALE_POD, "workload": BACKEND}
    other = SourceKey("other-kv.vault.azure.net", "x")
    world.metrics(found(**pods, sources=(SOURCE, other)))
    world.metrics(found(**pods, sources=(SOURCE,), chain=ObjectKey(CHAIN.namespace, "second")))
    assert {labels["vault"] for labels in world.named("secret_drift_stale_source")} == {SOURCE.vault_name, "other-kv"}
    world.metrics(gone(**pods, sources=(SOURCE, other)))
    assert [labels["vault_secret"] for labels in world.named("secret_drift_stale_source")] == [SOURCE.name]
    world.metrics(gone(**pods, sources=(SOURCE,), chain=ObjectKey(CHAIN.namespace, "second")))
    assert world.named("secret_drift_stale_source") == []


def test_a_workload_that_is_fresh_names_no_vault_secret_though_others_were_found_behind_it_meanwhile() -> None:
    """What ends may name other sources than what began: all that was shown goes."""
    world = World()
    pods: dict[str, Any] = {"link": Link.CONTAINER, "kind": Kind.STALE_POD, "workload": BACKEND}
    other = SourceKey("other-kv.vault.azure.net", "x")
    world.metrics(found(**pods, sources=(SOURCE,)))
    world.metrics(gone(**pods, sources=(other,)))
    assert world.named("secret_drift_stale_source") == []


def test_troubles_are_those_at_the_end_of_the_last_comparison() -> None:
    """Each with its cause; what works again is no series any more."""
    world = World()
    world.metrics(cycle(troubles={"vault prod-kv": "unreachable", "pods in shop": "forbidden"}))
    world.metrics(cycle(troubles={"vault prod-kv": "throttled"}))
    assert world.named("secret_drift_trouble") == [{"subject": "vault prod-kv", "cause": "throttled"}]


def test_another_term_tells_everything_anew() -> None:
    """What the former one told of objects is gone; counters stay."""
    world = World()
    for event in (found(), stale_pod(), ev.Refused(at=NOW, refusal=refusal()),
                  ev.Halted(at=NOW, workload=BACKEND, reason="canary-failed", detail="", remedy="")):  # fmt: skip
        world.metrics(event)
    world.metrics(ev.LeadershipChanged(at=NOW, leading=True, holder="me"))
    assert CHAIN.namespace.encode() not in exposition(world.registry)


def test_counters_begin_at_zero_so_that_rate_sees_the_first_event() -> None:
    """Steps, results, stages and the known reasons are there before anything has happened."""
    world = World(refusals={Step.RECYCLE: ("outside-window",)})
    assert world.value("secret_drift_actions_total", step="recreate", result="failed") == 0
    assert world.value("secret_drift_refusals_total", step="recycle", reason="outside-window") == 0
    assert world.value("secret_drift_propagation_seconds_count", stage="total") == 0
    world.metrics(ev.Refused(at=NOW, refusal=refusal()))
    assert world.value("secret_drift_refusals_total", step="recycle", reason="outside-window") == 1


def test_propagation_within_the_objective_can_be_read_off_exactly() -> None:
    """The policy's objective is a bound of a bucket."""
    world = World(objective=700.0)
    for seconds in (0.05, 699.0, 701.0, 80_000.0):
        world.metrics(ev.Propagated(at=NOW, source=SOURCE, chain=CHAIN, stage="total", seconds=seconds))
    assert world.value("secret_drift_propagation_seconds_bucket", stage="total", le="700.0") == 2
    assert world.value("secret_drift_propagation_seconds_bucket", stage="total", le="86400.0") == 4


def test_an_invalid_policy_file_is_seen_until_it_is_valid_again() -> None:
    """The former policy stays in force, and the metric says so."""
    world = World()
    assert world.value("secret_drift_policy_valid") == 1
    world.metrics(ev.PolicyChanged(at=NOW, valid=False, digest="x", problems=("p",)))
    assert world.value("secret_drift_policy_valid") == 0
    world.metrics(ev.PolicyChanged(at=NOW, valid=True, digest="y"))
    assert world.value("secret_drift_policy_valid") == 1


def test_no_tenant_can_fill_the_memory_of_prometheus() -> None:
    """Beyond the bounds the objects of a namespace share one series; when there is room they come forward."""
    gauge = Series("g", "d", ("namespace", "externalsecret"), most=4, most_per_namespace=3)
    for number in range(5):
        gauge.set(("greedy", f"a{number}"), 1)
    gauge.set(("modest", "b"), 1)
    gauge.set(("late", "c"), 7)
    assert _shown(gauge) == {
        ("greedy", "a0"): 1, ("greedy", "a1"): 1, ("greedy", "a2"): 1, ("greedy", OTHERS): 2,
        ("modest", "b"): 1, ("late", OTHERS): 7,
    }  # fmt: skip
    gauge.remove(("greedy", "a0"))
    gauge.remove(("greedy", "a4"))
    gauge.remove(("modest", "b"))
    assert _shown(gauge) == {("greedy", "a1"): 1, ("greedy", "a2"): 1, ("greedy", "a3"): 1, ("late", "c"): 7}


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(0, 4), st.integers(1, 9)), max_size=60),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_bounded_series_lose_and_invent_nothing(
    steps: list[tuple[bool, str, int, int]], most: int, most_per_namespace: int
) -> None:
    """Shown and shared together are always what was set and not removed, within both bounds."""
    gauge = Series("g", "d", ("namespace", "name"), most=most, most_per_namespace=most_per_namespace)
    truth: dict[tuple[str, str], int] = {}
    for setting, namespace, number, value in steps:
        labels = (namespace, f"o{number}")
        if setting:
            gauge.set(labels, value)
            truth[labels] = value
        else:
            gauge.remove(labels)
            truth.pop(labels, None)
    shown = _shown(gauge)
    single = {labels: value for labels, value in shown.items() if labels[1] != OTHERS}
    assert gauge.known() == truth.keys()
    assert sum(shown.values()) == sum(truth.values())
    assert single.items() <= truth.items()
    assert len(single) == min(
        most, sum(min(most_per_namespace, sum(n == name for n, _ in truth)) for name in {n for n, _ in truth})
    )


def test_requests_with_made_up_labels_are_counted_together() -> None:
    """A counter has a bounded number of series, whatever it is told."""
    world = World()
    for number in range(1500):
        world.metrics.vault_request(f"vault-{number}", "list", 200, 0.1)
    assert len(world.named("secret_drift_vault_requests_total")) == 1001
    assert world.value("secret_drift_vault_requests_total", vault="other", operation="other", code="other") == 500


def test_five_thousand_drifts_are_scraped_whole() -> None:
    """Each has its two series; a scrape is far below a megabyte, as it goes over the wire."""
    world = World()
    for number in range(5000):
        world.metrics(found(chain=ObjectKey(f"team-{number % 20}", f"app-secrets-{number}")))
    text = exposition(world.registry)
    assert text.count(b"\nsecret_drift_drift{") == 5000
    assert text.count(b"\nsecret_drift_drift_since_timestamp_seconds{") == 5000
    assert len(gzip.compress(text, 1)) < 150_000


@example({}, -0.0)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(max_size=10), max_size=3), st.floats())
def test_our_text_means_what_the_librarys_text_means(labels: dict[str, str], value: float) -> None:
    """Parsed, both expositions of one registry hold the same samples; ours leaves out when counters were created."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "line\nline \\", tuple(labels), registry=registry)
    (gauge.labels(*labels.values()) if labels else gauge).set(value)
    Counter("c", "d", registry=registry).inc(3)
    Histogram("h", "d", registry=registry).observe(0.3)
    Info("i", "d", registry=registry).info({"version": "1"})
    ours, theirs = (_unemptied(_samples(text)) for text in (exposition(registry), generate_latest(registry)))
    theirs = {key: said for key, said in theirs.items() if not key[0].endswith("_created")}
    assert ours == theirs


def test_labels_rendered_once_are_labels_like_any_other() -> None:
    """The library may render them too (for a Pushgateway)."""
    registry = CollectorRegistry()
    Metrics(registry)(found())
    assert CHAIN.name.encode() in generate_latest(registry)
    assert RenderedLabels({"a": 'x"\\\n', "b": ""}).text == '{a="x\\"\\\\\\n"}'


def _unemptied(samples: Samples) -> dict[tuple[str, frozenset[tuple[str, str]]], str]:
    """Without empty labels, which mean none, and comparable where the value is NaN."""
    return {
        (name, frozenset(pair for pair in labels if pair[1])): repr(value) for (name, labels), value in samples.items()
    }


def _shown(gauge: Series) -> dict[tuple[str, ...], float]:
    (metric,) = gauge.collect()
    return {tuple(sample.labels.values()): sample.value for sample in metric.samples}
