"""Kubernetes Events: what an owner reads, how often it is written, and that it disturbs nothing."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import pytest
from report_events import BACKEND, CHAIN, NOW, SOURCE, finding, found, gone, refusal
from structlog.testing import capture_logs

from agent import events as ev
from agent.clock import Clock
from agent.cluster.errors import ApiProblem
from agent.model import Kind, Link, ObjectKey, Step, Trouble
from agent.report.kube import MOST_WAITING_OF_ONE, KubeEvents
from agent.report.notes import STORY, About, Ref, Type, name_of, note_of, place_of

POD = ObjectKey("klinematrix-test", "backend-1")


class Written(NamedTuple):
    """One call of the writer."""

    kind: str
    name: str
    type: Type
    reason: str
    message: str
    times: int


class Writer:
    """Keeps what it is asked to write; waits where the gate is closed, fails where it is told to."""

    def __init__(self) -> None:
        self.written: list[Written] = []
        self.names: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.failing = False
        self.refusing: tuple[str, ...] = ()
        self.failed = threading.Event()
        self._changed = threading.Condition()

    def event(
        self, regarding: Ref, type: Type, reason: str, message: str, at: float, *, name: str, times: int = 1
    ) -> None:
        """As the cluster's writer does."""
        self.entered.set()
        assert self.open.wait(20)
        if regarding.namespace in self.refusing:
            raise ApiProblem(403, "Forbidden", "no")
        if self.failing:
            self.failed.set()
            raise OSError("the API server is away")
        self.names.append(name)
        with self._changed:
            self.written.append(Written(regarding.kind, regarding.name, type, reason, message, times))
            self._changed.notify_all()

    def has(self, name: str, times: int = 1) -> bool:
        """Wait until so many notes on an object of that name are written; False if that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: sum(note.name == name for note in self.written) >= times, 60)


def refs(about: About) -> Ref | None:
    """Everything exists, but for objects named ``gone``."""
    if about.name == "gone":
        return None
    kind = "ExternalSecret" if isinstance(about, ObjectKey) else about.kind
    return Ref("v1", kind, about.namespace, about.name, f"uid-of-{about.name}")


def told(*events: ev.Event, **more: Any) -> list[Written]:
    """What is written of these events."""
    writer = Writer()
    subscriber = KubeEvents(writer, refs, Clock(), **more)
    for event in events:
        subscriber(event)
    subscriber.close(20)
    return writer.written


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (found(), ("ExternalSecret", "Warning", "DriftDetected")),
        (gone(), ("ExternalSecret", "Normal", "DriftGone")),
        (found(kind=Kind.SUSPECT), ("ExternalSecret", "Normal", "DriftSuspected")),
        (found(kind=Kind.UNKNOWN), ("ExternalSecret", "Warning", "NotJudged")),
        (found(kind=Kind.DISABLED), ("ExternalSecret", "Warning", "VersionDisabled")),
        (found(kind=Kind.EXPIRED), ("ExternalSecret", "Warning", "VaultSecretExpired")),
        (ev.SyncRequested(at=NOW, chain=CHAIN, reason="stale", evidence="", attempt=1),
         ("ExternalSecret", "Normal", "ForceSynced")),
        (ev.Synced(at=NOW, chain=CHAIN, seconds=1), ("ExternalSecret", "Normal", "SyncAcknowledged")),
        (ev.SyncTimedOut(at=NOW, chain=CHAIN, seconds=30, attempt=1, next_at=NOW),
         ("ExternalSecret", "Warning", "SyncTimedOut")),
        (ev.SecretDeleted(at=NOW, chain=CHAIN, secret=CHAIN, evidence=""),
         ("ExternalSecret", "Normal", "SecretRecreating")),
        (ev.SecretBack(at=NOW, chain=CHAIN, secret=CHAIN, seconds=1),
         ("ExternalSecret", "Normal", "SecretRecreated")),
        (ev.SecretNotBack(at=NOW, chain=CHAIN, secret=CHAIN, seconds=30),
         ("ExternalSecret", "Warning", "SecretNotBack")),
        (ev.Evicted(at=NOW, workload=BACKEND, pod=POD, stage="canary", evidence=""),
         ("Deployment", "Normal", "PodEvicted")),
        (ev.RolloutRestarted(at=NOW, workload=BACKEND, evidence=""), ("Deployment", "Normal", "RolloutRestarted")),
        (ev.StagePassed(at=NOW, workload=BACKEND, stage="canary", pods=1, seconds=9),
         ("Deployment", "Normal", "CanaryPassed")),
        (ev.StagePassed(at=NOW, workload=BACKEND, stage="restart", pods=1, seconds=9),
         ("Deployment", "Normal", "RestartPassed")),
        (ev.Halted(at=NOW, workload=BACKEND, reason="canary-failed", detail="", remedy=""),
         ("Deployment", "Warning", "CanaryFailed")),
        (ev.Halted(at=NOW, workload=BACKEND, reason="immutable-cached-on-node", detail="", remedy=""),
         ("Deployment", "Warning", "RolloutHalted")),
        (ev.HaltEnded(at=NOW, workload=BACKEND, reason="canary-failed", why=""),
         ("Deployment", "Normal", "HaltEnded")),
        (ev.Healed(at=NOW, workload=BACKEND, pods=3, seconds=60), ("Deployment", "Normal", "Recycled")),
        (ev.Refused(at=NOW, refusal=refusal()), ("Deployment", "Normal", "HealRefused")),
        (ev.Refused(at=NOW, refusal=refusal(until=None)), ("Deployment", "Warning", "HealRefused")),
        (ev.Refused(at=NOW, refusal=refusal(until=None, reason="campaign")), ("Deployment", "Normal", "HealRefused")),
        (ev.Refused(at=NOW, refusal=refusal(workload=None, chain=CHAIN)), ("ExternalSecret", "Normal", "HealRefused")),
        (ev.Propagated(at=NOW, source=SOURCE, chain=CHAIN, stage="total", seconds=5),
         ("ExternalSecret", "Normal", "Propagated")),
        (ev.Propagated(at=NOW, source=SOURCE, chain=CHAIN, stage="total", seconds=5, workload=BACKEND),
         ("ExternalSecret", "Normal", "Propagated")),
        (ev.Malformed(at=NOW, resource="externalsecrets", key=CHAIN, field="spec.data", message="no list"),
         ("ExternalSecret", "Warning", "Malformed")),
    ],
)  # fmt: skip
def test_an_owner_reads_of_it_on_the_object(event: ev.Event, expected: tuple[str, str, str]) -> None:
    """Each has its object, its type, its reason, and its place in the story."""
    note = note_of(event)
    assert note is not None
    assert place_of(note) < len(STORY)
    assert [(note.kind, note.type, note.reason) for note in told(event)] == [expected]


@pytest.mark.parametrize(
    "event",
    [
        found(kind=Kind.PINNED),
        found(kind=Kind.EXCLUDED),
        gone(kind=Kind.SUSPECT),
        ev.DriftGone(at=NOW, finding=gone().finding, lasted=5.0, by=Kind.SYNC_FAILED),
        ev.Refused(at=NOW, refusal=refusal(workload=None)),
        ev.Propagated(at=NOW, source=SOURCE, chain=CHAIN, stage="vault_to_secret", seconds=5),
        ev.Malformed(at=NOW, resource="pods", key=CHAIN, field="spec", message="none"),
        ev.Troubled(at=NOW, subject="vault x", trouble=Trouble(cause="throttled", detail="")),
        ev.StepDone(at=NOW, step=Step.RECYCLE, result="done"),
    ],
)
def test_what_is_no_news_to_an_owner_is_not_written(event: ev.Event) -> None:
    """What they wrote themselves, what another note says, and the agent's own affairs."""
    assert told(event) == []


