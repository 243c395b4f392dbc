"""The plain HTTP client of the sandbox's actors.

The actors (ESO, workload controllers, scheduler and kubelet) speak to an API server through this file alone: JSON over
HTTPS, list and watch. They hold no reference to the sandbox's own server, so that the same actors bring a real
kube-apiserver to life.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

Object = dict[str, Any]
Objects = list[Object]  # by a name of its own: inside KubeClient, `list` is a method


class ApiError(Exception):
    """The API server answered with a ``Status`` that is not a success."""

    def __init__(self, code: int, status: Object) -> None:
        self.code = code
        self.status = status
        self.reason: str = status.get("reason", "")
        super().__init__(f"{code} {self.reason}: {status.get('message', '')}")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind as the API server serves it: ``Resource(group="apps", version="v1", plural="deployments")``."""

    group: str = ""
    version: str = "v1"
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection (all namespaces where None), object or subresource."""
        parts = ["/api" if not self.group else f"/apis/{self.group}", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


NAMESPACES = Resource(plural="namespaces", namespaced=False)
NODES = Resource(plural="nodes", namespaced=False)
PODS = Resource(plural="pods")
SECRETS = Resource(plural="secrets")
CONFIG_MAPS = Resource(plural="configmaps")
EVENTS = Resource(plural="events")
SERVICE_ACCOUNTS = Resource(plural="serviceaccounts")
DEPLOYMENTS = Resource(group="apps", plural="deployments")
REPLICA_SETS = Resource(group="apps", plural="replicasets")
STATEFUL_SETS = Resource(group="apps", plural="statefulsets")
DAEMON_SETS = Resource(group="apps", plural="daemonsets")
JOBS = Resource(group="batch", plural="jobs")
CRON_JOBS = Resource(group="batch", plural="cronjobs")
PDBS = Resource(group="policy", plural="poddisruptionbudgets")
LEASES = Resource(group="coordination.k8s.io", plural="leases")
EXTERNAL_SECRETS = Resource(group="external-secrets.io", plural="externalsecrets")
SECRET_STORES = Resource(group="external-secrets.io", plural="secretstores")
CLUSTER_SECRET_STORES = Resource(group="external-secrets.io", plural="clustersecretstores", namespaced=False)
CLUSTER_EXTERNAL_SECRETS = Resource(group="external-secrets.io", plural="clusterexternalsecrets", namespaced=False)
PUSH_SECRETS = Resource(group="external-secrets.io", version="v1alpha1", plural="pushsecrets")


class KubeClient:
    """JSON verbs on an API server. ``field_manager`` is sent with every write, as a controller's client does.

    ``socket``: the path of a Unix socket at which the server listens in the same process. It is spoken to there in
    plain HTTP: of a small world's CPU a third was its own actors' TLS, which nobody looks at.
    """

    def __init__(
        self, base_url: str, *, tls: ssl.SSLContext, token: str = "", field_manager: str, socket: str = ""
    ) -> None:
        self.base_url = "http://api" if socket else base_url.rstrip("/")
        self.field_manager = field_manager
        self._tls, self._socket = tls, socket
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> KubeClient:
        connector: aiohttp.BaseConnector
        if self._socket:
            connector = aiohttp.UnixConnector(self._socket, limit=0)
        else:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, read_bufsize=2**22)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("KubeClient is used outside 'async with'")
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        """One JSON request. Raises ApiError for every answer of 400 and above."""
        params = dict(query or {})
        if method in ("POST", "PUT", "PATCH"):
            params.setdefault("fieldManager", self.field_manager)
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        url = self.base_url + path
        async with self.session.request(method, url, params=params, data=data, headers=headers) as answer:
            raw = await answer.read()
            try:
                decoded = json.loads(raw) if raw else {}
            except ValueError:
                decoded = {"message": raw[:200].decode(errors="replace")}
            if answer.status >= 400:
                raise ApiError(answer.status, decoded if isinstance(decoded, dict) else {})
            return decoded

    async def get(self, res: Resource, namespace: str | None, name: str) -> Object:
        return await self.request("GET", res.path(namespace, name))

    async def get_or_none(self, res: Resource, namespace: str | None, name: str) -> Object | None:
        try:
            return await self.get(res, namespace, name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def list(self, res: Resource, namespace: str | None = None, **query: str) -> Objects:
        """All items (all pages of 500), each with apiVersion and kind left as the server sent them."""
        return (await self.list_with_version(res, namespace, **query))[0]

    async def list_with_version(self, res: Resource, namespace: str | None = None, **query: str) -> tuple[Objects, str]:
        items: list[Object] = []
        params = {"limit": "500", **query}
        while True:
            page = await self.request("GET", res.path(namespace), query=params)
            items += page.get("items") or []
            token = page.get("metadata", {}).get("continue")
            if not token:
                return items, page["metadata"]["resourceVersion"]
            params["continue"] = token

    async def create(self, res: Resource, namespace: str | None, body: Object) -> Object:
        return await self.request("POST", res.path(namespace), body=body)

    async def replace(
        self, res: Resource, namespace: str | None, body: Object, *, subresource: str | None = None
    ) -> Object:
        return await self.request("PUT", res.path(namespace, body["metadata"]["name"], subresource), body=body)

    async def merge_patch(
        self, res: Resource, namespace: str | None, name: str, patch: Object, *, subresource: str | None = None
    ) -> Object:
        path = res.path(namespace, name, subresource)
        return await self.request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    async def delete(
        self,
        res: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_seconds: int | None = None,
        preconditions: Object | None = None,
    ) -> Object:
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if preconditions:
            body["preconditions"] = preconditions
        return await self.request("DELETE", res.path(namespace, name), body=body)

    async def watch(
        self, res: Resource, resource_version: str, namespace: str | None = None, **query: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """(type, object) from one watch request until the server ends it. Raises ApiError(410) when told so."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": "300",
            **query,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_read=330)
        async with self.session.get(self.base_url + res.path(namespace), params=params, timeout=timeout) as answer:
            if answer.status >= 400:
                with contextlib.suppress(ValueError, aiohttp.ClientError):
                    raise ApiError(answer.status, await answer.json())
                raise ApiError(answer.status, {})
            while line := await answer.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"])
                yield event["type"], event["object"]


class Mirror:
    """A list kept current by a watch: ``objects[namespace, name]``; each change calls ``on_change(type, object)``."""

    def __init__(
        self,
        client: KubeClient,
        res: Resource,
        on_change: Callable[[str, Object], Awaitable[None] | None] | None = None,
        **query: str,
    ) -> None:
        self._client, self._res, self._on_change, self._query = client, res, on_change, query
        self.objects: dict[tuple[str, str], Object] = {}
        self.synced = asyncio.Event()

    async def _tell(self, kind: str, obj: Object) -> None:
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if kind == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = obj
        if self._on_change and (pending := self._on_change(kind, obj)) is not None:
            await pending

    async def run(self) -> None:
        """List, then watch, for ever; any failure lists anew after a short wait."""
        pause = 0.05
        while True:
            try:
                items, version = await self._client.list_with_version(self._res, **self._query)
                seen = {(o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in items}
                for key in [k for k in self.objects if k not in seen]:
                    await self._tell("DELETED", self.objects[key])
                for obj in items:
                    await self._tell("MODIFIED", obj)
                self.synced.set()
                pause = 0.05
                while True:
                    async for kind, obj in self._client.watch(self._res, version, **self._query):
                        version = obj["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            await self._tell(kind, obj)
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
