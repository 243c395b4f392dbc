"""A request as it comes in: its bytes, who sent it, what it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from agent.sandbox.apiserver.access import REVIEWS
from agent.sandbox.apiserver.audit import AuditEntry
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.apiserver.routes import route, verb_of
from agent.sandbox.apiserver.status import StatusError, too_large

MAX_BODY = 3 * 1024 * 1024


def entry_of(request: web.BaseRequest, body: bytes, tokens: Mapping[str, str], now: float) -> AuditEntry:
    """The record of a request that is about to be handled; its user is "" where the token is unknown."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    user = tokens.get(token.strip(), "") if scheme.lower() == "bearer" else ""
    if not tokens:
        user = "system:anonymous"
    query = dict(request.query)
    entry = AuditEntry(
        at=now, user=user, verb=request.method.lower(), path=request.path, query=query,
        user_agent=request.headers.get("User-Agent", ""), body=body,
        dry_run="dryRun" in query or b'"dryRun"' in body[:65536],
    )  # fmt: skip
    if (target := route(request.path)) is None:
        group, resource, _ = REVIEWS.get(request.path, ("", "", ""))
        return replace(entry, group=group, resource=resource, verb="create" if resource else entry.verb)
    verb = verb_of(
        request.method,
        named=bool(target.name) and target.subresource not in ("eviction", "binding"),
        watch=query.get("watch") in ("true", "1"),
    )
    return replace(
        entry,
        verb=verb or "",
        resource=target.kind.plural,
        group=target.kind.group,
        subresource=target.subresource,
        namespace=target.namespace,
        name=target.name,
    )


def scope_of(entry: AuditEntry) -> str | None:
    """The namespace an authorizer is asked about; a Namespace object is inside itself."""
    return entry.name or None if entry.resource == "namespaces" else entry.namespace


def injected(rule: FaultRule) -> StatusError:
    """The answer that a fault of effect ``status`` gives."""
    reasons = {
        429: "TooManyRequests",
        500: "InternalError",
        503: "ServiceUnavailable",
        504: "Timeout",
        403: "Forbidden",
        401: "Unauthorized",
    }
    details = {} if rule.retry_after is None else {"retryAfterSeconds": rule.retry_after}
    message = rule.message or {
        429: "the server has received too many requests and has asked us to try again later"
    }.get(rule.code, "injected fault")
    return StatusError(rule.code, reasons.get(rule.code, ""), message, details)


async def read_body(request: web.BaseRequest) -> bytes:
    """The request's body. Raises StatusError 413."""
    if not request.can_read_body:
        return b""
    parts, size = [], 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            raise too_large(MAX_BODY)
        parts.append(chunk)
    return b"".join(parts)
