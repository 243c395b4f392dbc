"""The words of the domain, as frozen types. Imports nothing of ours but labels.

What is read from the cluster and the vaults arrives here already reduced: no Secret value ever enters these types, only
fingerprints of it. Times are unix seconds (float) and say whose clock they come from: the API server's unless noted.
Types that exist by the ten thousands are msgspec structs outside the garbage collector's view, because tracing them is
the largest cost of a large list.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from agent.labels import NO_LABELS, Labels, Selector

MODE = "secret-drift-agent/mode"
"""The annotation of an ExternalSecret, workload or namespace by which its owner says what the agent may do there."""

FORCE_SYNC = "force-sync"
"""The annotation of an ExternalSecret that asks for a sync.

ESO refreshes on any change of metadata; this name is the one its own documentation uses.
"""

RESTARTED_AT = "secret-drift-agent/restarted-at"
"""The annotation of a pod template by which this agent restarts a workload: no change of its template."""

RESTARTERS = {
    "reloader.stakater.com/": "stakater/Reloader",
    "secret.reloader.stakater.com/": "stakater/Reloader",
    "wave.pusher.com/": "wave",
    "reloader.external-secrets.io/": "external-secrets/reloader",
    "vso.secrets.hashicorp.com/": "vault-secrets-operator",
    "operator.1password.io/auto-restart": "1password-operator",
}
"""Annotations of a workload or its pod template, by their beginning, by which another one restarts it."""


class ObjectKey(NamedTuple):
    """Namespace and name of one object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class WorkloadKey(NamedTuple):
    """One workload: the controller that owns pods, or the bare pod itself (kind ``Pod``)."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class StoreKey(NamedTuple):
    """A SecretStore (with its namespace) or a ClusterSecretStore (namespace empty)."""

    kind: str
    namespace: str
    name: str


class SourceKey(NamedTuple):
    """One secret of one vault. ``vault`` is the host (``prod-kv.vault.azure.net``), ``name`` in lower case."""

    vault: str
    name: str

    @property
    def vault_name(self) -> str:
        """The vault's short name, as an operator writes it; the whole host in any cloud but the public one."""
        return self.vault.removesuffix(".vault.azure.net")

    def __str__(self) -> str:
        return f"{self.vault_name}/{self.name}"


# ---------------------------------------------------------------------------------------------------- Key Vault


class SourceState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a vault's list says of one secret: the attributes of its newest version. Vault's clock, whole seconds."""

    present: bool = True
    created: float = 0.0
    enabled: bool = True
    expires: float | None = None
    not_before: float | None = None
    ignored: bool = False  # the vault's owner set the tag secret-drift-agent=ignore

    @property
    def identity(self) -> str:
        """Two equal identities mean: nothing happened that could bring another value.

        ``updated`` is left out on purpose: it moves with every change of a tag.
        """
        return f"{self.created:.0f}{'+' if self.enabled else '-'}" if self.present else "absent"


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why something could not be read or done: a cause from a short list, and one safe line for a person."""

    cause: str  # access-denied, not-found, throttled, disabled, unreachable, certificate, refused, bad-answer, ...
    detail: str


class VaultView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one sweep of one vault: all or nothing."""

    host: str
    asked_at: float  # API server's clock, just before the first request of the sweep
    answered_at: float
    sources: dict[str, SourceState]  # by lower-case name; a name asked for and absent here does not exist
    trouble: Trouble | None = None  # then `sources` is empty and says nothing
    nearest: dict[str, tuple[str, ...]] = {}  # absent name -> names like it; for an operator's terminal, else empty


# ------------------------------------------------------------------------------------------------- the chain's objects


class SourceUse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One place of an ExternalSecret's spec that reads a vault secret through a store."""

    store: StoreKey
    name: str  # lower case, without the `secret/` prefix
    version: str = ""  # a pinned version id
    secret_keys: tuple[str, ...] | None = None  # the keys of the Secret it feeds; None: any of them
    place: str = ""  # spec.data[0], spec.dataFrom[1].extract


