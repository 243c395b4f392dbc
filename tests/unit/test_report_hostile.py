"""Whatever an event holds, telling it is harmless."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from report_events import HOSTILE, any_event, event_types, refusal

from agent import events as ev
from agent.clock import Clock
from agent.report.exposition import exposition
from agent.report.kube import KubeEvents
from agent.report.log import LEVEL, Log, configure
from agent.report.metrics import Metrics
from agent.report.notes import LONGEST_MESSAGE, About, Ref, message, note_of
from agent.report.words import escape, phrase, sentence, shortened

thorough = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("event_type", event_types(), ids=lambda type_: type_.__name__)
def test_every_event_type_is_handled_on_purpose_by_every_subscriber(event_type: type[ev.Event]) -> None:
    """A new event type fails here until words, log, metrics and Kubernetes Events each say what they make of it."""
    metrics = Metrics(CollectorRegistry())
    assert phrase.dispatch(event_type) is not phrase.dispatch(ev.Event), "no words"
    assert event_type in LEVEL, "no log level"
    assert (event_type in metrics.handlers) != (event_type in metrics.ignored), "neither a metric nor ignored"
    assert note_of.dispatch(event_type) is not note_of.dispatch(ev.Event), "neither a note nor silence"


@thorough
@given(events=st.lists(any_event(), min_size=1, max_size=5))
def test_no_event_can_break_the_log_or_make_a_second_line(events: list[ev.Event]) -> None:
    """Every event becomes exactly one line of valid JSON without control characters."""
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", _Lines(written))
        configure("json", "debug")
        log = Log()
        for event in events:
            log(event)
    lines = "".join(written).splitlines()
    assert len(lines) == len(events)
    for line in lines:
        assert line.isprintable()
        assert {"time", "level", "event"} <= json.loads(line, parse_constant=_no_constant).keys()


@thorough
@given(event=any_event())
def test_no_event_can_break_the_console(event: ev.Event) -> None:
    """For a person's eyes too it is one printable line."""
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", _Lines(written))
        configure("console", "debug")
        Log()(event)
    text = "".join(written)
    assert text.endswith("\n")
    assert text[:-1].isprintable()


@thorough
@given(events=st.lists(any_event(), max_size=8))
def test_no_event_can_break_the_metrics(events: list[ev.Event]) -> None:
    """Whatever was told, a scrape is valid."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for event in events:
        metrics(event)
    text = exposition(registry).decode()
    assert sum(len(family.samples) for family in text_string_to_metric_families(text)) > 50


@thorough
@given(event=any_event())
def test_no_event_can_break_kubernetes_events(event: ev.Event) -> None:
    """A note is one printable line that the API server takes, or there is none."""
    note = note_of(event)
    if note is None:
        return
    for about in note.about:
        said = message(event, about, note)
        assert said.isprintable()
        assert 0 < len(said.encode()) <= LONGEST_MESSAGE


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(any_event(), max_size=10))
def test_the_subscriber_for_kubernetes_events_never_raises(events: list[ev.Event]) -> None:
    """Not even when every write fails."""
    subscriber = KubeEvents(_Broken(), lambda about: Ref("v1", "Pod", *_names(about), "uid"), Clock())
    for event in events:
        subscriber(event)
    subscriber.close(10)
    assert subscriber.written == 0


@given(st.text(st.characters(exclude_categories=())))
def test_escaped_text_is_one_printable_line(text: str) -> None:
    """Line ends, terminal sequences, overrides of direction and lone surrogates are shown, not obeyed."""
    assert escape(text).isprintable()
    assert escape(escape(text)) == escape(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_escaping_bounds_the_length(text: str) -> None:
    """Nobody can fill a disk with one name."""
    assert len(escape(text, 50)) <= 50


@given(st.text(max_size=60), st.integers(3, 40))
def test_a_shortened_text_fits_and_is_not_cut_within_a_character(text: str, most: int) -> None:
    """The bound is in bytes, for the API server counts those."""
    assert len(shortened(text, most).encode()) <= most
    assert shortened(text, 10_000) == text


def test_words_name_the_end_of_a_refusal_once() -> None:
    """A detail that already names the time is not followed by it again."""
    once = ev.Refused(at=1.0, refusal=refusal(detail="outside, opens 2026-11-23T23:00:00Z"))
    added = ev.Refused(at=1.0, refusal=refusal(detail="outside"), first=False)
    assert sentence(once) == "recycle refused (outside-window): outside, opens 2026-11-23T23:00:00Z"
    assert sentence(added) == "recycle refused (outside-window): outside; until 2026-11-23T23:00:00Z (still)"


class _Lines:
    def __init__(self, written: list[str]) -> None:
        self.write = written.append

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


class _Broken:
    def event(self, *_: object, **__: object) -> None:
        raise OSError("no route")


def _names(about: About) -> tuple[str, str]:
    return about.namespace, about.name


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
