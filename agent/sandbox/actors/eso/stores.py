"""SecretStores and ClusterSecretStores: their validation, and the way from a storeRef to a vault."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from agent.sandbox.actors.controller.objects import ready
from agent.sandbox.actors.eso.cache import Cache, Key
from agent.sandbox.actors.eso.errors import NotReproducible, ProviderError
from agent.sandbox.actors.eso.status import with_condition
from agent.sandbox.actors.eso.values import Provider
from agent.sandbox.actors.eso.vault import VaultReader
from agent.sandbox.client import CLUSTER_SECRET_STORES, NAMESPACES, SECRET_STORES, ApiError, KubeClient, Object
from agent.sandbox.clock import WorldClock

CONTROLLER_CLASS = "default"
_log = logging.getLogger(__name__)


class Stores:
    """The stores of the cluster. Azure's are always valid: ESO asks the vault nothing when it validates one."""

    def __init__(self, client: KubeClient, clock: WorldClock, reader: VaultReader) -> None:
        self._client, self._clock, self._reader = client, clock, reader
        self.namespaced = Cache(client, SECRET_STORES, self._changed)
        self.cluster = Cache(client, CLUSTER_SECRET_STORES, self._changed)

    async def validate(self, store: Object) -> Object:
        """Set ``Ready`` (reason Valid) where it is not yet set; answers the store as it then is."""
        if not is_ours(store) or ready(store) or not _azure(store):
            return store
        cache = self.cluster if store["metadata"].get("namespace") is None else self.namespaced
        conditions = with_condition(
            list((store.get("status") or {}).get("conditions") or []),
            self._clock, status="True", reason="Valid", message="store validated",
        )  # fmt: skip
        patch = {"status": {"capabilities": "ReadWrite", "conditions": conditions}}
        metadata = store["metadata"]
        answer = await self._client.merge_patch(
            cache.resource, metadata.get("namespace"), metadata["name"], patch, subresource="status"
        )
        return cache.wrote(answer)

    async def find(self, ref: Mapping[str, Any], namespace: str) -> Object | None:
        """The store of a ref, None if there is none. One that the watch has not shown yet is asked for."""
        name = ref.get("name", "")
        cache, key = self.namespaced, (namespace, name)
        if ref.get("kind") == "ClusterSecretStore":
            cache, key = self.cluster, ("", name)
        store = cache.get(key)
        if store is None and name:
            store = await self._client.get_or_none(cache.resource, key[0] or None, name)
        return store

    async def open(self, ref: Mapping[str, Any], namespace: str, clients: dict[Key, Provider]) -> Provider:
        """The vault of a ref; ``clients`` are those of this sync. Raises ProviderError, NotReproducible."""
        kind = ref.get("kind") or "SecretStore"
        name = ref.get("name", "")
        store = await self.find(ref, namespace)
        if store is None:
            raise ProviderError(f'could not get {kind} "{name}", {kind}.external-secrets.io "{name}" not found')
        if not is_ours(store):
            raise ProviderError("can not reference unmanaged store")
        azure = _azure(store)
        if azure is None:
            raise NotReproducible(f"{kind} {name}: a provider other than azurekv")
        if kind == "ClusterSecretStore" and not await self._allows(store, namespace):
            raise ProviderError(
                f'using cluster store "{name}" is not allowed from namespace "{namespace}": denied by spec.condition'
            )
        if not ready(await self.validate(store)):
            raise ProviderError(f'{kind} "{name}" is not ready')
        if (kind, name) not in clients:
            clients[kind, name] = self._reader.open(
                _vault_url(azure, name), new_sdk=bool(azure.get("useAzureSDK")), tenant=azure.get("tenantId", "")
            )
        return clients[kind, name]

    async def _allows(self, store: Object, namespace: str) -> bool:
        conditions = store["spec"].get("conditions") or []
        if not conditions:
            return True
        labels = (await self._client.get(NAMESPACES, None, namespace))["metadata"].get("labels") or {}
        return any(_admits(condition, namespace, labels) for condition in conditions)

    async def _changed(self, kind: str, store: Object) -> None:
        if kind == "DELETED":
            return
        try:
            await self.validate(store)
        except (ApiError, KeyError, TypeError, AttributeError) as error:
            _log.warning("store %s is not validated: %r", store["metadata"]["name"], error)


def is_ours(store: Object) -> bool:
    """Whether the store's controller class is that of this ESO."""
    return store["spec"].get("controller", "") in ("", CONTROLLER_CLASS)


def store_refs(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All storeRefs of an ExternalSecret's spec."""
    refs = [spec["secretStoreRef"]] if (spec.get("secretStoreRef") or {}).get("name") else []
    for entry in [*(spec.get("data") or []), *(spec.get("dataFrom") or [])]:
        if ref := (entry.get("sourceRef") or {}).get("storeRef"):
            refs.append(ref)
    return refs


def _azure(store: Object) -> Mapping[str, Any] | None:
    azure: Mapping[str, Any] | None = (store["spec"].get("provider") or {}).get("azurekv")
    return azure


def _vault_url(azure: Mapping[str, Any], store: str) -> str:
    url = azure.get("vaultUrl", "")
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path.rstrip("/"):
        raise NotReproducible(f"store {store}: the vaultUrl {url!r}")
    return f"https://{parts.netloc}"


def _admits(condition: Mapping[str, Any], namespace: str, labels: Mapping[str, str]) -> bool:
    selector = condition.get("namespaceSelector")
    if selector is not None:
        if selector.get("matchExpressions"):
            raise NotReproducible("matchExpressions in the conditions of a ClusterSecretStore")
        if (selector.get("matchLabels") or {}).items() <= labels.items():
            return True
    if namespace in (condition.get("namespaces") or []):
        return True
    return any(re.search(regex, namespace) for regex in condition.get("namespaceRegexes") or [])
