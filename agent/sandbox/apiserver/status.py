"""Failures as the API server words them: every refusal is a ``Status`` object with a machine-readable reason.

Texts follow kube-apiserver, because operators, clients and our own classifier read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One field that is wrong: ``reason`` such as ``FieldValueInvalid``, a message and the path of the field."""

    reason: str
    message: str
    field: str = ""

    def encoded(self) -> dict[str, str]:
        """The cause as it stands in ``details.causes``."""
        encoded = {"reason": self.reason, "message": self.message}
        return {**encoded, "field": self.field} if self.field else encoded


@dataclass
class StatusError(Exception):
    """A request was refused: HTTP ``code``, ``reason`` and ``message`` of the Status, and its ``details``."""

    code: int
    reason: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code} {self.reason}: {self.message}"

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After`` where the details name a wait in seconds."""
        seconds = self.details.get("retryAfterSeconds", 0)
        return {"Retry-After": str(seconds)} if seconds else {}

    def body(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": self.metadata, "status": "Failure"}
        status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status


def success(details: dict[str, Any] | None = None, *, code: int | None = None) -> dict[str, Any]:
    """The Status of a request that has no object to return."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        status["details"] = details
    if code:
        status["code"] = code
    return status


def object_details(group: str, kind: str, name: str = "") -> dict[str, Any]:
    """``details`` naming an object or resource; empty parts are left out."""
    return {key: value for key, value in (("name", name), ("group", group), ("kind", kind)) if value}


def qualified(group: str, plural: str) -> str:
    """``deployments.apps``, or ``secrets`` in the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404 for one absent object."""
    message = f'{qualified(group, plural)} "{name}" not found'
    return StatusError(404, "NotFound", message, object_details(group, plural, name))


def no_route() -> StatusError:
    """404 for a path that nothing serves."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409 for a create of what is there."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, object_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> StatusError:
    """409: the writer's idea of the object is outdated."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return StatusError(409, "Conflict", message, object_details(group, plural, name))


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 with every broken field."""
    lines = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    details = {**object_details(group, kind, name), "causes": [cause.encoded() for cause in causes]}
    return StatusError(422, "Invalid", f'{qualified(group, kind)} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    """400 for what cannot be understood."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401 for a missing or unknown token."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """403, ``why`` in the words of the authorizer or of an admission check."""
    subject = f'{qualified(group, plural)} "{name}"' if name else qualified(group, plural)
    return StatusError(403, "Forbidden", f"{subject} is forbidden: {why}", object_details(group, plural, name))


def method_not_allowed() -> StatusError:
    """405 for a verb that a resource does not have."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415, naming what would be accepted."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return StatusError(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> StatusError:
    """413 for a body of more than ``limit`` bytes."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def too_many_requests(message: str, retry_after: int = 0) -> StatusError:
    """429; ``retry_after`` in seconds, 0 for no advice."""
    details = {"retryAfterSeconds": retry_after} if retry_after else {}
    return StatusError(429, "TooManyRequests", message, details)


def expired(message: str, metadata: dict[str, Any] | None = None) -> StatusError:
    """410: a resourceVersion or continue token is older than what is kept."""
    return StatusError(410, "Expired", message, metadata=metadata or {})


def too_large_resource_version(asked: int, current: int) -> StatusError:
    """504: the client has seen a resourceVersion that this server has not."""
    cause = Cause(reason="ResourceVersionTooLarge", message="Too large resource version")
    details = {"causes": [cause.encoded()], "retryAfterSeconds": 1}
    message = f"Too large resource version: {asked}, current: {current}"
    return StatusError(504, "Timeout", f"Timeout: {message}", details)


def internal(message: str) -> StatusError:
    """500 for our own failures; carries no traceback."""
    details = {"causes": [{"message": message}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", details)