class ExternalSecret(msgspec.Struct, frozen=True, kw_only=True):
    """An ExternalSecret (external-secrets.io/v1), reduced to what decisions need."""

    key: ObjectKey
    uid: str
    resource_version: str
    generation: int
    created: float
    stores: tuple[StoreKey, ...]  # every store the spec names
    uses: tuple[SourceUse, ...]
    refresh_policy: str = "Periodic"  # Periodic | OnChange | CreatedOnce
    refresh_interval: float = 3600.0  # seconds; 0: never again
    target: str  # name of the Secret
    creation_policy: str = "Owner"
    deletion_policy: str = "Retain"
    immutable: bool = False  # spec.target.immutable
    templated: bool = False
    filled_besides: bool = False  # by what no version in a vault tells of: templateFrom, a vault secret's tags
    expected_keys: tuple[str, ...] | None = None  # keys its Secret must have; None: not knowable from the spec
    template_type: str = ""
    sync_windows: tuple[tuple[str, str, float], ...] = ()  # (allow|deny, cron in UTC, seconds)
    excluded: str = ""  # why this agent must not touch it (generators, target.manifest, ...), empty: it may
    unsupported: str = ""  # a part of the spec whose sources cannot be named (find by tags, ...)
    deleting: bool = False
    cluster_parent: str = ""  # name of the owning ClusterExternalSecret
    spec_changed: float = 0.0  # newest managedFields time of an entry that owns part of the spec; else creation
    mode: str = ""  # of the annotation MODE
    force_sync: str = ""  # of the annotation FORCE_SYNC: the stamp of who asked for a sync last
    # status
    refresh_time: float | None = None  # *begin* of ESO's last good sync (ESO's clock, whole seconds)
    synced_generation: int | None = None  # of the spec that the last good sync was of
    force_synced: bool = False  # it saw `force_sync`, and all else of spec and metadata as it is now
    ready: bool | None = None
    ready_reason: str = ""
    ready_since: float | None = None


class SecretStore(msgspec.Struct, frozen=True, kw_only=True):
    """A SecretStore or ClusterSecretStore. Its own Ready condition proves nothing for Azure and is not kept."""

    key: StoreKey
    provider: str  # azurekv, or the first other key of spec.provider
    host: str = ""  # vault host, if the URL is one we may ever talk to
    controller: str = ""  # spec.controller (controllerClass)
    changed: float = 0.0  # newest managedFields time of its spec, or creation
    refused: str = ""  # why its URL is not followed (not https, a foreign host, an IP, ...)


class SecretView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A Kubernetes Secret without its values."""

    key: ObjectKey
    uid: str
    resource_version: str
    created: float
    touched: float  # greatest time over all managedFields entries and creationTimestamp
    prints: dict[str, str]  # fingerprint per data key
    type: str = "Opaque"
    immutable: bool = False
    managed: bool = False  # carries ESO's managed label
    hash_fits: bool | None = None  # data-hash annotation equals the hash of the data; None: no annotation, or MD5
    owner_uid: str = ""  # uid of the controlling ExternalSecret
    force_sync: str = ""  # copied force-sync annotation
    finalizers: bool = False
    foreign_writers: tuple[str, ...] = ()  # managers other than ESO's that own data fields
    foreign_wrote: float | None = None  # newest managedFields time of those
    eso_wrote: float | None = None  # managedFields time of ESO's entry that owns data fields
    deleting: bool = False
    labels: Labels = NO_LABELS  # for the selectors of PushSecrets


class Use(msgspec.Struct, frozen=True, gc=False):
    """How one container consumes one Secret."""

    secret: str
    via: str  # env | envFrom | volume | subPath | projected
    keys: tuple[str, ...] | None = None  # None: every key it has (envFrom, whole volumes)
    without: tuple[str, ...] = ()  # keys of an envFrom that an explicit env (or a later envFrom) shadows
    optional: bool = False


class ContainerSpec(msgspec.Struct, frozen=True, gc=False):
    """One container of a pod and what it consumes; equal templates share one object."""

    name: str
    kind: str  # container | init | sidecar (a restartable init container)
    uses: tuple[Use, ...] = ()


class ContainerRun(msgspec.Struct, frozen=True, gc=False):
    """What kubelet says of one container. Times are the node's clock, whole seconds."""

    state: str  # running | waiting | terminated
    started: float | None = None  # of the run that is in `state` (or the last one, if waiting)
    finished: float | None = None  # end of that run, if it has ended
    previous_finished: float | None = None  # end of the run before
    ready: bool = False
    restarts: int = 0
    reason: str = ""  # CrashLoopBackOff, ImagePullBackOff, CreateContainerConfigError, ...


