"""The kubelets' own port: where a real API server fetches the logs of containers."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from aiohttp import web

from agent.sandbox.clock import WorldClock
from agent.sandbox.logtext import BadQuery, log_text

Lines = list[tuple[float, str]]
Read = Callable[[str, str, str, bool], Lines | None]
"""(namespace, pod, container, previous) -> (unix seconds, line) in order, or None if there is no such log."""


class LogServer:
    """``GET /containerLogs/NAMESPACE/POD/CONTAINER`` for all nodes, on one free port.

    A real kubelet asks its caller for a certificate; these lines are the world's own, and nobody's secret.
    """

    def __init__(self, clock: WorldClock, *, tls: ssl.SSLContext) -> None:
        self._clock, self._tls = clock, tls
        self._read: Read = lambda namespace, pod, container, previous: None
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer)
        self._runner = web.AppRunner(application)
        self.port = 0

    def serve(self, read: Read) -> None:
        """Say where the lines are; until then there are none."""
        self._read = read

    async def start(self, address: str = "127.0.0.1") -> None:
        """Listen; ``port`` is known then. Raises OSError for an address that this machine does not have."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address, 0, ssl_context=self._tls).start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listen no longer."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        namespace, pod, container = (request.match_info[part] for part in ("namespace", "pod", "container"))
        lines = self._read(namespace, pod, container, request.query.get("previous") == "true")
        if lines is None:
            which = "previous terminated container" if request.query.get("previous") == "true" else "container"
            return web.Response(status=400, text=f'{which} "{container}" in pod "{pod}" not found')
        try:
            return web.Response(body=log_text(lines, request.query, self._clock.now()), content_type="text/plain")
        except BadQuery as error:
            return web.Response(status=400, text=str(error))
