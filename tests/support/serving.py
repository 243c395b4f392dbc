"""The agent's port on loopback, and strangers at it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from agent.report.metrics import Metrics
from agent.server import Health, Server

WAIT = 60.0
"""Seconds until an answer that does not come fails a test."""


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
    tls: ssl.SSLContext | None = None

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, /, **headers: str
    ) -> http.client.HTTPResponse:
        """One request on a connection of its own; the body of the answer stays to be read."""
        connection = self.connection()
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is kept from one request to the next."""
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=WAIT, context=self.tls)

    def open(self) -> socket.socket:
        """Bytes alone, without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)

    def raw(self, data: bytes) -> bytes:
        """Whatever comes back for these bytes until the connection is closed."""
        with self.open() as connection:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # enough was seen before the end
                connection.sendall(data)
            return received(connection)


def received(connection: socket.socket) -> bytes:
    """All until it is closed, by whichever way: with data unread a kernel says so by a reset."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def flood(running: Running) -> None:
    """A thousand connections that say nothing: who asks is answered meanwhile, and no more are held than 256."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(running.open()) for _ in range(1000)]
        assert running.ask("/readyz").status == 503
        assert running.ask("/metrics").status == 200
        closed = 0
        for connection in held:
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                closed += received(connection) == b""
        assert closed >= 1000 - 256


@contextmanager
def serving(tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1", **options: Any) -> Iterator[Running]:
    """A server with metrics and health; ``tls``: how it is asked; ``options``: of the server."""
    registry, time = CollectorRegistry(), Time()
    metrics, health = Metrics(registry), Health(60.0, time)
    server = Server(registry, health, host, 0, **options)
    try:
        yield Running(server.start(), time, health, metrics, tls)
    finally:
        server.stop()
