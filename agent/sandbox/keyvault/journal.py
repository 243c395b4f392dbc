"""What was asked of the vaults, and the hook that lets a test step in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class VaultRequest:
    """One request, for the audit log and the hook. Never a value."""

    at: float
    """Unix seconds on the world's clock, when the request came in."""
    identity: str
    """The client id; "" while a request carries no valid token."""
    vault: str
    """The first part of the vault's host; "" for the login host."""
    operation: str
    """``list``, ``versions``, ``get``, ``set``, ``update``, ``delete``, ``list-deleted``, ``get-deleted``, ``recover``,
    ``purge``, ``backup``, ``restore``; ``challenge`` without a valid token, ``token`` and ``discovery`` on the login
    host, ``invalid`` if it is none of them."""
    secret: str = ""
    version: str = ""
    api_version: str = ""
    code: int = 0
    """The HTTP status; 0 before the answer, and if there was none."""
    user_agent: str = ""
    url: str = ""
    """Path and query as sent."""
    body_size: int = 0


Phase = Literal["before", "after"]
Hook = Callable[[Phase, VaultRequest], Awaitable[None] | None]


class Journal:
    """The audit log.

    ``hook`` is awaited before a request is handled, and after it was applied but before the answer goes out, so that a
    test can end a client around any of its requests.
    """

    def __init__(self) -> None:
        self.entries: list[VaultRequest] = []
        self.hook: Hook | None = None

    async def begin(self, entry: VaultRequest) -> None:
        """Write down a request that came in; it counts from here on, whatever becomes of it."""
        self.entries.append(entry)
        await self._tell("before", entry)

    async def end(self, entry: VaultRequest, code: int) -> None:
        """Add the status to a request written down."""
        answered = replace(entry, code=code)
        for index in range(len(self.entries) - 1, -1, -1):
            if self.entries[index] is entry:
                self.entries[index] = answered
                break
        await self._tell("after", answered)

    async def _tell(self, phase: Phase, entry: VaultRequest) -> None:
        if self.hook is not None and (pending := self.hook(phase, entry)) is not None:
            await pending
