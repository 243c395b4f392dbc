"""Whole collections and single objects, decoded to the domain page by page; nothing of a page outlives its decoding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from agent.cluster.connection import Answer, Connection, Pending
from agent.cluster.decode import BadAnswer, Malformed, decode_object, decode_page
from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.notes import rfc3339
from agent.cluster.resources import RESOURCES, Resource
from agent.fingerprint import Fingerprints
from agent.model import Budget, ObjectKey

Keep = Callable[[Any], bool]

_RESTARTS = 3
_PAGE_BYTES = 2 << 20
"""Of a page, from the second on: while one is decoded, 10 ms for so much, nobody else has a turn, a probe included."""
_SMALLEST_PAGE = 25
_CONTINUE = re.compile(rb'(?:(?!"items":).)*?"metadata":\s*\{[^{}]*?"continue":\s*"([^"\\]+)"')


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One consistent state of a collection: what it held at ``resource_version``."""

    items: list[Any]
    """Domain objects, those only that ``keep`` let pass."""
    resource_version: str
    asked_at: float
    """API server's clock just before the request that fixed the state: an object absent here was absent then."""
    answered_at: float
    """API server's clock after the last page."""
    malformed: tuple[Malformed, ...] = ()
    bytes: int = 0
    """Size of all pages."""


def list_all(
    conn: Connection,
    resource: str,
    namespace: str | None = None,
    *,
    fingerprints: Fingerprints | None = None,
    label_selector: str = "",
    field_selector: str = "",
    page: int = 500,
    keep: Keep | None = None,
    resource_version: str = "",
) -> Listing:
    """All objects of one kind, in all namespaces where ``namespace`` is None.

    ``resource_version``: exactly the state of then, where the server still has it; else the newest state.
    A list whose continuation expires midway (410) begins anew with pages twice the size, at last without pages.
    Raises ApiProblem, Unreachable, BadAnswer.
    """
    query = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    if resource_version:
        query |= {"resourceVersion": resource_version, "resourceVersionMatch": "Exact"}
    pages = _Pages(conn, RESOURCES[resource], namespace, query, fingerprints, keep)
    for _ in range(_RESTARTS):
        try:
            return pages.read(page)
        except ApiProblem as error:
            if error.code != 410 or not pages.midway:
                raise
            page *= 2
    return pages.read(0)


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str


class _Versioned(msgspec.Struct):
    metadata: _Version


