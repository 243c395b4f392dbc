"""The embedded world: an API server, a Key Vault, and the actors that bring them to life, in one event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from agent.sandbox.actors.budgets import BudgetController
from agent.sandbox.actors.controller import Stores
from agent.sandbox.actors.eso import EsoActor, Identity, VaultReader
from agent.sandbox.actors.kubelet import Backends, Kubelet, Settings
from agent.sandbox.actors.kubelet.logserver import LogServer
from agent.sandbox.actors.workloads import WorkloadController
from agent.sandbox.apiserver import ApiServer
from agent.sandbox.apply import Applier
from agent.sandbox.client import KubeClient, Object
from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import KeyVault
from agent.sandbox.pki import authority

AGENT_NAMESPACE = "secret-drift-agent"
"""Where the agent keeps its ledger."""
USERS = {
    "agent": "the agent",
    "admin": "whoever shapes the world: tests, the demo, the command line",
    "system:eso": "External Secrets Operator",
    "system:controllers": "the workload and disruption controllers",
    "system:kubelet": "scheduler and kubelets",
}
"""Who may log in to the API server, by user name."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a world is made of. Every actor exists in any case; one that is left out merely does not run."""

    eso: bool = True
    workloads: bool = True
    """The controllers of Deployments and other workloads, and of PodDisruptionBudgets."""
    kubelet: bool = True
    concurrent_syncs: int = 1
    """ESO's flag ``--concurrent``."""
    nodes: tuple[str, ...] = ("node-1", "node-2", "node-3")
    node_settings: Settings = field(default_factory=Settings)
    gc: bool = True
    behind: float = 0.0
    """Seconds by which its clock begins in the past. Once it is moved on by as much, it shows everybody's time."""


@dataclass(frozen=True, kw_only=True)
class RealCluster:
    """A real API server with controllers of its own, which ESO, scheduler and kubelets are to bring to life."""

    url: str
    client: ssl.SSLContext = field(repr=False)
    """Trusts its certificate."""
    pem: bytes
    """The authority of its certificate."""
    tokens: Mapping[str, str] = field(repr=False)
    """A bearer token for each of ``USERS``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the kubelet's ``Settings`` by which its nodes and pods are told from those of others."""
    eso: bool = False
    """Whether a real External Secrets Operator works there, so that ours stays out."""


class OnlyEmbedded(Exception):
    """What only the embedded world can do was asked of one with a real API server, or a real ESO; says what."""


