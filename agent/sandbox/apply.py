"""Objects put into a cluster as a person would with ``kubectl``: created, or replaced where they exist."""

from __future__ import annotations

from agent.sandbox.apiserver.kinds import BY_NAME
from agent.sandbox.client import NAMESPACES, ApiError, KubeClient, Object, Resource

_FIRST = ("Namespace", "ClusterSecretStore", "SecretStore", "ConfigMap", "Secret", "ExternalSecret")
"""The order in which kinds are created; all others follow."""


def resource_of(obj: Object) -> Resource:
    """Where objects of this kind live. Raises KeyError that names the kind if it is not served."""
    try:
        kind = BY_NAME[obj.get("apiVersion", ""), obj.get("kind", "")]
    except KeyError:
        known = ", ".join(sorted({f"{version} {name}" for version, name in BY_NAME}))
        found = f"apiVersion {obj.get('apiVersion')!r} with kind {obj.get('kind')!r}"
        raise KeyError(f"{found} is not served here; known are {known}") from None
    return Resource(group=kind.group, version=kind.version, plural=kind.plural, namespaced=kind.namespaced)


class Applier:
    """Applies through one client. A namespaced object without a namespace goes to ``default``."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._namespaces: set[str] = set()

    async def apply(self, *objects: Object) -> None:
        """Create or replace, namespaces and what others need first; missing namespaces are created.

        A replaced object keeps labels, annotations and everything else of its metadata that is not named.
        Raises ApiError, KeyError for a kind that is not served.
        """
        order = {kind: rank for rank, kind in enumerate(_FIRST)}
        for obj in sorted(objects, key=lambda each: order.get(each.get("kind", ""), len(_FIRST))):
            await self._put(resource_of(obj), obj)

    async def _put(self, res: Resource, obj: Object) -> None:
        namespace = str(obj["metadata"].get("namespace") or "default") if res.namespaced else None
        if namespace:
            await self._require(namespace)
        while True:
            try:
                await self._client.create(res, namespace, obj)
                return
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            live = await self._client.get_or_none(res, namespace, obj["metadata"]["name"])
            if live is None:
                continue
            try:
                await self._client.replace(res, namespace, _over(live, obj))
                return
            except ApiError as error:
                if error.code not in (404, 409):
                    raise

    async def _require(self, namespace: str) -> None:
        if namespace in self._namespaces:
            return
        if await self._client.get_or_none(NAMESPACES, None, namespace) is None:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await self._client.create(NAMESPACES, None, body)
        self._namespaces.add(namespace)


def _over(live: Object, obj: Object) -> Object:
    metadata = {**live["metadata"], **obj["metadata"]}
    for marks in ("labels", "annotations"):
        metadata[marks] = {**(live["metadata"].get(marks) or {}), **(obj["metadata"].get(marks) or {})}
    return {**obj, "metadata": metadata}
