"""The kubelets of all nodes, and the scheduler before them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from agent.sandbox.actors.controller import Stores
from agent.sandbox.actors.kubelet.backends import Backends
from agent.sandbox.actors.kubelet.container import KILLED
from agent.sandbox.actors.kubelet.context import Node, Surroundings
from agent.sandbox.actors.kubelet.logs import Logs
from agent.sandbox.actors.kubelet.nodes import heartbeat, mark_unready, node_object, register, report_ready
from agent.sandbox.actors.kubelet.pod import PodWorker
from agent.sandbox.actors.kubelet.record import Received, Record, Ref
from agent.sandbox.actors.kubelet.scheduler import Scheduler
from agent.sandbox.actors.kubelet.secrets import NodeSecrets
from agent.sandbox.actors.kubelet.settings import Settings
from agent.sandbox.client import NODES, PODS, SECRETS, KubeClient, Object
from agent.sandbox.clock import WorldClock

_log = logging.getLogger(__name__)
_Values = Mapping[Ref, str | bytes]


class Kubelet:
    """Registers nodes, binds pods to them and runs their containers.

    ``stores`` may be shared with other actors; then whoever made them runs them.
    """

    def __init__(
        self,
        client: KubeClient,
        clock: WorldClock,
        *,
        nodes: tuple[str, ...] = ("node-1", "node-2", "node-3"),
        settings: Settings | None = None,
        backends: Backends | None = None,
        stores: Stores | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.backends = backends or Backends()
        self._client, self._clock = client, clock
        self._own_stores = stores is None
        self._stores = stores or Stores(client)
        self._pods, self._secrets = self._stores.of(PODS), self._stores.of(SECRETS)
        self._node_store = self._stores.of(NODES)
        self._record, self._logs = Record(), Logs()
        self._around = Surroundings(clock, self.settings, self._record, self.backends, self._logs)
        self._nodes = {name: Node(name, NodeSecrets(client)) for name in nodes}
        self._workers: dict[str, PodWorker] = {}
        self._held: dict[tuple[str, str], list[tuple[str, _Values, float | None]]] = {}
        self._scheduler = Scheduler(client, clock, self._stores, nodes=nodes, settings=self.settings)
        self._group: asyncio.TaskGroup | None = None
        self.backends.subscribe(self._backend_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            if self._own_stores:
                self._group.create_task(self._stores.run())
            now = self._clock.rfc3339()
            for name, node in self._nodes.items():
                await register(self._client, self._clock, node_object(name, now, self.settings))
                node.up.set()
            await self._stores.synced()
            self._node_store.subscribe(lambda _, __: self._scheduler.poke())
            self._pods.subscribe(self._pod_changed)
            self._secrets.subscribe(self._secret_changed)
            self._group.create_task(self._scheduler.run())
            if self.settings.heartbeat:
                self._group.create_task(self._beat(self.settings.heartbeat))

    async def _beat(self, pause: float) -> None:
        while True:
            await self._clock.sleep(pause)
            for name, node in self._nodes.items():
                if node.up.is_set():
                    await heartbeat(self._client, self._clock, name)

    @property
    def record(self) -> list[Received]:
        """Every container start and every change of a running container's volumes, oldest first."""
        return self._record.entries

    def running(self, *, terminating: bool = True) -> list[Received]:
        """What every running container holds now; without those of pods that are being deleted, if so asked."""
        return self._record.running(terminating=terminating)

    def ended_at(self, received: Received) -> float | None:
        """World time at which that run ended; None while it lasts."""
        return self._record.ended_at(received)

    def logs(self, namespace: str, pod: str, container: str, previous: bool = False) -> list[tuple[float, str]] | None:
        """The lines of a container's present or previous run, each with its world time; None where it was not."""
        return self._logs.read(namespace, pod, container, previous)

    def restart_container(self, namespace: str, pod: str, container: str, *, exit_code: int = KILLED) -> None:
        """End a container's run; it starts again as its pod's restart policy has it. KeyError where there is none."""
        self._worker(namespace, pod).containers[container].exit(exit_code)

    def adopt(self, namespace: str, pod: str, container: str, values: _Values, *, at: float | None = None) -> None:
        """Say what a container received that was running before this kubelet came.

        ``values`` has to hold every key that the container's spec does not call optional. The record gets an entry
        at ``at``, by default the container's start. May be called before the kubelet has seen the pod.
        """
        found = self._pods.get(namespace, pod)
        if found and (worker := self._workers.get(found["metadata"]["uid"])):
            worker.hold(container, values, at)
        else:
            self._held.setdefault((namespace, pod), []).append((container, values, at))

    async def set_node_ready(self, name: str, up: bool) -> None:
        """Lose a node, or get it back. Its containers run on meanwhile, but nobody hears of them."""
        node = self._nodes[name]
        if up:
            await report_ready(self._client, self._clock, name, True)
            node.up.set()
            for worker in self._workers.values():
                if worker.pod["spec"].get("nodeName") == name:
                    worker.republish()
            return
        node.up.clear()
        await report_ready(self._client, self._clock, name, False)
        for pod in self._pods:
            if pod["spec"].get("nodeName") == name:
                await mark_unready(self._client, self._clock, pod)

    def _worker(self, namespace: str, pod: str) -> PodWorker:
        found = self._pods.get(namespace, pod)
        if found is None or found["metadata"]["uid"] not in self._workers:
            raise KeyError(f"no kubelet runs pod {namespace}/{pod}")
        return self._workers[found["metadata"]["uid"]]

    def _pod_changed(self, kind: str, pod: Object) -> None:
        if not self._scheduler.serves(pod):
            return
        try:
            self._follow(kind, pod)
        except (KeyError, TypeError, ValueError, AttributeError):
            meta = pod["metadata"]
            _log.exception("pod %s/%s cannot be understood and is left alone", meta["namespace"], meta["name"])

    def _follow(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        node = self._nodes.get(pod["spec"].get("nodeName", ""))
        if kind == "DELETED":
            if node:
                node.secrets.forget(pod)
            if worker := self._workers.pop(uid, None):
                worker.removed()
            self._logs.drop(pod["metadata"]["namespace"], pod["metadata"]["name"])
            self._scheduler.poke()
        elif node is None:
            self._scheduler.poke()
        elif worker := self._workers.get(uid):
            worker.seen(pod)
        else:
            node.secrets.refer(pod)
            self._start(node, pod)

    def _start(self, node: Node, pod: Object) -> None:
        assert self._group
        worker = PodWorker(self._around, self._client, node, pod)
        self._workers[pod["metadata"]["uid"]] = worker
        self._group.create_task(worker.run())
        for container, values, at in self._held.pop((pod["metadata"]["namespace"], pod["metadata"]["name"]), ()):
            worker.hold(container, values, at)

    def _secret_changed(self, _: str, secret: Object) -> None:
        for pod in self._pods.in_namespace(secret["metadata"]["namespace"]):
            if worker := self._workers.get(pod["metadata"]["uid"]):
                worker.secret_changed(secret["metadata"]["name"])

    def _backend_changed(self, backend: str) -> None:
        for worker in self._workers.values():
            worker.backend_changed(backend)
