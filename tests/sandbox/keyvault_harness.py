"""A Key Vault on its own event loop in a thread, and real SDK clients that reach it by name over verified TLS."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import requests
import trustme
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import KeyVault
from agent.vault.connect_to import session

T = TypeVar("T")


@cache
def authority() -> tuple[trustme.CA, str]:
    """The CA of all tests of this process, and its PEM file."""
    ca = trustme.CA()
    path = Path(mkdtemp(prefix="keyvault-ca-")) / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, str(path)


@cache
def server_tls(*names: str) -> ssl.SSLContext:
    """A server context with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority()[0].issue_cert(*names).configure_cert(context)
    return context


class Sandbox:
    """``kv`` may be read from the test's thread; whatever waits for the loop goes through ``run``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, kv: KeyVault, clock: WorldClock) -> None:
        self._loop, self.kv, self.clock = loop, kv, clock
        self.ca_bundle = authority()[1]
        self.session = session(f"127.0.0.1:{kv.port}", ca_bundle=self.ca_bundle)

    def run(self, action: Callable[[], T]) -> T:
        """Call on the world's loop."""

        async def call() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def transport(self) -> RequestsTransport:
        return RequestsTransport(session=self.session, session_owner=False)

    def credential(self, identity: str = "admin", secret: str = "pw") -> ClientSecretCredential:
        return ClientSecretCredential(self.kv.tenant, identity, secret, transport=self.transport(), retry_total=0)

    def client(self, vault: str, identity: str = "admin", **options: Any) -> SecretClient:
        """A real client. The identity ``admin`` has all rights."""
        options = {"retry_total": 0, "transport": self.transport(), **options}
        return SecretClient(f"https://{vault}.vault.azure.net", self.credential(identity), **options)

    def bearer(self, identity: str = "admin", audience: str = "https://vault.azure.net") -> dict[str, str]:
        """The header of a request made by hand."""
        form = {
            "grant_type": "client_credentials",
            "client_id": identity,
            "client_secret": "pw",
            "scope": f"{audience}/.default",
        }
        url = f"https://login.microsoftonline.com/{self.kv.tenant}/oauth2/v2.0/token"
        return {"Authorization": f"Bearer {self.session.post(url, data=form, timeout=10).json()['access_token']}"}

    def raw(self, vault: str, path: str, method: str = "GET", **options: Any) -> requests.Response:
        """A request made by hand, with a token unless headers say otherwise."""
        options.setdefault("headers", self.bearer())
        return self.session.request(method, f"https://{vault}.vault.azure.net{path}", timeout=10, **options)

    def operations(self) -> list[str]:
        return [request.operation for request in self.kv.audit]


@contextmanager
def sandbox(*names: str, **options: Any) -> Iterator[Sandbox]:
    """A running Key Vault; ``names`` are those of its certificate."""
    tls = server_tls(*(names or ("*.vault.azure.net", "login.microsoftonline.com")))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[KeyVault, WorldClock]:
        clock = WorldClock()
        kv = KeyVault(clock, tls=tls, **options)
        await kv.start()
        kv.grant("admin", list=True, get=True, set=True)
        return kv, clock

    kv, clock = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    world = Sandbox(loop, kv, clock)
    try:
        yield world
    finally:
        world.session.close()
        asyncio.run_coroutine_threadsafe(kv.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
