"""What must outlive one process: the types the ledger holds. Pure data, no I/O.

Each value is replaced, never edited, so that what is written is always one consistent state.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Literal

import msgspec

from agent.model import ObjectKey, SourceKey, SourceState, WorkloadKey
from agent.packed import Packed

ABSENT = ""
UNOBSERVED = "?"
"""In place of a fingerprint: the key was not there; we were not looking."""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is written: only what differs from its default, which is little of what rests."""


class VersionSeen(Kept, frozen=True, gc=False):
    """One version of a vault secret, known by its ``created`` (vault's clock)."""

    created: float
    enabled: bool = True
    id: str = ""


class SourceMemory(Kept, frozen=True, kw_only=True):
    """One vault secret over time."""

    state: SourceState
    event_at: float  # the last source event: the version's `created`, or for other kinds the time when seen
    seen_at: float  # API server's clock: the answer that first showed this state
    witnessed: bool = False  # we saw it change; False: it is as we found it
    former: SourceMemory | None = None  # as it was before the newest change that we witnessed; a few changes back
    earliest: float = 0.0  # `created` of the first version since ``former`` (0: not known)
    versions: tuple[VersionSeen, ...] = ()  # newest first
    unseen_at: float = 0.0  # an answer asked for at this time did not show the newest version yet (0: not known)


class Entry(Kept, frozen=True, kw_only=True, gc=False):
    """One value that a Secret's key held, and between which times it was written (API server's clock)."""

    value: str  # a fingerprint, ABSENT or UNOBSERVED
    lo: float  # began not before
    hi: float  # began not after
    born: float = 0.0  # this value cannot have existed anywhere before (0: not known)
    gone: bool = False  # ABSENT with the whole Secret, not the key alone


class NodeCache(Kept, frozen=True, kw_only=True):
    """Where kubelets may still serve the former object of an immutable Secret that was recreated under its name.

    kubelet caches an immutable Secret as long as any pod on the node, a terminating one included, refers to it. A node
    is clean once the watch has shown it without one: no clock is asked.
    """

    uid: str  # of the new object
    at: float  # when the former one was deleted
    dirty: tuple[str, ...]  # nodes that had a reference at the delete and have never been without one since


class SecretMemory(Kept, frozen=True, kw_only=True):
    """The history of one Secret."""

    uid: str
    resource_version: str
    touched: float
    first_look: float  # containers that resolved before this lie in `before-us`
    keys: dict[str, tuple[Entry, ...]]  # newest first
    immutable: bool = False
    cache: NodeCache | None = None
    assumed_from: float | None = None
    """Containers that resolved after this and before ``first_look`` are assumed to hold the value of the first look.

    Kept, because it tells of the time before we looked: what ESO, the spec or the vault do later does not change it.
    """
    others: tuple[Entry, ...] = ()
    """The history of every key that was never seen, newest first: ABSENT whenever we looked, UNOBSERVED in between."""
    lost_uid: str = ""  # of the object that went out of our sight, while there is none
    lost_at: float = 0.0  # it did so not before


class SyncAttempt(Kept, frozen=True, kw_only=True):
    """A force-sync that was reserved, and perhaps written."""

    stamp: str  # the annotation's value
    at: float  # reserved at (API server's clock)
    seen: dict[str, str]  # str(source) -> identity that a vault answer had shown before
    reason: str  # the finding's kind
    written: bool = False


class Tries(Kept, frozen=True, kw_only=True):
    """Attempts at one thing, counted under a key that changes when the thing does."""

    key: str
    count: int = 0
    next_at: float = 0.0
    kept_until: float = 0.0  # not forgotten before, though the drift is gone


class RecreateAttempt(Kept, frozen=True, kw_only=True):
    """A Secret that was, or is about to be, deleted for ESO to write anew."""

    uid: str  # of the object to delete
    at: float
    created: float = 0.0  # of the object to delete: what the vault got later comes with the new one
    seen: dict[str, str] = {}  # str(source) -> identity that a vault answer had shown before
    state: Literal["reserved", "deleted", "back", "lost"] = "reserved"


class Made(Kept, frozen=True, kw_only=True):
    """A Secret that ESO wrote after we had deleted the former one."""

    uid: str
    holds: dict[str, str]  # str(source) -> identity that it was written from, or a newer one


class Rotation(Kept, frozen=True, kw_only=True, gc=False):
    """A new version of one vault secret on its way to every container of one chain."""

    begun: float  # `created` of the oldest version that is not everywhere yet (vault's clock)
    done: float = 0.0  # since when nothing of the chain drifts (API server's clock); 0: something does
    late: bool = False  # counted as late already


