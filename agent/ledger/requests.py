"""What a person asks of the agent, as a ConfigMap beside the ledger: the question, and under it the leader's answer.

Whoever may write ConfigMaps in the agent's namespace may ask. That gives nobody more than the policy gives the agent:
a request goes through every gate that the agent's own decisions go through. A `storm-ack` says that one of them, the
blast radius, may be passed for a while; it stays, answered, until it has run out, so that whoever acts next knows it.
Who can write it can write the ledger, too, on which every gate rests.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable
from typing import Literal

import msgspec

from agent.cluster.stored import Stored
from agent.model import ObjectKey

PREFIX = "secret-drift-agent-request-"
SELECTOR = "secret-drift-agent/request=true"
LABELS = {"app.kubernetes.io/name": "secret-drift-agent", "secret-drift-agent/request": "true"}
KEPT = 3600.0
"""Seconds after which an answered request that nobody took away may be removed by the next one who asks."""
LONGEST_ACK = 86400.0
"""Seconds after its creation at which an acknowledgement has run out, whatever it says itself."""
MOST_LINES = 200
_LONGEST = 64 << 10
_LONGEST_NAME = 200
_TARGET = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

Kind = Literal["heal", "resume", "storm-ack"]
State = Literal["accepted", "done", "remains", "failed"]


class Unusable(Exception):
    """Not a request; in words that quote nothing of it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``heal``: an ExternalSecret; ``resume``: a workload, by name. ``at``: unix seconds, API server's clock.

    ``storm-ack`` names nothing; ``seconds``: for how long it holds, from its creation.
    """

    kind: Kind
    at: float
    namespace: str = ""
    name: str = ""
    by: str = ""
    dry_run: bool = False
    seconds: float = 0.0


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """A person wants the storm: until then (unix seconds, API server's clock) the blast radius holds nothing back."""

    until: float
    by: str


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
    if request.kind == "storm-ack":
        if not (math.isfinite(request.seconds) and request.seconds > 0):
            raise Unusable("it acknowledges a storm for no time")
    elif not _TARGET.fullmatch(f"{request.namespace}/{request.name}"):
        raise Unusable("its request names nothing that there can be")
    return request


def acknowledgement_of(stored: Stored) -> Acknowledgement | None:
    """What it acknowledges; None: it is no `storm-ack`, or no usable one.

    It is measured from the API server's own time of creation: nothing that the object says of itself lengthens it.
    """
    try:
        request = request_of(stored)
    except Unusable:
        return None
    if request.kind != "storm-ack":
        return None
    return Acknowledgement(until=stored.created + min(request.seconds, LONGEST_ACK), by=request.by[:_LONGEST_NAME])


def acknowledgements(there: Iterable[Stored]) -> list[Stored]:
    """Those that acknowledge a storm, the newest last: it alone counts, though it may have run out before others."""
    found = [stored for stored in there if acknowledgement_of(stored) is not None]
    return sorted(found, key=lambda stored: (stored.created, request_of(stored).at, stored.key.name))


def in_force(there: Iterable[Stored], now: float) -> Acknowledgement | None:
    """The acknowledgement that holds now; None: none does."""
    newest = acknowledgements(there)[-1:]
    found = acknowledgement_of(newest[0]) if newest else None
    return found if found is not None and now < found.until else None


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
