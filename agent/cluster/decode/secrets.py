"""Secrets: their values become fingerprints here and are dropped; nothing behind this module ever holds one."""

from __future__ import annotations

from agent.cluster.decode.sharing import Pool, word
from agent.cluster.decode.wire import Meta, Unfit, Wire, controller, key_of, newest, present, shared
from agent.esohash import data_hash
from agent.fingerprint import Fingerprints
from agent.labels import Labels
from agent.model import FORCE_SYNC, SecretView

_ESO = "external-secrets.io"
_ESO_WRITER = "externalsecrets.external-secrets.io/"
_MANAGED = "reconcile.external-secrets.io/managed"
_CREATED_BY = "reconcile.external-secrets.io/created-by"
_DATA_HASH = "reconcile.external-secrets.io/data-hash"
_MOST_KEYS = 2000  # each has a history, and all those of one Secret must fit into one object
_SHA3_224 = 56  # hex digits; ESO before 0.16.2 wrote 32 digits of MD5


class SecretWire(Wire):
    """The object. ``data`` is decoded from base64 by msgspec."""

    metadata: Meta
    type: str | None = None
    immutable: bool | None = None
    data: dict[str, bytes] | None = None


_labels: Pool[Labels] = Pool(4_096, longest=2 * 64)
"""Many Secrets have the same set; one that has more than 64 is hardly one of them."""


def secret_view(wire: SecretWire, fingerprints: Fingerprints | None) -> SecretView:
    """Without a key to make fingerprints with, nothing is said about the data. Raises Unfit."""
    if len(wire.data or ()) > _MOST_KEYS:
        raise Unfit("data", f"has more than {_MOST_KEYS} keys")
    meta = wire.metadata
    key = key_of(meta)
    labels, annotations = meta.labels or {}, meta.annotations or {}
    data = wire.data or {} if fingerprints else {}
    entries = meta.managed_fields or ()
    created = meta.creation_timestamp.timestamp()
    owner = controller(meta.owner_references)
    writers = [one for one in entries if one.fields_v1 is not None and present(one.fields_v1.data)]
    eso = [one for one in writers if one.manager.startswith(_ESO_WRITER)]
    foreign = [one for one in writers if not one.manager.startswith(_ESO_WRITER)]
    managed = labels.get(_MANAGED) == "true"
    labels.pop(_CREATED_BY, None)  # differs in each Secret, and no selector of sense asks for it
    return SecretView(
        key=key,
        uid=meta.uid,
        resource_version=meta.resource_version,
        created=created,
        touched=max(created, newest(entries) or 0.0),
        prints=fingerprints.of_all(key.namespace, key.name, data) if fingerprints else {},
        type=word(wire.type or "Opaque"),
        immutable=bool(wire.immutable),
        managed=managed,
        hash_fits=_hash_fits(annotations.get(_DATA_HASH), data) if fingerprints else None,
        owner_uid=owner.uid if owner and owner.kind == "ExternalSecret" and owner.api_group == _ESO else "",
        force_sync=annotations.get(FORCE_SYNC, ""),
        finalizers=bool(meta.finalizers),
        foreign_writers=tuple(sorted({entry.manager for entry in foreign})),
        foreign_wrote=newest(foreign),
        eso_wrote=newest(eso),
        deleting=meta.deletion_timestamp is not None,
        labels=_labels[shared(labels)],
    )


def _hash_fits(written: str | None, data: dict[str, bytes]) -> bool | None:
    return data_hash(data) == written if written is not None and len(written) == _SHA3_224 else None
