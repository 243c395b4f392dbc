"""What happens, as frozen types. Metrics, log lines and Kubernetes Events subscribe to these and to nothing else.

A subscriber is any callable that takes one event. Every event carries what a reader at three in the morning needs:
which object, what, why, and the evidence; never a value and never a fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.model import Finding, Kind, Link, ObjectKey, Refusal, SourceKey, State, Step, Trouble, WorkloadKey


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base: when (API server's clock, unix seconds) and in which cycle."""

    at: float
    cycle: int = 0


class CycleEnded(Event, frozen=True, kw_only=True):
    """One comparison is complete. ``links`` counts links per (link, state)."""

    seconds: float
    chains: int
    links: dict[tuple[Link, State], int]
    stale_containers: dict[WorkloadKey, int]
    findings: int
    requests: int = 0
    troubles: dict[str, str] = {}  # what cannot be read or written now -> its cause


class DriftFound(Event, frozen=True, kw_only=True):
    """A finding that was not there before (drift, suspect, unknown, pinned, excluded, lifecycle)."""

    finding: Finding


class DriftGone(Event, frozen=True, kw_only=True):
    """A finding that is there no more, and for how long it was (seconds).

    ``by``: what is found in its place, further up the chain or on the same link; None: that link is in order now.
    """

    finding: Finding
    lasted: float
    by: Kind | None = None


class SyncRequested(Event, frozen=True, kw_only=True):
    """The force-sync annotation was written."""

    chain: ObjectKey
    reason: str
    evidence: str
    attempt: int


class Synced(Event, frozen=True, kw_only=True):
    """ESO acknowledged our force-sync; ``seconds`` since the annotation; ``moved`` keys whose data changed."""

    chain: ObjectKey
    seconds: float
    moved: tuple[str, ...] = ()


class SyncTimedOut(Event, frozen=True, kw_only=True):
    """No acknowledgement in time: the slot is freed, the attempt counted.

    ``failed``: ESO has answered nevertheless: it began to fail after it was asked, for this cause.
    """

    chain: ObjectKey
    seconds: float
    attempt: int
    next_at: float
    failed: str = ""


class SecretDeleted(Event, frozen=True, kw_only=True):
    """A stale immutable Secret was deleted for ESO to write it anew."""

    chain: ObjectKey
    secret: ObjectKey
    evidence: str


class SecretBack(Event, frozen=True, kw_only=True):
    """ESO has written it anew; ``seconds`` since the delete."""

    chain: ObjectKey
    secret: ObjectKey
    seconds: float


class SecretNotBack(Event, frozen=True, kw_only=True):
    """It is not back in time: page at once."""

    chain: ObjectKey
    secret: ObjectKey
    seconds: float


class DataChanged(Event, frozen=True, kw_only=True):
    """A Secret's data moved: these keys hold other values than before (or came, or went)."""

    secret: ObjectKey
    keys: tuple[str, ...]


class Evicted(Event, frozen=True, kw_only=True):
    """One pod was evicted. ``stage``: broken | canary | batch."""

    workload: WorkloadKey
    pod: ObjectKey
    stage: str
    evidence: str
    sources: tuple[SourceKey, ...] = ()


class RolloutRestarted(Event, frozen=True, kw_only=True):
    """The workload's template was stamped; its controller replaces the pods with surge."""

    workload: WorkloadKey
    evidence: str


class StagePassed(Event, frozen=True, kw_only=True):
    """Canary or batch is ready on the new value."""

    workload: WorkloadKey
    stage: str
    pods: int
    seconds: float


class Halted(Event, frozen=True, kw_only=True):
    """All evictions of the workload stop. ``detail``: what failed, which versions changed; ``remedy``: what to do.

    ``chains``: those whose new values it was given.
    """

    workload: WorkloadKey
    reason: str
    detail: str
    remedy: str
    pod: str = ""
    secrets: tuple[str, ...] = ()  # the vault secrets that have changed, as `vault/name`
    back_to: str = ""  # the version to go back to: its id, else when it was created
    chains: tuple[ObjectKey, ...] = ()


class HaltEnded(Event, frozen=True, kw_only=True):
    """Evictions may go on, or need not. ``chains``: as of the halt."""

    workload: WorkloadKey
    reason: str
    why: str
    chains: tuple[ObjectKey, ...] = ()


class Healed(Event, frozen=True, kw_only=True):
    """Every container that may be recycled runs the current value; ``seconds`` since the drift was seen."""

    workload: WorkloadKey
    pods: int
    seconds: float


class Propagated(Event, frozen=True, kw_only=True):
    """One source version has come to a stage. ``stage``: vault_to_secret | total; ``seconds`` since its ``created``."""

    source: SourceKey
    chain: ObjectKey
    stage: str
    seconds: float
    workload: WorkloadKey | None = None


class RotationCounted(Event, frozen=True, kw_only=True):
    """A new version has come to every container of one chain within the objective, or is late: told when it is.

    ``source``: the vault secret as ``vault/name``; ``seconds`` since the version's creation.
    """

    chain: ObjectKey
    source: str
    in_time: bool
    seconds: float


class Refused(Event, frozen=True, kw_only=True):
    """A step that is due is not taken. Told on transition, then hourly."""

    refusal: Refusal
    first: bool = True


class RefusalEnded(Event, frozen=True, kw_only=True):
    """The gate that refused lets pass now, or the step is no longer due."""

    refusal: Refusal


class StormAcknowledged(Event, frozen=True, kw_only=True):
    """A person wants the storm: the blast radius holds nothing back until then. Told by each process that acts."""

    until: float  # API server's clock
    by: str


class Troubled(Event, frozen=True, kw_only=True):
    """Something could not be read or written: told once per distinct cause."""

    subject: str  # "vault prod-kv", "pods in namespace x", "the ledger", ...
    trouble: Trouble


class Recovered(Event, frozen=True, kw_only=True):
    """It works again."""

    subject: str


class Malformed(Event, frozen=True, kw_only=True):
    """One object that cannot be judged; nothing else stops. Told once per object and version."""

    resource: str
    key: ObjectKey | None
    field: str
    message: str


class BoundsRead(Event, frozen=True, kw_only=True):
    """The ValidatingAdmissionPolicies that should bound a right of ours and do not; None: that cannot be read."""

    missing: tuple[str, ...] | None


class LeadershipChanged(Event, frozen=True, kw_only=True):
    """This process has read everything anew, and acts now, or stands by while ``holder`` acts (empty: not known)."""

    leading: bool
    holder: str
    lapsed: bool = False
    """It stands by since it could not renew in time a Lease that nobody else has taken."""


class HolderChanged(Event, frozen=True, kw_only=True):
    """This process goes on standing by, and another one than before leads."""

    holder: str


class PolicyChanged(Event, frozen=True, kw_only=True):
    """The policy file was read anew: valid, or not (then the old one stays). The rest is of the policy in force."""

    valid: bool
    digest: str
    problems: tuple[str, ...] = ()
    mode: str = "observe"
    interval: float = 60.0  # seconds between two comparisons
    objective: float = 900.0  # seconds within which a rotation should be everywhere


class StepDone(Event, frozen=True, kw_only=True):
    """For counters: one write was attempted. ``result``: done | failed | dry-run."""

    step: Step
    result: str
    detail: str = ""


Subscriber = Callable[[Event], None]
