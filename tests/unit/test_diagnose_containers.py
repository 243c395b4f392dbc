"""When a container resolved its Secrets, and what it can have got: spans, held entries, and the table of verdicts."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.diagnose import containers
from agent.diagnose.containers import Need, Span
from agent.memory import ABSENT, UNOBSERVED, Entry, SecretMemory
from agent.model import ContainerRun, ContainerSpec, ObjectKey, Owner, Pod, State, Use
from agent.policy import Policy

POLICY = Policy()  # margins: node 5 s, kubelet's lag 2 s; subPath: 120 s
ENV = Use("app-secrets", "env", ("API_KEY",))
FOREVER = float("-inf")


def pod(
    run: ContainerRun, *, created: float = 1000.0, use: Use = ENV, kind: str = "container", **fields: object
) -> Pod:
    """A running pod with one container."""
    given = {"deleting": False, "phase": "Running", "owner": None, **fields}
    return Pod(
        key=ObjectKey("shop", "p"), uid="u", created=created, node="n", ready=True,
        ready_since=None, containers=(ContainerSpec("app", kind, (use,)),), runs=(run,), **given,  # type: ignore[arg-type]
    )  # fmt: skip


def run(started: float | None = 1003.0, **fields: object) -> ContainerRun:
    """A container that runs and is ready."""
    given = {"state": "running", "ready": True, **fields}
    return ContainerRun(started=started, **given)  # type: ignore[arg-type]


def entry(value: str, lo: float, hi: float, born: float = 0.0) -> Entry:
    """One value of a key, written between two times."""
    return Entry(value=value, lo=lo, hi=hi, born=born)


def span_of(one: Pod, now: float = 9000.0) -> Span:
    """The span of the pod's only container."""
    return containers.span(one, one.runs[0], one.containers[0].uses[0], POLICY, now=now)


def test_a_first_run_resolves_between_the_pods_creation_and_its_start() -> None:
    """From creation less kubelet's lag to the start, rounded up to whole seconds, plus the node's margin."""
    assert span_of(pod(run(1003.0))) == Span(1000.0 - 2, 1003.0 + 1 + 5)


def test_a_later_run_resolves_after_the_end_of_the_one_before() -> None:
    """A restart builds the environment anew: not before the previous run ended, by a clock that is the node's."""
    assert span_of(pod(run(2003.0, previous_finished=2000.0, restarts=1))) == Span(2000.0 - 5 - 2, 2003.0 + 1 + 5)


def test_the_end_of_a_run_by_a_node_whose_clock_is_behind_never_opens_the_span_before_the_pod() -> None:
    """An end that lies before the pod's creation tells only of the clocks."""
    assert span_of(pod(run(1003.0, previous_finished=900.0))).lo == 1000.0 - 2


def test_a_subpath_can_be_two_minutes_older() -> None:
    """Its file can come from a volume that kubelet set up earlier."""
    use = Use("app-secrets", "subPath", ("API_KEY",))
    assert span_of(pod(run(1003.0), use=use)).lo == 1000.0 - 120


def test_nothing_resolves_after_it_was_seen_to_run() -> None:
    """What we saw running had resolved by then, whatever the node's margin would allow."""
    assert span_of(pod(run(1003.0)), now=1004.5).hi == 1004.5


@pytest.mark.parametrize(
    ("fields", "judged"),
    [
        ({}, True),
        ({"deleting": True}, False),
        ({"phase": "Succeeded"}, False),
        ({"phase": "Failed"}, False),
        ({"owner": Owner("Job", "j", "u", "batch")}, False),
        ({"owner": Owner("ReplicaSet", "r", "u", "apps")}, True),
    ],
)
def test_pods_that_go_by_themselves_are_not_judged(fields: dict[str, object], judged: bool) -> None:
    """Terminating and completed pods and those of Jobs are left out, each with a reason."""
    assert (containers.excluded(pod(run(), **fields)) == "") is judged  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "kind", "again"),
    [
        (run(), "container", False),
        (run(ready=False), "container", False),
        (run(None, state="waiting", ready=False), "container", True),
        (run(None, state="waiting", ready=False), "init", True),
        (run(state="waiting", ready=False, reason="CrashLoopBackOff", previous_finished=4990.0), "container", True),
        (run(state="terminated", ready=False, finished=4990.0), "container", True),
        (run(ready=False, previous_finished=4990.0), "container", True),
        (run(ready=False, previous_finished=4390.0), "container", False),
        (run(ready=True, previous_finished=4990.0), "container", False),
        (run(state="terminated", finished=1004.0, ready=True), "init", False),
        (run(state="terminated", finished=4990.0, ready=False), "init", True),
        (run(state="waiting", ready=False, reason="CrashLoopBackOff"), "init", True),
        (run(ready=False), "init", False),
        (run(ready=False, previous_finished=4990.0), "sidecar", True),
    ],
)
def test_what_resolves_again_by_itself_is_not_judged(one: ContainerRun, kind: str, again: bool) -> None:
    """Waiting and never run, or crash-looping within ten minutes; an init container that has completed does not."""
    assert containers.resolves_again(one, kind, now=5000.0, window=600.0) is again


