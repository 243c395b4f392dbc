"""What of the API server's words may be repeated. Pure.

An error of the API server quotes the object that was sent or stored; a webhook, or a proxy in between, puts into it
whatever it likes; the scheduler's plugins do the same to a pod's condition. Any of them may hold a value. So what is
repeated has one of the forms below, which hold names, numbers and times; of all else only the HTTP code is told.
"""

from __future__ import annotations

import re
from http import HTTPStatus

WITHHELD = "the server's words are withheld: they may quote a value"

REASONS = frozenset(
    {
        "AlreadyExists", "BadRequest", "Conflict", "Expired", "Forbidden", "Gone", "InternalError", "Invalid",
        "MethodNotAllowed", "NotAcceptable", "NotFound", "RequestEntityTooLarge", "ServerTimeout", "ServiceUnavailable",
        "StoreReadError", "Timeout", "TooManyRequests", "Unauthorized", "UnsupportedMediaType",
    }
)  # fmt: skip
"""``metav1.StatusReason``. A webhook may answer with any text in its place."""

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_USER = r"[A-Za-z0-9:._/@#-]{1,253}"
_WHAT = rf'[a-z][a-z.-]{{0,100}}(?: "{_NAME}")?'
_WHERE = rf'(?: in API group "[a-z0-9.-]{{0,100}}")?(?: in the namespace "{_NAME}"| at the cluster scope)?'

_COUNT = r"(?:count/)?(?:configmaps|secrets|pods|services|persistentvolumeclaims)=\d{1,9}"
_COUNTED = rf"{_COUNT}(?:,{_COUNT}){{0,5}}"

_MESSAGES = tuple(
    re.compile(form)
    for form in (
        rf'{_WHAT} is forbidden: User "{_USER}" cannot [a-z]{{1,20}} resource "[a-z/]{{1,100}}"{_WHERE}',
        rf"{_WHAT} is forbidden: exceeded quota: {_NAME}"
        rf"(?:, requested: {_COUNTED}, used: {_COUNTED}, limited: {_COUNTED})?",
        rf"{_WHAT} is forbidden: unable to create new content in namespace {_NAME} because it is being terminated",
        rf"{_WHAT} (?:not found|already exists)",
        rf'[A-Z][A-Za-z.-]{{0,100}} "{_NAME}" is invalid',
        rf"Operation cannot be fulfilled on {_WHAT}(?:: the object has been modified;"
        " please apply your changes to the latest version and try again)?",
        rf"{_WHAT} is forbidden: ValidatingAdmissionPolicy '{_NAME}' with binding '{_NAME}' denied request"
        rf"(?:: namespace {_NAME} is off limits: it bears the label secret-drift-agent/off-limits)?",
        rf'admission webhook "{_NAME}" denied the request',
        rf'Internal error occurred: failed calling webhook "{_NAME}"',
        "Cannot evict pod as it would violate the pod's disruption budget",
        rf"The disruption budget {_NAME} needs \d{{1,6}} healthy pods and has \d{{1,6}} currently",
        rf"The disruption budget {_NAME} is still being processed by the server",
        rf"The disruption budget {_NAME} does not allow evicting pods currently",
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support",
        r"too old resource version: \d{1,20} \(\d{1,20}\)",
        "The (?:provided continue parameter is too old|resourceVersion for the provided (?:list|watch) is too old)",
        "the server could not find the requested resource",
        "the server has received too many requests and has asked us to try again later",
        "Too many requests, please try again later",
        "the server does not allow this method on the requested resource",
        "Timeout: request did not complete within(?: the)? (?:requested|allotted) timeout",
        "(?:etcdserver: )?(?:request timed out|leader changed|no leader|too many requests)",
        "context deadline exceeded",
        r"storage is \(re\)initializing",
        "apiserver is shutting down",
        "Unauthorized",
    )
)
"""How kube-apiserver begins what it says of its own accord. Names are those of objects, users and webhooks."""

_PLACES = re.compile(
    r"\d{1,6}/\d{1,6} nodes are available|Too many pods|no nodes available to schedule pods"
    r"|\d{1,6} Insufficient (?:cpu|memory|ephemeral-storage|pods)"
    r"|\d{1,6} node\(s\) (?:had untolerated taint|were unschedulable|were not ready|had volume node affinity conflict"
    r"|had no available volume zone|exceed max volume count"
    r"|didn't match (?:Pod's node affinity/selector|pod (?:anti-)?affinity rules|pod topology spread constraints)"
    r"|didn't satisfy existing pods anti-affinity rules|didn't find available persistent volumes to bind"
    r"|didn't have free ports for the requested pod ports)"
)


def repeatable(message: str) -> str:
    """As much of a Status's message as may be repeated: its beginning, where that has a known form."""
    text = " ".join(message.split())
    found = next((match for form in _MESSAGES if (match := form.match(text))), None)
    if found is None:
        return WITHHELD if text else ""
    rest = text[found.end() :].strip(" .:;,")
    return f"{found[0]} ({WITHHELD})" if rest else found[0]


def reason_of(code: int, reason: str) -> str:
    """The reason as the API defines it; where it is none of those, what HTTP says of the code."""
    if reason in REASONS:
        return reason
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "an unknown code"


def placement(message: str) -> str:
    """Why the scheduler does not place a pod, in the words that it has for that itself."""
    return ", ".join(_PLACES.findall(message)[:10]) or "the scheduler does not say why in words that are repeated"
