"""ExternalSecrets (external-secrets.io/v1): from the wire to what decisions need."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from agent.cluster.decode.durations import go_duration
from agent.cluster.decode.sharing import word
from agent.cluster.decode.wire import (
    EMPTY,
    Condition,
    Meta,
    Time,
    Unfit,
    Wire,
    condition,
    controller,
    key_of,
    present,
    seconds,
    spec_changed,
    truth,
)
from agent.esohash import synced_resource_version
from agent.fingerprint import Fingerprints
from agent.mapping import Entry, Facts, Spec, excluded, uses
from agent.model import FORCE_SYNC, MODE, ExternalSecret, StoreKey

GROUP = "external-secrets.io"
_DEFAULT_REFRESH = 3600.0  # of the CRD
_MOST_ENTRIES = 1000  # what is remembered of each must fit into one object, with all the others
Kind = Literal["data", "extract", "find", "generator", "nothing"]


class StoreRef(Wire):
    """secretStoreRef, or storeRef of a sourceRef."""

    name: str = ""
    kind: str = ""


class SourceRef(Wire):
    """sourceRef of an entry: another store, or a generator."""

    store_ref: StoreRef | None = None
    generator_ref: msgspec.Raw = EMPTY


class RemoteRef(Wire):
    """remoteRef, or extract."""

    key: str = ""
    version: str | None = None
    metadata_policy: str | None = None


class Data(Wire):
    """One entry of spec.data."""

    secret_key: str = ""
    remote_ref: RemoteRef | None = None
    source_ref: SourceRef | None = None


class DataFrom(Wire):
    """One entry of spec.dataFrom."""

    extract: RemoteRef | None = None
    find: msgspec.Raw = EMPTY
    source_ref: SourceRef | None = None


class Template(Wire):
    """target.template, without its texts."""

    data: dict[str, msgspec.Raw] | None = None
    template_from: list[msgspec.Raw] | None = None
    merge_policy: str | None = None
    type: str | None = None


class Target(Wire):
    """spec.target."""

    name: str | None = None
    creation_policy: str | None = None
    deletion_policy: str | None = None
    immutable: bool | None = None
    template: Template | None = None
    manifest: msgspec.Raw = EMPTY


class Window(Wire):
    """One span of a syncWindow."""

    schedule: str = ""
    duration: str = ""


class SyncWindows(Wire):
    """spec.syncWindows: times at which ESO's own refresh is allowed or denied."""

    kind: str = "allow"
    windows: list[Window] | None = None


class SpecWire(Wire):
    """spec."""

    secret_store_ref: StoreRef | None = None
    refresh_policy: str | None = None
    refresh_interval: str | None = None
    sync_windows: SyncWindows | list[SyncWindows] | None = None
    target: Target | None = None
    data: list[Data] | None = None
    data_from: list[DataFrom] | None = None


class Status(Wire):
    """status."""

    refresh_time: Time | None = None
    synced_resource_version: str | None = None
    conditions: list[Condition] | None = None


class ExternalSecretWire(Wire):
    """The object."""

    metadata: Meta
    spec: SpecWire
    status: Status | None = None


def external_secret(wire: ExternalSecretWire, _: Fingerprints | None) -> ExternalSecret:
    """Raises Unfit for what ESO itself could not read, and for more entries than can be remembered."""
    meta, spec, status = wire.metadata, wire.spec, wire.status or Status()
    if len(spec.data or ()) + len(spec.data_from or ()) > _MOST_ENTRIES:
        raise Unfit("spec.data", f"has more than {_MOST_ENTRIES} entries, those of spec.dataFrom included")
    key = key_of(meta)
    target = spec.target or Target()
    template = target.template or Template()
    neutral = neutral_spec(spec, key.namespace)
    reading = uses(neutral)
    owner = controller(meta.owner_references)
    deleting = meta.deletion_timestamp is not None
    ready = condition(status.conditions, "Ready")
    annotations, synced = meta.annotations or {}, status.synced_resource_version or ""
    stamp = annotations.get(FORCE_SYNC, "")
    return ExternalSecret(
        key=key,
        uid=word(meta.uid),
        resource_version=meta.resource_version,
        generation=meta.generation,
        created=meta.creation_timestamp.timestamp(),
        stores=reading.stores,
        uses=reading.uses,
        refresh_policy=word(spec.refresh_policy or "Periodic"),
        refresh_interval=_interval(spec.refresh_interval),
        target=key.name if target.name in (None, "", key.name) else target.name,
        creation_policy=word(neutral.creation_policy),
        deletion_policy=word(neutral.deletion_policy),
        immutable=bool(target.immutable),
        templated=neutral.templated,
        filled_besides=neutral.template_from or _reads_tags(spec),
        template_type=template.type or "",
        sync_windows=_windows(spec.sync_windows),
        excluded=reading.excluded or excluded(_facts(neutral, spec.refresh_policy, deleting=deleting)),
        unsupported=reading.unsupported,
        expected_keys=reading.expected_keys,
        deleting=deleting,
        cluster_parent=owner.name if owner and owner.kind == "ClusterExternalSecret" else "",
        spec_changed=spec_changed(meta),
        mode=word(annotations.get(MODE, "")),
        force_sync=stamp,
        refresh_time=seconds(status.refresh_time),
        synced_generation=_generation(synced),
        force_synced=bool(stamp) and synced == synced_resource_version(meta.generation, meta.labels or {}, annotations),
        ready=truth(ready.status) if ready else None,
        ready_reason=word(ready.reason or "") if ready else "",
        ready_since=seconds(ready.last_transition_time) if ready else None,
    )


