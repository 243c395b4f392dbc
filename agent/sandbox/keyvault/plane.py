"""The data plane of one vault: who asks, may he, and what is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.sandbox.keyvault import errors, routes, wire
from agent.sandbox.keyvault.faults import Fault
from agent.sandbox.keyvault.login import Token
from agent.sandbox.keyvault.rights import Grants
from agent.sandbox.keyvault.routes import Call
from agent.sandbox.keyvault.store import Vault
from agent.sandbox.keyvault.wire import Reply

RESOURCE_APP = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
"""The client id of the Key Vault service itself, an audience as good as its URL."""

_FOREIGN_HOST = "vault.attacker.example"


@dataclass(frozen=True)
class Asked:
    """A request to a vault, as far as it could be read."""

    vault: Vault
    path: str
    query: Mapping[str, str]
    bearer: str
    token: Token | None
    call: Call | None
    refusal: errors.VaultError | None = None
    """Why ``call`` could not be read."""

    @property
    def operation(self) -> str:
        """For audit and faults: ``challenge`` without a valid token, ``invalid`` if it asks for nothing known."""
        if self.token is None:
            return "challenge"
        return self.call.operation.name if self.call else "invalid"


def read(vault: Vault, method: str, path: str, query: Mapping[str, str], bearer: str, token: Token | None) -> Asked:
    """Take a request apart; what cannot be read is answered only after authentication, as the service does it."""
    try:
        return Asked(vault, path, query, bearer, token, routes.route(method, path))
    except errors.VaultError as error:
        return Asked(vault, path, query, bearer, token, None, error)


def answer(asked: Asked, body: bytes, grants: Grants, fault: Fault | None, resource: str) -> Reply:
    """The answer to one request.

    ``fault`` may be an error status or one that reshapes a list, ``resource`` is the token audience of this cloud.
    Raises VaultError.
    """
    wire.check_api_version(asked.query.get("api-version", ""))
    if fault is not None and fault.status:
        error = _injected(asked, fault)
        error.message = fault.message or error.message
        raise error
    token = _authenticate(asked, resource)
    if asked.call is None:
        raise asked.refusal or errors.bad_parameter("The request could not be read.")
    _authorize(asked, asked.call, token, grants)
    if not routes.is_list(asked.call):
        return routes.execute(asked.vault, asked.call, body)
    return _page(asked, asked.call, fault)


def challenge(vault: Vault, login_host: str, resource: str, fault: Fault | None) -> dict[str, str]:
    """The header of a 401: where to get a token, and for what."""
    if fault is not None and fault.kind == "foreign-challenge":
        resource = fault.argument or f"https://{_FOREIGN_HOST}"
    return {"WWW-Authenticate": f'Bearer authorization="https://{login_host}/{vault.tenant}", resource="{resource}"'}


def _authenticate(asked: Asked, resource: str) -> Token:
    token, tenant = asked.token, asked.vault.tenant
    if token is None:
        raise errors.unauthorized(
            "AKV10001: Invalid bearer token." if asked.bearer else "AKV10000: Request is missing a Bearer or PoP token."
        )
    if token.audience not in (resource, RESOURCE_APP):
        raise errors.unauthorized(f"AKV10022: Invalid audience. Expected {resource}, found: {token.audience}.")
    if token.tenant != tenant:
        raise errors.unauthorized(
            f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{tenant}/, found "
            f"https://sts.windows.net/{token.tenant}/."
        )
    return token


def _authorize(asked: Asked, call: Call, token: Token, grants: Grants) -> None:
    if not getattr(grants.of(token.identity, asked.vault.host), call.operation.right):
        raise _forbidden(asked, "ForbiddenByRbac" if asked.vault.rbac else "AccessDenied")


def _forbidden(asked: Asked, inner: str) -> errors.VaultError:
    return errors.forbidden(
        inner,
        identity=asked.token.identity if asked.token else "",
        tenant=asked.token.tenant if asked.token else asked.vault.tenant,
        vault=asked.vault.name,
        secret=asked.call.secret if asked.call else "",
        action=asked.call.operation.action if asked.call else "readMetadata",
    )


def _injected(asked: Asked, fault: Fault) -> errors.VaultError:
    if fault.status == 401:
        return errors.unauthorized(
            f"{fault.inner or 'AKV10046'}: Unable to resolve the key used for signature validation."
        )
    if fault.status == 403:
        return _forbidden(asked, fault.inner)
    if fault.status == 429:
        return errors.throttled(fault.argument or None)
    return errors.server_error(fault.status, fault.argument or None)


def _page(asked: Asked, call: Call, fault: Fault | None) -> Reply:
    size, after = wire.page_size(asked.query), wire.skip_marker(asked.query)
    base = f"https://{asked.vault.host}:443{asked.path}"
    kind = fault.kind if fault else ""
    if kind == "empty-page":
        return Reply(200, wire.page([], wire.next_link(base, asked.query, after)))
    key, _, lap = after.partition("#")
    page = routes.pages(asked.vault, call, key, size)
    marker = page.marker
    if fault is not None and kind == "endless":
        marker = after if fault.argument == "self" else _another(page.marker, lap)
    elif fault is not None and kind == "foreign-next":
        base, marker = f"https://{fault.argument or _FOREIGN_HOST}{asked.path}", marker or after
    link = None if marker is None else wire.next_link(base, asked.query, marker)
    return Reply(200, wire.page(page.items, link))


def _another(marker: str | None, lap: str) -> str:
    """A marker never given before: on the last page the next lap around the whole list begins."""
    return f"#{int(lap or 0) + 1}" if marker is None else f"{marker}#{lap}"
