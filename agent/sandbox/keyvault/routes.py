"""The secrets routes of the data plane, from a parsed request to an answer. No sockets here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from agent.sandbox.keyvault import errors, wire
from agent.sandbox.keyvault.store import NAME, Vault
from agent.sandbox.keyvault.wire import Page, Reply

_MAX_VALUE = 25_600
"""Bytes of a value at most."""

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """What a request asks for: ``right`` is list, get or set; ``action`` the Azure data action it needs."""

    name: str
    right: str
    action: str


_OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("list", "list", "readMetadata"),
        Operation("versions", "list", "readMetadata"),
        Operation("get", "get", "getSecret"),
        Operation("set", "set", "setSecret"),
        Operation("update", "set", "update"),
        Operation("delete", "set", "delete"),
        Operation("list-deleted", "list", "readMetadata"),
        Operation("get-deleted", "list", "readMetadata"),
        Operation("recover", "set", "recover"),
        Operation("purge", "set", "purge"),
        Operation("backup", "set", "backup"),
        Operation("restore", "set", "restore"),
    )
}


@dataclass(frozen=True)
class Call:
    """A request taken apart; ``version`` is "" where none is named."""

    operation: Operation
    secret: str = ""
    version: str = ""


def route(method: str, path: str) -> Call:
    """Take the path apart; doubled and trailing slashes are as good as none, as with the service.

    Raises VaultError 400 for a name that no secret can have, 404 for a path that is none of the secrets routes, 405.
    """
    parts = [part for part in path.split("/") if part]
    collection, names = (parts[0].lower() if parts else ""), parts[1:]
    if collection not in ("secrets", "deletedsecrets") or len(names) > 2:
        raise errors.VaultError(404, "NotFound", f"No such resource in the sandbox's vault: {path}")
    secret = names[0] if names else ""
    below = names[1] if len(names) == 2 else ""
    named = _deleted_operation(method, below) if collection == "deletedsecrets" else _operation(method, names)
    operation = named if secret else {"GET": "list" if collection == "secrets" else "list-deleted"}.get(method)
    if operation is None:
        raise errors.VaultError(405, "MethodNotAllowed", f"{method} is not possible on {path}")
    if secret and operation != "restore" and not NAME.fullmatch(secret):
        raise errors.bad_parameter(f"The request URI contains an invalid name: {secret}")
    version = below if operation in ("get", "update") else ""
    return Call(_OPERATIONS[operation], "" if operation == "restore" else secret, version)


def _operation(method: str, names: list[str]) -> str | None:
    if method == "POST":
        return {"restore": "restore"}.get(names[0].lower()) if len(names) == 1 else _backup(names)
    if method == "GET":
        return "versions" if len(names) == 2 and names[1].lower() == "versions" else "get"
    if method == "PATCH":
        return "update"
    return {"PUT": "set", "DELETE": "delete"}.get(method) if len(names) == 1 else None


def _backup(names: list[str]) -> str | None:
    return "backup" if len(names) == 2 and names[1].lower() == "backup" else None


def _deleted_operation(method: str, below: str) -> str | None:
    if below:
        return "recover" if method == "POST" and below.lower() == "recover" else None
    return {"GET": "get-deleted", "DELETE": "purge"}.get(method)


def pages(vault: Vault, call: Call, after: str, size: int) -> Page:
    """One page of a list. The versions of a name that does not exist are an empty list, as with the service."""
    if call.operation.name == "versions":
        secret = vault.live.find(call.secret)
        if secret is None:
            return Page([], None)
        ids, marker = secret.page(after, size)
        return Page([wire.version_item(vault, secret.by_id[version]) for version in ids], marker)
    shelf = vault.live if call.operation.name == "list" else vault.deleted
    secrets, marker = shelf.page(after, size)
    return Page([wire.item(vault, secret) for secret in secrets], marker)


def is_list(call: Call) -> bool:
    """Whether the answer comes in pages."""
    return call.operation.name in ("list", "versions", "list-deleted")


def execute(vault: Vault, call: Call, raw: bytes) -> Reply:
    """Anything but a list. Raises VaultError."""
    return _EXECUTE[call.operation.name](vault, call, raw)


def _get(vault: Vault, call: Call, _: bytes) -> Reply:
    version = vault.get(call.secret, call.version)
    if not version.enabled:
        raise errors.disabled()
    return Reply(200, wire.bundle(vault, version, with_value=True))


def _set(vault: Vault, call: Call, raw: bytes) -> Reply:
    body = _decode(raw)
    value = body.get("value")
    if not isinstance(value, str):
        raise errors.bad_parameter("The property 'value' is required and must be a string.")
    if len(value.encode()) > _MAX_VALUE:
        raise errors.bad_parameter(f"The secret value is longer than the allowed {_MAX_VALUE} bytes.")
    return Reply(200, wire.bundle(vault, vault.set(call.secret, value, **_changes(body)), with_value=True))


def _update(vault: Vault, call: Call, raw: bytes) -> Reply:
    version = vault.update(call.secret, call.version, **_changes(_decode(raw)))
    return Reply(200, wire.bundle(vault, version, with_value=False))


def _delete(vault: Vault, call: Call, _: bytes) -> Reply:
    return Reply(200, wire.deleted_bundle(vault, vault.delete(call.secret)))


def _get_deleted(vault: Vault, call: Call, _: bytes) -> Reply:
    secret = vault.deleted.find(call.secret)
    if secret is None:
        raise errors.deleted_not_found(call.secret)
    return Reply(200, wire.deleted_bundle(vault, secret))


def _recover(vault: Vault, call: Call, _: bytes) -> Reply:
    return Reply(200, wire.bundle(vault, vault.recover(call.secret), with_value=False))


def _purge(vault: Vault, call: Call, _: bytes) -> Reply:
    vault.purge(call.secret)
    return Reply(204, b"")


def _not_here(_: Vault, call: Call, __: bytes) -> Reply:
    raise errors.VaultError(501, "NotImplemented", f"The sandbox's vault does not {call.operation.name} secrets.")


_EXECUTE: dict[str, Callable[[Vault, Call, bytes], Reply]] = {
    "get": _get,
    "set": _set,
    "update": _update,
    "delete": _delete,
    "get-deleted": _get_deleted,
    "recover": _recover,
    "purge": _purge,
    "backup": _not_here,
    "restore": _not_here,
}


def _decode(raw: bytes) -> Body:
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        raise errors.bad_parameter("The request body is not a JSON object.")
    return body


def _changes(body: Body) -> dict[str, Any]:
    """What a request sets; what is absent or null stays as it is."""
    attributes = body.get("attributes") or {}
    changes = {key: attributes.get(key) for key in ("enabled", "exp", "nbf")}
    changes |= {"tags": body.get("tags"), "content_type": body.get("contentType")}
    expected: dict[str, type | tuple[type, ...]] = {
        "enabled": bool, "exp": (int, float), "nbf": (int, float), "tags": dict, "content_type": str
    }  # fmt: skip
    for key, value in changes.items():
        if value is not None and not isinstance(value, expected[key]):
            raise errors.bad_parameter(f"Property '{key}' has invalid value.")
    return {key: value for key, value in changes.items() if value is not None}
