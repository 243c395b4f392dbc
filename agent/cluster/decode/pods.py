"""Pods. The shape that exists by the ten thousands: what pods share is shared, what is not needed is not built."""

from __future__ import annotations

import msgspec

from agent.cluster.decode.consumption import Templates
from agent.cluster.decode.sharing import Made, forgets, word
from agent.cluster.decode.wire import (
    EMPTY,
    Condition,
    OwnerRef,
    Time,
    Wire,
    controller,
    decoded,
    key_of,
    present,
    seconds,
    shared,
)
from agent.cluster.words import placement
from agent.fingerprint import Fingerprints
from agent.labels import Labels
from agent.model import MODE, ContainerRun, ContainerSpec, Owner, Pod


class Annotations(Wire, rename={"mode": MODE}):
    """The one annotation that is read of a pod."""

    mode: str | None = None


class Meta(Wire):
    """Metadata; what pods of one workload share stays text until it is known that no other pod had the same."""

    name: str
    uid: str
    creation_timestamp: Time
    namespace: str = ""
    labels: msgspec.Raw = EMPTY
    annotations: Annotations | None = None
    owner_references: msgspec.Raw = EMPTY
    deletion_timestamp: msgspec.Raw = EMPTY


class SpecWire(Wire):
    """spec, its long parts as text."""

    containers: msgspec.Raw = EMPTY
    init_containers: msgspec.Raw = EMPTY
    volumes: msgspec.Raw = EMPTY
    image_pull_secrets: msgspec.Raw = EMPTY
    node_name: str | None = None


class Running(Wire):
    """state.running."""

    started_at: Time | None = None


class Waiting(Wire):
    """state.waiting."""

    reason: str | None = None


class Terminated(Wire):
    """state.terminated, also of lastState."""

    reason: str | None = None
    started_at: Time | None = None
    finished_at: Time | None = None


class ContainerState(Wire):
    """At most one of the three."""

    running: Running | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Wire):
    """One entry of containerStatuses."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None


class Status(Wire):
    """status."""

    phase: str | None = None
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class PodWire(Wire):
    """The object."""

    metadata: Meta
    spec: SpecWire
    status: Status | None = None


def _labels_of(text: bytes) -> Labels:
    return shared(decoded(_labels, text, "metadata.labels"))


def _owner_of(text: bytes) -> Owner | None:
    return controller(decoded(_references, text, "metadata.ownerReferences"))


_labels = msgspec.json.Decoder(dict[str, str] | None)
_references = msgspec.json.Decoder(list[OwnerRef] | None)
_templates = Templates()
_known_labels = Made(_labels_of, longest=2_048)
_known_owners = Made(_owner_of, longest=1_024)
forgets(_templates.clear)

_UNKNOWN = ContainerRun("waiting")
_NO_STATUS = Status()
_NO_STATE = ContainerState()
_NEVER = Terminated()


def pod(wire: PodWire, _: Fingerprints | None) -> Pod:
    """Raises Unfit."""
    meta, spec, status = wire.metadata, wire.spec, wire.status or _NO_STATUS
    labels = _known_labels[bytes(meta.labels)]
    containers, references = _templates.of(spec.init_containers, spec.containers, spec.volumes, spec.image_pull_secrets)
    ready, ready_since, unschedulable = _conditions(status.conditions)
    return Pod(
        key=key_of(meta, named_elsewhere=False),
        uid=meta.uid,
        created=meta.creation_timestamp.timestamp(),
        node=word(spec.node_name) if spec.node_name else "",
        owner=_known_owners[bytes(meta.owner_references)],
        phase=word(status.phase or "Unknown"),
        ready=ready,
        ready_since=ready_since,
        deleting=present(meta.deletion_timestamp),
        containers=containers,
        runs=_runs(containers, status),
        unschedulable=unschedulable,
        template_hash=labels.get("pod-template-hash") or labels.get("controller-revision-hash") or "",
        labels=labels,
        references=references,
        mode=word(meta.annotations.mode or "") if meta.annotations else "",
    )


def _conditions(conditions: list[Condition] | None) -> tuple[bool, float | None, str]:
    ready, since, unschedulable = False, None, ""
    for one in conditions or ():
        if one.type == "Ready":
            ready = one.status == "True"
            since = one.last_transition_time.timestamp() if ready and one.last_transition_time else None
        elif one.type == "PodScheduled" and one.status == "False":
            unschedulable = placement(one.message or "")
    return ready, since, unschedulable


def _runs(containers: tuple[ContainerSpec, ...], status: Status) -> tuple[ContainerRun, ...]:
    """One for each container, by name; without a status it has not begun."""
    statuses = status.container_statuses or ()
    if len(containers) == 1 == len(statuses) and statuses[0].name == containers[0].name:
        return (_run(statuses[0]),)  # most pods
    apps = {one.name: one for one in statuses}
    inits = {one.name: one for one in status.init_container_statuses or ()}
    found = ((apps if spec.kind == "container" else inits).get(spec.name) for spec in containers)
    return tuple(_UNKNOWN if one is None else _run(one) for one in found)


def _run(wire: ContainerStatus) -> ContainerRun:
    state = wire.state or _NO_STATE
    last = wire.last_state.terminated if wire.last_state and wire.last_state.terminated else _NEVER
    ended = seconds(last.finished_at)
    if state.running is not None:
        started = seconds(state.running.started_at)
        return ContainerRun("running", started, None, ended, wire.ready, wire.restart_count)
    if state.terminated is not None:
        run, reason = state.terminated, word(state.terminated.reason or "")
        times = seconds(run.started_at), seconds(run.finished_at), ended
        return ContainerRun("terminated", *times, wire.ready, wire.restart_count, reason)
    reason = word((state.waiting.reason if state.waiting else None) or "")
    return ContainerRun("waiting", seconds(last.started_at), ended, None, wire.ready, wire.restart_count, reason)