def _reads_tags(spec: SpecWire) -> bool:
    refs = [*(each.remote_ref for each in spec.data or ()), *(each.extract for each in spec.data_from or ())]
    return any(ref is not None and ref.metadata_policy == "Fetch" for ref in refs)


def neutral_spec(spec: SpecWire, namespace: str) -> Spec:
    """What the spec reads and makes, in mapping's terms; an entry without a store of its own reads the default one."""
    target = spec.target or Target()
    template = target.template or Template()
    default = _store(spec.secret_store_ref, namespace)
    return Spec(
        entries=(
            *(_data(entry, index, default, namespace) for index, entry in enumerate(spec.data or ())),
            *(_data_from(entry, index, default, namespace) for index, entry in enumerate(spec.data_from or ())),
        ),
        template_keys=tuple(template.data or ()),
        template_from=bool(template.template_from),
        template_merges=template.merge_policy == "Merge",
        creation_policy=target.creation_policy or "Owner",
        deletion_policy=target.deletion_policy or "Retain",
        manifest=present(target.manifest),
    )


def _facts(spec: Spec, refresh_policy: str | None, *, deleting: bool) -> Facts:
    return Facts(
        deleting=deleting,
        empty=not spec.entries,
        refresh_policy=refresh_policy or "Periodic",
        creation_policy=spec.creation_policy,
        deletion_policy=spec.deletion_policy,
    )


def _data(entry: Data, index: int, default: StoreKey | None, namespace: str) -> Entry:
    store, how = _source(entry.source_ref, default, namespace, "data")
    ref = entry.remote_ref or RemoteRef()
    return Entry(
        place=word(f"spec.data[{index}]"),
        how=how,
        store=store,
        key=ref.key,
        version=ref.version or "",
        secret_key=word(entry.secret_key),
    )


def _data_from(entry: DataFrom, index: int, default: StoreKey | None, namespace: str) -> Entry:
    kind: Kind = "find" if present(entry.find) else "extract" if entry.extract is not None else "nothing"
    store, how = _source(entry.source_ref, default, namespace, kind)
    ref = entry.extract or RemoteRef()
    place = word(f"spec.dataFrom[{index}]" + (f".{how}" if how in ("find", "extract") else ""))
    return Entry(place=place, how=how, store=store, key=ref.key, version=ref.version or "")


def _source(ref: SourceRef | None, default: StoreKey | None, namespace: str, how: Kind) -> tuple[StoreKey | None, Kind]:
    if ref is None:
        return default, how
    if present(ref.generator_ref):
        return None, "generator"
    return _store(ref.store_ref, namespace) or default, how


def _store(ref: StoreRef | None, namespace: str) -> StoreKey | None:
    if ref is None or not ref.name:
        return None
    kind = ref.kind or "SecretStore"
    return _store_key(kind, "" if kind == "ClusterSecretStore" else namespace, ref.name)


@lru_cache(maxsize=4096)
def _store_key(kind: str, namespace: str, name: str) -> StoreKey:
    """One object for all who name the store."""
    return StoreKey(kind, namespace, name)


def _generation(synced: str) -> int | None:
    """Of ``GENERATION-HASH``, as ESO writes it."""
    number = synced.partition("-")[0]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 20 else None


def _interval(text: str | None) -> float:
    """A negative interval means the same as 0 to ESO: never again."""
    return _DEFAULT_REFRESH if text is None else max(0.0, _seconds(text, "spec.refreshInterval"))


def _windows(spec: SyncWindows | list[SyncWindows] | None) -> tuple[tuple[str, str, float], ...]:
    groups = [] if spec is None else [spec] if isinstance(spec, SyncWindows) else spec
    return tuple(
        (group.kind, window.schedule, _seconds(window.duration, "spec.syncWindows"))
        for group in groups
        for window in group.windows or ()
    )


def _seconds(text: str, field: str) -> float:
    try:
        return go_duration(text)
    except ValueError as problem:
        raise Unfit(field, str(problem)) from None
