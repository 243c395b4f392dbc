"""What a plan can say. Frozen; the heal package carries them out."""

from __future__ import annotations

import msgspec

from agent.memory import Halt
from agent.model import ObjectKey, Pod, Refusal, SourceKey, WorkloadKey


class Idle(msgspec.Struct, frozen=True):
    """Nothing is due."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Due, but not yet: an ordinary wait that nobody needs to be told of. ``until`` 0: until a slot is free."""

    until: float
    why: str


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    """Due, and not taken."""

    refusal: Refusal


class ForceSync(msgspec.Struct, frozen=True, kw_only=True):
    """Ask ESO to sync this chain now."""

    chain: ObjectKey
    reason: str
    evidence: str
    seen: dict[str, str]  # str(source) -> identity our last vault answer showed
    tries_key: str


class Recreate(msgspec.Struct, frozen=True, kw_only=True):
    """Delete this very object of an immutable Secret; ESO writes it anew."""

    chain: ObjectKey
    secret: ObjectKey
    uid: str
    resource_version: str
    evidence: str


class Evict(msgspec.Struct, frozen=True, kw_only=True):
    """Evict these pods, in order. ``stage``: broken | canary | batch."""

    workload: WorkloadKey
    pods: tuple[Pod, ...]
    stage: str
    evidence: str
    sources: tuple[SourceKey, ...]
    key: str


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """Stamp the pod template; the workload's controller replaces its one pod with surge."""

    workload: WorkloadKey
    evidence: str
    key: str


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """The pods under way are ready on the current value."""

    pods: int


class HaltNow(msgspec.Struct, frozen=True, kw_only=True):
    """Stop all evictions of the workload."""

    halt: Halt


class EndHalt(msgspec.Struct, frozen=True, kw_only=True):
    """The reason for the halt is gone."""

    why: str


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the workload is stale any more."""


SyncDecision = Idle | Wait | Refuse | ForceSync | Recreate
RecycleDecision = Idle | Wait | Refuse | Evict | Restart | Passed | HaltNow | EndHalt | Finish
