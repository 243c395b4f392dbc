"""A world of an API server, workload controllers, budgets and kubelets, for the tests of these actors."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trustme

from agent.sandbox.actors.budgets import BudgetController
from agent.sandbox.actors.controller import Stores
from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.actors.kubelet import Kubelet, Settings
from agent.sandbox.actors.workloads import WorkloadController
from agent.sandbox.apiserver.server import ApiServer
from agent.sandbox.client import DEPLOYMENTS, NAMESPACES, NODES, PODS, SECRETS, KubeClient, Object, Resource
from agent.sandbox.clock import WorldClock

NS = "shop"
QUICK = Settings(
    start=0.01, ready=0.02, init=0.01, run=0.03, termination=0.02, volume_lag=0.02, retry=0.5, crash_backoff=0.05
)


@functools.cache
def _tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(server)
    ca.configure_trust(client)
    return server, client


@dataclass
class World:
    """What a test touches."""

    clock: WorldClock
    server: ApiServer
    client: KubeClient
    stores: Stores
    kubelet: Kubelet

    async def until(self, check: Callable[[], Any], *, seconds: float = 15.0) -> Any:
        """The first true answer of ``check``; fails when there is none in time."""
        async with asyncio.timeout(seconds):
            while True:
                if answer := check():
                    return answer
                await asyncio.sleep(0.005)

    async def until_so(self, check: Callable[[], Awaitable[Any]], *, seconds: float = 15.0) -> Any:
        """The same for a question to the API server."""
        async with asyncio.timeout(seconds):
            while True:
                if answer := await check():
                    return answer
                await asyncio.sleep(0.01)

    def pods(self, **having: str) -> list[Object]:
        """Pods with these labels, by name, that are not being deleted."""
        pods = self.stores.of(PODS).in_namespace(NS)
        alive = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
        found = [p for p in alive if having.items() <= p["metadata"].get("labels", {}).items()]
        return sorted(found, key=lambda p: p["metadata"]["name"])

    def pod(self, name: str) -> Object | None:
        return self.stores.of(PODS).get(NS, name)

    def get(self, res: Resource, name: str) -> Object:
        """As the watch shows it; {} with an empty status while it is not there."""
        return self.stores.of(res).get(NS, name) or {"metadata": {}, "spec": {}, "status": {}}

    def status(self, res: Resource, name: str) -> Object:
        status: Object = self.get(res, name).get("status") or {}
        return status

    def container(self, pod: str, index: int = 0) -> Object:
        """The status of a pod's container; {} while there is none."""
        statuses = ((self.pod(pod) or {}).get("status") or {}).get("containerStatuses") or [{}]
        found: Object = statuses[index]
        return found

    def waiting(self, pod: str, index: int = 0) -> Object:
        """Why a container waits; {} where it does not."""
        found: Object = (self.container(pod, index).get("state") or {}).get("waiting") or {}
        return found

    def is_ready(self, pod: str) -> bool:
        return ready(self.pod(pod) or {})

    async def settled(self, deployment: str, replicas: int) -> None:
        """The rollout is over: all replicas new and available, and no other pod left."""

        def done() -> bool:
            found = self.get(DEPLOYMENTS, deployment)
            status = found.get("status") or {}
            counts = {status.get(k) for k in ("replicas", "updatedReplicas", "availableReplicas")}
            return status.get("observedGeneration") == found["metadata"].get("generation") and counts == {replicas}

        await self.until(done)

    async def secret(self, name: str = "db", *, immutable: bool = False, **values: str) -> Object:
        """Create a Secret, or give it these values."""
        body: Object = {"data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}}
        if await self.client.get_or_none(SECRETS, NS, name):
            return await self.client.merge_patch(SECRETS, NS, name, body)
        meta = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "immutable": immutable or None}
        return await self.client.create(SECRETS, NS, {**meta, **body})

    async def create(self, res: Resource, body: Object) -> Object:
        return await self.client.create(res, NS, body)


@asynccontextmanager
async def world(
    *,
    settings: Settings = QUICK,
    nodes: tuple[str, ...] = ("node-1", "node-2", "node-3"),
    seeds: list[Object] | None = None,
) -> AsyncIterator[World]:
    """A running world with the namespace ``shop``."""
    clock, (server_tls, client_tls) = WorldClock(), _tls()
    server = ApiServer(clock, tls=server_tls)
    for seed in seeds or []:
        server.seed(seed)
    await server.start()
    async with KubeClient(server.url, tls=client_tls, field_manager="test", socket=server.socket) as client:
        stores = Stores(client)
        kubelet = Kubelet(client, clock, settings=settings, nodes=nodes, stores=stores)
        server.log_provider = kubelet.logs
        workloads, budgets = (
            WorkloadController(client, clock, stores=stores),
            BudgetController(client, clock, stores=stores),
        )
        if not await client.get_or_none(NAMESPACES, None, NS):
            await client.create(NAMESPACES, None, {"metadata": {"name": NS}, "apiVersion": "v1", "kind": "Namespace"})
        tasks = [asyncio.create_task(actor.run()) for actor in (stores, workloads, budgets, kubelet)]
        try:
            await stores.synced()
            made = World(clock, server, client, stores, kubelet)
            await made.until(lambda: all(stores.of(NODES).get("", node) for node in nodes))
            yield made
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.stop()


def run(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Make an async test a plain one, in an event loop of its own."""

    @functools.wraps(test)
    def plain() -> None:
        asyncio.run(test())

    return plain


def env(name: str, secret: str, key: str, *, optional: bool = False) -> Object:
    ref: Object = {"name": secret, "key": key}
    return {"name": name, "valueFrom": {"secretKeyRef": {**ref, "optional": True} if optional else ref}}


def template(
    *containers: Object, labels: dict[str, str] | None = None, app: Object | None = None, **spec: Any
) -> Object:
    """A pod template; one container with the environment variable PASSWORD from Secret db where none is named."""
    default = {"name": "app", "image": "shop/app:1", "env": [env("PASSWORD", "db", "password")]}
    meta: Object = {"labels": labels or {"app": "shop"}}
    if app:
        meta["annotations"] = {"sandbox/app": json.dumps(app)}
    return {"metadata": meta, "spec": {"containers": list(containers) or [default], **spec}}


def pod(name: str, *containers: Object, **rest: Any) -> Object:
    made = template(*containers, **rest)
    return {"apiVersion": "v1", "kind": "Pod", **made, "metadata": {**made["metadata"], "name": name, "namespace": NS}}


def workload(kind: str, name: str, pod_template: Object, **spec: Any) -> Object:
    selector = {"matchLabels": pod_template["metadata"]["labels"]}
    return {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NS},
        "spec": {**({} if kind == "Job" else {"selector": selector}), "template": pod_template, **spec},
    }
