"""What the vault says when it refuses, in the service's own words.

Whoever reads a vault's answer (an SDK, the agent, a person reading an Event) tells the causes apart by HTTP status,
code and inner code, and shows the message. So all of them are as the service sends them.
"""

from __future__ import annotations

import json
from uuid import NAMESPACE_DNS, UUID, uuid5

LOCATION = "westeurope"
SUBSCRIPTION = "00000000-0000-0000-0000-0000000005ab"
RESOURCE_GROUP = "sandbox-rg"


class VaultError(Exception):
    """An answer that is not a success.

    ``status`` is the HTTP status, ``code`` and ``inner`` are ``error.code`` and ``error.innererror.code`` of the body
    (``inner`` empty: no inner error), ``headers`` go with the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, inner: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {code}{f' ({inner})' if inner else ''}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}

    def body(self) -> bytes:
        """The JSON body."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return json.dumps({"error": error}, separators=(",", ":")).encode()


def bad_parameter(message: str) -> VaultError:
    """400: the request itself is wrong."""
    return VaultError(400, "BadParameter", message)


def unauthorized(message: str) -> VaultError:
    """401; the server adds the challenge header."""
    return VaultError(401, "Unauthorized", message)


def not_found(name: str) -> VaultError:
    """404 for a secret or a version (``NAME`` or ``NAME/VERSION``), absent or soft-deleted."""
    return VaultError(
        404,
        "SecretNotFound",
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may "
        "be able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
    )


def deleted_not_found(name: str) -> VaultError:
    """404 below ``/deletedsecrets``."""
    return VaultError(404, "SecretNotFound", f"Deleted Secret not found: {name}")


def deleted_but_recoverable(name: str) -> VaultError:
    """409: a soft-deleted secret keeps its name."""
    return VaultError(
        409,
        "Conflict",
        f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, "
        "the secret can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )


def disabled() -> VaultError:
    """403 for a get of a disabled version; only the inner code sets it apart from a missing right."""
    return VaultError(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")


def throttled(retry_after: str | None) -> VaultError:
    """429, with ``Retry-After`` (seconds) only if given: the service often sends none."""
    return VaultError(
        429,
        "Throttled",
        "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
        headers={} if retry_after is None else {"Retry-After": retry_after},
    )


def server_error(status: int, retry_after: str | None) -> VaultError:
    """5xx, with ``Retry-After`` (seconds) if given."""
    codes = {500: "InternalError", 502: "BadGateway", 503: "ServiceUnavailable", 504: "GatewayTimeout"}
    return VaultError(
        status,
        codes.get(status, "InternalError"),
        "The service is temporarily unavailable.",
        headers={} if retry_after is None else {"Retry-After": retry_after},
    )


def _caller(identity: str, tenant: str) -> str:
    application = application_id(identity)
    return f"appid={application};oid={application};iss=https://sts.windows.net/{tenant}/"


def application_id(identity: str) -> str:
    """The GUID under which the service's messages name an identity; one that is no GUID itself gets one."""
    try:
        return str(UUID(identity))
    except ValueError:
        return str(uuid5(NAMESPACE_DNS, f"{identity}.login.microsoftonline.com"))


_PERMISSIONS = {"readMetadata": "list", "getSecret": "get", "setSecret": "set"}


def forbidden(inner: str, *, identity: str, tenant: str, vault: str, secret: str, action: str) -> VaultError:
    """403 by inner code: ``ForbiddenByRbac``, ``AccessDenied`` (access policies), ``ForbiddenByFirewall`` and others.

    ``action`` is the last but one part of the Azure data action (``getSecret``), ``vault`` the vault's short name.
    """
    caller = _caller(identity, tenant)
    place = f"{vault};location={LOCATION}"
    if inner == "AccessDenied":
        message = (
            f"The user, group or application '{caller}' does not have secrets {_PERMISSIONS.get(action, action)} "
            f"permission on key vault '{place}'. For help resolving this issue, please see "
            "https://go.microsoft.com/fwlink/?linkid=2125287"
        )
    elif inner == "ForbiddenByFirewall":
        message = (
            "Client address is not authorized and caller is not a trusted service.\r\n"
            f"Client address: 10.240.0.4\r\nCaller: {caller}\r\nVault: {place}"
        )
    elif inner == "ForbiddenByConnection":
        message = (
            "Public network access is disabled and request is not from a trusted service nor via an approved private "
            f"link.\r\nCaller: {caller}\r\nVault: {place}"
        )
    else:
        resource = (
            f"/subscriptions/{SUBSCRIPTION}/resourcegroups/{RESOURCE_GROUP}/providers/microsoft.keyvault/vaults/{vault}"
            + (f"/secrets/{secret}" if secret else "")
        )
        message = (
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
            "definitions were changed recently, please observe propagation time.\r\n"
            f"Caller: {caller}\r\nAction: 'Microsoft.KeyVault/vaults/secrets/{action}/action'\r\n"
            f"Resource: '{resource}'\r\n"
            f"Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: {place}\r\n"
        )
    return VaultError(403, "Forbidden", message, inner)
