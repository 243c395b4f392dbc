"""From the API server's bytes to the domain, without anything in between that lives longer than a page.

A page is decoded in one go, as nearly every page can be. One that cannot is cut into its objects, and each is decoded
by itself, so that a malformed one costs only itself: it is named, with its field, and the rest goes on. Cutting first
would read every byte twice (pods: 26 us each against 20).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from agent.cluster.decode import externalsecrets, others, pods, secrets, stores, workloads
from agent.cluster.decode.page import BadAnswer, DomainObject, Event, Malformed, Page
from agent.cluster.decode.shallow import shallow
from agent.cluster.decode.wire import EMPTY, Unfit, Wire, located
from agent.fingerprint import Fingerprints
from agent.model import ObjectKey

__all__ = [
    "RESOURCES",
    "BadAnswer",
    "DomainObject",
    "Event",
    "Malformed",
    "Page",
    "decode_event",
    "decode_object",
    "decode_page",
]

_T = TypeVar("_T")
_BROKEN = (Unfit, msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ListMeta(
    Wire,
    rename={"continue_token": "continue", "resource_version": "resourceVersion", "remaining": "remainingItemCount"},
):
    """metadata of a list."""

    resource_version: str = ""
    continue_token: str | None = None
    remaining: int | None = None


class ListWire(Wire, Generic[_T]):
    """A list of objects; the API server may write an empty list as null."""

    items: list[_T] | None
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class LineWire(Wire):
    """One line of a watch."""

    type: str
    object: msgspec.Raw = EMPTY


class SketchMeta(Wire):
    """The least that is worth saving of an object's metadata; each may have any type."""

    name: msgspec.Raw = EMPTY
    namespace: msgspec.Raw = EMPTY
    resource_version: msgspec.Raw = EMPTY
    annotations: dict[str, msgspec.Raw] | None = None


class Sketch(Wire):
    """What can be said of an object that does not decode."""

    metadata: SketchMeta = msgspec.field(default_factory=SketchMeta)
    code: int = 0
    reason: str | None = None


class _Kind:
    """One resource: its wire shape, and what is made of it."""

    def __init__(self, wire: type[Any], project: Callable[[Any, Fingerprints | None], DomainObject]) -> None:
        self.project = project
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(wire)
        self.list: msgspec.json.Decoder[ListWire[Any]] = msgspec.json.Decoder(ListWire[wire])  # type: ignore[valid-type]


_KINDS = {
    "externalsecrets": _Kind(externalsecrets.ExternalSecretWire, externalsecrets.external_secret),
    "secretstores": _Kind(stores.StoreWire, stores.secret_store),
    "clustersecretstores": _Kind(stores.StoreWire, stores.cluster_secret_store),
    "secrets": _Kind(secrets.SecretWire, secrets.secret_view),
    "pods": _Kind(pods.PodWire, pods.pod),
    "deployments": _Kind(workloads.WorkloadWire, workloads.deployment),
    "statefulsets": _Kind(workloads.WorkloadWire, workloads.stateful_set),
    "daemonsets": _Kind(workloads.WorkloadWire, workloads.daemon_set),
    "replicasets": _Kind(workloads.ReplicaSetWire, workloads.replica_set),
    "namespaces": _Kind(others.NamespaceWire, others.namespace),
    "nodes": _Kind(others.NodeWire, others.node),
    "poddisruptionbudgets": _Kind(others.BudgetWire, others.budget),
    "pushsecrets": _Kind(others.PushWire, others.push_source),
}
RESOURCES = frozenset(_KINDS)
"""Every resource that can be decoded, by plural."""

_ONE_BY_ONE = frozenset({"secrets"})
"""Of these no more than one object at a time is decoded: its values are dropped before the next is read."""
_list = msgspec.json.Decoder(ListWire[msgspec.Raw])
_line = msgspec.json.Decoder(LineWire)
_sketch = msgspec.json.Decoder(Sketch)
_any = msgspec.json.Decoder(msgspec.Raw)
_text = msgspec.json.Decoder(str)