class Owner(NamedTuple):
    """The controlling ownerReference of an object."""

    kind: str
    name: str
    uid: str
    api_group: str


class Pod(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pod that consumes at least one judged Secret."""

    key: ObjectKey
    uid: str
    created: float
    node: str
    owner: Owner | None
    phase: str
    ready: bool
    ready_since: float | None
    deleting: bool
    containers: tuple[ContainerSpec, ...]
    runs: tuple[ContainerRun, ...]  # parallel to `containers`
    unschedulable: str = ""  # message of PodScheduled=False
    template_hash: str = ""  # pod-template-hash or controller-revision-hash
    labels: Labels = NO_LABELS
    references: tuple[str, ...] = ()  # every Secret its kubelet holds: also of unmounted volumes and imagePullSecrets
    mode: str = ""  # of the annotation MODE: the owner's word, where the pod has no workload


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A Deployment, StatefulSet or DaemonSet with what decides how, and whether, its pods may be recycled."""

    key: WorkloadKey
    uid: str
    generation: int
    observed_generation: int
    annotations: dict[str, str]  # its own, filtered to the agent's mode and to other restarters
    template_annotations: dict[str, str]  # likewise, of the pod template
    template_digest: str  # of spec.template less our restart annotation
    replicas: int  # desired
    updated: int
    ready: int
    strategy: str  # RollingUpdate | Recreate | OnDelete
    max_unavailable: str = "25%"
    max_surge: str = "25%"
    partition: int = 0
    paused: bool = False
    deleting: bool = False
    owner: Owner | None = None  # an operator that owns the workload
    claims: tuple[str, ...] = ()  # names of persistent volume claims in the template
    revision: str = ""
    leaving: int = 0  # pods of former templates that a Deployment's rollout has not removed yet

    @property
    def rolling(self) -> bool:
        """A rollout is under way, or its state is not known yet."""
        return self.observed_generation < self.generation or self.updated < self.replicas or self.leaving > 0


class ReplicaSet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A ReplicaSet: the link between a pod and its Deployment."""

    key: ObjectKey
    uid: str
    owner: Owner | None
    revision: str = ""  # of the Deployment


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A PodDisruptionBudget."""

    key: ObjectKey
    selector: Selector | None
    allowed: int  # status.disruptionsAllowed
    healthy: int  # status.currentHealthy
    desired: int  # status.desiredHealthy
    expected: int  # status.expectedPods
    observed: bool = True  # the status is of this generation
    unhealthy_policy: str = "IfHealthyBudget"  # IfHealthyBudget | AlwaysAllow

    def covers(self, pod: Pod) -> bool:
        """Whether the pod counts for this budget."""
        return (
            pod.key.namespace == self.key.namespace and self.selector is not None and self.selector.matches(pod.labels)
        )


class PushSource(msgspec.Struct, frozen=True, kw_only=True):
    """A PushSecret: the Secrets that it writes to a vault, by name or by label."""

    key: ObjectKey
    secret: str = ""
    selector: Selector | None = None
    deleting: bool = False

    def pushes(self, secret: SecretView) -> bool:
        """Whether that Secret is a source of this PushSecret."""
        return secret.key.namespace == self.key.namespace and (
            secret.key.name == self.secret or (self.selector is not None and self.selector.matches(secret.labels))
        )


OFF_LIMITS = "secret-drift-agent/off-limits"
"""The label, with any value, of namespaces in which admission refuses every write of the agent, Events too.

Also the mode of such a namespace."""


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace: its owner's word on the agent (annotation ``secret-drift-agent/mode``), or OFF_LIMITS."""

    name: str
    mode: str = ""
    deleting: bool = False


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node; containers on one that is not ready are unknown."""

    name: str
    ready: bool
    ready_since: float = 0.0  # by its kubelet's clock; 0: it does not say
    created: float = 0.0


# ----------------------------------------------------------------------------------------------------- verdicts


class Link(StrEnum):
    """One hop of a chain."""

    VAULT = "vault"  # vault -> externalsecret
    SECRET = "secret"  # noqa: S105 - externalsecret -> secret
    CONTAINER = "container"  # secret -> container


class State(StrEnum):
    """Of a link, or of one container."""

    FRESH = "fresh"
    ASSUMED = "assumed"
    STALE = "stale"
    SUSPECT = "suspect"
    UNKNOWN = "unknown"
    AWAITING = "awaiting-upstream"
    EXCLUDED = "excluded"
    PINNED = "pinned"


class Kind(StrEnum):
    """Kinds of drift."""

    STALE = "stale"
    SYNC_FAILED = "sync-failed"
    SPEC_NOT_APPLIED = "spec-not-applied"
    MISSING_SECRET = "missing-secret"  # noqa: S105 - a kind of drift
    MISSING_KEY = "missing-key"
    CHANGED_ELSEWHERE = "changed-elsewhere"
    STUCK = "stuck"
    STUCK_NEEDS_HAND = "stuck-needs-hand"
    CONFLICT = "conflict"
    STALE_POD = "stale-pod"
    SUSPECT = "suspect"
    UNKNOWN = "unknown"
    PINNED = "pinned"
    EXCLUDED = "excluded"
    DISABLED = "disabled"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to say about one link: what, since when, and the evidence, in an SRE's words."""

    chain: ObjectKey
    link: Link
    kind: Kind
    since: float
    evidence: str
    cause: str = ""
    remedy: str = ""
    sources: tuple[SourceKey, ...] = ()
    workload: WorkloadKey | None = None

    @property
    def is_drift(self) -> bool:
        """Suspect, unknown, pinned, excluded and the lifecycle notes are reported, never drift."""
        return self.kind in _DRIFTS


_DRIFTS = frozenset(
    {
        Kind.STALE, Kind.SYNC_FAILED, Kind.SPEC_NOT_APPLIED, Kind.MISSING_SECRET, Kind.MISSING_KEY,
        Kind.CHANGED_ELSEWHERE, Kind.STUCK, Kind.STUCK_NEEDS_HAND, Kind.CONFLICT, Kind.STALE_POD,
    }
)  # fmt: skip


class ContainerVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One running container judged against the data of the last good sync."""

    pod: ObjectKey
    pod_uid: str
    container: str
    state: State
    evidence: str
    versions: tuple[
        tuple[SourceKey, tuple[float, ...]], ...
    ] = ()  # per source, the `created` of the versions it may run
    counts: bool = True  # False: said for completeness, never a reason to recycle
    cached_on_node: bool = False  # its node may still serve the former object of an immutable Secret


class Step(StrEnum):
    """The ladder, least disruptive first."""

    WAIT = "wait"
    FORCE_SYNC = "force-sync"
    RECREATE = "recreate"
    RECYCLE = "recycle"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is due and not taken: why, and until when where that can be known."""

    step: Step
    reason: str  # a short, stable word for metrics: outside-window, budget, opted-out, ...
    detail: str
    until: float | None = None
    chain: ObjectKey | None = None
    workload: WorkloadKey | None = None