def test_stale_containers_are_told_on_both_objects_each_naming_the_other() -> None:
    """The owner of the workload learns which ExternalSecret, and the other way round."""
    event = found(link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND, evidence="backend-1: old")
    assert [(note.kind, note.message) for note in told(event)] == [
        ("ExternalSecret", "Deployment backend: containers run an old value: backend-1: old"),
        ("Deployment", "ExternalSecret app-secrets: containers run an old value: backend-1: old"),
    ]


def test_the_same_on_the_same_object_is_one_event_counted_up() -> None:
    """Fifty evictions of a stage are one Event of count fifty, also across a restart of the agent."""
    evicted = [
        ev.Evicted(at=NOW, workload=BACKEND, pod=ObjectKey("x", f"pod-{n}"), stage="batch", evidence="")
        for n in range(50)
    ]
    writer = Writer()
    writer.open.clear()
    subscriber = KubeEvents(writer, refs, Clock())
    subscriber(evicted[0])
    assert writer.entered.wait(20)
    for event in evicted[1:]:
        subscriber(event)
    writer.open.set()
    subscriber.close(20)
    assert [note.times for note in writer.written] == [1, 49]
    assert writer.written[1].message.startswith("evicted pod pod-49 (batch)")
    again = Writer()
    restarted = KubeEvents(again, refs, Clock())
    restarted(evicted[7])
    restarted.close(20)
    assert set(again.names) == set(writer.names)


