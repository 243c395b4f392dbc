"""A node's view of Secrets and ConfigMaps.

A mutable object is read from the API server each time. An immutable one is read once and kept for as long as any pod
that the node knows refers to it, so a Secret deleted and made anew under its name keeps its old value there: the
terminating pods count too (kubernetes/kubernetes#131589).
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.sandbox.client import CONFIG_MAPS, SECRETS, KubeClient, Object

Source = tuple[str, str]
"""("Secret" or "ConfigMap", name)."""


def _container_sources(container: Object) -> Iterator[Source]:
    for env in container.get("env") or []:
        origin = env.get("valueFrom") or {}
        if ref := origin.get("secretKeyRef"):
            yield "Secret", ref["name"]
        if ref := origin.get("configMapKeyRef"):
            yield "ConfigMap", ref["name"]
    for each in container.get("envFrom") or []:
        if ref := each.get("secretRef"):
            yield "Secret", ref["name"]
        if ref := each.get("configMapRef"):
            yield "ConfigMap", ref["name"]


def volume_sources(volume: Object) -> set[Source]:
    """What a plain or projected volume is made of."""
    found: set[Source] = set()
    if secret := volume.get("secret"):
        found.add(("Secret", secret["secretName"]))
    if config_map := volume.get("configMap"):
        found.add(("ConfigMap", config_map["name"]))
    for part in (volume.get("projected") or {}).get("sources") or []:
        if secret := part.get("secret"):
            found.add(("Secret", secret["name"]))
        if config_map := part.get("configMap"):
            found.add(("ConfigMap", config_map["name"]))
    return found


def env_sources(container: Object) -> set[Source]:
    """What a container's environment is made of."""
    return set(_container_sources(container))


def pod_secrets(pod: Object) -> set[str]:
    """Every Secret that a pod refers to, by whatever way; this is what keeps a node's copy alive."""
    spec = pod["spec"]
    found = {s for v in spec.get("volumes") or [] for s in volume_sources(v)}
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        found |= env_sources(container)
    names = {name for kind, name in found if kind == "Secret"}
    return names | {ref["name"] for ref in spec.get("imagePullSecrets") or [] if ref.get("name")}


class NodeSecrets:
    """One node's reads. Raises ApiError and aiohttp's errors as the client does; an absent object is None."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._kept: dict[tuple[str, str], Object] = {}
        self._referrers: dict[tuple[str, str], set[str]] = {}

    async def read(self, namespace: str, source: Source) -> Object | None:
        kind, name = source
        if kind == "ConfigMap":
            return await self._client.get_or_none(CONFIG_MAPS, namespace, name)
        if kept := self._kept.get((namespace, name)):
            return kept
        found = await self._client.get_or_none(SECRETS, namespace, name)
        if found and found.get("immutable") and self._referrers.get((namespace, name)):
            self._kept[(namespace, name)] = found
        return found

    def refer(self, pod: Object) -> None:
        """The node got to know a pod."""
        for name in pod_secrets(pod):
            self._referrers.setdefault((pod["metadata"]["namespace"], name), set()).add(pod["metadata"]["uid"])

    def forget(self, pod: Object) -> None:
        """The pod is gone; copies that only it referred to go with it."""
        for name in pod_secrets(pod):
            key = (pod["metadata"]["namespace"], name)
            referrers = self._referrers.get(key, set())
            referrers.discard(pod["metadata"]["uid"])
            if not referrers:
                self._referrers.pop(key, None)
                self._kept.pop(key, None)
