"""The record: which container start received which value. The judge of every test of the agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Ref = tuple[str, str]
"""(Secret name, key) in the pod's namespace."""
Values = Mapping[Ref, bytes | None]
"""What was received for each key; None where an optional key was absent."""
Kind = Literal["container", "init", "volume-update"]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One container start, or one change of a running container's volumes. Values stay out of its repr."""

    at: float
    """World time (unix seconds) at which the Secrets were read."""
    started_at: float
    """World time of the container's start; the pod status shows its whole seconds."""
    namespace: str
    pod: str
    pod_uid: str
    node: str
    container: str
    kind: Kind
    run: int
    """0 for the first start, then the restart count."""
    env: Values = field(default_factory=dict, repr=False)
    sub_path: Values = field(default_factory=dict, repr=False)
    volume: Values = field(default_factory=dict, repr=False)
    """Content of plain and projected mounts at ``at``."""
    variables: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The environment as the process sees it."""
    whole: frozenset[str] = frozenset()
    """Secrets taken with all their keys (envFrom, volumes without items): keys that appear later matter too."""

    @property
    def source(self) -> Values:
        """All of it: env, subPath and volumes. Where a key came on two ways, what the environment got."""
        return {**self.volume, **self.sub_path, **self.env}


@dataclass(eq=False)
class Run:
    """A container's run while it lasts and after."""

    received: Received
    volume: Values
    ended_at: float | None = None
    terminating: bool = False


class Record:
    """Everything that containers ever received, in the order of their starts."""

    def __init__(self) -> None:
        self.entries: list[Received] = []
        self._runs: dict[tuple[str, str, int], Run] = {}

    def begin(self, received: Received) -> Run:
        self.entries.append(received)
        run = Run(received, received.volume)
        self._runs[(received.pod_uid, received.container, received.run)] = run
        return run

    def update(self, run: Run, volume: Values, at: float) -> None:
        """The content of a running container's volumes changed."""
        run.volume = volume
        self.entries.append(replace(run.received, kind="volume-update", at=at, volume=volume))

    def ended_at(self, received: Received) -> float | None:
        """World time at which the run ended; None while it lasts."""
        return self._runs[(received.pod_uid, received.container, received.run)].ended_at

    def running(self, *, terminating: bool = True) -> list[Received]:
        """What every running container holds now: environment and subPath from its start, volumes as they are."""
        return [
            replace(run.received, volume=run.volume)
            for run in self._runs.values()
            if run.ended_at is None and (terminating or not run.terminating)
        ]
