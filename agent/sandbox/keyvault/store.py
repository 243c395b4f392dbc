"""The secrets of one vault, as the service keeps them: names, versions, soft delete. No HTTP here.

A world is set up through this file, and a rotation is a ``set``. Times are whole unix seconds, as the service keeps
them; within one second the order of the calls decides which version is the newest.
"""

from __future__ import annotations

import re
import secrets
from bisect import bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import errors

RETENTION_DAYS = 90
NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
"""What a secret may be called."""
_UPDATABLE = frozenset({"enabled", "exp", "nbf", "tags", "content_type"})


@dataclass(frozen=True, kw_only=True)
class SecretVersion:
    """One version of a secret. The value does not show in the repr."""

    name: str
    version: str
    """32 hex digits, random: its order says nothing about age."""
    value: str = field(repr=False)
    created: int
    """Unix seconds, like all times here; this one never changes."""
    updated: int
    """Moves with every change of an attribute or a tag."""
    enabled: bool = True
    exp: int | None = None
    """Expires at; only a note: an expired secret is still handed out."""
    nbf: int | None = None
    """Not before; only a note, as ``exp``."""
    tags: Mapping[str, str] | None = field(default=None, hash=False)
    content_type: str | None = None


@dataclass
class StoredSecret:
    """All versions under one name, by id and by age."""

    name: str
    by_id: dict[str, SecretVersion] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    ages: list[tuple[int, int, str]] = field(default_factory=list)
    """(created, order of the calls, version id), ascending."""
    deleted: int | None = None
    """When it was soft-deleted."""
    encoded: bytes | None = None
    """The item of the list answer, until something changes."""

    @property
    def newest(self) -> SecretVersion:
        """The version created last, disabled or not."""
        return self.by_id[self.ages[-1][2]]

    def page(self, after: str, size: int) -> tuple[list[str], str | None]:
        """The next version ids after one, in their own order, and the one to go on after (None: that was all)."""
        return _page(self.ids, after, size)


def _page(keys: list[str], after: str, size: int) -> tuple[list[str], str | None]:
    begin = bisect_right(keys, after) if after else 0
    chosen = keys[begin : begin + size]
    return chosen, chosen[-1] if begin + size < len(keys) else None


class _Shelf:
    """Secrets by name, case-insensitive, in the order of their names."""

    def __init__(self) -> None:
        self._by_name: dict[str, StoredSecret] = {}
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> StoredSecret | None:
        return self._by_name.get(name.lower())

    def put(self, secret: StoredSecret) -> None:
        key = secret.name.lower()
        if key not in self._by_name:
            insort(self._names, key)
        self._by_name[key] = secret

    def take(self, name: str) -> StoredSecret | None:
        secret = self._by_name.pop(name.lower(), None)
        if secret is not None:
            del self._names[bisect_right(self._names, name.lower()) - 1]
        return secret

    def page(self, after: str, size: int) -> tuple[list[StoredSecret], str | None]:
        """The next secrets after a name, and the name to go on after (None: that was all)."""
        names, marker = _page(self._names, after, size)
        return [self._by_name[name] for name in names], marker


