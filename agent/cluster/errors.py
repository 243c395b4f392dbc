"""What can go wrong between the agent and the API server, in types a caller can act on.

No error text here ever holds a body, nor what one says beyond ``agent.cluster.words``.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import urllib3

from agent.cluster import words
from agent.model import Trouble

_LONGEST = 400
_OPENSSL = re.compile(r"\[SSL(?:: \w+)?\] |\s*\(_ssl\.c:\d+\)")
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's reason. Other failures of TLS come and go with a server that is being started."""
_NEVER_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


class ConnectionProblem(Exception):
    """No connection can even be tried: what is wrong, where it was found, and what to do next."""

    def __init__(self, what: str, where: str, next_step: str) -> None:
        self.what, self.where, self.next_step = what, where, next_step
        super().__init__(f"{where}: {what}. {next_step}")


class Unreachable(Exception):
    """No usable answer came: refused, timed out, cut off, or a certificate that does not verify.

    ``maybe_applied`` is False only where the request certainly never reached the server. ``untrusted``: somebody
    answers there, with a certificate that does not verify; no waiting mends that.
    """

    def __init__(self, detail: str, *, maybe_applied: bool = True, untrusted: bool = False) -> None:
        self.detail, self.maybe_applied, self.untrusted = detail, maybe_applied, untrusted
        super().__init__(detail)


class Cause(NamedTuple):
    """One entry of ``details.causes`` of a Status."""

    reason: str
    message: str


class ApiProblem(Exception):
    """The API server answered with an error. ``retry_after`` is in seconds, None where it gave none."""

    def __init__(
        self, code: int, reason: str, message: str, *, retry_after: float | None = None, causes: tuple[Cause, ...] = ()
    ) -> None:
        self.code, self.reason, self.message = code, reason, message
        self.retry_after, self.causes = retry_after, causes
        super().__init__(f"{code} {reason}: {message}")


class Conflict(ApiProblem):
    """The object is not the one, or not the version, that the request was meant for; or it exists already.

    409, or 422 for a patch that names the uid of another object.
    """


class EvictionRefused(Exception):
    """A PodDisruptionBudget forbids the eviction now (or several cover the pod, which the API never evicts).

    ``budgets`` are their names as far as the server says them; ``retry_after`` is in seconds.
    """

    def __init__(self, budgets: tuple[str, ...], detail: str, retry_after: float | None) -> None:
        self.budgets, self.detail, self.retry_after = budgets, detail, retry_after
        super().__init__(detail)


class _WireCause(msgspec.Struct, gc=False):
    reason: str | None = None
    message: str | None = None
    field: str | None = None


class _WireDetails(msgspec.Struct, gc=False):
    causes: list[_WireCause] | None = None


class _WireStatus(msgspec.Struct, gc=False):
    kind: str = ""
    reason: str | None = None
    message: str | None = None
    details: _WireDetails | None = None


_decoder = msgspec.json.Decoder(_WireStatus)


def problem(code: int, body: bytes, *, retry_after: float | None = None) -> ApiProblem:
    """The error that an answer of 300 and above means."""
    try:
        status = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        status = _WireStatus()
    if status.kind == "Status":
        message, reason = words.repeatable(status.message or ""), status.reason or ""
    else:
        message, reason = "an answer that is no Kubernetes Status", ""  # a proxy's page
    details = ((status.details.causes if status.details else None) or [])[:10]
    causes = tuple(Cause(cause.reason or "", words.repeatable(cause.message or "")) for cause in details)
    # A patch with the uid of an object since replaced is told as a field that cannot change, not as a conflict.
    of_another = code == 422 and any(cause.field == "metadata.uid" for cause in details)
    kind = Conflict if code == 409 or of_another else ApiProblem
    return kind(code, words.reason_of(code, reason), _bounded(message), retry_after=retry_after, causes=causes)


def trouble_of(error: Exception) -> Trouble:
    """The same in the words that reports use."""
    if isinstance(error, Unreachable):
        return Trouble(cause="certificate" if error.untrusted else "unreachable", detail=error.detail)
    if not isinstance(error, ApiProblem):
        return Trouble(cause="bad-answer", detail=_bounded(str(error)))
    cause = _CAUSES.get(error.code, "server-error" if error.code >= 500 else "refused")
    return Trouble(cause=cause, detail=_bounded(str(error)))


_CAUSES = {401: "unauthorized", 403: "forbidden", 404: "not-found", 410: "expired", 429: "throttled"}


def unreachable(host: str, error: Exception, read_timeout: float) -> Unreachable:
    """What a failure of the network means, without anything that was sent."""
    where = urlsplit(host).netloc or host
    match error:
        case urllib3.exceptions.NameResolutionError():
            detail = f"the name {urlsplit(host).hostname} does not resolve"
        case urllib3.exceptions.NewConnectionError():
            detail = f"{where} refuses the connection"
        case urllib3.exceptions.ConnectTimeoutError():
            detail = f"{where} does not accept the connection in time"
        case urllib3.exceptions.SSLError():
            detail = f"TLS to {where} fails: {_tls_words(str(error))}"
        case urllib3.exceptions.ReadTimeoutError():
            detail = f"{where} sent nothing for {read_timeout:g} s"
        case _:
            detail = f"{where} closed the connection without a whole answer ({type(error).__name__})"
    untrusted = isinstance(error, urllib3.exceptions.SSLError) and _UNTRUSTED in str(error)
    return Unreachable(detail, maybe_applied=not isinstance(error, _NEVER_SENT), untrusted=untrusted)


def _tls_words(text: str) -> str:
    """What OpenSSL says, without its code and the line of its source."""
    said = _OPENSSL.sub("", " ".join(text.split()))
    return said.strip()[:200] or "it cannot be set up"


def _bounded(text: str) -> str:
    """One line, of bounded length."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
