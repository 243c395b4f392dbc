"""The vault's JSON: bundles, list items, pages, and the tokens that lead from page to page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from agent.sandbox.keyvault import errors
from agent.sandbox.keyvault.store import RETENTION_DAYS, SecretVersion, StoredSecret, Vault

PAGE_SIZE = 25
"""Items of a page at most, as the service has it, and as many as it gives when not asked for fewer."""

LATEST_API_VERSION = "2026-04-01"
API_VERSIONS = frozenset(
    {"2015-06-01", "2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", LATEST_API_VERSION}
)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True)
class Page:
    """A page of a list before its link is made; ``marker`` is the key to go on after, None on the last page."""

    items: list[bytes]
    marker: str | None


def check_api_version(version: str) -> None:
    """Raises VaultError 400 for a version that the service does not know."""
    if not version:
        raise errors.bad_parameter("api-version must be specified")
    if version not in API_VERSIONS and not (version.startswith("7.") and "-preview" in version):
        raise errors.bad_parameter(
            f"The specified version ({version}) is not recognized. Consider using the latest supported version "
            f"({LATEST_API_VERSION})."
        )


def page_size(query: Mapping[str, str]) -> int:
    """The page size asked for. Raises VaultError 400 beyond 1 to 25."""
    asked = query.get("maxresults")
    if asked is None:
        return PAGE_SIZE
    if not asked.isdecimal() or not 1 <= int(asked) <= PAGE_SIZE:
        raise errors.bad_parameter(f"maxresults must be between 1 and {PAGE_SIZE}: {asked}")
    return int(asked)


def skip_marker(query: Mapping[str, str]) -> str:
    """The key that a ``$skiptoken`` goes on after; "" without one. Raises VaultError 400."""
    token = query.get("$skiptoken", "")
    if not token:
        return ""
    try:
        return str(msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))["NextMarker"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise errors.bad_parameter("The skiptoken is invalid.") from None


def next_link(base: str, query: Mapping[str, str], marker: str) -> str:
    """The absolute link to the page after ``marker``, with the api-version and page size of this request.

    ``base`` is ``https://HOST:443/PATH``: the service names the port, too.
    """
    token = base64.urlsafe_b64encode(_encode({"NextMarker": marker, "TargetLocation": 0})).decode().rstrip("=")
    link = f"{base}?api-version={quote(query['api-version'])}&$skiptoken={token}"
    return f"{link}&maxresults={query['maxresults']}" if "maxresults" in query else link


def page(items: list[bytes], link: str | None) -> bytes:
    """The body of a list answer."""
    return b'{"value":[' + b",".join(items) + b'],"nextLink":' + _encode(link) + b"}"


def item(vault: Vault, secret: StoredSecret) -> bytes:
    """A secret in the list: id without version, the attributes of the newest version, no value."""
    if secret.encoded is None:
        fields = {"id": f"https://{vault.host}/secrets/{secret.name}", **_common(secret.newest)}
        if secret.deleted is not None:
            fields |= _deletion(vault, secret)
        secret.encoded = _encode(fields)
    return secret.encoded


def version_item(vault: Vault, version: SecretVersion) -> bytes:
    """A version in the list of versions: its id, its attributes, no value."""
    return _encode({"id": version_id(vault, version), **_common(version)})


def bundle(vault: Vault, version: SecretVersion, *, with_value: bool) -> bytes:
    """A secret by itself, as get and set (with value), update and recover (without) answer it."""
    value = {"value": version.value} if with_value else {}
    return _encode({**value, "id": version_id(vault, version), **_common(version)})


def deleted_bundle(vault: Vault, secret: StoredSecret) -> bytes:
    """A soft-deleted secret by itself."""
    newest = secret.newest
    return _encode({**_deletion(vault, secret), "id": version_id(vault, newest), **_common(newest)})


def version_id(vault: Vault, version: SecretVersion) -> str:
    """The full identifier."""
    return f"https://{vault.host}/secrets/{version.name}/{version.version}"


def _deletion(vault: Vault, secret: StoredSecret) -> dict[str, Any]:
    deleted = secret.deleted or 0
    return {
        "recoveryId": f"https://{vault.host}/deletedsecrets/{secret.name}",
        "deletedDate": deleted,
        "scheduledPurgeDate": deleted + RETENTION_DAYS * 86400,
    }


def _common(version: SecretVersion) -> dict[str, Any]:
    attributes: dict[str, Any] = {"enabled": version.enabled}
    if version.nbf is not None:
        attributes["nbf"] = version.nbf
    if version.exp is not None:
        attributes["exp"] = version.exp
    attributes |= {
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RETENTION_DAYS,
    }
    fields: dict[str, Any] = {"attributes": attributes}
    if version.tags is not None:
        fields["tags"] = dict(version.tags)
    if version.content_type is not None:
        fields["contentType"] = version.content_type
    return fields
