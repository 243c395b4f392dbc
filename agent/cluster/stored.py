"""ConfigMaps and Secrets of the agent's own namespace, as plain bytes by key: what the ledger is made of."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Literal

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem
from agent.cluster.resources import RESOURCES
from agent.model import ObjectKey

StoredKind = Literal["configmaps", "secrets"]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One ConfigMap or Secret. ``resource_version`` and ``uid`` are empty for one that is to be created.

    ``created``: when it was, unix seconds, by the API server, whom nobody who writes the object can make say otherwise;
    0 for one that is to be created.
    """

    kind: StoredKind
    key: ObjectKey
    data: dict[str, bytes]
    labels: dict[str, str] = {}
    resource_version: str = ""
    uid: str = ""
    created: float = 0.0

    def __repr__(self) -> str:
        return f"<Stored {self.kind} {self.key} at {self.resource_version or 'nothing'}: {sorted(self.data)}>"


class _Meta(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    creation_timestamp: datetime | None = None


class _Wire(msgspec.Struct, rename="camel"):
    metadata: _Meta
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None


class _ListMeta(msgspec.Struct):
    continue_: str = msgspec.field(name="continue", default="")


class _WireList(msgspec.Struct):
    metadata: _ListMeta
    items: list[_Wire]


def read_stored(conn: Connection, kind: StoredKind, key: ObjectKey) -> Stored | None:
    """One object, None if there is none. Raises ApiProblem, Unreachable, BadAnswer."""
    try:
        answer = conn.request("GET", RESOURCES[kind].path(key.namespace, key.name))
    except ApiProblem as error:
        if error.code == 404:
            return None
        raise
    return decode_stored(kind, answer.body)


def list_stored(conn: Connection, kind: StoredKind, namespace: str, *, label_selector: str) -> list[Stored]:
    """All objects that the selector matches. Raises ApiProblem, Unreachable, BadAnswer."""
    found: list[Stored] = []
    query = {"labelSelector": label_selector, "limit": "100"}
    while True:
        body = conn.request("GET", RESOURCES[kind].path(namespace), query=query).body
        try:
            page = msgspec.json.decode(body, type=_WireList)
            found += [_stored(kind, item) for item in page.items]
        except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError, RecursionError):
            raise BadAnswer(f"the list of {kind} in {namespace} cannot be read") from None
        if not page.metadata.continue_:
            return found
        query["continue"] = page.metadata.continue_


def decode_stored(kind: StoredKind, body: bytes) -> Stored:
    """From the API's JSON. Raises BadAnswer, whose words quote nothing."""
    try:
        return _stored(kind, msgspec.json.decode(body, type=_Wire))
    except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError, RecursionError):
        raise BadAnswer(f"an object of {kind} cannot be read") from None


def encode_stored(stored: Stored) -> bytes:
    """To the API's JSON. A ConfigMap's values must be UTF-8: else UnicodeDecodeError."""
    metadata: dict[str, object] = {"name": stored.key.name, "namespace": stored.key.namespace, "labels": stored.labels}
    if stored.resource_version:
        metadata["resourceVersion"] = stored.resource_version
    if stored.uid:
        metadata["uid"] = stored.uid
    secret = stored.kind == "secrets"
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": RESOURCES[stored.kind].kind,
            "metadata": metadata,
            "data": {k: base64.b64encode(v).decode() if secret else v.decode() for k, v in stored.data.items()},
        }
    )


def _stored(kind: StoredKind, wire: _Wire) -> Stored:
    if kind == "secrets":
        data = {k: base64.b64decode(v) for k, v in (wire.data or {}).items()}
    else:
        data = {k: v.encode() for k, v in (wire.data or {}).items()}
        data |= {k: base64.b64decode(v) for k, v in (wire.binary_data or {}).items()}
    meta = wire.metadata
    return Stored(
        kind=kind,
        key=ObjectKey(meta.namespace, meta.name),
        data=data,
        labels=meta.labels or {},
        resource_version=meta.resource_version,
        uid=meta.uid,
        created=meta.creation_timestamp.timestamp() if meta.creation_timestamp is not None else 0.0,
    )
