"""What the Azure side's failures mean, in one word and one safe line. Bodies and tokens are never echoed.

From a body only what matches a narrow pattern is repeated: codes, ids, an IP address, the name of a missing right.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec
import urllib3
from azure.core.exceptions import AzureError, IncompleteReadError, ServiceRequestError, ServiceResponseError

from agent import denials
from agent.model import Trouble

_ADDRESS = re.compile(r"Client address: ([0-9a-fA-F.:]{3,45})")
_AADSTS = re.compile(r"\bAADSTS\d{4,7}\b")
_AKV = re.compile(r"\bAKV\d{5}\b")
_FIREWALL = {"ForbiddenByFirewall", "ForbiddenByConnection"}
_DENIALS = {"AccessDenied", "Forbidden", "ForbiddenByPolicy", "ForbiddenByRbac"}


class CredentialProblem(Exception):
    """The credential asked for cannot be built from this environment; the text says what is missing."""


class _Inner(msgspec.Struct, gc=False):
    code: str | None = None


class _Error(msgspec.Struct, gc=False):
    code: str | None = None
    message: str | None = None
    innererror: _Inner | None = None


class _Body(msgspec.Struct, gc=False):
    error: _Error


_decoder = msgspec.json.Decoder(_Body)


def of_answer(status: int, body: bytes, host: str) -> Trouble:
    """The trouble that an answer of the vault other than 200 means."""
    try:
        error = _decoder.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = _Error()
    inner = (error.innererror.code if error.innererror else None) or error.code or ""
    message = error.message or ""
    match status:
        case 401:
            return Trouble(cause="unauthorized", detail=f"{host} does not accept our token{_code(_AKV, message)}")
        case 403 if inner in _FIREWALL:
            address = _address(message)
            seen = f" (it sees us as {address})" if address else ""
            return Trouble(cause="forbidden-by-firewall", detail=f"the network rules of {host} shut us out{seen}")
        case 403 if inner == "SecretDisabled":
            return Trouble(cause="disabled", detail=f"{host}: the secret is disabled")
        case 403:
            return Trouble(cause="access-denied", detail=_denied(host, inner, message))
        case 404:
            return Trouble(cause="not-found", detail=f"{host} has no such secret")
        case 429:
            return Trouble(cause="throttled", detail=f"{host} throttles us")
        case _ if status >= 500:
            return Trouble(cause="server-error", detail=f"{host} answers {status}")
        case _:
            return Trouble(cause="bad-answer", detail=f"{host} answers {status}, which is not expected")


def _denied(host: str, inner: str, message: str) -> str:
    caller, right = denials.application(message), denials.right(message)
    who = f"application {caller}" if caller else "our identity"
    lacks = f"the {right} permission" if right.startswith("secrets ") else right or "the right to list secrets"
    why = f" ({inner})" if inner in _DENIALS else ""
    return f"{who} lacks {lacks} on {host}{why}"


def _address(message: str) -> str:
    found = _ADDRESS.search(message)
    try:
        return str(ipaddress.ip_address(found[1].rstrip("."))) if found else ""
    except ValueError:
        return ""


def _code(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return f" ({found[0]})" if found else ""


def of_token_failure(error: BaseException | None, host: str) -> Trouble:
    """The trouble that keeps us from a token for a vault."""
    if isinstance(error, _NETWORK):
        return Trouble(cause="unreachable", detail=f"no token for {host}: {_network(error, 'the login host').detail}")
    if isinstance(error, OSError) and error.filename:
        # azure-identity lets the error of a missing federated token file through as it is.
        return Trouble(cause="credential", detail=f"the token file {error.filename} cannot be read: {error.strerror}")
    why = _code(_AADSTS, str(error)) or f" ({type(error).__name__})"
    return Trouble(cause="credential", detail=f"no token could be had for {host}{why}")


def of_exception(error: Exception, host: str) -> Trouble:
    """The trouble that an exception of the SDK, on the way to the vault, means."""
    if isinstance(error, _NETWORK):
        return _network(error, host)
    if isinstance(error, ValueError):
        return Trouble(
            cause="bad-answer", detail=f"{host} asks us to authenticate for a foreign resource, or in no known way"
        )
    return Trouble(cause="bad-answer", detail=f"{host} answers in a way that cannot be used ({type(error).__name__})")


_NETWORK = (ServiceRequestError, ServiceResponseError, IncompleteReadError)


def _network(error: AzureError, host: str) -> Trouble:
    chain = _chain(error)
    if any(isinstance(link, urllib3.exceptions.NameResolutionError) for link in chain):
        return Trouble(cause="host-not-found", detail=f"{host} does not resolve: there is no such name, or no DNS")
    if any(isinstance(link, urllib3.exceptions.SSLError) for link in chain):
        return Trouble(cause="unreachable", detail=f"TLS to {host} fails: its certificate or protocol is not accepted")
    if isinstance(error, ServiceRequestError):
        return Trouble(cause="unreachable", detail=f"{host} cannot be connected to")
    return Trouble(cause="unreachable", detail=f"{host} closed the connection or stayed silent")


def _chain(error: BaseException) -> list[BaseException]:
    """The error with everything it wraps: as inner exception, cause, context, reason or first argument."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue and len(found) < 20:
        link = queue.pop()
        if isinstance(link, BaseException) and link not in found:
            found.append(link)
            queue += [
                getattr(link, "inner_exception", None),
                getattr(link, "reason", None),
                link.__cause__,
                link.__context__,
                *link.args[:2],
            ]
    return found
