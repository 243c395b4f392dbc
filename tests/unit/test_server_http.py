"""The port: metrics, health and strangers."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry
from report_events import found

from agent.model import ObjectKey
from agent.report.metrics import Metrics
from agent.server import Health, Server


class Time:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Running(NamedTuple):
    """A server on a free port of loopback."""

    port: int
    time: Time
    health: Health
    metrics: Metrics

    def ask(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        """One request on a connection of its own; the body stays to be read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers=headers)
        return connection.getresponse()

    def raw(self, data: bytes) -> bytes:
        """Whatever comes back for these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def running() -> Iterator[Running]:
    """A server with metrics and health."""
    registry, time = CollectorRegistry(), Time()
    metrics, health = Metrics(registry), Health(60.0, time)
    server = Server(registry, health, "127.0.0.1", 0)
    try:
        yield Running(server.start(), time, health, metrics)
    finally:
        server.stop()


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
    assert answer.read() == b"no comparison has ended yet for 181 s, three intervals are 180 s\n"
    running.health.cycle_ended(running.time.now)
    assert running.ask("/healthz").status == 200
    running.time.now += 181
    assert running.ask("/healthz").read() == b"no comparison has ended for 181 s, three intervals are 180 s\n"


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


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/x", "//metrics", "/%2e%2e/etc/passwd", "/healthz%00"])
def test_other_paths_are_not_found(running: Running, path: str) -> None:
    """There are three pages."""
    answer = running.ask(path)
    assert answer.status == 404
    assert b"Traceback" not in answer.read()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(running: Running, method: str) -> None:
    """What is allowed is said."""
    answer = running.ask("/healthz", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_head_is_answered_without_a_body(running: Running) -> None:
    """Some probes ask that way."""
    answer = running.ask("/healthz", "HEAD")
    assert answer.status == 200
    assert answer.read() == b""


def test_a_query_does_not_change_the_page(running: Running) -> None:
    """Prometheus may add parameters."""
    assert running.ask("/readyz?verbose=1").status == 503


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nxxxx",
        b"GET http://169.254.169.254/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" * 1000,
        b"",
    ],
)
def test_what_is_no_request_harms_nobody(running: Running, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It gets an error or nothing, no line in the log, and the next one is served."""
    answer = running.raw(data)
    assert b"Traceback" not in answer
    assert running.ask("/metrics").status == 200
    assert caplog.records == []


def test_a_flood_of_connections_does_not_take_the_port(running: Running) -> None:
    """Those beyond the bound are closed at once; when the others go, there is room again."""
    held = [socket.create_connection(("127.0.0.1", running.port), timeout=10) for _ in range(256)]
    try:
        for connection in held:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 503"
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as beyond:
            assert beyond.recv(1) == b""
    finally:
        for connection in held:
            connection.close()


def test_a_port_that_is_taken_is_an_error_of_start(running: Running) -> None:
    """The caller is told, in its own thread."""
    second = Server(CollectorRegistry(), running.health, "127.0.0.1", running.port)
    with pytest.raises(OSError, match="address already in use"):
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
