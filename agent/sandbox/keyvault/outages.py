"""Answers that are none: dropped and hanging connections, bodies cut short, garbage, far too much."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault.faults import Fault
from agent.sandbox.keyvault.wire import Reply

_MIB = 2**20
_GARBAGE = b"<html><head><title>Proxy authentication required</title></head><body>\xff\xfe no vault here</body></html>"


class Outages:
    """Sends what a fault makes of a reply."""

    def __init__(self, clock: WorldClock) -> None:
        self._clock = clock
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Let go of the connections that hang."""
        self._ended.set()

    async def delay(self, fault: Fault) -> None:
        """Wait as long as ``slow:SECONDS`` says, on the world's clock."""
        await self._clock.sleep(float(fault.argument))

    async def send(
        self, request: web.BaseRequest, fault: Fault, reply: Reply, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Answer (or do not) with a connection fault in place of the reply."""
        if fault.kind == "hang":
            await self._ended.wait()
        elif fault.kind == "garbage":
            body = fault.message.encode() or _GARBAGE
            return web.Response(body=body, content_type="text/html", headers=headers)
        elif fault.kind == "huge":
            return await self._flood(request, int(float(fault.argument or 64) * _MIB), headers)
        elif fault.kind == "cut":
            await self._cut(request, reply, headers)
        return drop(request)

    async def _flood(self, request: web.BaseRequest, size: int, headers: Mapping[str, str]) -> web.StreamResponse:
        answer = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
        await answer.prepare(request)
        await answer.write(b'{"nextLink":null,"value":[],"padding":"')
        chunk = b"x" * _MIB
        for begin in range(0, size, _MIB):
            await answer.write(chunk[: size - begin])
        await answer.write(b'"}')
        return answer

    async def _cut(self, request: web.BaseRequest, reply: Reply, headers: Mapping[str, str]) -> None:
        answer = web.StreamResponse(status=reply.status, headers={**headers, "Content-Type": reply.content_type})
        answer.content_length = len(reply.body) or 1
        await answer.prepare(request)
        await answer.write(reply.body[: len(reply.body) // 2] or b"{")
        transport = request.transport
        if transport is not None:
            transport.close()


def drop(request: web.BaseRequest) -> web.StreamResponse:
    """End the connection without a word; what is returned can no longer be sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
