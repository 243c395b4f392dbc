"""The token subresource of ServiceAccounts: a login for whoever may make one."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from agent.sandbox.apiserver.kinds import builtin
from agent.sandbox.apiserver.protobuf import spec_of
from agent.sandbox.apiserver.status import bad_request
from agent.sandbox.apiserver.writes import Writes

ACCOUNTS = builtin("serviceaccounts")
_AN_HOUR = 3600


def account(namespace: str, name: str) -> str:
    """The user name under which a ServiceAccount logs in."""
    return f"system:serviceaccount:{namespace}:{name}"


def token_request(body: bytes) -> dict[str, Any]:
    """A TokenRequest that came as protobuf, as JSON has it. Raises StatusError 400."""
    fields = spec_of(body)
    audiences = [each.decode("utf-8", "replace") for each in fields.get(1, []) if isinstance(each, bytes)]
    return {"spec": {"audiences": audiences, "expirationSeconds": next(iter(fields.get(4, [])), None)}}


def new_token(writes: Writes, tokens: MutableMapping[str, str], namespace: str, name: str, body: Any) -> bytes:
    """The answer to a TokenRequest; from now on the token lets in as that account, for as long as the world lasts.

    A server without any tokens lets everybody in, and goes on to. Raises StatusError 400 or 404.
    """
    if not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be of type TokenRequest)")
    found = writes.existing(ACCOUNTS, namespace, name)
    spec = body.get("spec") or {}
    seconds = int(spec.get("expirationSeconds") or _AN_HOUR)
    token = ".".join(secrets.token_urlsafe(24) for _ in range(3))  # as many parts as a real one has
    if tokens:
        tokens[token] = account(namespace, name)
    expires = datetime.fromtimestamp(int(writes.clock.now()) + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return msgspec.json.encode(
        {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": found.name, "namespace": namespace},
            "spec": {
                "audiences": spec.get("audiences") or [],
                "expirationSeconds": seconds,
                "boundObjectRef": None,
            },
            "status": {"token": token, "expirationTimestamp": expires},
        }
    )
