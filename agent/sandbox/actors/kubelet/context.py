"""What the containers of a world, and those of one pod, share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.sandbox.actors.kubelet.application import Application
from agent.sandbox.actors.kubelet.backends import Backends
from agent.sandbox.actors.kubelet.logs import Logs
from agent.sandbox.actors.kubelet.record import Record
from agent.sandbox.actors.kubelet.resolve import Content
from agent.sandbox.actors.kubelet.secrets import NodeSecrets
from agent.sandbox.actors.kubelet.settings import Settings
from agent.sandbox.client import Object
from agent.sandbox.clock import WorldClock


@dataclass
class Node:
    """One node of the kubelet; while ``up`` is not set nothing starts there and nothing is reported."""

    name: str
    secrets: NodeSecrets
    up: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Surroundings:
    """What all containers of the world share."""

    clock: WorldClock
    settings: Settings
    record: Record
    backends: Backends
    logs: Logs


@dataclass
class PodContext:
    """What the containers of one pod share; ``contents`` are its volumes, by name."""

    obj: Object
    node: Node
    publish: Callable[[], None]
    apps: Mapping[str, Application] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.obj["metadata"]["uid"])

    @property
    def deleting(self) -> bool:
        return bool(self.obj["metadata"].get("deletionTimestamp"))


async def wait_or(clock: WorldClock, event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, at the latest after a span of the world's time; the event is cleared."""
    tasks = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        event.clear()
