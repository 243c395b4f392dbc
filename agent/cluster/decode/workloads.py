"""Deployments, StatefulSets and DaemonSets as one type, and the ReplicaSets between Deployments and pods."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from agent.cluster.decode.sharing import word
from agent.cluster.decode.wire import EMPTY, Meta, Wire, controller, key_of
from agent.fingerprint import Fingerprints
from agent.model import RESTARTED_AT, RESTARTERS, ReplicaSet, Workload, WorkloadKey

_OURS = "secret-drift-agent/"
_ALSO = ("configmap.reloader.stakater.com/", "kubectl.kubernetes.io/restartedAt")
"""Annotations kept beside: of who restarts pods when something else than a Secret changes, or by hand."""


class Replaced(Wire):
    """rollingUpdate. Numbers or percentages."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None
    partition: int | None = None


class Strategy(Wire):
    """strategy of a Deployment, updateStrategy of the others."""

    type: str | None = None
    rolling_update: Replaced | None = None


class TemplateMeta(Wire):
    """metadata of the pod template."""

    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Claim(Wire):
    """A persistentVolumeClaim volume."""

    claim_name: str = ""


class Volume(Wire):
    """A volume of the pod template."""

    persistent_volume_claim: Claim | None = None


class Volumes(Wire):
    """The part of the template's spec that is read; its digest stands for the rest."""

    volumes: list[Volume] | None = None


class Template(Wire):
    """The pod template."""

    metadata: TemplateMeta | None = None
    spec: msgspec.Raw = EMPTY


class SpecWire(Wire):
    """spec."""

    template: Template
    replicas: int | None = None
    paused: bool | None = None
    strategy: Strategy | None = None
    update_strategy: Strategy | None = None


class Status(Wire):
    """status."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    update_revision: str | None = None
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0


class WorkloadWire(Wire):
    """The object."""

    metadata: Meta
    spec: SpecWire
    status: Status | None = None


class ReplicaSetWire(Wire):
    """The object, of which only metadata are asked for."""

    metadata: Meta


_KEPT = (_OURS, *RESTARTERS, *_ALSO)
_volumes = msgspec.json.Decoder(Volumes)


def deployment(wire: WorkloadWire, _: Fingerprints | None) -> Workload:
    """A Deployment."""
    spec, status = wire.spec, wire.status or Status()
    return _workload(
        wire,
        "Deployment",
        strategy=spec.strategy,
        defaults=("25%", "25%"),
        counts=(1 if spec.replicas is None else spec.replicas, status.updated_replicas, status.ready_replicas),
        revision=(wire.metadata.annotations or {}).get("deployment.kubernetes.io/revision", ""),
        leaving=max(0, status.replicas - status.updated_replicas),
    )


def stateful_set(wire: WorkloadWire, _: Fingerprints | None) -> Workload:
    """A StatefulSet: one pod at a time unless it says otherwise, and never one more."""
    spec, status = wire.spec, wire.status or Status()
    return _workload(
        wire,
        "StatefulSet",
        strategy=spec.update_strategy,
        defaults=("1", "0"),
        counts=(1 if spec.replicas is None else spec.replicas, status.updated_replicas, status.ready_replicas),
        revision=status.update_revision or "",
    )


def daemon_set(wire: WorkloadWire, _: Fingerprints | None) -> Workload:
    """A DaemonSet: the nodes decide how many."""
    status = wire.status or Status()
    return _workload(
        wire,
        "DaemonSet",
        strategy=wire.spec.update_strategy,
        defaults=("1", "0"),
        counts=(status.desired_number_scheduled, status.updated_number_scheduled, status.number_ready),
        revision=(wire.metadata.annotations or {}).get("deprecated.daemonset.template.generation", ""),
    )


def replica_set(wire: ReplicaSetWire, _: Fingerprints | None) -> ReplicaSet:
    """A ReplicaSet."""
    meta = wire.metadata
    revision = (meta.annotations or {}).get("deployment.kubernetes.io/revision", "")
    return ReplicaSet(
        key=key_of(meta), uid=word(meta.uid), owner=controller(meta.owner_references), revision=word(revision)
    )


def _workload(
    wire: WorkloadWire,
    kind: str,
    *,
    strategy: Strategy | None,
    defaults: tuple[str, str],
    counts: tuple[int, int, int],
    revision: str,
    leaving: int = 0,
) -> Workload:
    meta, spec, status = wire.metadata, wire.spec, wire.status or Status()
    key = key_of(meta)
    rolling = (strategy.rolling_update if strategy else None) or Replaced()
    template = spec.template.metadata or TemplateMeta()
    replicas, updated, ready = counts
    return Workload(
        key=WorkloadKey(key.namespace, kind, key.name),
        uid=word(meta.uid),
        generation=meta.generation,
        observed_generation=status.observed_generation,
        annotations=_kept(meta.annotations),
        template_annotations=_kept(template.annotations),
        template_digest=_digest(template, spec.template.spec),
        replicas=replicas,
        updated=updated,
        ready=ready,
        strategy=word((strategy.type if strategy else None) or "RollingUpdate"),
        max_unavailable=word(str(defaults[0] if rolling.max_unavailable is None else rolling.max_unavailable)),
        max_surge=word(str(defaults[1] if rolling.max_surge is None else rolling.max_surge)),
        partition=rolling.partition or 0,
        paused=bool(spec.paused),
        deleting=meta.deletion_timestamp is not None,
        owner=controller(meta.owner_references),
        claims=_claims(spec.template.spec),
        revision=word(revision),
        leaving=leaving,
    )


_NONE: dict[str, str] = {}


def _kept(annotations: dict[str, str] | None) -> dict[str, str]:
    kept = {key: value for key, value in (annotations or {}).items() if key.startswith(_KEPT)}
    return kept or _NONE  # most workloads: one for all of them


def _digest(meta: TemplateMeta, spec: msgspec.Raw) -> str:
    """The API server writes equal specs as equal text, so the text needs no canonical form."""
    annotations = {key: value for key, value in (meta.annotations or {}).items() if key != RESTARTED_AT}
    head = msgspec.json.encode([meta.labels or {}, annotations], order="sorted")
    return blake2b(head + b"\0" + bytes(spec), digest_size=12).hexdigest()


def _claims(spec: msgspec.Raw) -> tuple[str, ...]:
    text = bytes(spec)
    if b'"persistentVolumeClaim"' not in text:
        return ()
    volumes = _volumes.decode(text).volumes or []
    return tuple(one.persistent_volume_claim.claim_name for one in volumes if one.persistent_volume_claim is not None)