def decode_page(resource: str, body: bytes, fingerprints: Fingerprints | None = None) -> Page:
    """One page of a list. Objects that cannot be used are named in ``malformed``.

    Without ``fingerprints`` Secrets come without any word on their data. Raises BadAnswer only for what is no list.
    """
    if resource not in _ONE_BY_ONE:
        try:
            return _whole_page(_KINDS[resource], body)
        except _BROKEN:
            pass  # one object of it, or all of it: the other way tells
    return _page_by_object(resource, body, fingerprints)


def _whole_page(kind: _Kind, body: bytes) -> Page:
    listing, project = kind.list.decode(body), kind.project
    return _page(listing, [project(wire, None) for wire in listing.items or ()], [])


def _page_by_object(resource: str, body: bytes, fingerprints: Fingerprints | None) -> Page:
    listing = _listed(body)
    decode, project = _KINDS[resource].decoder.decode, _KINDS[resource].project
    items: list[DomainObject] = []
    malformed: list[Malformed] = []
    for text in listing.items or ():
        try:
            items.append(project(decode(text), fingerprints))
        except _BROKEN as problem:
            malformed.append(_named(resource, text, problem))
    return _page(listing, items, malformed)


def _page(listing: ListWire[Any], items: list[DomainObject], malformed: list[Malformed]) -> Page:
    return Page(
        items=items,
        resource_version=listing.metadata.resource_version,
        continue_token=listing.metadata.continue_token or "",
        malformed=malformed,
        remaining=listing.metadata.remaining,
    )


def decode_object(resource: str, body: bytes, fingerprints: Fingerprints | None = None) -> DomainObject | Malformed:
    """One object, as a get or a patch answers it."""
    try:
        text = _whole(_any, body)
    except _BROKEN as problem:
        return Malformed(resource, None, *located(problem))
    return _decoded(resource, text, fingerprints)


def decode_event(resource: str, line: bytes, fingerprints: Fingerprints | None = None) -> Event:
    """One line of a watch. Raises BadAnswer for what is no event."""
    try:
        event = _whole(_line, line)
    except _BROKEN:
        raise BadAnswer("a line of a watch is no event") from None
    sketch = _sketched(event.object)
    version = _plain(sketch.metadata.resource_version)
    if event.type == "BOOKMARK":
        ends = "k8s.io/initial-events-end" in (sketch.metadata.annotations or {})
        return Event(type=event.type, resource_version=version, initial_end=ends)
    if event.type == "ERROR":
        return Event(type=event.type, code=sketch.code, reason=sketch.reason or "")
    found = _decoded(resource, event.object, fingerprints)
    if isinstance(found, Malformed):
        return Event(type=event.type, resource_version=version, malformed=found)
    return Event(type=event.type, object=found, resource_version=version)


def _decoded(resource: str, text: msgspec.Raw, fingerprints: Fingerprints | None) -> DomainObject | Malformed:
    kind = _KINDS[resource]
    try:
        return kind.project(kind.decoder.decode(text), fingerprints)
    except _BROKEN as problem:
        return _named(resource, text, problem)


def _named(resource: str, text: msgspec.Raw, problem: Exception) -> Malformed:
    return Malformed(resource, _key(_sketched(text)), *located(problem))


def _listed(body: bytes) -> ListWire[msgspec.Raw]:
    try:
        return _whole(_list, body)
    except _BROKEN:
        raise BadAnswer("the answer is no JSON list") from None


def _whole(decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
    """Two things msgspec cannot even skip over, and either may be in one object of thousands: a depth of a thousand
    levels, and half a surrogate pair, which the standard library reads.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError):
        text = shallow(text)
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decoder.decode(_mended(text))


def _mended(text: bytes) -> bytes:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace")
    except ValueError:
        return b""


def _sketched(text: msgspec.Raw) -> Sketch:
    try:
        return _sketch.decode(text)
    except _BROKEN:
        return Sketch()


def _key(sketch: Sketch) -> ObjectKey | None:
    name = _plain(sketch.metadata.name)
    return ObjectKey(_plain(sketch.metadata.namespace), name) if name else None


def _plain(text: msgspec.Raw) -> str:
    try:
        return _text.decode(text)
    except _BROKEN:
        return ""
