"""A gate on the agent's way to a real API server: it sees each request, and closes or falls silent around any one.

What the audit log shows is over, and the agent is at its next request. Whoever wants the API server dead right after a
certain request, its answer unheard, must stand between the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

import yaml
from support.killing import Request
from support.scenario import Scenario

from agent.sandbox.apiserver.routes import route, verb_of
from agent.sandbox.thread import LoopThread

_HEAD = 1 << 16
_WRITTEN_DOWN = 0.1
"""Seconds that kube-apiserver has, once it answers, for the line in its audit log."""

Phase = Literal["before", "after", "through"]
Strikes = Callable[[Sequence[Request]], bool]
"""Whether the gate closes around the last of the requests that came since it was armed."""


class Gate:
    """``with Gate(scenario) as gate``: an agent that is started with ``KUBECONFIG=gate.kubeconfig`` passes through it.

    TLS ends here, with a certificate that the kubeconfig trusts; the token goes on to the API server.
    """

    def __init__(self, s: Scenario) -> None:
        self._s, self._loop = s, LoopThread("gate")
        self._upstream = urlsplit(s.sandbox.url)
        self._client = ssl.create_default_context(cadata=s.sandbox.url_authority.decode())
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._swallows = False
        self.takes = 0.0
        """Seconds that each request is held up, watches apart; may be set at any time."""
        self._silent = set[asyncio.StreamWriter]()
        self._port = 0
        self._armed: tuple[Strikes, Phase, Callable[[], object]] | None = None
        self._seen: list[Request] = []
        self._striking: asyncio.Task[None] | None = None
        self.struck = threading.Event()
        """Whether it has closed or fallen silent since it was armed."""
        self.expired: list[Request] = []
        """The watches that the API server has answered 410, which comes as an event in an answer of 200."""
        self.kubeconfig = ""

    def __enter__(self) -> Gate:
        self._loop.__enter__()
        self.open()
        path = self._s.directory / "kubeconfig-gate"
        config = yaml.safe_load(Path(self._s.environment["KUBECONFIG"]).read_text())
        authority = self._s.directory / "gate.pem"
        authority.write_bytes(self._s.sandbox.authority.pem)
        config["clusters"][0]["cluster"] = {
            "server": f"https://127.0.0.1:{self._port}", "certificate-authority": str(authority),
        }  # fmt: skip
        path.write_text(yaml.safe_dump(config))
        self.kubeconfig = str(path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._close())
        self._loop.__exit__(kind, error, trace)

    def arm(self, strikes: Strikes, phase: Phase, then: Callable[[], object]) -> None:
        """Close around a request, once: everything is cut off, and nobody is let in before ``open``.

        Before: the API server never gets it. After: it has answered, and the answer reaches nobody. Through: it gets
        the request after ``then``, and nothing is cut off. ``then`` is called at that moment, from another thread; by
        ``swallow`` everything falls silent in place of being cut off.
        """

        def armed() -> None:
            self.struck.clear()
            self._seen, self._armed = [], (strikes, phase, then)

        self._loop.call(armed)

    def open(self) -> None:
        """Let everybody in (again). A connection that was swallowed up stays silent for ever."""
        self._loop.run(self._listen())

    def shut(self) -> None:
        """Cut everything off, and let nobody in before ``open``."""
        self._loop.run(self._close())

    def swallow(self) -> None:
        """Keep all connections, accept new ones, and let nothing pass on any of them, either way, before ``open``."""

        def swallowing() -> None:
            self._swallows = True
            self._silent.update(self._open)

        self._loop.call(swallowing)

    def is_silent(self, writer: asyncio.StreamWriter) -> bool:
        """Whether this connection was swallowed up."""
        return writer in self._silent

    async def _listen(self) -> None:
        if self._swallows:
            self._swallows = False
            return
        tls = self._s.sandbox.authority.server
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self._port, ssl=tls, limit=1 << 22)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._swallows = False
        if self._server is not None:
            self._server.close()
        serving = list(self._open.values())
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        if self._swallows:
            self._silent.add(writer)
        try:
            with contextlib.suppress(OSError):  # else the API server is away
                host, port = self._upstream.hostname, self._upstream.port
                upstream = await asyncio.open_connection(host, port, ssl=self._client)
                try:
                    await _Connection(self, reader, writer, *upstream).serve()
                finally:
                    upstream[1].transport.abort()
        finally:
            self._open.pop(writer)
            self._silent.discard(writer)
            writer.transport.abort()

    def strikes(self, request: Request) -> Phase | Literal[""]:
        """Whether this is the request."""
        if self._armed is None:
            return ""
        self._seen.append(request)
        strikes, phase, _ = self._armed
        return phase if strikes(self._seen) else ""

    def strike(self) -> None:
        """The moment has come."""
        if self._armed is not None:
            _, phase, then = self._armed
            self._armed = None
            self._striking = asyncio.create_task(self._strike(phase, then))  # this connection is about to end

    async def let_through(self) -> None:
        """The moment has come, and the request goes on afterwards."""
        if self._armed is not None:
            then = self._armed[2]
            self._armed = None
            await asyncio.to_thread(then)
            self.struck.set()

    async def _strike(self, phase: str, then: Callable[[], object]) -> None:
        if phase == "after":
            await asyncio.sleep(_WRITTEN_DOWN)
        await asyncio.to_thread(then)
        if not self._swallows:
            await self._close()
        self.struck.set()


class _Connection:
    """One connection of the agent and its own to the API server. Requests are told apart, answers are not."""

    def __init__(
        self,
        gate: Gate,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        self._gate, self._reader, self._writer = gate, reader, writer
        self._upstream_reader, self._upstream_writer = upstream_reader, upstream_writer
        self._held = False
        self._last = Request(verb="", resource="")

    async def serve(self) -> None:
        """Until either side ends."""
        both = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _requests(self) -> None:
        while True:
            head = await self._reader.readuntil(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            length = next((int(f.partition(":")[2]) for f in fields if f.lower().startswith("content-length:")), 0)
            body = await self._reader.readexactly(length)
            if self._gate.is_silent(self._writer):
                continue
            self._last = _request(*line.split(" ")[:2])
            phase = self._gate.strikes(self._last)
            if phase == "before":
                self._gate.strike()
                continue
            if phase == "through":
                await self._gate.let_through()
            if self._last.verb != "watch":
                await asyncio.sleep(self._gate.takes)
            self._held = phase == "after"
            if self._gate.is_silent(self._writer):
                continue
            self._upstream_writer.write(head + body)
            await self._upstream_writer.drain()

    async def _answers(self) -> None:
        while chunk := await self._upstream_reader.read(_HEAD):
            if self._held:
                self._gate.strike()
                continue
            if self._gate.is_silent(self._writer):
                continue
            if self._last.verb == "watch" and b'"code":410' in chunk:
                self._gate.expired.append(self._last)
            self._writer.write(chunk)
            await self._writer.drain()


def _request(method: str, target: str) -> Request:
    """What a request line asks for, as the API server's audit log would call it."""
    found = route(urlsplit(target).path)
    if found is None:
        return Request(verb=method.lower(), resource=target)
    verb = verb_of(method, named=bool(found.name), watch="watch=true" in target) or method.lower()
    resource = f"{found.kind.plural}/{found.subresource}" if found.subresource else found.kind.plural
    return Request(verb=verb, resource=resource, namespace=found.namespace or "", name=found.name)
