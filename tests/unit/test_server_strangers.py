"""Whoever reaches the port may send anything: it is answered or closed in bounded time, and the next one is served."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from support.serving import WAIT, Running, flood, received, serving

from agent.accepting import Bounds

QUICK = Bounds(first=0.5, silent=1.0)
LONG = 10_000


@pytest.fixture
def running() -> Iterator[Running]:
    """A server with metrics and health."""
    with serving() as found:
        yield found


@pytest.mark.parametrize(
    "path",
    [
        "/", "/metrics/", "/metrics/x", "//metrics", "/%2e%2e/etc/passwd", "/../../etc/passwd", "/healthz%00",
        "/%00", "/metrics%0d%0aX:%20y", "/%f0%9f%94%91", "/%ff%fe", "/" + "a" * 7000, "/metrics;x", "/METRICS",
    ],
)  # fmt: skip
def test_other_paths_are_not_found(running: Running, path: str) -> None:
    """There are three pages, and a path is nothing but a name of one."""
    answer = running.ask(path)
    assert answer.status == 404
    assert answer.read() == b"not found; there are /metrics, /healthz and /readyz\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(running: Running, method: str) -> None:
    """What is allowed is said."""
    answer = running.ask("/healthz", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /metrics HTTP/9.9\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * 50_000 + b"\r\n", 400),
        (b"GET /" + b"a" * LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xf0\x9f\x94\x91 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /metrics\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nxxxx", 405),
        (b"GET http://169.254.169.254/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_harms_nobody(
    running: Running, data: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets a clear answer, no line in the log, and the next one is served."""
    answer = running.raw(data)
    assert answer[:6] == b"HTTP/1"
    assert int(answer.split()[1]) == code
    assert b"Traceback" not in answer
    assert running.ask("/metrics").status == 200
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/nowhere"])
def test_a_body_is_not_read(running: Running, path: str) -> None:
    """A megabyte that comes with a request changes nothing of its answer."""
    expected = running.ask(path).status
    assert running.ask(path, "GET", b"x" * 1_000_000).status == expected
    assert running.ask(path, "POST", b"x" * 1_000_000).status in (404, 405)


def test_who_never_ends_a_request_is_closed() -> None:
    """A header each tenth of a second keeps no connection open, and nobody else waits meanwhile."""
    with serving(bounds=QUICK) as running, running.open() as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        ended = threading.Event()
        began = time.monotonic()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.1):
                    slow.sendall(b"A: a\r\n")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert running.ask("/readyz").status == 503
            assert received(slow) == b""
            assert time.monotonic() - began < WAIT / 2
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("first", [b"", b"G", b"\r\n" * 1000, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_who_falls_silent_is_closed(first: bytes) -> None:
    """Before a request, within it, and after one that was answered."""
    with serving(bounds=QUICK) as running, running.open() as silent:
        silent.sendall(first)
        assert received(silent).count(b"HTTP/1.1 503") == first.count(b"GET")


def test_who_does_not_read_the_answer_is_closed() -> None:
    """What waits for a reader is dropped with the connection."""
    with serving(bounds=QUICK) as running, running.open() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # noqa: PT012 - whichever send meets the end
            end = time.monotonic() + WAIT
            while time.monotonic() < end:
                deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_kept_connection_lives_from_scrape_to_scrape() -> None:
    """Time counts from the last whole request."""
    with serving(bounds=Bounds(first=1.0, silent=30.0)) as running:
        kept = running.connection()
        kept.request("GET", "/metrics")
        kept.getresponse().read()
        first = kept.sock
        time.sleep(2.5)  # longer than a first request may take, by more than a sweep
        kept.request("GET", "/metrics")
        assert kept.getresponse().status == 200
        assert kept.sock is first


def test_a_thousand_connections_do_not_take_the_port(running: Running) -> None:
    """Who has asked for nothing longest makes room: probes and scrapes come through, and no more are held than 256."""
    flood(running)
    assert running.ask("/readyz").status == 503


def test_who_is_busy_keeps_its_connection_in_a_flood(running: Running) -> None:
    """Prometheus, which scrapes all the while, is not the one that makes room."""
    scraper = running.connection()
    with contextlib.ExitStack() as stack:
        for number in range(600):
            stack.enter_context(running.open())
            if number % 20 == 0:
                scraper.request("GET", "/metrics")
                first = scraper.sock
                assert scraper.getresponse().read()
                assert scraper.sock is first is not None
