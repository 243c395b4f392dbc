"""How a real ESO comes to the sandbox's vaults: a proxy for HTTPS that leads the names of Azure to the present world.

ESO keeps the vaults' real names and checks their certificates as ever; it is told of the proxy and of the authority to
trust when it is started (`python -m support.eso`).
"""

from __future__ import annotations

import asyncio
import contextlib

from agent.sandbox.thread import LoopThread

PORT = 18765
"""Fixed, since ESO is told of it long before a world begins."""
_SUFFIXES = (".vault.azure.net:443", ".vault.azure.cn:443")
_LOGINS = ("login.microsoftonline.com:443", "login.chinacloudapi.cn:443")
_HEAD_WITHIN = 10.0


class Tunnel:
    """``CONNECT`` to a vault or to the login host ends at the vaults of one world; anything else is refused."""

    def __init__(self, address: str, port: int = PORT) -> None:
        self._address, self.port, self._target = address, port, 0
        self._loop = LoopThread("tunnel")
        self._server: asyncio.Server

    def start(self) -> None:
        """Listen; ``port`` is then the one that was found, where 0 was asked for.

        Raises OSError for a port that is taken, or an address that is not this machine's.
        """
        self._loop.__enter__()

        async def listen() -> None:
            self._server = await asyncio.start_server(self._serve, self._address, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

        self._loop.run(listen())

    def lead_to(self, port: int) -> None:
        """From now on to this loopback port."""
        self._target = port

    def stop(self) -> None:
        """End it, with all that goes through it."""

        async def end() -> None:
            self._server.close()

        self._loop.run(end())
        self._loop.__exit__(None, None, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_WITHIN)
            method, _, rest = head.decode("latin-1").partition(" ")
            host = rest.split(" ", 1)[0].lower()
            if method != "CONNECT" or not (host.endswith(_SUFFIXES) or host in _LOGINS) or not self._target:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            else:
                there, onward = await asyncio.open_connection("127.0.0.1", self._target)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_pipe(reader, onward), _pipe(there, writer))
        writer.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while part := await source.read(1 << 16):
            sink.write(part)
            await sink.drain()
    finally:
        sink.close()