def test_the_name_of_an_event_is_one_the_api_server_takes() -> None:
    """It tells objects of one name apart by their uid, and another reason or key is another Event."""
    note = note_of(found())
    assert note is not None
    one = name_of(Ref("v1", "Pod", "ns", "a" * 253, "uid-1"), note)
    assert len(one) <= 253
    assert one != name_of(Ref("v1", "Pod", "ns", "a" * 253, "uid-2"), note)
    assert one != name_of(Ref("v1", "Pod", "ns", "a" * 253, "uid-1"), note._replace(key="other"))
    assert name_of(Ref("v1", "Pod", "ns", "../Up\n", "uid"), note).startswith("object.")


def test_a_halt_is_told_where_the_bad_value_was_set_too_and_so_is_its_end() -> None:
    """On the workload and on the ExternalSecrets that brought the value, in words for each."""
    other = CHAIN._replace(name="db-secrets")
    halted = ev.Halted(at=NOW, workload=BACKEND, reason="canary-failed", detail="it fails", remedy="", chains=(CHAIN,))
    assert {(note.kind, note.name, note.message) for note in told(halted)} == {
        ("ExternalSecret", "app-secrets", "Deployment backend: recycling halted, canary-failed: it fails"),
        ("Deployment", "backend", "ExternalSecret app-secrets: recycling halted, canary-failed: it fails"),
    }
    ended = ev.HaltEnded(at=NOW, workload=BACKEND, reason="canary-failed", why="a new value", chains=(CHAIN, other))
    assert {(note.kind, note.name, note.message) for note in told(ended)} == {
        ("ExternalSecret", "db-secrets", "Deployment backend: the halt (canary-failed) is over: a new value"),
        ("ExternalSecret", "app-secrets", "Deployment backend: the halt (canary-failed) is over: a new value"),
        ("Deployment", "backend", "the halt (canary-failed) is over: a new value"),
    }


def test_what_happens_within_a_second_is_listed_in_its_order() -> None:
    """By name, as the API server lists it and kubectl shows it: the cause, what was done about it, what came of it."""
    stale = finding(link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND)
    evicted = ev.Evicted(at=NOW, workload=BACKEND, pod=POD, stage="canary", evidence="")
    story: list[ev.Event] = [
        found(),
        ev.SyncRequested(at=NOW, chain=CHAIN, reason="stale", evidence="", attempt=1),
        ev.Synced(at=NOW, chain=CHAIN, seconds=0.1),
        gone(),
        ev.DriftFound(at=NOW, finding=stale),
        evicted,
        ev.StagePassed(at=NOW, workload=BACKEND, stage="canary", pods=1, seconds=1),
        ev.Evicted(at=NOW, workload=BACKEND, pod=POD, stage="batch", evidence=""),
        ev.StagePassed(at=NOW, workload=BACKEND, stage="batch", pods=1, seconds=1),
        ev.DriftGone(at=NOW, finding=stale, lasted=3.0),
        ev.Healed(at=NOW, workload=BACKEND, pods=2, seconds=3.0),
    ]
    one = Ref("apps/v1", "Deployment", "ns", "backend", "uid")
    names = [name_of(one, note) for event in story if (note := note_of(event)) is not None]
    assert len(names) == len(story)
    assert names == sorted(names)


def test_a_noisy_namespace_is_bounded_and_takes_nothing_from_others() -> None:
    """What is over its rate waits, and what is repeated meanwhile is counted; others are written at once."""
    writer = Writer()
    subscriber = KubeEvents(writer, refs, Clock(), burst=3, per_second=0.01)
    for number in [*range(10), 7, 8, 7]:
        subscriber(found(chain=ObjectKey("noisy", f"es-{number}")))
    subscriber(found(chain=ObjectKey("quiet", "es")))
    assert writer.has("es"), "it did not wait for the noisy one"
    assert [note.name for note in writer.written] == ["es-0", "es-1", "es-2", "es"]

    subscriber.close(20)

    rest = {note.name: note.times for note in writer.written[4:]}
    assert rest == {**{f"es-{number}": 1 for number in range(3, 10)}, "es-7": 3, "es-8": 2}
    assert subscriber.dropped == 0


