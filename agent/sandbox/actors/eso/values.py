"""From ``spec.data`` and ``spec.dataFrom`` to the data of the Secret, before any template.

The order is ESO's: ``dataFrom`` entries one after the other, then ``data`` on top; of each extract or find first the
fetch, then key conversion, key validation, decoding, the check for null bytes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.sandbox.actors.eso import gojson, keys, patterns
from agent.sandbox.actors.eso.decoding import decode_map, decode_value
from agent.sandbox.actors.eso.errors import NoSecret, NotReproducible, ProviderError
from agent.sandbox.actors.eso.properties import property_of

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Listed:
    """A secret as the vault lists it."""

    name: str
    enabled: bool
    tags: Mapping[str, str]


class Provider(Protocol):
    """One vault, as a store gives it."""

    async def get(self, name: str, version: str) -> str:
        """The value; ``version`` "" is the newest. Raises NoSecret, ProviderError."""

    def list(self) -> AsyncIterator[Listed]:
        """All secrets, fetched page by page. Raises ProviderError."""


Providers = Callable[[Mapping[str, Any]], Awaitable[Provider]]
"""The provider of a storeRef. Raises ProviderError where there is none that may be used."""


@dataclass
class Fetched:
    """The data of one sync, and the messages about secrets that are not there and need not be."""

    data: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


async def fetch(spec: Spec, providers: Providers) -> Fetched:
    """Read all that a spec asks for.

    Raises ProviderError with the text of the Event, NotReproducible for what this actor does not do.
    """
    try:
        return await _fetch(spec, providers)
    except RecursionError:
        raise NotReproducible("a value nested too deep") from None


async def _fetch(spec: Spec, providers: Providers) -> Fetched:
    skips_missing = (spec.get("target") or {}).get("deletionPolicy", "Retain") != "Retain"
    result = Fetched()
    for index, entry in enumerate(spec.get("dataFrom") or []):
        try:
            result.data |= await _data_from(spec, entry, providers, f"error processing spec.dataFrom[{index}]")
        except NoSecret:
            if not skips_missing:
                raise
            result.missing.append(f"secret does not exist at provider using spec.dataFrom[{index}]")
    for index, entry in enumerate(spec.get("data") or []):
        key = entry["remoteRef"]["key"]
        prefix = f"error processing spec.data[{index}] (key: {key}), err: "
        try:
            result.data[entry["secretKey"]] = await _entry(spec, entry, providers)
        except NoSecret as error:
            if not skips_missing:
                raise error.within(prefix) from None
            result.missing.append(f"secret does not exist at provider using spec.dataFrom[{index}] (key={key})")
        except ProviderError as error:
            raise ProviderError(f"{prefix}{error}") from None
    return result


async def _data_from(spec: Spec, entry: Spec, providers: Providers, prefix: str) -> dict[str, bytes]:
    if entry.get("rewrite"):
        raise NotReproducible("dataFrom.rewrite")
    source = "find" if entry.get("find") is not None else "extract"
    prefix = f"{prefix}.{source}, err: "
    ref = entry.get(source)
    if ref is None:
        raise NotReproducible("a dataFrom entry without extract and find")
    try:
        provider = await providers(_store_ref(spec, entry))
        values = await (_find(provider, ref) if source == "find" else _extract(provider, ref))
        values = keys.validated(keys.converted(ref.get("conversionStrategy", ""), values))
        values = decode_map(ref.get("decodingStrategy", ""), values)
        keys.check_null_bytes(ref.get("nullBytePolicy", ""), values)
    except NoSecret as error:
        raise error.within(prefix + ("error getting all secrets: " if source == "find" else "")) from None
    except ProviderError as error:
        raise ProviderError(f"{prefix}{error}") from None
    return values


async def _entry(spec: Spec, entry: Spec, providers: Providers) -> bytes:
    ref = entry["remoteRef"]
    provider = await providers(_store_ref(spec, entry))
    value = decode_value(ref.get("decodingStrategy", ""), await _get(provider, ref))
    keys.check_null_bytes(ref.get("nullBytePolicy", ""), {entry["secretKey"]: value})
    return value


def _store_ref(spec: Spec, entry: Spec) -> Mapping[str, Any]:
    """The store of an entry: its own or that of the spec."""
    source = entry.get("sourceRef") or {}
    if source.get("generatorRef"):
        raise NotReproducible("generators")
    ref: Mapping[str, Any] = source.get("storeRef") or spec.get("secretStoreRef") or {}
    return ref


async def _get(provider: Provider, ref: Spec) -> bytes:
    if ref.get("metadataPolicy", "None") not in ("", "None"):
        raise NotReproducible(f"metadataPolicy {ref['metadataPolicy']}")
    kind, name = keys.object_type(ref["key"])
    if kind in ("cert", "key"):
        raise NotReproducible(f"{kind}/ objects of a vault")
    if kind != "secret":
        raise ProviderError(f"unknown Azure Keyvault object Type for {name}")
    if not name:
        raise NotReproducible("a key without a name")
    value = await provider.get(name, ref.get("version", ""))
    return property_of(value, ref.get("property", ""), ref["key"])


async def _extract(provider: Provider, ref: Spec) -> dict[str, bytes]:
    kind, name = keys.object_type(ref["key"])
    if kind in ("cert", "key"):
        raise ProviderError(f"cannot get use dataFrom to get {'certificate' if kind == 'cert' else 'key'} secret")
    if kind != "secret":
        raise ProviderError(f"unknown Azure Keyvault object Type for {name}")
    text = (await _get(provider, ref)).decode()
    try:
        gojson.check(text)
    except gojson.GoJsonError as error:
        raise ProviderError(f"error unmarshalling json data: {error}") from None
    found = gojson.kind(text)
    if found == "null":
        return {}
    if found != "object":
        raise ProviderError(
            f"error unmarshalling json data: json: cannot unmarshal {found} into Go value of type "
            "map[string]json.RawMessage"
        )
    return {_well_formed(key): _member(raw) for key, raw in gojson.members(text)}


def _member(raw: str) -> bytes:
    """Strings without their quotes, null as nothing, all else as it is written."""
    if raw == "null":
        return b""
    return _well_formed(gojson.string(raw)).encode() if raw.startswith('"') else raw.encode()


def _well_formed(text: str) -> str:
    """Go puts U+FFFD in the place of lone surrogates."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


async def _find(provider: Provider, ref: Spec) -> dict[str, bytes]:
    """``path`` means nothing to this provider; disabled secrets are left out without a word."""
    pattern = (ref.get("name") or {}).get("regexp", "")
    tags = ref.get("tags") or {}
    matches = patterns.compiled(pattern)
    values: dict[str, bytes] = {}
    try:
        async for listed in provider.list():
            if listed.enabled and tags.items() <= listed.tags.items() and matches.search(listed.name):
                values[listed.name] = (await provider.get(listed.name, "")).encode("utf-8", "replace")
    except NoSecret:
        raise
    except ProviderError as error:
        raise ProviderError(f"error getting all secrets: {error}") from None
    return values
