"""An event loop in a thread of its own, so that synchronous code can live beside a running world."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from agent.sandbox.client import Object
from agent.sandbox.world import Options, RealCluster, Sandbox

T = TypeVar("T")


class LoopThread:
    """``with LoopThread() as loop: loop.run(server.start())``. The world inside belongs to that thread."""

    def __init__(self, name: str = "sandbox") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> LoopThread:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._end_tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = 30.0) -> T:
        """Run to its end in the loop and return its result. Raises TimeoutError after ``timeout`` seconds."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a plain function in the loop's thread, where the world's objects may be touched."""

        async def called() -> T:
            return function(*args, **kwargs)

        return self.run(called())

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let a task run until it ends, or this loop does."""

        async def begun() -> None:
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self.run(begun())

    async def _end_tasks(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SandboxThread:
    """``with SandboxThread() as world``: a running world beside synchronous code.

    ``sandbox`` is the world itself; touch its parts through ``call`` and ``run`` only, or read what never changes.
    """

    def __init__(
        self, options: Options | None = None, *, strict: bool = True, cluster: RealCluster | None = None
    ) -> None:
        self._options, self._strict, self._cluster = options, strict, cluster
        self._loop = LoopThread()
        self.sandbox: Sandbox

    def __enter__(self) -> SandboxThread:
        self._loop.__enter__()
        try:
            self.sandbox = self.call(lambda: Sandbox(self._options, strict=self._strict, cluster=self._cluster))
            self.run(self.sandbox.__aenter__())
        except BaseException:
            self._loop.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self.sandbox.__aexit__(kind, error, trace))
        finally:
            self._loop.__exit__(None, None, None)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = 30.0) -> T:
        """Run to its end in the world's loop. Raises what it raises, TimeoutError after ``timeout`` seconds."""
        return self._loop.run(coroutine, timeout)

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a plain function in the world's loop."""
        return self._loop.call(function, *args, **kwargs)

    def apply(self, *objects: Object) -> None:
        """Create or replace objects as the admin. Raises ApiError, KeyError."""
        self.run(self.sandbox.apply(*objects))

    def seed(self, *objects: Object) -> None:
        """Put objects into the API server as given, with their past. Raises OnlyEmbedded."""

        def seed() -> None:
            for obj in objects:
                self.sandbox.api.seed(obj)

        self.call(seed)

    def advance(self, seconds: float) -> None:
        """Move the world's clock forward. Raises OnlyEmbedded."""
        self.call(self.sandbox.advance, seconds)
