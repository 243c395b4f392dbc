"""The port: metrics and health."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from report_events import found
from support.serving import Running, Time, serving

from agent.model import ObjectKey
from agent.server import Health, Server


@pytest.fixture
def running() -> Iterator[Running]:
    """A server with metrics and health."""
    with serving() as found:
        yield found


def test_metrics_are_served_as_prometheus_reads_them(running: Running) -> None:
    """The content type names the text format, and what was told a moment ago is there."""
    running.metrics(found())
    answer = running.ask("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'externalsecret="app-secrets"' in answer.read()


def test_a_long_answer_is_compressed_for_who_asks(running: Running) -> None:
    """Five thousand drifts travel in a tenth of a megabyte."""
    for number in range(5000):
        running.metrics(found(chain=ObjectKey("shop", f"app-secrets-{number}")))
    plain = running.ask("/metrics").read()
    answer = running.ask("/metrics", **{"Accept-Encoding": "gzip"})
    body = answer.read()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == plain
    assert len(body) < 150_000 < len(plain)


def test_healthy_while_comparisons_end_within_three_intervals(running: Running) -> None:
    """A restart is asked for when none has ended for longer, with the reason in a line; and no more once one has."""
    running.time.now += 180
    assert running.ask("/healthz").status == 200
    running.time.now += 1
    answer = running.ask("/healthz")
    assert answer.status == 503
    assert answer.read() == b"no comparison has ended yet for 181 s, 3 intervals are 180 s\n"
    running.health.cycle_ended(running.time.now)
    assert running.ask("/healthz").status == 200
    running.time.now += 181
    assert running.ask("/healthz").read() == b"no comparison has ended for 181 s, 3 intervals are 180 s\n"


def test_a_longer_interval_of_a_new_policy_counts_at_once(running: Running) -> None:
    """Nobody is restarted for an interval that is no longer in force."""
    running.time.now += 200
    running.health.interval = 300.0
    assert running.ask("/healthz").status == 200


def test_ready_once_the_first_comparison_has_ended(running: Running) -> None:
    """Until then there is nothing to show; later silence is a matter of health, not of readiness."""
    assert running.ask("/readyz").status == 503
    running.health.cycle_ended(running.time.now)
    running.time.now += 10_000
    assert running.ask("/readyz").status == 200


def test_head_is_answered_without_a_body(running: Running) -> None:
    """Some probes ask that way."""
    answer = running.ask("/healthz", "HEAD")
    assert answer.status == 200
    assert answer.read() == b""


def test_a_query_does_not_change_the_page(running: Running) -> None:
    """Prometheus may add parameters."""
    assert running.ask("/readyz?verbose=1").status == 503


def test_a_name_of_several_addresses_is_listened_on_at_one_port() -> None:
    """Of those that this machine has; one that it has not is an error."""
    with serving(host="localhost") as running:
        assert running.ask("/readyz").status == 503
    with pytest.raises(OSError, match="assign requested address"), serving(host="192.0.2.1"):
        pass


def test_a_port_that_is_taken_is_an_error_of_start(running: Running) -> None:
    """The caller is told, in its own thread."""
    second = Server(CollectorRegistry(), running.health, "127.0.0.1", running.port)
    with pytest.raises(OSError, match="Address already in use"):
        second.start()
    second.stop()


def test_stopping_closes_the_port_and_ends_the_thread() -> None:
    """Nothing is left of it, not even with a connection open."""
    before = threading.active_count()
    server = Server(CollectorRegistry(), Health(1, Time()), "127.0.0.1", 0)
    port = server.start()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as idle:
        server.stop()
        assert idle.recv(1) == b""
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