@pytest.mark.parametrize(
    ("via", "immutable", "volumes", "counts"),
    [
        ("env", False, "ignore", True),
        ("envFrom", False, "ignore", True),
        ("subPath", False, "ignore", True),
        ("volume", False, "ignore", False),
        ("projected", False, "ignore", False),
        ("volume", False, "recycle", True),
        ("projected", False, "recycle", True),
        ("volume", True, "ignore", True),
    ],
)
def test_plain_volumes_follow_by_themselves(via: str, immutable: bool, volumes: str, counts: bool) -> None:
    """kubelet updates plain and projected volumes, but not those of an immutable Secret."""
    assert containers.counts(Use("s", via), immutable=immutable, volumes=volumes) is counts


def test_env_from_uses_every_key_ever_seen_but_those_that_are_shadowed() -> None:
    """A key that was removed matters too: it may come back."""
    entries = (entry("a", 0, 0),)
    memory = SecretMemory(
        uid="u", resource_version="1", touched=0, first_look=0,
        keys={"A": entries, "B": entries, "GONE": (entry(ABSENT, 5, 5), *entries)},
    )  # fmt: skip
    assert set(containers.keys_used(Use("s", "envFrom", without=("B",)), memory)) == {"A", "GONE"}
    assert list(containers.keys_used(Use("s", "env", ("NEVER",)), memory)) == ["NEVER"]


# The current value b was written between 200 and 210; a since 100; the first look was at 50, at x.
HISTORY = (entry("b", 200, 210), entry("a", 100, 100), entry("x", 50, 50))


@pytest.mark.parametrize(
    ("lo", "hi", "expected"),
    [
        (211, 220, State.FRESH),
        (210, 220, State.FRESH),  # by 210 the write had been done
        (209, 220, State.SUSPECT),
        (190, 200, State.SUSPECT),
        (190, 199, State.STALE),
        (101, 199, State.STALE),
        (60, 150, State.STALE),  # x or a: both old
        (60, 220, State.SUSPECT),
        (10, 20, State.STALE),  # before us, and b was never seen before
    ],
)
def test_a_container_is_judged_by_all_that_was_there_while_it_can_have_resolved(
    lo: float, hi: float, expected: State
) -> None:
    """All current is fresh, none is stale, both is suspect; a value is gone when the next had been written for sure."""
    assert containers.judge(HISTORY, 50, Span(lo, hi), before_us=State.SUSPECT) is expected


@pytest.mark.parametrize(
    ("lo", "hi", "before_us", "expected"),
    [
        (10, 20, State.SUSPECT, State.SUSPECT),
        (10, 20, State.ASSUMED, State.ASSUMED),
        (10, 60, State.ASSUMED, State.ASSUMED),
        (10, 60, State.SUSPECT, State.SUSPECT),
        (51, 60, State.SUSPECT, State.FRESH),
    ],
)
def test_before_our_first_look_lies_what_is_assumed_or_suspect_while_its_value_is_the_current_one(
    lo: float, hi: float, before_us: State, expected: State
) -> None:
    """Who resolved before we looked is never stale while nothing has changed: installing restarts nothing."""
    assert containers.judge((entry("x", 50, 50),), 50, Span(lo, hi), before_us=before_us) is expected


def test_a_pod_of_the_next_second_has_what_was_written_in_this_one() -> None:
    """The moment by which a value had been written for sure no longer belongs to the one before."""
    history = (entry("new", 100.3, 101), entry("old", 50, 50))
    assert containers.judge(history, 50, Span(101, 103), before_us=State.SUSPECT) is State.FRESH
    assert containers.judge(history, 50, Span(100, 103), before_us=State.SUSPECT) is State.SUSPECT


