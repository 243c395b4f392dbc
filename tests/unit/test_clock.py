"""The estimate of the API server's clock, and the reading of dates that servers send."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Clock, ServerTime, ServerTimeUnknown, http_date, retry_after

OFFSETS = st.floats(min_value=-1e6, max_value=2e9)
ANSWERS = st.lists(
    st.tuples(
        st.floats(min_value=0.0, max_value=30.0),  # since the last answer
        st.floats(min_value=0.0, max_value=0.9),  # latency
        st.floats(min_value=0.0, max_value=1.0),  # when within it the server looked at its clock
    ),
    min_size=1,
    max_size=30,
)


def observe(estimate: ServerTime, offset: float, sent: float, latency: float, when: float) -> float:
    """One answer of a server whose clock is ``offset`` ahead of ours. Returns the date it says."""
    date = float(math.floor(offset + sent + latency * when))
    estimate.observe(date, sent, sent + latency)
    return date


@given(OFFSETS, ANSWERS)
def test_after_any_answers_the_error_is_below_a_second(
    offset: float, answers: list[tuple[float, float, float]]
) -> None:
    """However few answers there were, the estimate is within a second, and within its own stated uncertainty."""
    estimate, now = ServerTime(), 1000.0
    for gap, latency, when in answers:
        now += gap
        observe(estimate, offset, now, latency, when)
        now += latency
        error = abs(estimate.at(now) - (offset + now))
        assert error < 1.0
        assert error <= estimate.uncertainty + 1e-5


@given(OFFSETS, ANSWERS, st.integers(min_value=0, max_value=30), st.floats(min_value=-1e5, max_value=1e5))
def test_the_last_answer_is_never_contradicted(
    offset: float, answers: list[tuple[float, float, float]], at: int, jump: float
) -> None:
    """Also after a clock was stepped, at no moment of the last exchange could the estimate be ruled out by its date."""
    estimate, now = ServerTime(), 1000.0
    for i, (gap, latency, when) in enumerate(answers):
        now += gap
        date = observe(estimate, offset + (jump if i >= at else 0.0), now, latency, when)
        assert estimate.at(now) < date + 1.0 + 1e-5
        assert estimate.at(now + latency) >= date - 1e-5
        now += latency


@given(OFFSETS, st.floats(min_value=0.0, max_value=0.999))
def test_many_answers_narrow_it_down_below_the_second(offset: float, phase: float) -> None:
    """Answers at different parts of the second leave little doubt."""
    estimate = ServerTime()
    for i in range(100):
        observe(estimate, offset, 1000.0 + i * 1.037 + phase, 0.002, 0.5)
    assert estimate.uncertainty < 0.05
    now = 1000.0 + 99 * 1.037 + phase
    assert abs(estimate.at(now) - (offset + now)) < 0.05


def test_a_jump_of_hours_is_followed_at_the_next_answer() -> None:
    """A server whose clock leaps is believed at once."""
    estimate = ServerTime()
    for i in range(50):
        observe(estimate, 0.0, 10.3 * i, 0.01, 0.5)
    observe(estimate, 7200.0, 600.0, 0.01, 0.5)
    assert abs(estimate.at(601.0) - 7801.0) < 1.0


def test_an_older_answer_does_not_undo_a_jump() -> None:
    """An answer that another thread received before the jump, and hands in after it, changes nothing."""
    estimate = ServerTime()
    estimate.observe(100.0, 100.0, 100.1)
    estimate.observe(7300.0, 100.2, 100.3)
    estimate.observe(100.0, 100.0, 100.2)
    assert abs(estimate.at(100.3) - 7300.5) < 1.0


def test_before_the_first_answer_there_is_no_time() -> None:
    """The agent does not guess: without an answer the server's time is unknown."""
    clock = Clock()
    assert not clock.knows_server
    with pytest.raises(ServerTimeUnknown):
        clock.server_now()
    clock.observe_date("no date", 0.0, 0.0)
    assert not clock.knows_server
    now = clock.monotonic()
    clock.observe_date("Mon, 23 Nov 2026 22:49:00 GMT", now, now)
    assert abs(clock.server_at(now) - 1795474140.5) < 0.6


def test_a_wait_ends_with_its_event() -> None:
    """Whoever waits is woken by the event, and told so."""
    event = threading.Event()
    assert not Clock().wait(event, -1.0)
    event.set()
    assert Clock().wait(event, 100.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("Mon, 23 Nov 2026 22:50:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 22:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("99999999999999999999", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_is_read_in_both_its_forms(header: str | None, seconds: float | None) -> None:
    """Seconds, or a date read against the same answer's own date; anything else says nothing."""
    assert retry_after(header, "Mon, 23 Nov 2026 22:49:00 GMT") == seconds


@given(st.text(max_size=80))
def test_no_header_breaks_the_reader(header: str) -> None:
    """Whatever a server sends as a date is read or ignored."""
    http_date(header)
    retry_after(header, header)
