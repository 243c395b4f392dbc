"""The sandbox's API server and Key Vault, each on a real port with real TLS, beside a synchronous test."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import requests
import trustme
import yaml
from azure.identity import ClientSecretCredential

from agent.clock import Clock
from agent.cluster.connection import Connection, OnRequest, connect
from agent.sandbox.apiserver.server import ApiServer
from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import KeyVault
from agent.sandbox.thread import LoopThread
from agent.vault.client import VaultClient
from agent.vault.credentials import open_session

T = TypeVar("T")

AGENT_TOKEN = "the-agents-token"
USER = "system:serviceaccount:secret-drift-agent:agent"


@functools.cache
def _authority() -> tuple[trustme.CA, Path]:
    """One CA for the whole test process: making keys is the slowest part of a server's start."""
    directory = Path(mkdtemp(prefix="contract-"))
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    return ca, directory


@functools.cache
def _tls(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority()[0].issue_cert(*names).configure_cert(context)
    return context


def ca_file() -> str:
    """PEM of the authority behind every server here."""
    return str(_authority()[1] / "ca.pem")


def kubeconfig(url: str, token: str = AGENT_TOKEN) -> str:
    """Path of a kubeconfig for a server here."""
    path = Path(mkdtemp(dir=_authority()[1])) / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": ca_file()}}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "sandbox", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "sandbox",
            }
        )
    )
    return str(path)


class Cluster:
    """A running API server, with what a synchronous test needs of it."""

    def __init__(self, loop: LoopThread, server: ApiServer, clock: WorldClock) -> None:
        self.loop, self.server, self.world_clock = loop, server, clock
        self.clock = Clock()
        self._connections: list[Connection] = []

    def connect(self, *, token: str = AGENT_TOKEN, on_request: OnRequest | None = None) -> Connection:
        """A connection of the agent's kind, over TLS, from a kubeconfig file."""
        path = kubeconfig(self.server.url, token)
        conn = connect(path, None, clock=self.clock, on_request=on_request, user_agent="contract-tests")
        self._connections.append(conn)
        return conn

    def seed(self, *objects: dict[str, Any]) -> None:
        """Put objects into the world as given."""
        for obj in objects:
            self.loop.call(self.server.seed, obj)

    def asked(self, resource: str, verb: str | None = None) -> list[Any]:
        """The audited requests for one resource."""
        return [e for e in list(self.server.audit) if e.resource == resource and verb in (None, e.verb)]

    def close(self) -> None:
        for conn in self._connections:
            conn.close()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """An API server that knows the agent by its token."""
    clock = WorldClock()
    server = ApiServer(clock, tls=_tls("127.0.0.1"), tokens={AGENT_TOKEN: USER})
    with LoopThread("apiserver") as loop:
        loop.run(server.start())
        running = Cluster(loop, server, clock)
        try:
            yield running
        finally:
            running.close()
            loop.run(server.stop())


class Vaults:
    """A running Key Vault, with what a synchronous test needs of it."""

    def __init__(self, loop: LoopThread, kv: KeyVault, clock: WorldClock) -> None:
        self.loop, self.kv, self.world_clock = loop, kv, clock
        self.session: requests.Session = open_session(
            {"SECRET_DRIFT_AGENT_VAULT_CONNECT_TO": f"127.0.0.1:{kv.port}", "SSL_CERT_FILE": ca_file()}
        )
        self.clock = Clock()
        now = self.clock.monotonic()
        self.clock.observe_date("Mon, 23 Nov 2026 22:49:00 GMT", now, now)

    def client(self, vault: str, identity: str = "agent", **options: Any) -> VaultClient:
        """A client of the agent's kind; ``agent`` may list only."""
        from azure.core.pipeline.transport import RequestsTransport

        transport = RequestsTransport(session=self.session, session_owner=False)
        credential = ClientSecretCredential(self.kv.tenant, identity, "pw", transport=transport, retry_total=0)
        host = vault if "." in vault else f"{vault}.vault.azure.net"
        options = {"requests_per_second": 10_000.0, **options}
        return VaultClient(host, credential, session=self.session, clock=self.clock, **options)

    def fill(self, vault: str, names: list[str]) -> None:
        """Give a vault secrets of these names, each with one version."""
        self.loop.call(lambda: [self.kv.vault(vault).set(name, f"value of {name}") for name in names])

    def in_loop(self, action: Callable[[], T]) -> T:
        """Touch the world where it lives."""
        return self.loop.call(action)

    def operations(self, operation: str) -> list[Any]:
        """The audited requests of one operation."""
        return [e for e in list(self.kv.audit) if e.operation == operation]

    def soon(self, seconds: float = 20.0) -> float:
        """A deadline for the client."""
        return self.clock.monotonic() + seconds


@contextmanager
def vaults() -> Iterator[Vaults]:
    """A Key Vault in which the identity ``agent`` may list and nothing else."""
    with LoopThread("keyvault") as loop:
        clock = WorldClock()
        kv = KeyVault(clock, tls=_tls("*.vault.azure.net", "login.microsoftonline.com"))
        kv.grant("agent", list=True, get=False, set=False)
        loop.run(kv.start())
        running = Vaults(loop, kv, clock)
        try:
            yield running
        finally:
            running.session.close()
            loop.run(kv.stop())


def eventually(condition: Callable[[], T], seconds: float = 20.0) -> T:
    """The first truthy answer; AssertionError if there is none in time. For what another thread does."""
    until = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)
    return answer