class _Pages:
    """One listing in the making."""

    def __init__(
        self,
        conn: Connection,
        resource: Resource,
        namespace: str | None,
        query: dict[str, str],
        fingerprints: Fingerprints | None,
        keep: Keep | None,
    ) -> None:
        self._conn, self._resource, self._namespace = conn, resource, namespace
        self._query, self._fingerprints, self._keep = query, fingerprints, keep
        self.midway = False
        """The first page came: a 410 now means an expired continuation, not that the version asked for is gone."""

    def read(self, limit: int) -> Listing:
        """From the first page to the last; ``limit`` 0 asks for all in one answer."""
        self.midway = False
        items: list[Any] = []
        malformed: list[Malformed] = []
        size = 0
        self._conn.server_now()  # asked for, where it is not known yet
        asked_at, _ = self._conn.clock.server_bounds()
        body = self._get(limit, "").body
        with ThreadPoolExecutor(1, "next-page") as ahead:
            while True:
                self.midway = True
                size += len(body)
                if limit > _SMALLEST_PAGE and len(body) > _PAGE_BYTES:
                    limit = max(_SMALLEST_PAGE, limit * _PAGE_BYTES // len(body))
                token = _continuation(body)
                coming = ahead.submit(self._begin, limit, token) if token else None
                page = decode_page(self._resource.plural, body, self._fingerprints)
                del body  # before the next is there
                items += page.items if self._keep is None else filter(self._keep, page.items)
                malformed += page.malformed
                if not page.continue_token:
                    break
                body = self._awaited(coming) if coming is not None and token == page.continue_token else b""
                if not body:
                    body = self._get(limit, page.continue_token).body
        return Listing(
            items=items,
            resource_version=page.resource_version,
            asked_at=asked_at,
            answered_at=self._conn.clock.server_bounds()[1],
            malformed=tuple(malformed),
            bytes=size,
        )

    def _begin(self, limit: int, token: str) -> Pending:
        return self._conn.begin(
            self._resource.path(self._namespace), query=self._asked(limit, token), accept=self._resource.accept,
            read_timeout=60.0,
        )  # fmt: skip

    def _awaited(self, coming: Future[Pending]) -> bytes:
        """The page asked for ahead; empty where it did not come: then it is asked for again, patiently."""
        try:
            return coming.result()().body
        except Unreachable:
            return b""
        except ApiProblem as error:
            if error.code != 429 and error.code < 500:
                raise
            return b""

    def _get(self, limit: int, token: str) -> Answer:
        path = self._resource.path(self._namespace)
        query = self._asked(limit, token)
        return self._conn.request("GET", path, query=query, accept=self._resource.accept, read_timeout=60.0)

    def _asked(self, limit: int, token: str) -> dict[str, str]:
        query = {"limit": str(limit)} if limit else {}
        if token:
            # The token carries the version; the API refuses both together.
            query |= {k: v for k, v in self._query.items() if not k.startswith("resourceVersion")} | {"continue": token}
        else:
            query |= self._query
        return query


def _continuation(body: bytes) -> str:
    """The token of the next page, found before the page is decoded, so that the next can be under way meanwhile.

    API servers write the metadata of a list before its items. Empty where they do not: then nothing is gained or lost.
    """
    found = _CONTINUE.match(body[:4096])
    return found[1].decode("ascii", "replace") if found else ""


def get(
    conn: Connection,
    resource: str,
    key: ObjectKey,
    *,
    fingerprints: Fingerprints | None = None,
    patience: float | None = None,
) -> Any | Malformed | None:
    """One object; None if there is none of that name; Malformed if it cannot be used.

    ``patience``: see ``Connection.request``. Raises ApiProblem, Unreachable.
    """
    table = RESOURCES[resource]
    try:
        path = table.path(key.namespace if table.namespaced else None, key.name)
    except ValueError:
        return None
    try:
        answer = conn.request("GET", path, patience=patience)
    except ApiProblem as error:
        if error.code == 404:
            return None
        raise
    return decode_object(resource, answer.body, fingerprints)


def version_of(conn: Connection, resource: str, key: ObjectKey) -> str:
    """The resourceVersion that an object has now, for a write that must hit this very state.

    Raises ApiProblem (404 for an absent one), Unreachable, BadAnswer.
    """
    body = conn.request("GET", RESOURCES[resource].path(key.namespace, key.name)).body
    try:
        return msgspec.json.decode(body, type=_Versioned).metadata.resource_version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer(f"{resource} {key} cannot be read") from None


def budgets(conn: Connection, namespace: str) -> list[Budget]:
    """The PodDisruptionBudgets of a namespace. Raises ApiProblem, Unreachable, BadAnswer.

    One that cannot be read raises BadAnswer: what it forbids would else be allowed.
    """
    listing = list_all(conn, "poddisruptionbudgets", namespace)
    if listing.malformed:
        raise BadAnswer(str(listing.malformed[0]))
    return listing.items


def pod_log(
    conn: Connection,
    key: ObjectKey,
    container: str,
    *,
    since: float | None = None,
    limit_bytes: int = 1 << 20,
    tail: int | None = None,
    previous: bool = False,
) -> Iterator[str]:
    """The lines of a container's log so far, oldest first, one that the limit cuts included.

    ``since``: unix seconds of the API server's clock, rounded down. ``tail``: only so many of the last lines.
    ``previous``: of the run before. Raises ApiProblem (404 for an absent pod, 400 for a container without a log yet),
    Unreachable.
    """
    query = {"container": container, "limitBytes": str(limit_bytes)}
    if since is not None:
        query["sinceTime"] = rfc3339(since)
    if tail is not None:
        query["tailLines"] = str(tail)
    if previous:
        query["previous"] = "true"
    path = RESOURCES["pods"].path(key.namespace, key.name, "log")
    body = conn.request("GET", path, query=query, accept="*/*").body
    text = body[:limit_bytes].decode("utf-8", "replace")
    return (line.rstrip("\r") for line in text.removesuffix("\n").split("\n") if text)
