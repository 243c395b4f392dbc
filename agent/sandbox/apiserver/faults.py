"""Faults on demand: what goes wrong, for whom, how often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from agent.sandbox.apiserver.audit import AuditEntry

Effect = Literal["delay", "hold", "status", "answer", "drop", "drop-after", "half-open", "break-watches", "gone"]


@dataclass(kw_only=True)
class FaultRule:
    """A fault for the requests that match every selector given; None matches all.

    delay: wait ``seconds`` of the world's time (of real time with ``real_time``), then go on. hold: wait until the rule
    ends, then go on. status: answer ``code`` with ``message`` and, if given, ``retry_after`` seconds. answer: ``body``
    as it stands, with ``code``, whatever was asked. drop: close the TCP connection unheard. drop-after: apply, then
    close.
    half-open: never answer, keep the connection; running watches that match fall silent when the rule is added.
    break-watches: close running watches that match, once. gone: 410 for watches and continue tokens.
    ``remaining``: how many requests more it hits; None for no end.
    """

    effect: Effect
    user: str | None = None
    verb: str | None = None
    resource: str | None = None
    namespace: str | None = None
    subresource: str | None = None
    name: str | None = None
    remaining: int | None = None
    seconds: float = 0.0
    real_time: bool = False
    code: int = 429
    retry_after: int | None = None
    message: str = ""
    body: bytes = b""
    ended: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False, compare=False)

    def selects(self, entry: AuditEntry) -> bool:
        """Whether a request is meant."""
        pairs = (
            (self.user, entry.user), (self.verb, entry.verb), (self.resource, entry.resource),
            (self.namespace, entry.namespace), (self.subresource, entry.subresource), (self.name, entry.name),
        )  # fmt: skip
        if self.effect == "gone" and entry.verb != "watch" and not entry.query.get("continue"):
            return False
        return self.remaining != 0 and all(wanted is None or wanted == actual for wanted, actual in pairs)

    def selects_watch(self, user: str, resource: str, namespace: str | None) -> bool:
        """Whether a running watch is meant."""
        entry = AuditEntry(at=0, user=user, verb="watch", resource=resource, namespace=namespace)
        return self.selects(entry)


class Faults:
    """The rules in force, oldest first."""

    def __init__(self, on_watches: Callable[[FaultRule], None]) -> None:
        self.rules: list[FaultRule] = []
        self._on_watches = on_watches

    def add(self, rule: FaultRule) -> FaultRule:
        """Put a rule in force; hand it to ``remove`` to end it."""
        if rule.effect in ("half-open", "break-watches") and rule.verb in (None, "watch"):
            self._on_watches(rule)
        if rule.effect != "break-watches":
            self.rules.append(rule)
        return rule

    def remove(self, rule: FaultRule) -> None:
        """End a rule; one that is no longer in force is fine."""
        self.rules = [other for other in self.rules if other is not rule]
        rule.ended.set()

    def clear(self) -> None:
        """End all rules."""
        for rule in self.rules:
            self.remove(rule)

    def take(self, entry: AuditEntry) -> list[FaultRule]:
        """The rules that hit a request; each is used once more by this."""
        hit = [rule for rule in self.rules if rule.selects(entry)]
        for rule in hit:
            if rule.remaining is not None:
                rule.remaining -= 1
        self.rules = [rule for rule in self.rules if rule.remaining != 0]
        return hit
