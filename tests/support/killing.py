"""Ends the agent's process around any one of its requests, as a node that dies at that moment would."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from agent.sandbox.apiserver import AuditEntry, DropRequest
from agent.sandbox.keyvault import VaultRequest
from agent.sandbox.world import Sandbox

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request of the agent. ``resource`` is ``pods/eviction`` with its subresource, ``vault`` for vaults."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it changes the cluster."""
        return self.verb in _WRITES

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}/{self.name}"


@dataclass
class KillPoint:
    """Kills before or after the n-th request (from 1; 0: never, only count) that ``only`` lets pass.

    ``seen``: the requests counted so far; ``hit``: the one at which the process was killed. Before: the server never
    handles it. After: it is applied, and the answer reaches nobody.
    """

    n: int
    phase: Literal["before", "after"]
    only: Callable[[Request], bool]
    pid: Callable[[], Future[int]]
    seen: list[Request] = field(default_factory=list)
    hit: Request | None = None

    def install(self, sandbox: Sandbox) -> None:
        """Watch from now on. To be called in the world's loop."""
        sandbox.api.on_request = self._of_api
        self.install_at_vaults(sandbox)

    def install_at_vaults(self, sandbox: Sandbox) -> None:
        """The same for vaults alone, where somebody else sees what is asked of the API server."""
        sandbox.vaults.on_request = self._of_vault

    def counted(self, request: Request) -> bool:
        """Whether a request that comes now is the one; it counts from now on."""
        if self.hit is not None or not self.only(request):
            return False
        self.seen.append(request)
        return len(self.seen) == self.n

    def kill(self) -> None:
        """End the process around the request that was counted last."""
        self.hit = self.seen[-1]
        os.kill(self.pid().result(10), signal.SIGKILL)

    def _of_api(self, phase: Literal["before", "after"], entry: AuditEntry) -> None:
        if entry.user != "agent":
            return
        resource = f"{entry.resource}/{entry.subresource}" if entry.subresource else entry.resource
        request = Request(verb=entry.verb, resource=resource, namespace=entry.namespace or "", name=entry.name)
        if self._strikes(phase, request):
            raise DropRequest

    def _of_vault(self, phase: Literal["before", "after"], entry: VaultRequest) -> None:
        if entry.identity == "agent" or (not entry.identity and "python" in entry.user_agent.lower()):
            request = Request(verb=entry.operation, resource="vault", namespace=entry.vault, name=entry.secret)
            self._strikes(phase, request)

    def _strikes(self, phase: Literal["before", "after"], request: Request) -> bool:
        if phase == "before":
            here = self.counted(request)
        else:
            here = self.hit is None and len(self.seen) == self.n and self.n > 0 and self.seen[-1] == request
        if here and phase == self.phase:
            self.kill()
            return True
        return False
