"""Which vault secrets an ExternalSecret reads, which keys they feed, and which keys must be there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from agent.mapping.exclusions import Facts, excluded, excluded_by_store
from agent.mapping.keys import BadKey, vault_secret
from agent.mapping.spec import Entry, Spec
from agent.model import ExternalSecret, SecretStore, SourceKey, SourceUse, StoreKey

_MANY = 3  # reasons told; a spec may have hundreds of entries


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """All that a spec says about its sources."""

    uses: tuple[SourceUse, ...]
    stores: tuple[StoreKey, ...]  # every store named by an entry, in order, once
    unsupported: str  # the places whose sources cannot be named, and why
    excluded: str
    expected_keys: tuple[str, ...] | None


def uses(spec: Spec) -> Reading:
    """Name the sources of every entry that names them; the others are told in ``unsupported``."""
    found: list[SourceUse] = []
    stores: dict[StoreKey, None] = {}
    problems: list[str] = []
    for entry in spec.entries:
        if entry.store is not None:
            stores[entry.store] = None
        try:
            use = _use(entry, templated=spec.templated)
        except BadKey as problem:
            problems.append(str(problem))
        else:
            if use is not None:
                found.append(use)
    return Reading(
        uses=tuple(found),
        stores=tuple(stores),
        unsupported=_told(problems),
        excluded=excluded(
            Facts(generator=any(entry.how == "generator" for entry in spec.entries), manifest=spec.manifest)
        ),
        expected_keys=_expected(spec),
    )


def _use(entry: Entry, *, templated: bool) -> SourceUse | None:
    match entry.how:
        case "generator":
            return None  # the exclusion matrix tells
        case "find":
            raise BadKey(f"{entry.place}: which secrets it reads cannot be known from the list alone")
        case "nothing":
            raise BadKey(f"{entry.place}: names neither a secret nor a search")
    if entry.store is None:
        raise BadKey(f"{entry.place}: names no store, and spec.secretStoreRef names none either")
    where = f"{entry.place}.remoteRef.key" if entry.how == "data" else f"{entry.place}.key"
    try:
        name = vault_secret(entry.key)
    except BadKey as problem:
        raise BadKey(f"{where}: {problem}") from None
    return SourceUse(
        store=entry.store,
        name=name,
        version=entry.version,
        secret_keys=_only(entry.secret_key) if entry.how == "data" and not templated else None,
        place=entry.place,
    )


@lru_cache(maxsize=4096)
def _only(key: str) -> tuple[str, ...]:
    """The same few names recur in ten thousands of entries."""
    return (key,)


def _told(problems: list[str]) -> str:
    more = len(problems) - _MANY
    return "; ".join(problems[:_MANY]) + (f"; and {more} more" if more > 0 else "")


def _expected(spec: Spec) -> tuple[str, ...] | None:
    """With deletionPolicy Delete or Merge a key goes with its vault secret, so none of the fetched is certain."""
    if spec.creation_policy == "None" or spec.manifest:
        return None
    keys = set(spec.template_keys)
    if spec.keeps_fetched:
        if spec.deletion_policy != "Retain":
            return None
        keys |= {entry.secret_key for entry in spec.entries if entry.how == "data"}
    return tuple(sorted(keys)) or None


def expected_keys(es: ExternalSecret) -> frozenset[str] | None:
    """Keys that its Secret has after every good sync; there may be others. None: the spec does not tell."""
    return None if es.expected_keys is None else frozenset(es.expected_keys)


def feeds(es: ExternalSecret, key: str) -> tuple[SourceUse, ...]:
    """The sources that can bring the Secret's key ``key``, a superset where the spec leaves it open.

    An entry of ``data`` for the key overrides ``dataFrom`` and earlier entries of ``data``, unless the deletion policy
    lets ESO skip it when the vault has it no more.
    """
    fixed = [use for use in es.uses if use.secret_keys is not None and key in use.secret_keys]
    if fixed and es.deletion_policy == "Retain":
        return (fixed[-1],)
    return tuple(use for use in es.uses if use.secret_keys is None or key in use.secret_keys)


def resolve(use: SourceUse, stores: Mapping[StoreKey, SecretStore]) -> SourceKey | str:
    """The vault secret that a use means, or in plain words why that cannot be said."""
    store = stores.get(use.store)
    if store is None:
        name = f"{use.store.namespace}/{use.store.name}" if use.store.namespace else use.store.name
        return f"{use.store.kind} {name} does not exist"
    if reason := excluded_by_store(store):
        return reason
    if store.refused or not store.host:
        return store.refused or "its store names no vault"
    return SourceKey(store.host, use.name)
