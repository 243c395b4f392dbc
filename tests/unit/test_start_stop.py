"""A process that is told to end while it begins."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from agent.cli import parser
from agent.clock import Clock
from agent.start import Started


def test_whoever_begins_after_the_signal_is_told_at_once() -> None:
    """A SIGTERM that comes before there is anything to stop is not lost: what begins then ends."""
    told: list[str] = []
    started = Started(parser().parse_args(["run"]), Clock(), CollectorRegistry())
    started.when_stopped(lambda: told.append("before"))
    assert told == []
    started.stop()
    started.when_stopped(lambda: told.append("after"))
    assert told == ["before", "after"]
