"""One container's life: configure, start, run, end, and again as the restart policy has it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Mapping

import aiohttp

from agent.sandbox.actors.kubelet.application import Application
from agent.sandbox.actors.kubelet.context import PodContext, Surroundings, wait_or
from agent.sandbox.actors.kubelet.record import Received, Run
from agent.sandbox.actors.kubelet.resolve import ConfigError, Content, Environment, environment, file_at, mounted
from agent.sandbox.actors.kubelet.secrets import Source, env_sources
from agent.sandbox.actors.kubelet.status import ContainerState, Ended
from agent.sandbox.client import ApiError, Object

KILLED = 137
"""The exit code of a container that was killed."""


class Container:
    """Runs one container of a pod until it ends for good."""

    def __init__(self, around: Surroundings, pod: PodContext, spec: Object, state: ContainerState) -> None:
        self._around, self._pod, self.spec, self.state = around, pod, spec, state
        self.app = pod.apps.get(state.name)
        self.poke = asyncio.Event()
        """Set when something it may wait for has changed."""
        self.reconsider = asyncio.Event()
        """Set when a backend or a followed file has changed."""
        self.first_start = asyncio.Event()
        self.run_record: Run | None = None
        self._environment = Environment()
        self._contents_at_start: Mapping[str, Content] = {}
        self._exit: asyncio.Future[int] | None = None
        self._crashes = 0

    @property
    def running(self) -> bool:
        return self.state.running_since is not None

    async def run(self) -> bool:
        """Live through all runs; the answer is whether the last one ended well."""
        try:
            while True:
                if not self.running:
                    at = await self._configure()
                    await self._around.clock.sleep(self._around.settings.start)
                    await self._pod.node.up.wait()
                    if self._pod.deleting:
                        return False
                    self._begin(at)
                code = await self._live()
                self._end(code)
                if not self._restarts(code):
                    return code == 0
                await self._back_off()
        finally:
            self._close_record()

    def exit(self, code: int = KILLED) -> None:
        """End the present run, as a crash or a liveness probe would."""
        if self._exit and not self._exit.done():
            self._exit.set_result(code)

    def hold(self, env: Environment, at: float) -> None:
        """Say what a run that began before our time received; it may have ended since."""
        self._environment = env
        if self.state.running_since is not None:
            self._open_record(at, self.state.running_since)
            self.reconsider.set()
        elif self.state.ended:
            self._open_record(at, self.state.ended.started_at).ended_at = self.state.ended.finished_at

    async def _configure(self) -> float:
        """Resolve the environment, however long that takes; the answer is the time at which it was read."""
        if self._around.settings.image_pull and not self.state.restarts:
            await self._around.clock.sleep(self._around.settings.image_pull)
        while True:
            await self._pod.node.up.wait()
            image = next((c["image"] for c in self._specs() if c["name"] == self.state.name), self.state.image)
            self.state.image = image
            if "missing" in image:
                self._wait_because("ImagePullBackOff", f'Back-off pulling image "{image}"')
            else:
                try:
                    found = {s: await self._read(s) for s in sorted(env_sources(self.spec))}
                    relaxed = self._around.settings.relaxed_environment_names
                    self._environment = environment(self._pod.obj, self.spec, found, relaxed_names=relaxed)
                    return self._around.clock.now()
                except ConfigError as error:
                    self._wait_because("CreateContainerConfigError", str(error))
                except (ApiError, aiohttp.ClientError, TimeoutError) as error:
                    self._wait_because("CreateContainerConfigError", f"failed to read: {type(error).__name__}")
            await wait_or(self._around.clock, self.poke, self._around.settings.retry)

    def _specs(self) -> list[Object]:
        spec = self._pod.obj["spec"]
        return [*(spec.get("initContainers") or []), *spec["containers"]]

    def _read(self, source: Source) -> Awaitable[Object | None]:
        return self._pod.node.secrets.read(self._pod.namespace, source)

    def _wait_because(self, reason: str, message: str) -> None:
        if self.state.ended:
            self.state.last, self.state.ended = self.state.ended, None
        self.state.waiting = (reason, message)
        self._pod.publish()

    def _begin(self, at: float) -> None:
        state = self.state
        if state.ended:
            state.last, state.ended = state.ended, None
        if state.last:
            state.restarts += 1
        state.running_since = self._around.clock.now()
        state.container_id = f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        state.started = True
        self._around.logs.begin(self._pod.namespace, self._pod.name, state.name)
        self._open_record(at, state.running_since)
        self.first_start.set()
        self._pod.publish()

    def _open_record(self, at: float, started_at: float) -> Run:
        self._contents_at_start = dict(self._pod.contents)
        mounts = mounted(self.spec, self._contents_at_start)
        self.run_record = self._around.record.begin(
            Received(
                at=at,
                started_at=started_at,
                namespace=self._pod.namespace,
                pod=self._pod.name,
                pod_uid=self._pod.uid,
                node=self._pod.node.name,
                container=self.state.name,
                kind="container" if self.state.role == "app" else "init",
                run=self.state.restarts,
                env=self._environment.values,
                sub_path=mounts.sub_path,
                volume=mounts.volume,
                variables=dict(self._environment.variables),
                whole=frozenset(self._environment.whole) | mounts.whole,
            )
        )
        return self.run_record

    def _close_record(self) -> None:
        if self.run_record and self.run_record.ended_at is None:
            self.run_record.ended_at = self._around.clock.now()

    def _end(self, code: int) -> None:
        state, now = self.state, self._around.clock.now()
        assert state.running_since is not None
        if now - state.running_since > self._around.settings.backoff_reset:
            self._crashes = 0
        state.ended = Ended(
            exit_code=code, started_at=state.running_since, finished_at=now, container_id=state.container_id
        )
        state.running_since, state.ready, state.started = None, False, False
        self._close_record()
        self._pod.publish()

    def _restarts(self, code: int) -> bool:
        policy = self._pod.obj["spec"].get("restartPolicy", "Always")
        if self._pod.deleting:
            return False
        if self.state.role == "sidecar":
            return True
        if self.state.role == "init":
            return code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    async def _back_off(self) -> None:
        self._crashes += 1
        if self._crashes == 1:
            return
        settings = self._around.settings
        delay = min(settings.crash_backoff * 2 ** min(self._crashes - 2, 30), settings.crash_backoff_max)
        name, namespace, uid = self._pod.name, self._pod.namespace, self._pod.uid
        self._wait_because(
            "CrashLoopBackOff",
            f"back-off {delay:g}s restarting failed container={self.state.name} pod={name}_{namespace}({uid})",
        )
        await self._around.clock.sleep(delay)

    async def _live(self) -> int:
        """The exit code, when the program ends or is ended."""
        self._exit = asyncio.get_running_loop().create_future()
        program = asyncio.create_task(self._program())
        try:
            await asyncio.wait({program, self._exit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            program.cancel()
        return self._exit.result() if self._exit.done() else program.result()

    async def _program(self) -> int:
        settings, sleep = self._around.settings, self._around.clock.sleep
        if self.app:
            return await self._application(self.app)
        if self.state.role == "init":
            await sleep(settings.init)
            return 0
        if not self.state.ready:
            await sleep(settings.ready)
            self._set_ready(True)
        if self._is_finite:
            await sleep(settings.run)
            return 0
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a server does not end by itself")

    @property
    def _is_finite(self) -> bool:
        return self.state.role == "app" and self._pod.obj["spec"].get("restartPolicy", "Always") != "Always"

    async def _application(self, app: Application) -> int:
        settings, sleep = self._around.settings, self._around.clock.sleep
        fine = self.state.ready
        if not fine:
            if not app.probe:
                self._set_ready(True)
            await sleep(settings.init if self.state.role == "init" else settings.ready)
            fine = self._offer(app)
            self._say(app, fine)
            if not fine and app.exits:
                return 1
        while True:
            if app.probe:
                self._set_ready(fine)
            if fine and (self._is_finite or self.state.role == "init"):
                await sleep(settings.run if self.state.role == "app" else 0)
                return 0
            await self.reconsider.wait()
            self.reconsider.clear()
            if self.run_record and (now := self._offer(app)) != fine:
                fine = now
                self._say(app, fine)

    def _offer(self, app: Application) -> bool:
        if app.env:
            value = self._environment.variables.get(app.env)
        else:
            value, follows = file_at(self.spec, self._pod.contents, app.file)
            if not follows:
                value, _ = file_at(self.spec, self._contents_at_start, app.file)
        return value is not None and self._around.backends.accepts(app.backend, value)

    def _say(self, app: Application, fine: bool) -> None:
        for line in app.success if fine else app.failure:
            self._around.logs.add(self._pod.namespace, self._pod.name, self.state.name, self._around.clock.now(), line)

    def _set_ready(self, ready: bool) -> None:
        if self.state.ready != ready:
            self.state.ready = ready
            self._pod.publish()
