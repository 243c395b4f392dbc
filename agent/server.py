"""/metrics, /healthz and /readyz on one port, on a thread with an event loop of its own.

Whoever can reach the port is a stranger: every request is answered from what is in memory, nothing is read from its
body, and connections that say nothing are closed. With a certificate the whole port speaks TLS, probes included; with a
token /metrics is for who brings it. Probes need none: kubelet has none to bring.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import ssl
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry

from agent.accepting import BOUNDS, Accepting, Bounds, listen
from agent.report.exposition import CONTENT_TYPE, exposition
from agent.secured import Certificate, Token

_PLAIN = "text/plain; charset=utf-8"
_COMPRESSED_FROM = 4096
_TURN = 0.001


class _Ours(logging.Filter):
    """Our own mistakes only: what a stranger sends that is no HTTP is answered with 400, and is no news."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


_LOGGER = logging.getLogger("agent.server")
_LOGGER.addFilter(_Ours())


class Health:
    """Whether comparisons end. Thread-safe: told by the loop, asked by the server.

    ``interval`` (seconds) may be set anew when the policy changes; ``monotonic`` is the clock's.
    """

    def __init__(self, interval: float, monotonic: Callable[[], float], intervals: int = 3) -> None:
        self.interval, self.intervals = interval, intervals
        self._monotonic = monotonic
        self._begun = monotonic()
        self._ended: float | None = None

    def cycle_ended(self, monotonic: float) -> None:
        """A comparison ended at this monotonic time."""
        self._ended = monotonic

    def unhealthy(self) -> str:
        """Why the process should be restarted: no comparison has ended for some intervals. Empty: it is well."""
        since = self._begun if self._ended is None else self._ended
        silent = self._monotonic() - since
        if silent <= self.intervals * self.interval:
            return ""
        what = "no comparison has ended yet" if self._ended is None else "no comparison has ended"
        return f"{what} for {silent:.0f} s, {self.intervals} intervals are {self.intervals * self.interval:.0f} s"

    def unready(self) -> str:
        """Why there is nothing to serve yet: the first comparison is not over. Empty: it is."""
        return "" if self._ended is not None else "the first comparison has not ended yet"


class Server:
    """Serves until stopped. ``start`` and ``stop`` may be called from any thread, each once."""

    def __init__(
        self,
        registry: CollectorRegistry,
        health: Health,
        host: str,
        port: int,
        *,
        certificate: Certificate | None = None,
        token: Token | None = None,
        bounds: Bounds = BOUNDS,
    ) -> None:
        self._registry, self._health, self._host, self._port = registry, health, host, port
        self._certificate, self._token, self._bounds = certificate, token, bounds
        self._accepting: Accepting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._pages: dict[str, Callable[[web.BaseRequest], web.Response]] = {
            "/metrics": self._metrics,
            "/healthz": lambda _: _verdict(health.unhealthy()),
            "/readyz": lambda _: _verdict(health.unready()),
        }

    def start(self) -> int:
        """Listen; returns the port (chosen by the system where 0 was asked for). Raises OSError if it is taken.

        From then on the process's threads take shorter turns: beside half a dozen that are at work, one that answers
        a probe would else wait for 5 ms of each.
        """
        sys.setswitchinterval(_TURN)
        listening: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="http", daemon=True)
        self._thread.start()
        return listening.result()

    def stop(self) -> None:
        """Close the port and end the thread; requests in hand get a second."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(5)

    def _run(self, listening: Future[int]) -> None:
        try:
            asyncio.run(self._serve(listening))
        except OSError as error:
            if listening.done():
                raise
            listening.set_exception(error)

    async def _serve(self, listening: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        http = web.Server(
            self._answer, access_log=None, logger=_LOGGER, keepalive_timeout=self._bounds.silent, lingering_time=1.0
        )
        listeners = listen(self._host, self._port)
        self._accepting = Accepting(http, self._context, self._bounds)
        self._accepting.start(listeners)
        listening.set_result(listeners[0].getsockname()[1])
        try:
            await self._stopping.wait()
        finally:
            await self._accepting.close(listeners)
            http.pre_shutdown()
            await http.shutdown(1)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._accepting.asked(request.protocol)
        page = self._pages.get(request.path)
        if page is None:
            response = _text(404, "not found; there are /metrics, /healthz and /readyz")
        elif request.method not in ("GET", "HEAD"):
            response = _text(405, "only GET and HEAD are allowed here")
            response.headers["Allow"] = "GET, HEAD"
        elif page == self._metrics and not self._admits(request):
            response = _text(401, "this page is for who brings the token: Authorization: Bearer TOKEN")
            response.headers["WWW-Authenticate"] = "Bearer"
        else:
            response = page(request)
        response.headers["Server"] = "secret-drift-agent"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _context(self) -> ssl.SSLContext | None:
        return self._certificate.context() if self._certificate is not None else None

    def _admits(self, request: web.BaseRequest) -> bool:
        return self._token is None or self._token.admits(request.headers.get("Authorization", ""))

    def _metrics(self, request: web.BaseRequest) -> web.Response:
        body = exposition(self._registry)
        response = web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
        if len(body) >= _COMPRESSED_FROM and "gzip" in request.headers.get("Accept-Encoding", "").lower():
            response.body = gzip.compress(body, 1, mtime=0)
            response.headers["Content-Encoding"] = "gzip"
        return response


def _verdict(reason: str) -> web.Response:
    return _text(503, reason) if reason else _text(200, "ok")


def _text(status: int, line: str) -> web.Response:
    return web.Response(status=status, text=line + "\n", headers={"Content-Type": _PLAIN})
