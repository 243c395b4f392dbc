"""One pod on its node: volumes, init containers, app containers, its status, and its end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping

import aiohttp

from agent.sandbox.actors.kubelet.application import applications
from agent.sandbox.actors.kubelet.container import Container
from agent.sandbox.actors.kubelet.context import Node, PodContext, Surroundings, wait_or
from agent.sandbox.actors.kubelet.record import Ref
from agent.sandbox.actors.kubelet.resolve import Content, MountError, environment, mounted, volume_content
from agent.sandbox.actors.kubelet.secrets import pod_secrets, volume_sources
from agent.sandbox.actors.kubelet.seeds import pod_states, secrets_holding
from agent.sandbox.actors.kubelet.status import pod_status
from agent.sandbox.client import PODS, ApiError, KubeClient, Object

_log = logging.getLogger(__name__)


class PodWorker:
    """Brings one pod to life and reports it. ``run`` lasts until the pod is gone."""

    def __init__(self, around: Surroundings, client: KubeClient, node: Node, pod: Object) -> None:
        self._around, self._client, self._node = around, client, node
        self._states = pod_states(pod)
        self._dirty, self._poke, self._deleting, self._gone = (asyncio.Event() for _ in range(4))
        self._context = PodContext(pod, node, self._dirty.set)
        self._problem = ""
        try:
            self._context.apps = applications(pod)
        except ValueError as error:
            self._problem = str(error)
        specs = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
        states = [*self._states.init, *self._states.app]
        self.containers = {
            c["name"]: Container(around, self._context, c, s) for c, s in zip(specs, states, strict=True)
        }
        self._volumes = {v["name"]: v for v in pod["spec"].get("volumes") or []}
        self._secrets = pod_secrets(pod)
        self._refreshing: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._began = around.clock.now()
        self._written: Object = {}
        if pod["metadata"].get("deletionTimestamp"):
            self._deleting.set()

    @property
    def pod(self) -> Object:
        """As last seen."""
        return self._context.obj

    async def run(self) -> None:
        """Live until the pod is deleted (by us, at the end of its grace) or gone from the API server."""
        living = asyncio.create_task(self._live())
        living.add_done_callback(self._complain)
        gone = asyncio.create_task(self._gone.wait())
        ending = asyncio.create_task(self._terminate())
        try:
            await asyncio.wait({gone, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (living, gone, ending):
                task.cancel()
            await asyncio.gather(living, gone, ending, return_exceptions=True)

    def _complain(self, living: asyncio.Task[None]) -> None:
        if not living.cancelled() and (error := living.exception()):
            _log.error("pod %s/%s stands still", self._context.namespace, self._context.name, exc_info=error)

    def seen(self, pod: Object) -> None:
        """A version of the pod from the watch, which may be older than what our own last write returned."""
        self._context.obj = _newer(self._context.obj, pod)
        if pod["metadata"].get("deletionTimestamp"):
            self._deleting.set()
            for each in self.containers.values():
                if each.run_record:
                    each.run_record.terminating = True
        for each in self.containers.values():
            if each.spec.get("image") and not each.running:
                each.poke.set()

    def removed(self) -> None:
        """The pod is gone from the API server."""
        self._gone.set()

    def republish(self) -> None:
        """Write the status again whatever was written last: somebody else may have changed it."""
        self._written = {}
        self._dirty.set()

    def backend_changed(self, backend: str) -> None:
        for each in self.containers.values():
            if each.app and each.app.backend == backend:
                each.reconsider.set()

    def secret_changed(self, name: str) -> None:
        """A Secret of the namespace was written or deleted."""
        if name not in self._secrets:
            return
        self._poke.set()
        for each in self.containers.values():
            each.poke.set()
        for volume in self._volumes.values():
            mine = ("Secret", name) in volume_sources(volume) and volume["name"] in self._context.contents
            if mine and volume["name"] not in self._refreshing and self._group:
                self._refreshing.add(volume["name"])
                self._group.create_task(self._refresh(volume))

    def hold(self, container: str, values: Mapping[Ref, str | bytes], at: float | None) -> None:
        """Say what a container that was running before us received, at its start where ``at`` is None."""
        found, one = secrets_holding(values), self.containers[container]
        since = one.state.ended.started_at if one.state.ended else one.state.running_since
        if since is None:
            raise ValueError(f"container {container} of pod {self._context.name} has not run")
        for mount in one.spec.get("volumeMounts") or []:
            if volume_sources(self._volumes[mount["name"]]):
                self._context.contents[mount["name"]] = volume_content(self._volumes[mount["name"]], found)
        one.hold(environment(self.pod, one.spec, found), since if at is None else at)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            if self.pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                return
            self._group.create_task(self._report())
            self._dirty.set()
            if self._problem:
                for each in self.containers.values():
                    each.state.waiting = ("CreateContainerConfigError", self._problem)
                return
            if self._deleting.is_set():
                return
            adopted = any(c.running for c in self.containers.values())
            await self._mount(patient=not adopted)
            if await self._initialize():
                await self._run_apps()

    async def _initialize(self) -> bool:
        """Init containers one by one; a restartable one only has to start. False where one fails for good."""
        assert self._group
        for state in self._states.init:
            one = self.containers[state.name]
            if state.role == "sidecar":
                self._group.create_task(one.run())
                if not one.running:
                    await one.first_start.wait()
            elif not state.initialized and not await one.run():
                return False
        return True

    async def _run_apps(self) -> None:
        """All app containers at once; the sidecars end with the last of them."""
        apps = [self.containers[s.name] for s in self._states.app if not self._is_over(s.name)]
        async with asyncio.TaskGroup() as group:
            for each in apps:
                group.create_task(each.run())

    def _is_over(self, name: str) -> bool:
        ended = self.containers[name].state.ended
        policy = self.pod["spec"].get("restartPolicy", "Always")
        return ended is not None and (policy == "Never" or (policy == "OnFailure" and ended.exit_code == 0))

    async def _mount(self, *, patient: bool) -> None:
        """Set up all volumes. A patient mount waits for what is missing, as the pod does (ContainerCreating)."""
        for volume in self._volumes.values():
            while volume["name"] not in self._context.contents:
                await self._node.up.wait()
                try:
                    self._context.contents[volume["name"]] = await self._content(volume)
                    continue
                except (MountError, ApiError, aiohttp.ClientError, TimeoutError):
                    if not patient:
                        break
                await wait_or(self._around.clock, self._poke, self._around.settings.retry)

    async def _content(self, volume: Object) -> Content:
        found = {s: await self._node.secrets.read(self._context.namespace, s) for s in sorted(volume_sources(volume))}
        return volume_content(volume, found)

    async def _refresh(self, volume: Object) -> None:
        """Plain and projected volumes follow their Secrets, a while later; what cannot be made anew stays."""
        await self._around.clock.sleep(self._around.settings.volume_lag)
        await self._node.up.wait()
        name = volume["name"]
        self._refreshing.discard(name)
        before = self._context.contents[name]
        try:
            after = await self._content(volume)
        except MountError:
            return
        except (ApiError, aiohttp.ClientError, TimeoutError):
            if name not in self._refreshing and self._group:
                self._refreshing.add(name)
                self._group.create_task(self._refresh(volume))
            return
        if after == before:
            return
        self._context.contents[name] = after
        for each in self.containers.values():
            if each.running and each.run_record and _follows(each.spec, name):
                seen = mounted(each.spec, self._context.contents).volume
                self._around.record.update(each.run_record, seen, self._around.clock.now())
                each.reconsider.set()

    async def _report(self) -> None:
        """Write the status whenever it has changed; changes of one moment go in one write."""
        pause = 0.05
        while True:
            await self._dirty.wait()
            await self._node.up.wait()
            await asyncio.sleep(0)
            self._dirty.clear()
            clock = self._around.clock
            status = pod_status(
                self.pod,
                self._states,
                started_at=self._began,
                now=clock.now(),
                pod_ip=self._pod_ip(),
                stamp=clock.rfc3339,
            )
            if status == self._written:
                continue
            body = {"metadata": {"uid": self._context.uid}, "status": status}
            try:
                written = await self._client.merge_patch(
                    PODS, self._context.namespace, self._context.name, body, subresource="status"
                )
                self._written, pause = status, 0.05
                self._context.obj = _newer(self._context.obj, written)
            except (ApiError, aiohttp.ClientError, TimeoutError):
                # Also where the pod is gone: this task ends with the pod's worker, as soon as the watch says so.
                await self._around.clock.sleep(pause)
                self._dirty.set()
                pause = min(2 * pause, 5.0)

    def _pod_ip(self) -> str:
        digest = hashlib.sha256(self._context.uid.encode()).digest()
        return f"10.{128 + digest[0] % 64}.{digest[1]}.{1 + digest[2] % 254}"

    async def _terminate(self) -> None:
        """When the pod is deleted: let it end within its grace, then take it off the API server.

        The last status of the ended containers is not written; nothing reads it, and it would cost a request a pod.
        """
        await self._deleting.wait()
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds")
        limit = self._around.settings.termination if grace is None else min(self._around.settings.termination, grace)
        await self._around.clock.sleep(limit)
        await self._node.up.wait()
        pause = 0.05
        while True:
            try:
                await self._client.delete(
                    PODS, self._context.namespace, self._context.name, grace_seconds=0,
                    preconditions={"uid": self._context.uid},
                )  # fmt: skip
                return
            except ApiError as error:
                if error.code == 404:
                    return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await self._around.clock.sleep(pause)
            pause = min(2 * pause, 5.0)


def _follows(spec: Object, volume: str) -> bool:
    return any(m["name"] == volume and not m.get("subPath") for m in spec.get("volumeMounts") or [])


def _newer(one: Object, other: Object) -> Object:
    return max(one, other, key=lambda o: int(o["metadata"]["resourceVersion"]))
