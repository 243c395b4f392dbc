"""One Lease (coordination.k8s.io/v1) as it stands in the API server, and its compare-and-swap.

Written as Kubernetes' own controllers write theirs, so that ``kubectl get lease`` reads as anywhere else: times in
microseconds, an empty holder for one that was given back.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem
from agent.cluster.resources import RESOURCES
from agent.cluster.writer import Writer
from agent.model import ObjectKey

_ANSWERED_WITHIN = 5.0
"""Seconds: a holder has to know before its time to act is over that it could not renew."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a Lease says. ``resource_version`` is empty for one that is to be created."""

    holder: str = ""
    seconds: float = 0.0  # how long the holder may be silent
    acquired: str = ""
    renewed: str = ""  # by the holder's clock: compared with itself only
    transitions: int = 0
    resource_version: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str


class _Lease(msgspec.Struct):
    metadata: _Meta
    spec: _Spec | None = None


def read_lease(conn: Connection, key: ObjectKey) -> Record | None:
    """None if there is none. Raises ApiProblem, Unreachable, BadAnswer. Nothing is retried: the caller asks again."""
    try:
        body = conn.request("GET", RESOURCES["leases"].path(*key), patience=0.0, read_timeout=_ANSWERED_WITHIN).body
    except ApiProblem as error:
        if error.code == 404:
            return None
        raise
    return _record(body)


def write_lease(writer: Writer, key: ObjectKey, record: Record) -> Record:
    """Create it, or replace the one of ``record.resource_version``; returns what stands then.

    Raises Conflict where somebody else was first; ApiProblem, Unreachable, BadAnswer.
    """
    metadata = {"name": key.name, "namespace": key.namespace}
    if record.resource_version:
        metadata["resourceVersion"] = record.resource_version
    spec = _Spec(
        holder_identity=record.holder,
        lease_duration_seconds=int(record.seconds),
        acquire_time=record.acquired,
        renew_time=record.renewed,
        lease_transitions=record.transitions,
    )
    body = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": msgspec.to_builtins(spec)
    }  # fmt: skip
    if record.resource_version:
        return _record(writer.replace("leases", key, body, read_timeout=_ANSWERED_WITHIN))
    return _record(writer.create("leases", key.namespace, body, read_timeout=_ANSWERED_WITHIN))


def micro_time(at: float) -> str:
    """Unix seconds as a MicroTime."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _record(body: bytes) -> Record:
    try:
        lease = msgspec.json.decode(body, type=_Lease)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the Lease cannot be read") from None
    spec = lease.spec or _Spec()
    return Record(
        holder=spec.holder_identity or "",
        seconds=float(spec.lease_duration_seconds or 0),
        acquired=spec.acquire_time or "",
        renewed=spec.renew_time or "",
        transitions=spec.lease_transitions or 0,
        resource_version=lease.metadata.resource_version,
    )
