"""The connections of strangers to one port: bounded in number and in time, with TLS where there is a certificate.

asyncio's own server neither counts connections that are still in their TLS handshake nor lets each new one have a newer
certificate; aiohttp waits for the rest of a request for ever. A process that heals must not run out of file descriptors
because somebody holds its port open.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from aiohttp import web


class Bounds(NamedTuple):
    """Seconds, and how many connections."""

    first: float = 10.0
    """For a connection's first whole request, its TLS handshake included."""
    silent: float = 75.0
    """Between two requests: longer than the scrape interval, so that Prometheus keeps its connection."""
    most: int = 256
    """Connections at once. Beyond it, who has asked for nothing longest makes room for who has just come."""


BOUNDS = Bounds()
Handler = web.RequestHandler
"""What serves one connection."""


_METHODS = frozenset(bytes([letter]) for letter in b"CDGHOPT")
"""First letters of HTTP's methods; a TLS handshake begins with none of them."""
_REQUEST = 64 * 1024
_SPEAK_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"this port speaks HTTPS\n"
)


class _Open:
    """One connection."""

    def __init__(self, handler: Handler, sock: socket.socket, now: float) -> None:
        self.handler, self.sock, self.since, self.asked = handler, sock, now, False
        self.opening: asyncio.Task[None] | None = None

    @property
    def gone(self) -> bool:
        """It was closed, by whomever."""
        return self.opening is not None and self.opening.done() and self.handler.transport is None

    def abort(self) -> None:
        """Close it at once."""
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        elif self.handler.transport is not None:
            self.handler.transport.abort()


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses of the host, on one port (0: any free one).

    A name may stand for an address of a kind that this machine does not have: one that it has is enough. Raises
    OSError.
    """
    found: list[socket.socket] = []
    absent: OSError | None = None
    addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, *_, address in addresses:
        try:
            made = socket.create_server((str(address[0]), port), family=family, backlog=128)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                absent = error
                continue
            for each in found:
                each.close()
            raise
        made.setblocking(False)
        found.append(made)
        port = made.getsockname()[1]
    if absent is not None and not found:
        raise absent
    return found


class Accepting:
    """Takes connections until it is closed. Lives in one event loop."""

    def __init__(
        self, make: Callable[[], Handler], context: Callable[[], ssl.SSLContext | None], bounds: Bounds = BOUNDS
    ) -> None:
        """``make`` makes what serves a connection; ``context`` tells how the next one is encrypted, None: not."""
        self._make, self._context, self._bounds = make, context, bounds
        self._loop = asyncio.get_running_loop()
        self._open: dict[Handler, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken = asyncio.Event()  # there are connections to look after

    def start(self, listeners: list[socket.socket]) -> None:
        """Begin to accept."""
        for listener in listeners:
            self._keep(self._loop.create_task(self._accept(listener)))
        self._keep(self._loop.create_task(self._sweep()))

    def asked(self, handler: Handler) -> None:
        """A whole request has come on this connection."""
        if (found := self._open.get(handler)) is not None:
            found.since, found.asked = self._loop.time(), True

    async def close(self, listeners: list[socket.socket]) -> None:
        """Accept no more, and give up what is in its handshake. The rest is the handlers' to end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in listeners:
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = await self._loop.sock_accept(listener)
            except OSError:  # it has gone already, or the process has no file descriptor left
                self._make_room()
                await asyncio.sleep(0.1)
                continue
            self._forget()
            if len(self._open) >= self._bounds.most:
                self._make_room()
            handler = self._make()
            taken = self._open[handler] = _Open(handler, sock, self._loop.time())
            self._taken.set()
            taken.opening = self._keep(self._loop.create_task(self._begin(taken)))
            taken.opening.add_done_callback(partial(self._begun, taken))

    async def _begin(self, taken: _Open) -> None:
        """The handshake, where there is one; who speaks plain HTTP in its place is told so."""
        context = self._context()
        if context is not None and await self._first_byte(taken.sock) in _METHODS:
            taken.sock.recv(_REQUEST)  # what is unread when it is closed would take the answer with it
            taken.sock.send(_SPEAK_TLS)
            raise ConnectionAbortedError
        times = {"ssl_handshake_timeout": self._bounds.first, "ssl_shutdown_timeout": 1.0} if context else {}
        await self._loop.connect_accepted_socket(lambda: taken.handler, taken.sock, ssl=context, **times)

    async def _first_byte(self, sock: socket.socket) -> bytes:
        """Of what comes next, which stays to be read; empty where it was closed."""
        readable = asyncio.Event()
        self._loop.add_reader(sock, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(sock)
        return sock.recv(1, socket.MSG_PEEK)

    def _begun(self, taken: _Open, opening: asyncio.Task[None]) -> None:
        """What is no TLS, falls silent in its handshake or had to make room is closed, and is no news."""
        error = None if opening.cancelled() else opening.exception()
        if opening.cancelled() or error is not None:
            self._open.pop(taken.handler, None)
            taken.sock.close()
        if error is not None and not isinstance(error, OSError):
            raise error

    async def _sweep(self) -> None:
        while True:
            await self._taken.wait()  # a thread that wakes up for nothing every second takes a tenth of an idle agent
            await asyncio.sleep(min(1.0, self._bounds.first / 4))
            now = self._loop.time()
            self._forget()
            if not self._open:
                self._taken.clear()
            for each in list(self._open.values()):
                if now - each.since > (self._bounds.silent if each.asked else self._bounds.first):
                    each.abort()

    def _forget(self) -> None:
        for handler in [handler for handler, each in self._open.items() if each.gone]:
            del self._open[handler]

    def _make_room(self) -> None:
        if self._open:
            oldest = min(self._open.values(), key=lambda each: each.since)
            del self._open[oldest.handler]
            oldest.abort()

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """asyncio itself does not keep a task alive."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
