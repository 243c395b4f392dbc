"""The API server's HTTP face: TLS, tokens, faults, audit, answers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import ssl
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec
from aiohttp import web

from agent.sandbox.apiserver.access import REVIEWS, Action, ForbidRule, is_forbidden, refusal, review
from agent.sandbox.apiserver.audit import AuditEntry, DropRequest, Hook, Phase
from agent.sandbox.apiserver.calls import Answer, Call, Calls, parse_json
from agent.sandbox.apiserver.deletion import Deletion
from agent.sandbox.apiserver.discovery import Served, describe
from agent.sandbox.apiserver.faults import FaultRule, Faults
from agent.sandbox.apiserver.gc import Collector
from agent.sandbox.apiserver.intake import entry_of, injected, read_body, scope_of
from agent.sandbox.apiserver.logs import LogProvider
from agent.sandbox.apiserver.reads import Reads
from agent.sandbox.apiserver.routes import route
from agent.sandbox.apiserver.seeding import seed
from agent.sandbox.apiserver.status import (
    StatusError,
    expired,
    internal,
    method_not_allowed,
    no_route,
    unauthorized,
)
from agent.sandbox.apiserver.store import Object, Store
from agent.sandbox.apiserver.watching import Watcher, Watches
from agent.sandbox.apiserver.writes import Writes
from agent.sandbox.clock import WorldClock

_HEALTH = ("/healthz", "/readyz", "/livez")
_log = logging.getLogger(__name__)

_Silence = Literal["drop", "half-open"]


class ApiServer:
    """A Kubernetes API server on loopback, as far as the agent and the actors use one.

    ``tokens`` maps bearer tokens to user names; without any, everybody is let in. ``forbid``, ``faults`` and
    ``on_request`` shape what callers meet; ``audit`` is what they asked, in order.
    """

    def __init__(
        self,
        clock: WorldClock,
        *,
        tls: ssl.SSLContext,
        tokens: Mapping[str, str] | None = None,
        gc: bool = True,
    ) -> None:
        self.clock = clock
        self.tokens = dict(tokens or {})
        self.forbid: list[ForbidRule] = []
        self.audit: list[AuditEntry] = []
        self.on_request: Hook | None = None
        self.faults = Faults(self._on_watch_fault)
        self.served = Served()
        self.store = Store()
        self._tls = tls
        self._writes = Writes(self.store, clock)
        self._deletion = Deletion(self.store, clock)
        self._reads = Reads(self.store, clock)
        self._watches = Watches(self.store, clock)
        self._calls = Calls(self._writes, self._reads, self._deletion, self.tokens)
        self._collector = Collector(self.store, self._deletion, enabled=gc)
        self._port = 0
        self._runner: web.ServerRunner | None = None
        self._directory: TemporaryDirectory[str] | None = None
        self.socket = ""
        """Path of the Unix socket at which it listens as well, once it is started; for this user alone."""
        self._pending: set[asyncio.Task[Any]] = set()
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            self.seed({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def log_provider(self) -> LogProvider | None:
        """Where pod logs come from: (namespace, pod, container, previous) -> [(unix seconds, line)] or None."""
        return self._calls.log_provider

    @log_provider.setter
    def log_provider(self, provider: LogProvider | None) -> None:
        self._calls.log_provider = provider

    @property
    def continue_ttl(self) -> float:
        """World seconds for which a continue token stays good."""
        return self._reads.continue_ttl

    @continue_ttl.setter
    def continue_ttl(self, seconds: float) -> None:
        self._reads.continue_ttl = seconds

    @property
    def bookmark_interval(self) -> float:
        """World seconds between the bookmarks of a watch."""
        return self._watches.bookmark_interval

    @bookmark_interval.setter
    def bookmark_interval(self, seconds: float) -> None:
        self._watches.bookmark_interval = seconds

    @property
    def gc(self) -> bool:
        """Whether dependants follow their owners and deleted namespaces empty themselves."""
        return self._collector.enabled

    @gc.setter
    def gc(self, enabled: bool) -> None:
        self._collector.enabled = enabled

    @property
    def running_watches(self) -> int:
        """How many watches are connected."""
        return len(self._watches.each())

    def seed(self, obj: Object) -> None:
        """Put an object into the world as given, without HTTP; only what is missing is filled in."""
        seed(self.store, self.clock, obj)

    def compact(self) -> None:
        """Forget history: older resourceVersions and continue tokens answer 410."""
        self.store.compact()
        self._reads.forget_snapshots()

    async def start(self) -> None:
        """Listen on loopback, with TLS; and without at the Unix socket, by which the world's own actors come."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None, keepalive_timeout=3600.0)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]
        self._directory = TemporaryDirectory(prefix="sandbox-")
        self.socket = f"{self._directory.name}/api"
        await web.UnixSite(self._runner, self.socket).start()

    async def stop(self) -> None:
        """End all watches and connections."""
        self._collector.stop()
        for watcher in self._watches.each():
            watcher.end()
        for task in list(self._pending):
            task.cancel()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._directory:
            self._directory.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, in a task of its own: a client that goes away does not stop half-way what it asked."""
        try:
            body = await read_body(request)
        except StatusError as error:
            return self._response(request, _failure(error), error.headers)
        task = asyncio.ensure_future(self._work(request, body))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        try:
            outcome = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._discard)
            raise
        if isinstance(outcome, Watcher):
            return await self._stream(request, outcome)
        if outcome == "half-open":
            await asyncio.Event().wait()  # until the client gives up: that cancels this handler
        if isinstance(outcome, tuple):
            return self._response(request, *outcome)
        if request.transport:
            request.transport.abort()
        return web.Response(status=500)  # never sent: the connection is gone

    def _discard(self, task: asyncio.Task[Any]) -> None:
        """End the watch that nobody waits for any more."""
        if not task.cancelled() and task.exception() is None and isinstance(task.result(), Watcher):
            self._watches.stop(task.result())

    async def _work(
        self, request: web.BaseRequest, body: bytes
    ) -> tuple[Answer, Mapping[str, str]] | Watcher | _Silence:
        entry = entry_of(request, body, self.tokens, self.clock.now())
        headers: Mapping[str, str] = {}
        outcome: Answer | Watcher
        try:
            await self._tell("before", entry)
            faults = self.faults.take(entry)
            fate = await self._suffer(faults)
            if fate in ("drop", "half-open"):
                self.audit.append(entry)
                return fate
            outcome = fate if isinstance(fate, Answer) else await self._outcome(request, body, entry)
        except DropRequest:
            self.audit.append(entry)
            return "drop"
        except StatusError as error:
            outcome, headers, faults = _failure(error), error.headers, []
        except Exception as error:  # noqa: BLE001  # a world outlives its bugs: answered as 500 and logged
            _log.exception("request failed: %s %s", request.method, request.path)
            outcome, faults = _failure(internal(type(error).__name__)), []
        body_size = len(outcome.body) if isinstance(outcome, Answer) else 0
        done = replace(entry, code=outcome.code, body_size_out=body_size)
        self.audit.append(done)
        if await self._told_nobody(done) or any(rule.effect == "drop-after" for rule in faults):
            if isinstance(outcome, Watcher):
                self._watches.stop(outcome)
            return "drop"
        return outcome if isinstance(outcome, Watcher) else (outcome, headers)

    async def _told_nobody(self, entry: AuditEntry) -> bool:
        """Let the hook look at what was done; whether it wants the answer withheld."""
        try:
            await self._tell("after", entry)
        except DropRequest:
            return True
        return False

    async def _tell(self, phase: Phase, entry: AuditEntry) -> None:
        if self.on_request is not None:
            pending = self.on_request(phase, entry)
            if inspect.isawaitable(pending):
                await pending

    async def _suffer(self, faults: list[FaultRule]) -> Answer | _Silence | None:
        """Let the faults of a request happen. Raises StatusError for those that answer with an error."""
        for rule in faults:
            match rule.effect:
                case "delay":
                    await (asyncio.sleep(rule.seconds) if rule.real_time else self.clock.sleep(rule.seconds))
                case "hold":
                    await rule.ended.wait()
                case "status":
                    raise injected(rule)
                case "answer":
                    return Answer(rule.code, rule.body)
                case "gone":
                    raise expired(rule.message or "too old resource version: 1 (2)")
                case "drop" | "half-open" as silence:
                    return silence
        return None

    async def _outcome(self, request: web.BaseRequest, body: bytes, entry: AuditEntry) -> Answer | Watcher:
        if request.path in _HEALTH:
            return Answer(200, b"ok", "text/plain")
        if not entry.user:
            raise unauthorized()
        if request.path in REVIEWS and request.method == "POST":
            answer = review(self.forbid, entry.user, request.path, parse_json(body))
            return Answer(201, msgspec.json.encode(answer))
        target = route(request.path)
        if target is None:
            document = describe(request.path, self.served) if request.method == "GET" else None
            if document is None:
                raise no_route()
            return Answer(200, msgspec.json.encode(document))
        if not entry.verb:
            raise method_not_allowed()
        action = Action(
            user=entry.user, verb=entry.verb, group=entry.group, resource=entry.resource, namespace=scope_of(entry),
            subresource=entry.subresource, name=entry.name,
        )  # fmt: skip
        if is_forbidden(self.forbid, action):
            raise refusal(action)
        if not self.served.has(target.kind):
            return Answer(404, b"404 page not found\n", "text/plain")
        query, partial = dict(entry.query), "as=PartialObjectMetadata" in request.headers.get("Accept", "")
        if entry.verb == "watch":
            return self._watches.start(target.kind, target.namespace, query, user=entry.user, metadata_only=partial)
        manager = query.get("fieldManager") or entry.user_agent.split("/")[0] or "unknown"
        call = Call(
            target=target, verb=entry.verb, query=query, body=body, manager=manager, metadata_only=partial,
            content_type=request.headers.get("Content-Type", "").split(";")[0].strip(),
        )  # fmt: skip
        return await self._calls.answer(call)

    def _response(self, request: web.BaseRequest, answer: Answer, headers: Mapping[str, str]) -> web.Response:
        return web.Response(
            body=answer.body, status=answer.code, headers={**self._headers(answer.content_type), **headers}
        )

    def _headers(self, content_type: str) -> dict[str, str]:
        date = formatdate(self.clock.now(), usegmt=True)
        return {"Content-Type": content_type, "Date": date, "Cache-Control": "no-cache, private"}

    async def _stream(self, request: web.BaseRequest, watcher: Watcher) -> web.StreamResponse:
        response = web.StreamResponse(headers=self._headers("application/json"))
        try:
            await response.prepare(request)
            await self._watches.pump(watcher, response.write)
        except ConnectionResetError:
            pass  # the client went away: nobody is left to be told
        finally:
            self._watches.stop(watcher)
        return response

    def _on_watch_fault(self, rule: FaultRule) -> None:
        for watcher in self._watches.each():
            if rule.selects_watch(watcher.user, watcher.kind.plural, watcher.namespace):
                (watcher.end if rule.effect == "break-watches" else watcher.freeze)()


def _failure(error: StatusError) -> Answer:
    return Answer(error.code, msgspec.json.encode(error.body()))
