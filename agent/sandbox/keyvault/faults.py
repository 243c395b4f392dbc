"""Faults on demand: what goes wrong, for whom, and how often.

A rule without an operation strikes vault requests with a valid token only, so that its count means the same whether or
not a client has its token already.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_KINDS = {
    "drop": "the connection ends before a byte of the answer",
    "cut": "the connection ends in the middle of the body",
    "hang": "no answer ever comes, the connection stays open",
    "slow": "slow:SECONDS (of the world's clock), then the request goes on",
    "endless": "every page has a next link, each another: lists never end; endless:self links to the page itself",
    "empty-page": "a page without items whose next link leads on, as the service sends it at times",
    "foreign-next": "the next link points to another host; foreign-next:HOST chooses it",
    "foreign-challenge": "the 401 asks for a token for another resource (operation challenge); foreign-challenge:URL",
    "garbage": "200 with a body that is no JSON",
    "huge": "200 with a body of so many MiB; huge:MIB, 64 if not said",
}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. ``status`` is set for an error answer, ``kind`` for everything else."""

    kind: str = ""
    status: int = 0
    inner: str = ""
    """For 401 the message's AKV code, for 403 the inner code."""
    argument: str = ""
    """Seconds, MiB, host or Retry-After, as the kind has it."""
    message: str = ""
    """What an error answer says in place of the service's own words; of ``garbage``, the body."""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From words an operator types.

        ``401``, ``403:ForbiddenByFirewall`` (``ForbiddenByRbac`` if not said), ``429`` (no Retry-After), ``429:30``
        (Retry-After: 30), ``500`` ... ``504`` (also with ``:SECONDS``), ``slow:2``, ``drop``, ``cut``, ``hang``,
        ``endless``, ``endless:self``, ``empty-page``, ``foreign-next``, ``foreign-next:HOST``,
        ``foreign-challenge:URL``, ``garbage``, ``huge:64``.
        Raises ValueError that names what is possible.
        """
        head, _, argument = text.strip().partition(":")
        if head.isdecimal():
            status = int(head)
            if status in (401, 403):
                return cls(status=status, inner=argument or ("ForbiddenByRbac" if status == 403 else ""))
            if status == 429 or 500 <= status <= 599:
                return cls(status=status, argument=argument)
        elif head in _KINDS:
            if head in ("slow", "huge") and (argument or head == "slow"):
                _require_number(text, argument)
            return cls(kind=head, argument=argument)
        kinds = "\n".join(f"  {kind}: {meaning}" for kind, meaning in _KINDS.items())
        raise ValueError(
            f"no such fault: {text!r}; possible are 401, 403:INNERCODE, 429, 429:SECONDS, 5xx and\n{kinds}"
        )

    @property
    def breaks_connection(self) -> bool:
        """Whether the answer does not reach the client as an answer should."""
        return self.kind in ("drop", "cut", "hang", "garbage", "huge")


def _require_number(text: str, argument: str) -> None:
    try:
        number = float(argument)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r}: the part behind the colon must be a number, such as slow:2 or huge:64")


@dataclass(kw_only=True)
class FaultRule:
    """A fault with the requests it strikes; None matches all."""

    fault: Fault
    identity: str | None = None
    vault: str | None = None
    """Short name or host."""
    operation: str | None = None
    secret: str | None = None
    remaining: int | None = None
    """How many requests it strikes yet; None: for ever."""
    struck: int = field(default=0)
    """How many it has struck."""

    def matches(self, *, identity: str, vault: str, operation: str, secret: str) -> bool:
        """Whether the rule strikes this request; ``vault`` is the host."""
        if self.remaining == 0:
            return False
        if self.operation is None:
            if operation in ("token", "discovery", "challenge"):
                return False
        elif self.operation != operation:
            return False
        return (
            self.identity in (None, identity)
            and (self.vault is None or self.vault.lower() in (vault, vault.split(".", 1)[0]))
            and (self.secret is None or self.secret.lower() == secret.lower())
        )

    def strike(self) -> Fault:
        """Count one request struck."""
        self.struck += 1
        if self.remaining is not None:
            self.remaining -= 1
        return self.fault
