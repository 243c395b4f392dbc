"""A world of an API server, a Key Vault and External Secrets Operator, for the tests of the last."""

from __future__ import annotations

import asyncio
import base64
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import trustme

from agent.esohash import synced_resource_version
from agent.sandbox.actors.eso import EsoActor, VaultReader
from agent.sandbox.apiserver.server import ApiServer
from agent.sandbox.client import (
    CLUSTER_SECRET_STORES,
    EVENTS,
    EXTERNAL_SECRETS,
    NAMESPACES,
    SECRET_STORES,
    SECRETS,
    ApiError,
    KubeClient,
    Object,
)
from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import KeyVault

NS = "shop"
FORCE = "external-secrets.io/force-sync"
HASH = "reconcile.external-secrets.io/data-hash"
MANAGED = "reconcile.external-secrets.io/managed"


@functools.cache
def _tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("127.0.0.1", "*.vault.azure.net", "login.microsoftonline.com").configure_cert(server)
    ca.configure_trust(client)
    return server, client


def store(vault: str, name: str, *, kind: str = "SecretStore", new_sdk: bool = True, **spec: Any) -> Object:
    """A store of an Azure vault."""
    azure = {"vaultUrl": f"https://{vault}.vault.azure.net", "useAzureSDK": new_sdk}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"provider": {"azurekv": azure}, **spec},
    }


def external_secret(name: str, *keys: str, **spec: Any) -> Object:
    """An ExternalSecret of store ``prod`` with one entry per ``KEY=REMOTE``."""
    entries = [{"secretKey": key, "remoteRef": {"key": remote}} for key, _, remote in (k.partition("=") for k in keys)]
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {"secretStoreRef": {"name": "prod"}, **({"data": entries} if entries else {}), **spec},
    }


@dataclass
class World:
    """What a test touches. Vault ``prod-kv`` is behind the store ``prod`` of namespace ``shop``."""

    clock: WorldClock
    server: ApiServer
    vaults: KeyVault
    client: KubeClient
    eso: EsoActor
    actors: list[asyncio.Task[None]] = field(default_factory=list)

    async def until(self, check: Callable[[], Awaitable[Any]], *, seconds: float = 10.0) -> Any:
        """The first true answer of a question to the API server; fails when there is none in time."""
        async with asyncio.timeout(seconds):
            while True:
                if answer := await check():
                    return answer
                await asyncio.sleep(0.004)

    async def apply(self, name: str, *keys: str, **spec: Any) -> Object:
        """Create an ExternalSecret in ``shop`` and wait for its first condition."""
        await self.client.create(EXTERNAL_SECRETS, NS, external_secret(name, *keys, **spec))
        await self.until(lambda: self.ready(name))
        return await self.settled(name)

    async def settled(self, name: str) -> Object:
        """The ExternalSecret once the actor has nothing more to do at the moment."""
        calm = 0
        async with asyncio.timeout(10):
            while calm < 3:
                calm = calm + 1 if self.eso.idle else 0
                await asyncio.sleep(0.01)
        return await self.external_secret(name)

    async def external_secret(self, name: str) -> Object:
        return await self.client.get(EXTERNAL_SECRETS, NS, name)

    async def ready(self, name: str) -> Object | None:
        """The Ready condition, None before the first."""
        conditions = ((await self.external_secret(name)).get("status") or {}).get("conditions") or []
        return next((c for c in conditions if c["type"] == "Ready"), None)

    async def secret(self, name: str) -> Object | None:
        return await self.client.get_or_none(SECRETS, NS, name)

    async def data(self, name: str) -> dict[str, bytes] | None:
        """The decoded data of a Secret, None if it is not there."""
        found = await self.secret(name)
        if found is None:
            return None
        data: dict[str, str] = found.get("data") or {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    async def force_sync(self, name: str, value: str = "1", key: str = FORCE) -> str:
        """Annotate; answers the syncedResourceVersion that will acknowledge it."""
        patch = {"metadata": {"annotations": {key: value}}}
        answer = await self.client.merge_patch(EXTERNAL_SECRETS, NS, name, patch)
        return expected_version(answer)

    async def acknowledged(self, name: str, version: str) -> Object:
        """The ExternalSecret once its status says that it was synced in this state."""

        async def check() -> Object | None:
            found = await self.external_secret(name)
            return found if found["status"].get("syncedResourceVersion") == version else None

        found: Object = await self.until(check)
        return found

    async def events(self, name: str, reason: str = "") -> list[Object]:
        """The Events on an ExternalSecret, oldest first."""
        found = await self.client.list(EVENTS, NS, fieldSelector=f"involvedObject.name={name}")
        found.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [event for event in found if reason in ("", event["reason"])]

    def gets(self, vault: str = "prod-kv") -> int:
        """How often a value was read."""
        return sum(1 for r in self.vaults.audit if r.operation == "get" and r.vault == vault and r.code == 200)


def expected_version(obj: Object) -> str:
    """The syncedResourceVersion of an ExternalSecret as it is."""
    metadata = obj["metadata"]
    return synced_resource_version(
        metadata["generation"], metadata.get("labels") or {}, metadata.get("annotations") or {}
    )


@asynccontextmanager
async def world(*, started: bool = True, namespace: str = NS, concurrent: int = 1) -> AsyncIterator[World]:
    """A running world; ``started=False`` leaves ESO to the test (``start``)."""
    server_tls, client_tls = _tls()
    clock = WorldClock()
    server, vaults = ApiServer(clock, tls=server_tls), KeyVault(clock, tls=server_tls)
    await server.start()
    await vaults.start()
    reader = VaultReader(("127.0.0.1", vaults.port), tls=client_tls, clock=clock)
    eso_client = KubeClient(server.url, tls=client_tls, field_manager="external-secrets", socket=server.socket)
    test_client = KubeClient(server.url, tls=client_tls, field_manager="test", socket=server.socket)
    try:
        async with reader, eso_client, test_client:
            vaults.vault("prod-kv")
            await test_client.create(NAMESPACES, None, {"kind": "Namespace", "metadata": {"name": namespace}})
            await test_client.create(SECRET_STORES, namespace, store("prod-kv", "prod"))
            w = World(clock, server, vaults, test_client, EsoActor(eso_client, clock, reader, concurrent=concurrent))
            if started:
                start(w)
            try:
                yield w
            finally:
                for actor in w.actors:
                    actor.cancel()
                for actor in w.actors:
                    with suppress(asyncio.CancelledError):
                        await actor
    finally:
        await vaults.stop()
        await server.stop()


def start(w: World) -> None:
    """Let ESO run."""
    w.actors.append(asyncio.create_task(w.eso.run()))


async def create_cluster_store(w: World, name: str, vault: str, **spec: Any) -> None:
    with suppress(ApiError):
        await w.client.create(CLUSTER_SECRET_STORES, None, store(vault, name, kind="ClusterSecretStore", **spec))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an asynchronous test function."""

    @functools.wraps(test)
    def wrapper() -> None:
        asyncio.run(test())

    del wrapper.__wrapped__
    return wrapper