def test_in_time_a_namespace_may_be_written_of_again() -> None:
    """A full bucket is not needed: each token lets one more be written."""
    writer = Writer()
    subscriber = KubeEvents(writer, refs, Clock(), burst=1, per_second=50.0)
    for number in range(5):
        subscriber(found(chain=ObjectKey("noisy", f"es-{number}")))
    assert writer.has("es-4")
    subscriber.close(20)
    assert [note.name for note in writer.written] == [f"es-{number}" for number in range(5)]


def test_one_namespace_cannot_fill_the_table() -> None:
    """Only so many different Events of it wait; what is over that is dropped and counted, what is known is not."""
    writer = Writer()
    subscriber = KubeEvents(writer, refs, Clock(), burst=1, per_second=0.01)
    subscriber(found(chain=ObjectKey("noisy", "first")))
    assert writer.has("first")
    for number in [*range(MOST_WAITING_OF_ONE + 5), 0]:
        subscriber(found(chain=ObjectKey("noisy", f"es-{number}")))
    subscriber.close(20)
    assert subscriber.dropped == 5
    assert [note.times for note in writer.written if note.name == "es-0"] == [2]
    assert len(writer.written) == 1 + MOST_WAITING_OF_ONE


def test_what_is_urgent_goes_first_and_is_never_dropped() -> None:
    """A lost Secret is told at once, even where the namespace has used up its rate."""
    writer = Writer()
    subscriber = KubeEvents(writer, refs, Clock(), burst=1, per_second=0.01)
    subscriber(found())
    assert writer.has("app-secrets")
    subscriber(gone())
    subscriber(ev.SecretNotBack(at=NOW, chain=CHAIN, secret=CHAIN, seconds=30))
    assert writer.has("app-secrets", 2)
    subscriber.close(20)
    assert [note.reason for note in writer.written] == ["DriftDetected", "SecretNotBack", "DriftGone"]


def test_an_api_server_that_takes_no_events_stops_nothing() -> None:
    """Failures are counted and told by what they are, not by their words, and the next note is tried again."""
    writer = Writer()
    writer.failing = True
    with capture_logs() as logged:
        subscriber = KubeEvents(writer, refs, Clock())
        subscriber(found())
        assert writer.failed.wait(20)
        writer.failing = False
        subscriber(gone())
        subscriber.close(20)
    assert (subscriber.failed, subscriber.written) == (1, 1)
    assert [(line["event"], line["cause"]) for line in logged] == [("Kubernetes Events cannot be written", "OSError")]
    assert "away" not in str(logged)


def test_namespaces_that_take_no_events_are_named_once_each() -> None:
    """Where others can be written to meanwhile, a namespace's refusals are neither said each time nor forgotten."""
    writer = Writer()
    writer.refusing = ("closed", "shut")
    with capture_logs() as logged:
        subscriber = KubeEvents(writer, refs, Clock())
        for number in range(3):
            for namespace in ("closed", "shop", "shut"):
                subscriber(found(chain=ObjectKey(namespace, f"es-{number}")))
        subscriber.close(20)
    assert (subscriber.failed, subscriber.written) == (6, 3)
    assert [line["event"].rpartition(" ")[2] for line in logged] == ["closed", "shut"]


def test_while_the_api_server_hangs_no_memory_is_used_up() -> None:
    """A bounded number of notes waits; the caller never does."""
    writer = Writer()
    writer.open.clear()
    subscriber = KubeEvents(writer, refs, Clock(), burst=10_000)
    for number in range(3000):
        subscriber(found(chain=ObjectKey(f"shop-{number % 60}", f"es-{number}")))
    assert 1990 <= subscriber.dropped <= 2000
    writer.open.set()
    subscriber.close(20)
    assert subscriber.written == 3000 - subscriber.dropped


def test_an_object_that_is_gone_gets_no_event() -> None:
    """There is nothing to write on."""
    assert told(found(chain=ObjectKey("shop", "gone"))) == []


def test_under_a_policy_that_observes_nothing_is_written() -> None:
    """Out of the box the agent leaves the cluster as it is."""
    assert told(found(), enabled=lambda: False) == []


def test_after_closing_nothing_is_accepted() -> None:
    """A late event is dropped, not lost silently."""
    writer = Writer()
    subscriber = KubeEvents(writer, refs, Clock())
    subscriber.close(20)
    subscriber(found())
    assert (subscriber.dropped, writer.written) == (1, [])
