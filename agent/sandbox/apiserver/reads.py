"""get and list: whole, by pages of one consistent snapshot, or metadata only."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from agent.sandbox.apiserver.kinds import Kind
from agent.sandbox.apiserver.selectors import Selection, selection
from agent.sandbox.apiserver.status import StatusError, bad_request, expired, too_large_resource_version
from agent.sandbox.apiserver.store import Store, Stored, full
from agent.sandbox.clock import WorldClock

_PARTIAL_HEAD = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":'
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class _Metadata(msgspec.Struct):
    metadata: msgspec.Raw


class _Token(msgspec.Struct):
    v: str
    rv: int
    start: str


class _ListMeta(msgspec.Struct, omit_defaults=True, rename="camel"):
    resource_version: str
    continue_: str = msgspec.field(name="continue", default="")
    remaining_item_count: int = 0


_metadata_of = msgspec.json.Decoder(_Metadata).decode
_token_of = msgspec.json.Decoder(_Token).decode


def partial(stored: Stored) -> bytes:
    """The object as PartialObjectMetadata."""
    return _PARTIAL_HEAD + bytes(_metadata_of(stored.raw).metadata) + b"}"


@dataclass(frozen=True)
class _Snapshot:
    items: list[Stored]
    keys: list[str]
    taken: float


_SnapshotKey = tuple[Kind, str | None, str, str, int]


class Reads:
    """The reading verbs on a store. ``continue_ttl``: world seconds for which a continue token stays good."""

    def __init__(self, store: Store, clock: WorldClock) -> None:
        self.store = store
        self.clock = clock
        self.continue_ttl = 300.0
        self._snapshots: dict[_SnapshotKey, _Snapshot] = {}

    def forget_snapshots(self) -> None:
        """Let every continue token handed out so far be too old."""
        self._snapshots.clear()

    def listing(
        self, kind: Kind, namespace: str | None, query: Mapping[str, str], *, metadata_only: bool = False
    ) -> bytes:
        """The encoded list. Raises StatusError 400, 410 or 504."""
        wanted, limit = selection(kind, query), _whole(query, "limit")
        if token := query.get("continue"):
            return self._next_page(kind, namespace, query, wanted, limit, token, metadata_only)
        items, rv = self._state(kind, namespace, query)
        if not wanted.everything:
            items = [stored for stored in items if wanted.matches(stored)]
        if not limit or len(items) <= limit:
            return _encoded(kind, items, _ListMeta(str(rv)), metadata_only)
        snapshot = _Snapshot(items, [stored.key for stored in items], self.clock.now())
        self._purge()
        self._snapshots[_snapshot_key(kind, namespace, query, rv)] = snapshot
        return self._page(kind, snapshot, 0, limit, rv, wanted, metadata_only)

    def _state(self, kind: Kind, namespace: str | None, query: Mapping[str, str]) -> tuple[list[Stored], int]:
        asked, match = _whole(query, "resourceVersion"), query.get("resourceVersionMatch", "")
        if asked > self.store.rv:
            raise too_large_resource_version(asked, self.store.rv)
        exact = match == "Exact" or (asked and query.get("limit") and match != "NotOlderThan")
        if exact and asked and asked != self.store.rv:
            return self.store.state_at(kind, asked, namespace), asked
        return self.store.scan(kind, namespace), self.store.rv

    def _next_page(
        self,
        kind: Kind,
        namespace: str | None,
        query: Mapping[str, str],
        wanted: Selection,
        limit: int,
        token: str,
        metadata_only: bool,
    ) -> bytes:
        try:
            place = _token_of(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except (ValueError, msgspec.MsgspecError) as error:
            raise bad_request("continue key is not valid: encountered an unexpected character") from error
        if place.rv < 0:  # the inconsistent rest that an expired answer offered
            items = [stored for stored in self.store.scan(kind, namespace) if wanted.matches(stored)]
            snapshot = _Snapshot(items, [stored.key for stored in items], self.clock.now())
            place.rv = self.store.rv
            self._snapshots[_snapshot_key(kind, namespace, query, place.rv)] = snapshot
        else:
            self._purge()
            found = self._snapshots.get(_snapshot_key(kind, namespace, query, place.rv))
            if found is None:
                raise _too_old(place)
            snapshot = found
        return self._page(
            kind, snapshot, bisect_right(snapshot.keys, place.start), limit, place.rv, wanted, metadata_only
        )

    def _page(
        self, kind: Kind, snapshot: _Snapshot, start: int, limit: int, rv: int, wanted: Selection, metadata_only: bool
    ) -> bytes:
        end = min(len(snapshot.items), start + limit) if limit else len(snapshot.items)
        meta, left = _ListMeta(str(rv)), len(snapshot.items) - end
        if left > 0:
            meta.continue_ = _encoded_token(_Token("meta.k8s.io/v1", rv, snapshot.keys[end - 1]))
            if wanted.everything:  # with a selector the real server does not know the number either
                meta.remaining_item_count = left
        return _encoded(kind, snapshot.items[start:end], meta, metadata_only)

    def _purge(self) -> None:
        oldest = self.clock.now() - self.continue_ttl
        for key in [key for key, snapshot in self._snapshots.items() if snapshot.taken <= oldest]:
            del self._snapshots[key]


def _snapshot_key(kind: Kind, namespace: str | None, query: Mapping[str, str], rv: int) -> _SnapshotKey:
    return kind, namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""), rv


def _whole(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a whole number')
    return int(text)


def _encoded_token(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _too_old(place: _Token) -> StatusError:
    return expired(_TOO_OLD, {"continue": _encoded_token(_Token(place.v, -1, place.start))})


def _encoded(kind: Kind, items: list[Stored], meta: _ListMeta, metadata_only: bool) -> bytes:
    name, version = kind.list_kind, kind.api_version
    if metadata_only:
        name, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        parts = [partial(stored) for stored in items]
    elif kind.custom:
        parts = [full(kind, stored) for stored in items]
    else:
        parts = [stored.raw for stored in items]
    head = msgspec.json.encode({"kind": name, "apiVersion": version, "metadata": meta})
    return head[:-1] + b',"items":[' + b",".join(parts) + b"]}"
