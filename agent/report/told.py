"""What `explain` says of one chain, as frozen types: facts and verdicts, no layout.

No value and no fingerprint is in it. All times are unix seconds of the API server's clock unless noted; None: not
known. Text comes from the cluster as it is: whoever prints it escapes it.
"""

from __future__ import annotations

import msgspec

from agent.model import Finding, Link, ObjectKey, Refusal, SourceKey, State, WorkloadKey


class VersionTold(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a vault secret."""

    created: float  # vault's clock
    id: str = ""  # empty: not known (the vault's lists do not name it)
    enabled: bool = True


class SourceTold(msgspec.Struct, frozen=True, kw_only=True):
    """One vault secret that the ExternalSecret reads."""

    name: str
    vault: str = ""  # host; empty: its store names no vault that may be looked at
    store: str  # kind and name of the store
    keys: tuple[str, ...] | None = None  # the Secret's keys that it feeds; None: any of them
    pinned: str = ""  # the fixed version that the spec names
    known: bool = False  # the fields below are known
    present: bool = False
    nearest: tuple[str, ...] = ()  # names like it that the vault has; for the terminal alone
    newest: VersionTold | None = None
    former: tuple[VersionTold, ...] = ()  # that we know of, newest first
    enabled: bool = False
    expires: float | None = None
    not_before: float | None = None
    ignored: bool = False  # tag secret-drift-agent=ignore
    fetched: bool | None = None  # whether ESO has fetched this state for sure; None: cannot be told
    looked_at: float | None = None
    trouble: str = ""  # why it could not be looked at now


class EsTold(msgspec.Struct, frozen=True, kw_only=True):
    """The ExternalSecret itself."""

    policy: str  # Periodic | OnChange | CreatedOnce
    interval: float  # seconds
    refreshed: float | None  # begin of ESO's last good sync (ESO's clock)
    due: float | None  # when ESO syncs next by itself
    ready: bool | None
    ready_reason: str
    ready_since: float | None
    spec_applied: bool  # the last good sync was of the present generation
    generation: int
    cause: str = ""  # of the failed sync: a short word
    error: str = ""  # in words
    remedy: str = ""
    creation_policy: str = "Owner"
    immutable: bool = False
    limits: tuple[str, ...] = ()  # excluded, pinned, unsupported, opted out: why


class KeyTold(msgspec.Struct, frozen=True, kw_only=True):
    """One key of the Secret."""

    name: str
    state: str  # fresh | stale | missing | unknown | not-fed (no vault secret feeds it)
    evidence: str
    changed_from: float | None = None  # its present value was written not before ...
    changed_to: float | None = None  # ... and not after; both None: not since `SecretTold.first_look`
    sources: tuple[SourceKey, ...] = ()


class SecretTold(msgspec.Struct, frozen=True, kw_only=True):
    """The target Secret."""

    name: str
    present: bool
    created: float | None = None
    immutable: bool = False
    first_look: float | None = None  # None: it came into being before our eyes, or was never seen
    trouble: str = ""  # why it cannot be read
    keys: tuple[KeyTold, ...] = ()


class RunsTold(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions of one vault secret a container may run: one, if it is known."""

    source: SourceKey
    versions: tuple[VersionTold, ...] = ()  # newest first
    older: bool = False  # or one that we do not know of


class ContainerTold(msgspec.Struct, frozen=True, kw_only=True):
    """One container that consumes the Secret."""

    name: str
    kind: str  # container | init | sidecar
    uses: tuple[str, ...]  # in words: `MONGODB_URI by env`
    started: float | None  # node's clock
    restarts: int
    state: str  # fresh | assumed | stale | suspect | unknown | not-judged
    evidence: str
    counts: bool = True  # whether it can be a reason to recycle
    runs: tuple[RunsTold, ...] = ()


class PodTold(msgspec.Struct, frozen=True, kw_only=True):
    """One pod with a container that consumes the Secret."""

    name: str
    node: str
    created: float
    ready: bool
    note: str = ""  # terminating, completed, on a node that is not ready
    containers: tuple[ContainerTold, ...] = ()


class StepTold(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done now about the chain, or about one workload."""

    step: str  # none | wait | force-sync | recreate | recycle | under-way | halted
    detail: str
    until: float | None = None
    remedy: str = ""
    refusals: tuple[Refusal, ...] = ()  # every gate that forbids it now; empty: it may be done


class WorkloadTold(msgspec.Struct, frozen=True, kw_only=True):
    """One workload, its pods, and what would be done with them."""

    key: WorkloadKey
    state: str
    pods: tuple[PodTold, ...]
    next: StepTold


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `explain` says of one chain."""

    chain: ObjectKey
    at: float
    mode: str  # of the policy: observe | heal
    notes: tuple[str, ...] = ()  # what these answers do not rest on
    links: tuple[tuple[Link, State], ...]
    sources: tuple[SourceTold, ...]
    es: EsTold
    secret: SecretTold
    workloads: tuple[WorkloadTold, ...]
    next: StepTold  # for links 1 and 2
    findings: tuple[Finding, ...]