def test_a_value_that_came_back_is_no_drift_for_who_started_on_it() -> None:
    """A, B, A: the first and the last A are the current value, B is not."""
    flips = (entry("a", 300, 300), entry("b", 200, 200), entry("a", 100, 100))
    assert containers.judge(flips, FOREVER, Span(110, 120), before_us=State.SUSPECT) is State.FRESH
    assert containers.judge(flips, FOREVER, Span(210, 220), before_us=State.SUSPECT) is State.STALE
    assert containers.judge(flips, FOREVER, Span(190, 310), before_us=State.SUSPECT) is State.SUSPECT


def test_what_was_not_observed_is_never_proof() -> None:
    """While nobody looked anything may have been there, the current value too; unless it was not born yet."""
    gap = (entry("b", 300, 310), entry(UNOBSERVED, 200, 200), entry("a", 100, 100))
    assert containers.judge(gap, FOREVER, Span(220, 230), before_us=State.SUSPECT) is State.SUSPECT
    assert containers.judge(gap, FOREVER, Span(110, 120), before_us=State.SUSPECT) is State.STALE
    assert containers.judge(gap, FOREVER, Span(311, 312), before_us=State.SUSPECT) is State.FRESH
    born = (entry("b", 300, 310, born=250), *gap[1:])
    assert containers.judge(born, FOREVER, Span(220, 230), before_us=State.SUSPECT) is State.STALE
    assert containers.judge(born, FOREVER, Span(220, 260), before_us=State.SUSPECT) is State.SUSPECT


def test_a_removed_key_is_a_value_like_any_other() -> None:
    """Who started while the key was there is stale once it is gone, and who started after is fresh."""
    removed = (entry(ABSENT, 200, 200), entry("a", 100, 100))
    assert containers.judge(removed, FOREVER, Span(110, 120), before_us=State.SUSPECT) is State.STALE
    assert containers.judge(removed, FOREVER, Span(210, 220), before_us=State.SUSPECT) is State.FRESH


def test_held_names_the_entries_with_the_time_at_which_each_can_have_ended() -> None:
    """Newest first; an entry lasts until its successor has begun for sure."""
    found = containers.held(HISTORY, 50, Span(150, 205))
    assert [(e.value, ends) for e, ends in found.entries] == [("b", float("inf")), ("a", 210)]
    assert not found.before_us
    assert containers.held(HISTORY, 50, Span(40, 45)).before_us


def test_consumers_pairs_each_use_of_a_secret_with_its_containers_run() -> None:
    """Uses of other Secrets are left out."""
    one = run()
    assert list(containers.consumers(pod(one), "app-secrets")) == [(pod(one).containers[0], one, ENV)]
    assert list(containers.consumers(pod(one), "other")) == []


MOMENTS = st.floats(0.0, 40.0, width=16)


@st.composite
def histories(draw: st.DrawFn, first_look: float) -> tuple[Entry, ...]:
    """What one key held, newest first, as a history can be: each value begins in a span of its own."""
    begins = sorted(draw(st.lists(MOMENTS, min_size=1, max_size=4)))
    values = st.sampled_from(["a", "b", ABSENT, UNOBSERVED])
    lows = [first_look] + [first_look + at for at in begins[1:]]
    return tuple(
        Entry(value=draw(values), lo=lo, hi=lo + draw(st.sampled_from([0.0, 0.5, 3.0])), gone=draw(st.booleans()))
        for lo in reversed(lows)
    )


@given(st.data())
def test_what_is_certain_at_a_glance_is_what_a_closer_look_finds(data: st.DataObject) -> None:
    """The short cut taken for nearly every container never says anything but what its keys, judged one by one, say."""
    first_look = 20.0
    found = data.draw(st.lists(histories(first_look), min_size=1, max_size=3))
    need = data.draw(st.sampled_from(get_args(Need)))
    lo = data.draw(st.floats(0.0, 70.0, width=16))
    at = Span(lo, lo + data.draw(st.sampled_from([0.0, 1.0, 8.0, 30.0])))
    before_us = data.draw(st.sampled_from([State.ASSUMED, State.SUSPECT]))
    known = containers.certain(found, first_look, need)
    if known is None:
        return
    states = {containers.judge(one, first_look, at, before_us=before_us, need=need) for one in found}
    if at.lo > known.since and at.lo >= known.settled and at.hi >= known.written:
        assert states == {State.FRESH}
    elif at.lo <= known.since and known.unchanged:
        assert states == {before_us}
