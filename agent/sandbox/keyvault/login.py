"""The token endpoint: ``login.microsoftonline.com`` for identities that exist in this world only.

A token is an opaque string bound to (identity, tenant, audience). Its life is measured in real time, not on the world's
clock: clients cache tokens by their own wall clock, which knows nothing of a world that was moved forward by hours.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault.faults import Fault
from agent.sandbox.keyvault.wire import Reply

_FEDERATED = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Token:
    """What a bearer token stands for."""

    identity: str
    tenant: str
    audience: str
    expires: float
    """On ``time.monotonic()``."""


@dataclass(frozen=True)
class Client:
    """An application that may log in. None: any secret, any assertion will do."""

    secret: str | None = None
    assertion: str | None = None


class LoginError(Exception):
    """A refusal of the token endpoint: HTTP status, OAuth error and AADSTS number."""

    def __init__(self, status: int, error: str, number: int, message: str) -> None:
        super().__init__(f"AADSTS{number}: {message}")
        self.status, self.error, self.number, self.message = status, error, number, message


class Login:
    """Issues and judges tokens.

    While ``open`` (until the first ``register``), everybody gets a token under the client id he claims; from then on an
    unknown client is refused with AADSTS700016. ``expires_in`` (real seconds) may be changed at any time.
    """

    def __init__(self, clock: WorldClock, *, expires_in: int = 3599) -> None:
        self.expires_in = expires_in
        self.open = True
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._tokens: dict[str, Token] = {}

    def register(self, identity: str, *, secret: str | None = None, assertion: str | None = None) -> None:
        """Make a client known, with the credential it must present (None: any)."""
        self.open = False
        self._clients[identity] = Client(secret, assertion)

    def unregister(self, identity: str) -> None:
        """Forget a client: its tokens die with it."""
        self._clients.pop(identity, None)
        self.revoke(identity)

    def revoke(self, identity: str | None = None) -> None:
        """Make the tokens of an identity (None: all) worthless, as a rotated signing key or a revocation does."""
        self._tokens = {key: token for key, token in self._tokens.items() if identity not in (None, token.identity)}

    def token(self, bearer: str) -> Token | None:
        """What a bearer token stands for; None if it was never issued, is revoked or too old."""
        token = self._tokens.get(bearer)
        return token if token and token.expires > time.monotonic() else None

    def issued(self, identity: str) -> list[str]:
        """The bearer tokens that an identity was given and that have not been revoked."""
        return [bearer for bearer, token in self._tokens.items() if token.identity == identity]

    def answer(self, method: str, host: str, path: str, form: Mapping[str, str], fault: Fault | None) -> Reply:
        """The answer to one request; ``form`` holds query and body, ``fault`` may be an error status."""
        parts = [part for part in path.split("/") if part]
        if method == "POST" and parts[1:] in (["oauth2", "v2.0", "token"], ["oauth2", "token"]):
            try:
                if fault is not None and fault.status:
                    raise _injected(fault, form.get("client_id", ""))
                return Reply(200, self._issue(parts[0], form.get("client_id", ""), form, v1=len(parts) == 3))
            except LoginError as error:
                headers = {"Retry-After": fault.argument} if fault and fault.status >= 429 and fault.argument else {}
                return Reply(error.status, self._refusal(error, host), headers)
        if method == "GET" and parts[:3] == ["common", "discovery", "instance"]:
            return Reply(200, _json(_instance(host, form.get("authorization_endpoint", ""))))
        if method == "GET" and parts[-2:] == [".well-known", "openid-configuration"]:
            return Reply(200, _json(_openid(host, parts[0])))
        return Reply(404, b"", content_type="text/html")

    def _issue(self, tenant: str, identity: str, form: Mapping[str, str], *, v1: bool) -> bytes:
        self._authenticate(tenant, identity, form)
        if v1:
            audience = form.get("resource", "")
        else:
            scopes = [scope for scope in form.get("scope", "").split() if scope.endswith("/.default")]
            if not scopes:
                raise LoginError(
                    400,
                    "invalid_scope",
                    1002012,
                    f"The provided value for scope {form.get('scope', '')} is not valid. Client credential flows must "
                    "have a scope value with /.default suffixed to the resource identifier (application ID URI).",
                )
            audience = scopes[0].removesuffix("/.default")
        bearer = secrets.token_urlsafe(32)
        self._tokens[bearer] = Token(identity, tenant, audience, time.monotonic() + self.expires_in)
        answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": self.expires_in}
        if v1:
            now = int(time.time())
            moments = {"expires_on": now + self.expires_in, "not_before": now, "expires_in": self.expires_in}
            answer |= {key: str(moment) for key, moment in moments.items()} | {"resource": audience}
        answer |= {"ext_expires_in": self.expires_in, "access_token": bearer}
        return _json(answer)

    def _authenticate(self, tenant: str, identity: str, form: Mapping[str, str]) -> None:
        if form.get("grant_type") != "client_credentials":
            grant = form.get("grant_type", "")
            raise LoginError(
                400, "unsupported_grant_type", 70003, f"The app requested an unsupported grant type '{grant}'."
            )
        if not identity:
            raise LoginError(
                400, "invalid_request", 900144, "The request body must contain the following parameter: 'client_id'."
            )
        client = self._clients.get(identity)
        if client is None and not self.open:
            raise LoginError(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{identity}' was not found in the directory '{tenant}'. This can happen "
                "if the application has not been installed by the administrator of the tenant or consented to by any "
                "user in the tenant. You may have sent your authentication request to the wrong tenant.",
            )
        self._check_credential(client or Client(), identity, form)

    def _check_credential(self, client: Client, identity: str, form: Mapping[str, str]) -> None:
        if form.get("client_assertion_type") == _FEDERATED and form.get("client_assertion"):
            if client.assertion is not None and form["client_assertion"].strip() != client.assertion:
                raise LoginError(
                    401,
                    "invalid_client",
                    700213,
                    "No matching federated identity record found for presented assertion subject. Check your federated "
                    "identity credential Subject, Audience and Issuer against the presented assertion.",
                )
            return
        secret = form.get("client_secret")
        if not secret:
            raise LoginError(
                401,
                "invalid_client",
                7000218,
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            )
        if client.secret is not None and secret != client.secret:
            raise LoginError(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{identity}'.",
            )

    def _refusal(self, error: LoginError, host: str) -> bytes:
        trace, correlation = str(uuid4()), str(uuid4())
        timestamp = self._clock.utcnow().strftime("%Y-%m-%d %H:%M:%SZ")
        body = {
            "error": error.error,
            "error_description": f"AADSTS{error.number}: {error.message} Trace ID: {trace} "
            f"Correlation ID: {correlation} Timestamp: {timestamp}",
            "error_codes": [error.number],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://{host}/error?code={error.number}",
        }
        return _json(body)


def _injected(fault: Fault, identity: str) -> LoginError:
    if fault.status in (401, 403):
        said = fault.message or f"The provided client secret keys for app '{identity}' are expired."
        return LoginError(401, "invalid_client", 7000222, said)
    if fault.status == 429:
        said = fault.message or "The application made too many requests."
        return LoginError(429, "temporarily_unavailable", 90055, said)
    said = fault.message or "A transient error has occurred. Please try again."
    return LoginError(fault.status, "temporarily_unavailable", 90033, said)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _instance(host: str, endpoint: str) -> dict[str, Any]:
    tenant = next((part for part in endpoint.split("/")[3:] if part), "common")
    return {
        "tenant_discovery_endpoint": f"https://{host}/{tenant}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }


def _openid(host: str, tenant: str) -> dict[str, Any]:
    base = f"https://{host}/{tenant}"
    return {
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{base}/discovery/v2.0/keys",
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": f"{base}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
    }
