"""What was asked of the server: the record that tests read and faults match on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One request.

    ``at``: unix seconds in the world. ``verb``: get, list, watch, create, update, patch, delete, deletecollection (for
    paths that are no resource: the lower-case HTTP method). ``namespace``: None for a list over all namespaces, "" for
    cluster-scoped kinds. ``code``: the HTTP status, 0 while unanswered and for requests dropped unheard. ``body``: as
    sent, for writes. ``body_size_out``: bytes of the answer, 0 for watches.
    """

    at: float
    user: str
    verb: str
    resource: str = ""
    group: str = ""
    subresource: str = ""
    namespace: str | None = ""
    name: str = ""
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    user_agent: str = ""
    code: int = 0
    dry_run: bool = False
    body: bytes = b""
    body_size_out: int = 0


Phase = Literal["before", "after"]
Hook = Callable[[Phase, AuditEntry], Awaitable[None] | None]


class DropRequest(Exception):
    """Raised by a hook: close the connection. Before: the request is not handled. After: it is, but nobody is told."""
