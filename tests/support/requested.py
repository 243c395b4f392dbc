"""What was asked of a real API server: read from its audit log, or recorded on the way to one that shows none."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from aiohttp import web
from support.installing import ACCOUNT
from yarl import URL

from agent.sandbox.apiserver.audit import AuditEntry
from agent.sandbox.apiserver.intake import entry_of, read_body
from agent.sandbox.client import Object
from agent.sandbox.pki import authority
from agent.sandbox.thread import LoopThread


class Requested(Protocol):
    """The requests to one API server, whoever's worlds they belong to."""

    def begin(self) -> None:
        """A world begins: what was asked before is none of its business."""

    def entries(self) -> list[AuditEntry]:
        """What was asked since then, in the order in which it came."""


class AuditLog:
    """The audit log of a kube-apiserver, as JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.begin()

    def begin(self) -> None:
        self._began, self._read = time.time(), self._path.stat().st_size
        self._entries: dict[str, AuditEntry] = {}

    def entries(self) -> list[AuditEntry]:
        with self._path.open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole + newline)
        for line in whole.splitlines():
            event = json.loads(line)
            entry = _entry(event)
            if entry.at >= self._began:  # else a watch of the world before this one has ended
                self._entries[event["auditID"]] = entry  # the later stage of a watch replaces the first
        return sorted(self._entries.values(), key=lambda entry: entry.at)


def _entry(event: Object) -> AuditEntry:
    target, address = event.get("objectRef") or {}, urlsplit(event["requestURI"])
    query = dict(parse_qsl(address.query))
    return AuditEntry(
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        user=_user(event["user"].get("username", "")),  # none: nobody knows who it was
        verb=event["verb"],
        resource=target.get("resource", ""),
        group=target.get("apiGroup", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        path=address.path,
        query=query,
        user_agent=event.get("userAgent", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        dry_run="dryRun" in query,
    )


def _user(name: str) -> str:
    """The record of requests calls the agent by the name it has everywhere else."""
    return "agent" if name == ACCOUNT else name


def _subject(authorization: str) -> str:
    """Whose token it is by its own word, which the API server has checked; "" where it says nothing."""
    try:
        payload = authorization.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])
    except (IndexError, ValueError, KeyError, TypeError):
        return ""


_TO = ("Authorization", "Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_BACK = ("Content-Type", "Content-Encoding", "Content-Length", "Date", "Retry-After", "Warning", "Audit-Id")
_LONGEST = 600.0


class Recorder:
    """Forwards every request to a real API server as it is, and keeps what an audit log would tell of it.

    ``url`` is where to send them, over TLS by the sandbox's authority. ``users``: token -> name in the record.
    """

    def __init__(self, upstream: str, tls: ssl.SSLContext, users: Mapping[str, str]) -> None:
        self._upstream, self._tls, self._users = upstream.rstrip("/"), tls, users
        self._entries: list[AuditEntry] = []
        self._loop = LoopThread("recorder")
        self.url = ""

    def begin(self) -> None:
        self._entries = []

    def entries(self) -> list[AuditEntry]:
        return sorted(self._entries, key=lambda entry: entry.at)

    def start(self) -> None:
        """Listen; ``url`` is known then."""
        self._loop.__enter__()
        self._loop.run(self._start())

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, read_bufsize=2**22,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_LONGEST),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )  # fmt: skip
        server = web.Server(self._forward, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=authority().server).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    def stop(self) -> None:
        """Listen no longer."""

        async def end() -> None:
            await self._session.close()
            await self._runner.cleanup()

        self._loop.run(end())
        self._loop.__exit__(None, None, None)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        at, entries = time.time(), self._entries
        body = await read_body(request)
        headers = {name: request.headers[name] for name in _TO if name in request.headers}
        url = URL(self._upstream + request.raw_path, encoded=True)
        try:
            asking = self._session.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            )
            async with asking as told:
                entry = entry_of(request, body, self._users, at)
                user = entry.user or _user(_subject(request.headers.get("Authorization", "")))
                entries.append(replace(entry, user=user, namespace=entry.namespace or "", code=told.status))
                kept = {name: told.headers[name] for name in _BACK if name in told.headers}
                answer = web.StreamResponse(status=told.status, headers=kept)
                await answer.prepare(request)
                async for part in told.content.iter_any():
                    await answer.write(part)
                await answer.write_eof()
                return answer
        except (aiohttp.ClientError, TimeoutError):
            if request.transport:
                request.transport.abort()  # as the server did with us
            return web.Response(status=502)
