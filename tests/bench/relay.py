"""Counts the bytes between an agent and a server, on the wire: TLS passes through unopened."""

from __future__ import annotations

import asyncio
import contextlib


class Relay:
    """A port of this machine that leads to another one. Belongs to the loop in which it is started."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self.sent = self.received = 0
        """Bytes from the agent, and to it."""

    async def start(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Let nobody in any more."""
        if self._server is not None:
            self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._to)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, upstream_writer, of_agent=True))
                group.create_task(self._copy(upstream_reader, writer, of_agent=False))
        finally:
            writer.close()
            upstream_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, of_agent: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 18):
                if of_agent:
                    self.sent += len(chunk)
                else:
                    self.received += len(chunk)
                writer.write(chunk)
                await writer.drain()
        writer.close()
