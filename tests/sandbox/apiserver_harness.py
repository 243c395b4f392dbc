"""An API server over real TLS, and clients of it, for the tests of the API server itself."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import trustme

from agent.sandbox.apiserver import ApiServer
from agent.sandbox.client import NAMESPACES, SECRETS, ApiError, KubeClient, Object, Resource
from agent.sandbox.clock import WorldClock

NS = "shop"


@functools.cache
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext, str]:
    """The server's context, the clients' context, and the CA as a file."""
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(server)
    ca.configure_trust(client)
    path = Path(mkdtemp(prefix="apiserver-ca-")) / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return server, client, str(path)


@dataclass
class World:
    """What a test touches: the server, its clock, and a client of user ``admin``."""

    clock: WorldClock
    server: ApiServer
    client: KubeClient

    def client_of(self, token: str, manager: str = "test") -> KubeClient:
        """A client with another token or field manager, to be entered with ``async with``."""
        return KubeClient(self.server.url, tls=tls()[1], token=token, field_manager=manager)


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    """A started server with one namespace; tokens ``admin`` and ``guest`` are the users of these names."""
    clock = WorldClock()
    server = ApiServer(clock, tls=tls()[0], tokens={"admin": "admin", "guest": "guest"}, **settings)
    await server.start()
    try:
        async with KubeClient(server.url, tls=tls()[1], token="admin", field_manager="test") as client:
            await client.create(NAMESPACES, None, {"metadata": {"name": NS}})
            yield World(clock, server, client)
    finally:
        await server.stop()


def in_world(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test's coroutine in a world of its own."""

    def run() -> None:
        async def body() -> None:
            async with world() as made, asyncio.timeout(30):
                await test(made)

        asyncio.run(body())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def refused(call: Awaitable[Any], code: int, reason: str | None = None) -> ApiError:
    """The error of a call that must be refused."""
    with pytest.raises(ApiError) as caught:
        await call
    assert caught.value.code == code, caught.value.status
    if reason is not None:
        assert caught.value.reason == reason
    return caught.value


async def until(check: Callable[[], Any]) -> Any:
    """The first true answer of ``check``; a test's own timeout bounds it."""
    while not (answer := check()):  # noqa: ASYNC110  # what is waited for has no event to offer
        await asyncio.sleep(0.002)
    return answer


def secret(name: str, **members: Any) -> Object:
    """A Secret with one key."""
    labels = members.pop("labels", {})
    return {"metadata": {"name": name, "labels": labels}, "data": {"k": "dTE="}, **members}


def pod(name: str, *, node: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """A pod with one container, bound to ``node`` if given."""
    bound = {"nodeName": node} if node else {}
    containers = [{"name": "main", "image": "app:1"}]
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"containers": containers, **bound, **spec}}


def external_secret(name: str, **spec: Any) -> Object:
    """An ExternalSecret that reads one key."""
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {"secretStoreRef": {"name": "kv"}, "data": [{"secretKey": "k", "remoteRef": {"key": "k"}}], **spec},
    }


@dataclass
class Watched:
    """A watch that runs in the background: what it has received so far."""

    events: list[tuple[str, Object]] = field(default_factory=list)
    error: ApiError | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, *types: str) -> list[tuple[str, str]]:
        """(type, object name) of the events of these types (all but bookmarks if none is given)."""
        return [
            (t, o["metadata"].get("name", "")) for t, o in self.events if (t in types if types else t != "BOOKMARK")
        ]

    @property
    def bookmarks(self) -> list[Object]:
        """The objects of the bookmarks received."""
        return [obj for kind, obj in self.events if kind == "BOOKMARK"]


@asynccontextmanager
async def watching(
    client: KubeClient, res: Resource = SECRETS, version: str = "0", namespace: str | None = None, **query: str
) -> AsyncIterator[Watched]:
    """Watch in the background while the block runs."""
    watched = Watched()

    async def run() -> None:
        try:
            async for event in client.watch(res, version, namespace, **query):
                watched.events.append(event)
        except ApiError as error:
            watched.error = error
        finally:
            watched.ended.set()

    task = asyncio.create_task(run())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
