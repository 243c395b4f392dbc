"""Why ESO fails to sync. Pure.

The condition only says that it failed; the cause is in the Warning Event ``UpdateFailed``. Events can be forged by any
tenant who may create them, so their text is classified and never repeated, and where our own look at the vault can
tell, that look decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent import denials
from agent.diagnose.view import ChainView
from agent.model import Trouble

_PATTERNS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("disabled", "the newest version of a secret is disabled", re.compile(r"SecretDisabled")),
    (
        "forbidden-by-firewall", "the vault's network rules shut ESO out",
        re.compile(r"ForbiddenByFirewall|ForbiddenByConnection"),
    ),
    ("access-denied", "the vault denies ESO's identity", re.compile(r"ForbiddenByRbac|ForbiddenByPolicy|AccessDenied")),
    (
        "not-found", "the vault has no such secret (never created, misspelt, or soft-deleted)",
        re.compile(r"Secret does not exist|SecretNotFound"),
    ),
    ("throttled", "the vault throttles ESO", re.compile(r"RESPONSE 429|StatusCode=429|Throttled")),
    (
        "credential", "ESO gets no token from Entra ID",
        re.compile(r"AADSTS\d+|Failed to refresh the Token|Unauthorized|RESPONSE 401"),
    ),
    (
        "key", "a remoteRef.key is of a type that ESO does not know, or no name that a vault secret can have",
        re.compile(r"unknown Azure Keyvault object Type|BadParameter"),
    ),
    ("property", "a remoteRef.property is not in the vault secret", re.compile(r"property \S+ does not exist")),
    (
        "store", "the SecretStore is missing, not ready, or not allowed here",
        re.compile(
            r"could not get (Cluster)?SecretStore|SecretStore \S* is not ready|is not allowed from namespace"
        ),
    ),
    (
        "immutable-target", "the Secret, or its type, is immutable: ESO could not update it",
        re.compile(r"(target|field|secret) is immutable"),
    ),
    ("not-owned", "another ExternalSecret owns the Secret", re.compile(r"owned by another|take ownership")),
    ("forbidden", "the vault answers 403 to ESO", re.compile(r"StatusCode=403|RESPONSE 403")),
    ("server-error", "the vault answers with a server error", re.compile(r"RESPONSE 5\d\d|StatusCode=5\d\d")),
    (
        "unreachable", "ESO cannot reach the vault",
        re.compile(r"no such host|connection refused|i/o timeout|deadline exceeded|EOF|connection reset"),
    ),
)  # fmt: skip
"""(cause, what it means, its mark in ESO's words), first match wins. SecretDisabled comes inside a 403."""


_SEEN_ALIKE = frozenset({"access-denied", "unreachable", "throttled", "store"})
"""What keeps us from looking, and as a rule ESO too."""


def seen_by_us(view: ChainView) -> Trouble | None:
    """The cause as far as our own look at the vaults shows it for sure."""
    if absent := view.absent:
        detail = f"{absent[0]} is not in the vault (never created, misspelt, or soft-deleted)"
        return Trouble(cause="not-found", detail=detail)
    if disabled := view.disabled:
        return Trouble(cause="disabled", detail=f"the newest version of {disabled[0]} is disabled")
    return None


def classify(messages: Iterable[str], view: ChainView) -> Trouble:
    """The cause in ESO's Warning Events, newest first. What is repeated from them matches a narrow pattern."""
    for message in messages:
        for cause, meaning, pattern in _PATTERNS:
            if pattern.search(message):
                return _confirmed(Trouble(cause=cause, detail=meaning + _details(cause, message)), view)
    ours = next((blind for blind in view.blind if blind.cause in _SEEN_ALIKE), None)
    if ours is not None:
        return Trouble(cause=ours.cause, detail=f"ESO's words do not tell; we see: {ours.detail}")
    return Trouble(cause="unknown", detail=f"ESO says {view.es.ready_reason}, and no Event tells why")


def _details(cause: str, message: str) -> str:
    if cause != "access-denied":
        return ""
    who = denials.application(message)
    return f": {f'application {who}' if who else 'ESO’s identity'} lacks {denials.right(message) or 'secrets get'}"


def _confirmed(trouble: Trouble, view: ChainView) -> Trouble:
    """Say whether our own look contradicts the words of an Event, or tells more."""
    store = next((blind.detail for blind in view.blind if blind.cause == trouble.cause == "store"), "")
    if store:
        return Trouble(cause=trouble.cause, detail=f"{trouble.detail}: {store}")
    if trouble.cause in ("not-found", "disabled") and view.sources and not view.blind:
        return Trouble(
            cause=trouble.cause, detail=f"{trouble.detail}; by our own look every secret is there and enabled now"
        )
    return trouble