class Vault:
    """One key vault: ``Vault.set("api-key", "v1")`` writes a version, ``get`` answers the newest.

    All methods take names in any case and raise VaultError as the service would answer.
    """

    def __init__(self, host: str, clock: WorldClock, *, tenant: str, rbac: bool = True) -> None:
        self.host = host
        self.name = host.split(".", 1)[0]
        self.tenant = tenant
        self.rbac = rbac
        """Whether a missing right answers ``ForbiddenByRbac`` or, with access policies, ``AccessDenied``."""
        self._clock = clock
        self._order = 0
        self.live = _Shelf()
        self.deleted = _Shelf()

    def set(
        self,
        name: str,
        value: str,
        *,
        created: float | None = None,
        enabled: bool = True,
        exp: float | None = None,
        nbf: float | None = None,
        tags: Mapping[str, str] | None = None,
        content_type: str | None = None,
        version: str | None = None,
    ) -> SecretVersion:
        """Write a new version. ``created`` (unix seconds) may lie in the past: the history of a world that begins now.

        Raises VaultError 409 while the name is soft-deleted, ValueError for a name that the service does not allow and
        for a version id that exists already.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"secret name {name!r}: only 0-9, a-z, A-Z and - are allowed, at most 127 of them")
        if self.deleted.find(name):
            raise errors.deleted_but_recoverable(name)
        at = int(self._clock.now() if created is None else created)
        secret = self.live.find(name)
        written = SecretVersion(
            name=secret.name if secret else name,
            version=version or secrets.token_hex(16),
            value=value,
            created=at,
            updated=at,
            enabled=enabled,
            exp=None if exp is None else int(exp),
            nbf=None if nbf is None else int(nbf),
            tags=None if tags is None else MappingProxyType(dict(tags)),
            content_type=content_type,
        )
        if secret is None:
            secret = StoredSecret(name)
            self.live.put(secret)
        elif written.version in secret.by_id:
            raise ValueError(f"secret {name} has a version {written.version} already; leave version out for a new one")
        self._order += 1
        secret.by_id[written.version] = written
        insort(secret.ids, written.version)
        insort(secret.ages, (at, self._order, written.version))
        secret.encoded = None
        return written

    def get(self, name: str, version: str | None = None) -> SecretVersion:
        """The newest version, or the one named, also if disabled. Raises VaultError 404."""
        secret = self._find(name)
        if not version:
            return secret.newest
        found = secret.by_id.get(version.lower())
        if found is None:
            raise errors.not_found(f"{name}/{version}")
        return found

    def update(self, name: str, version: str | None = None, **attrs: Any) -> SecretVersion:
        """Change ``enabled``, ``exp``, ``nbf``, ``tags`` or ``content_type`` of a version (None: the newest).

        ``updated`` moves. What is not named stays; tags are replaced as a whole. Raises VaultError 404, TypeError for
        another attribute.
        """
        if unknown := attrs.keys() - _UPDATABLE:
            raise TypeError(f"not an attribute that can be updated: {', '.join(sorted(unknown))}")
        if attrs.get("tags") is not None:
            attrs["tags"] = MappingProxyType(dict(attrs["tags"]))
        for moment in ("exp", "nbf"):
            if attrs.get(moment) is not None:
                attrs[moment] = int(attrs[moment])
        secret = self._find(name)
        changed = replace(self.get(name, version), updated=int(self._clock.now()), **attrs)
        secret.by_id[changed.version] = changed
        secret.encoded = None
        return changed

    def delete(self, name: str) -> StoredSecret:
        """Soft-delete all versions: the name is taken until ``recover`` or ``purge``. Raises VaultError 404."""
        secret = self.live.take(self._find(name).name)
        if secret is None:
            raise errors.not_found(name)
        secret.deleted = int(self._clock.now())
        secret.encoded = None
        self.deleted.put(secret)
        return secret

    def recover(self, name: str) -> SecretVersion:
        """Bring back a soft-deleted secret with all versions as they were. Raises VaultError 404."""
        secret = self.deleted.take(name)
        if secret is None:
            raise errors.deleted_not_found(name)
        secret.deleted = None
        secret.encoded = None
        self.live.put(secret)
        return secret.newest

    def purge(self, name: str) -> None:
        """Remove a soft-deleted secret for good. Raises VaultError 404."""
        if self.deleted.take(name) is None:
            raise errors.deleted_not_found(name)

    def versions(self, name: str) -> list[SecretVersion]:
        """All versions, oldest first. Raises VaultError 404."""
        secret = self._find(name)
        return [secret.by_id[version] for _, _, version in secret.ages]

    def names(self) -> list[str]:
        """The names of all secrets that are not deleted, in their order."""
        return [secret.name for secret in self.live.page("", len(self.live))[0]]

    def _find(self, name: str) -> StoredSecret:
        secret = self.live.find(name)
        if secret is None:
            raise errors.not_found(name)
        return secret
