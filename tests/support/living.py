"""Pods of the worlds that are lived through without I/O: when their containers really read, and what is shown of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.model import ContainerRun, ContainerSpec, ObjectKey, Pod, Use

KEY = ObjectKey("shop", "app-secrets")
"""The one Secret of such a world."""
Data = dict[str, str]


@dataclass
class Start:
    """One run of a container: when kubelet was free to read, when it read, how old its copy was, when it started."""

    read: float
    started: float
    previous_end: float | None = None


@dataclass
class LivingPod:
    """A pod with one container."""

    name: str
    created: float
    clock: float  # its node's clock is ahead by so much
    uses: tuple[Use, ...]
    starts: list[Start]

    def shown(self) -> Pod:
        """As the API server has it: whole seconds, starts and ends by the node's clock."""
        last = self.starts[-1]
        ended = None if last.previous_end is None else math.floor(last.previous_end + self.clock)
        run = ContainerRun(
            state="running", started=math.floor(last.started + self.clock), previous_finished=ended, ready=True
        )
        return Pod(
            key=ObjectKey(KEY.namespace, self.name), uid=self.name,
            created=math.floor(self.created), node="node-1", owner=None, phase="Running", ready=True, ready_since=None,
            deleting=False, containers=(ContainerSpec("app", "container", self.uses),), runs=(run,),
            references=(KEY.name,),
        )  # fmt: skip

    def starts_on(self, data: Data | None) -> bool:
        """Whether kubelet starts the container on these data of the Secret: what is not optional has to be there."""
        needed = [use for use in self.uses if not use.optional]
        if data is None:
            return not needed
        return all(key in data for use in needed if use.via == "env" for key in use.keys or ())
