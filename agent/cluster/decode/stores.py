"""SecretStores and ClusterSecretStores."""

from __future__ import annotations

import msgspec

from agent.cluster.decode.sharing import word
from agent.cluster.decode.wire import EMPTY, Meta, Unfit, Wire, key_of, present, spec_changed
from agent.fingerprint import Fingerprints
from agent.mapping import vault_host
from agent.model import SecretStore, StoreKey


class Azure(Wire):
    """spec.provider.azurekv."""

    vault_url: str | None = None


class SpecWire(Wire):
    """spec."""

    provider: dict[str, msgspec.Raw] | None = None
    controller: str | None = None


class StoreWire(Wire):
    """The object."""

    metadata: Meta
    spec: SpecWire


_azure = msgspec.json.Decoder(Azure)


def secret_store(wire: StoreWire, _: Fingerprints | None) -> SecretStore:
    """A store of a namespace."""
    key = key_of(wire.metadata)
    return _store(wire, StoreKey("SecretStore", key.namespace, key.name))


def cluster_secret_store(wire: StoreWire, _: Fingerprints | None) -> SecretStore:
    """A store of the whole cluster."""
    return _store(wire, StoreKey("ClusterSecretStore", "", wire.metadata.name))


def _store(wire: StoreWire, key: StoreKey) -> SecretStore:
    providers = wire.spec.provider or {}
    azure = providers.get("azurekv", EMPTY)
    provider = "azurekv" if present(azure) else next(iter(providers), "")
    host, refused = ("", "") if not present(azure) else vault_host(_url(azure))
    return SecretStore(
        key=key,
        provider=word(provider),
        host=word(host),
        controller=wire.spec.controller or "",
        changed=spec_changed(wire.metadata),
        refused=refused,
    )


def _url(azure: msgspec.Raw) -> str:
    try:
        return _azure.decode(azure).vault_url or ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unfit("spec.provider.azurekv.vaultUrl", "is no text") from None