class ChainMemory(Kept, frozen=True, kw_only=True):
    """One ExternalSecret over time."""

    covered: dict[str, str] = {}  # str(source) -> identity that an acknowledged sync has fetched for sure
    covered_at: float = 0.0  # the latest force-sync acknowledged: data written before it are ESO's own
    sync: SyncAttempt | None = None
    tries: Tries | None = None
    recreate: RecreateAttempt | None = None
    made: Made | None = None
    since: dict[str, float] = {}  # kind -> when it was first found; gone with the finding
    cleared: dict[str, float] = {}
    failed_since: float = 0.0
    cause: str = ""  # of a failed sync, as last classified
    cause_detail: str = ""
    probe: str = ""  # identity set for which a sync was tried although ESO failed
    acknowledged: str = ""  # syncedResourceVersion last seen acknowledged
    pace: tuple[float, ...] = ()  # seconds of the last acknowledgement
    rotations: dict[str, Rotation] = {}  # str(source) -> the new version that is not counted, or not everywhere, yet


class Eviction(Kept, frozen=True, kw_only=True, gc=False):
    """One pod that was, or is about to be, evicted."""

    pod: str
    uid: str
    at: float
    node: str = ""
    done: bool = False  # accepted by the API server


class Halt(Kept, frozen=True, kw_only=True):
    """Why a workload's recycling stopped until a person or the world changes something."""

    reason: str  # canary-failed | canary-blocked | immutable-cached-on-node
    detail: str
    at: float
    pod: str = ""
    sources_key: str = ""  # the source versions under which it failed
    template: str = ""
    remedy: str = ""
    secrets: tuple[str, ...] = ()  # str(source) of the vault secrets that have changed
    back_to: str = ""  # the version to go back to: its id, else when it was created; several in their order


class HealMemory(Kept, frozen=True, kw_only=True):
    """The recycling of one workload, from its first eviction to its last fresh container."""

    key: str  # sources' identities + template: what this heal is about
    since: float  # when the workload's drift was first seen
    sources: tuple[SourceKey, ...] = ()  # the vault secrets whose change made it stale
    chains: tuple[ObjectKey, ...] = ()  # that the pods consume: between two of them there may be none to tell
    clocks: dict[str, float] = {}  # str(source) -> `created` of the oldest version not everywhere yet
    started: float = 0.0  # first eviction or restart
    baseline: int = 0  # ready pods when it started: never fewer by our doing
    stage: Literal["pending", "broken", "canary", "batches", "restart"] = "pending"
    batch: tuple[Eviction, ...] = ()
    batch_at: float = 0.0
    unblocked_at: float = 0.0  # since when the batch's pods are no longer kept from starting
    canary_passed: bool = False
    recycled: int = 0
    spent: int = 0  # of these, since `key` is what it is
    halt: Halt | None = None
    restart_stamp: str = ""
    log_ok: tuple[str, ...] = ()  # uids of pods whose log line was found
    blocked_until: float = 0.0  # the API server asked to come back later
    blocked: str = ""
    blocked_detail: str = ""
    lasting: bool = False  # and no time that passes helps: it is asked again, and a person has to do something

    @property
    def begun(self) -> bool:
        """Something was done for it, or it is halted: others may have to wait for it."""
        return bool(self.started or self.batch or self.halt)

    @property
    def in_flight(self) -> bool:
        """Pods of it are, or may be, under way."""
        return self.halt is None and (bool(self.batch) or self.stage == "restart")

    def spent_for(self, about: str) -> int:
        """Pods that it has recycled for this key."""
        return self.spent if self.key == about else 0


class Recycled(Kept, frozen=True, kw_only=True):
    """Pods of a workload that former heals recycled for the same versions, specs and template."""

    key: str  # that of the heals
    pods: int


class Propagation(Kept, frozen=True, kw_only=True):
    """The clock of one source version on its way to one workload."""

    source: SourceKey
    version: float  # its `created`, where the clock starts
    synced_at: float = 0.0
    done_at: float = 0.0


class StormMemory(Kept, frozen=True, kw_only=True):
    """The blast radius was exceeded; ``since`` (API server's clock) it is, or is no more and must stay so."""

    over: bool
    since: float


class Memory(msgspec.Struct, kw_only=True):
    """All of it. The one mutable container; its values are frozen."""

    format: int = 1
    key_id: str = ""
    heartbeat: dict[str, float] = {}  # read scope -> until when its observation is known to be complete
    storm: StormMemory | None = None
    sources: dict[SourceKey, SourceMemory] = {}
    # By the ten thousand, and at rest nearly all the time; sources are asked for with each sweep of their vault.
    secrets: MutableMapping[ObjectKey, SecretMemory] = msgspec.field(default_factory=lambda: Packed(SecretMemory))
    chains: MutableMapping[ObjectKey, ChainMemory] = msgspec.field(default_factory=lambda: Packed(ChainMemory))
    heals: dict[WorkloadKey, HealMemory] = {}
    recycled: dict[WorkloadKey, Recycled] = {}
