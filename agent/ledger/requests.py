"""What a person asks of the agent, as a ConfigMap beside the ledger: the question, and under it the leader's answer.

Whoever may write ConfigMaps in the agent's namespace may ask. That gives nobody more than the policy gives the agent:
a request goes through every gate that the agent's own decisions go through.
"""

from __future__ import annotations

import re
import secrets
from typing import Literal

import msgspec

from agent.cluster.stored import Stored
from agent.model import ObjectKey

PREFIX = "secret-drift-agent-request-"
SELECTOR = "secret-drift-agent/request=true"
LABELS = {"app.kubernetes.io/name": "secret-drift-agent", "secret-drift-agent/request": "true"}
KEPT = 3600.0
"""Seconds after which an answered request that nobody took away may be removed by the next one who asks."""
MOST_LINES = 200
_LONGEST = 64 << 10
_TARGET = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

Kind = Literal["heal", "resume"]
State = Literal["accepted", "done", "remains", "failed"]


class Unusable(Exception):
    """Not a request; in words that quote nothing of it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``heal``: an ExternalSecret; ``resume``: a workload, by name. ``at``: unix seconds, API server's clock."""

    kind: Kind
    namespace: str
    name: str
    at: float
    by: str = ""
    dry_run: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """``done``: nothing is left to do; ``remains``: something is, and why stands in the last line."""

    state: State
    by: str
    lines: tuple[str, ...] = ()
    cut: int = 0  # lines that there was no room for, before the last ones

    @property
    def ended(self) -> bool:
        """No line will follow."""
        return self.state != "accepted"


def asked(namespace: str, request: Request) -> Stored:
    """The object to create."""
    return Stored(
        kind="configmaps",
        key=ObjectKey(namespace, PREFIX + secrets.token_hex(5)),
        data={"request": msgspec.json.encode(request)},
        labels=LABELS,
    )


def request_of(stored: Stored) -> Request:
    """Raises Unusable."""
    text = stored.data.get("request", b"")
    if not text or len(text) > _LONGEST:
        raise Unusable("it holds no request")
    try:
        request = msgspec.json.decode(text, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unusable("its request is not of a form that this version reads") from None
    if not _TARGET.fullmatch(f"{request.namespace}/{request.name}"):
        raise Unusable("its request names nothing that there can be")
    return request


def answer_of(stored: Stored) -> Answer | None:
    """What the leader has said so far; None: nothing, or nothing that can be read."""
    try:
        return msgspec.json.decode(stored.data.get("answer", b""), type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def answered(stored: Stored, answer: Answer) -> Stored:
    """The object to replace it by."""
    lines, over = answer.lines, max(0, len(answer.lines) - MOST_LINES)
    kept = msgspec.structs.replace(answer, lines=lines[over:], cut=answer.cut + over)
    return msgspec.structs.replace(stored, data={**stored.data, "answer": msgspec.json.encode(kept)})