class Sandbox:
    """A running world: ``async with Sandbox() as sandbox``. Everything in it belongs to that event loop.

    ``clock``, ``api`` (API server), ``vaults`` (Key Vault), ``eso``, ``kubelet``, ``workloads``, ``budgets`` and
    ``backends`` may be used directly. ``tokens`` holds a bearer token by user name. An actor that fails is noted in
    ``problems``; the end of the block raises them as an ExceptionGroup, unless ``strict`` is off.

    With ``cluster`` there is no ``api``, and workload and disruption controllers are the cluster's own.
    """

    def __init__(
        self, options: Options | None = None, *, strict: bool = True, cluster: RealCluster | None = None
    ) -> None:
        self.options = options or Options()
        if cluster and cluster.eso and (not self.options.eso or self.options.concurrent_syncs != 1):
            raise OnlyEmbedded("leaves External Secrets Operator out, or sets its flags")
        self.problems: list[Exception] = []
        self.clock = WorldClock(self.options.behind)
        self.authority = authority()
        self.tokens = dict(cluster.tokens) if cluster else {user: secrets.token_urlsafe(24) for user in USERS}
        self.assertion = secrets.token_urlsafe(24)
        """The federated token by which the agent logs in to the vaults' login host."""
        self._eso_secret = secrets.token_urlsafe(24)
        self._cluster = cluster
        self._api = None if cluster else self._embedded()
        self.vaults = KeyVault(self.clock, tls=self.authority.server)
        self.backends = Backends()
        self._strict = strict
        self._eso: EsoActor
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self.kubelet: Kubelet
        self.workloads: WorkloadController
        self.budgets: BudgetController
        self.admin: KubeClient

    async def __aenter__(self) -> Sandbox:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
        if self._strict and self.problems and error is None:
            raise ExceptionGroup("actors of the sandbox failed", self.problems)

    @property
    def api(self) -> ApiServer:
        """The embedded API server. Raises OnlyEmbedded where a real one is in its place."""
        if self._api is None:
            raise OnlyEmbedded("looks into the embedded API server, or changes its answers")
        return self._api

    @property
    def eso(self) -> EsoActor:
        """The actor that plays ESO. Raises OnlyEmbedded where a real one is in its place."""
        if self._cluster and self._cluster.eso:
            raise OnlyEmbedded("looks into the actor that plays External Secrets Operator, or stops it")
        return self._eso

    @property
    def url(self) -> str:
        """Where the API server is, embedded or real."""
        return self._cluster.url if self._cluster else self.api.url

    @property
    def url_authority(self) -> bytes:
        """PEM of the authority to trust there."""
        return self._cluster.pem if self._cluster else self.authority.pem

    def advance(self, seconds: float) -> None:
        """Move the world's clock forward. Raises OnlyEmbedded where a real API server has a clock of its own."""
        if self._cluster:
            raise OnlyEmbedded("moves the world's clock")
        self.clock.advance(seconds)

    async def apply(self, *objects: Object) -> None:
        """Create or replace objects as the admin; missing namespaces are created. Raises ApiError, KeyError."""
        await Applier(self.admin).apply(*objects)

    async def _start(self) -> None:
        self._grant()
        await self.vaults.start()
        self._stack.push_async_callback(self.vaults.stop)
        if self._api:
            await self._api.start()
            self._stack.push_async_callback(self._api.stop)
        self.admin = await self._client("admin", "admin")
        await self._make_eso()
        await self._make_cluster()

    def _embedded(self) -> ApiServer:
        by_token = {token: user for user, token in self.tokens.items()}
        api = ApiServer(self.clock, tls=self.authority.server, tokens=by_token, gc=self.options.gc)
        api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENT_NAMESPACE}})
        return api

    def _grant(self) -> None:
        login = self.vaults.login
        login.register("agent", assertion=self.assertion)
        # A real one was given its federated token when it was started, long before this world.
        login.register("eso", secret=None if self._cluster and self._cluster.eso else self._eso_secret)
        self.vaults.grant("agent", list=True, get=False)
        self.vaults.grant("eso", list=True, get=True)

    async def _client(self, user: str, manager: str) -> KubeClient:
        tls = self._cluster.client if self._cluster else self.authority.client
        socket = self._api.socket if self._api else ""
        client = KubeClient(self.url, tls=tls, token=self.tokens[user], field_manager=manager, socket=socket)
        return await self._stack.enter_async_context(client)

    async def _make_eso(self) -> None:
        reader = VaultReader(
            ("127.0.0.1", self.vaults.port),
            tls=self.authority.client,
            clock=self.clock,
            identity=Identity(client_id="eso", secret=self._eso_secret),
        )
        await self._stack.enter_async_context(reader)
        client = await self._client("system:eso", "external-secrets")
        self._eso = EsoActor(client, self.clock, reader, concurrent=self.options.concurrent_syncs)
        if self.options.eso and not (self._cluster and self._cluster.eso):
            self.start_actor(self._eso.run(), "ESO")

    async def _make_cluster(self) -> None:
        """Two sets of stores: the controllers and the kubelet are different users, and see the world each by itself."""
        controllers = await self._client("system:controllers", "kube-controller-manager")
        shared = Stores(controllers)
        self.workloads = WorkloadController(controllers, self.clock, stores=shared)
        self.budgets = BudgetController(controllers, self.clock, stores=shared)
        if self.options.workloads and not self._cluster:
            self.start_actor(shared.run(), "watches of the controllers")
            self.start_actor(self.workloads.run(), "workload controller")
            self.start_actor(self.budgets.run(), "disruption controller")
        settings = replace(self.options.node_settings, **self._cluster.settings if self._cluster else {})
        logs = await self._log_server(settings.address) if self._cluster else None
        self.kubelet = Kubelet(
            await self._client("system:kubelet", "kubelet"),
            self.clock,
            nodes=self.options.nodes,
            settings=replace(settings, log_port=logs.port) if logs else settings,
            backends=self.backends,
        )
        if self._api:
            self._api.log_provider = self.kubelet.logs
        if logs:
            logs.serve(self.kubelet.logs)
        if self.options.kubelet:
            self.start_actor(self.kubelet.run(), "kubelet")

    async def _log_server(self, address: str) -> LogServer:
        server = LogServer(self.clock, tls=self.authority.server)
        await server.start(address)
        self._stack.push_async_callback(server.stop)
        return server

    def start_actor(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Let an actor work until the world ends; if it fails, ``problems`` says so."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.cancelling():  # told to end, it cannot follow what changes in that very moment
            return
        error = task.exception()
        problem = error if isinstance(error, Exception) else RuntimeError(f"{task.get_name()} ended by itself: {error}")
        problem.add_note(f"actor: {task.get_name()}")
        self.problems.append(problem)
        _log.error("%s failed and does nothing any more: %r", task.get_name(), problem)

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stack.aclose()
