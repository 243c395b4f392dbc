"""What a diagnosis looks at: everything known of one chain at one moment, immutable."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.memory import ChainMemory, SecretMemory, SourceMemory
from agent.model import (
    ContainerVerdict,
    ExternalSecret,
    Finding,
    Link,
    ObjectKey,
    Pod,
    PushSource,
    SecretStore,
    SecretView,
    SourceKey,
    SourceUse,
    State,
    StoreKey,
    Trouble,
)

MANY_RIVALS = 20
"""Of more ExternalSecrets with one target none is looked at: each of n would look at n - 1 others, at each change."""


class ChainView(msgspec.Struct, frozen=True, kw_only=True):
    """One ExternalSecret with all that its verdict rests on."""

    es: ExternalSecret
    stores: Mapping[StoreKey, SecretStore]
    sources: Mapping[SourceKey, SourceMemory]
    resolved: tuple[tuple[SourceUse, SourceKey], ...] = ()  # uses whose vault may be looked at
    blind: tuple[Trouble, ...] = ()  # why some source could not be looked at: store refused, vault down, ...
    secret: SecretView | None = None
    secret_memory: SecretMemory | None = None
    secret_behind: bool = False  # ESO may have written it before it synced, and that has not come to us
    pushes: tuple[PushSource, ...] = ()  # PushSecrets that name the Secret, or may select it
    push_trouble: Trouble | None = None  # they cannot be read
    secret_trouble: Trouble | None = None  # Secrets of the namespace cannot be read
    memory: ChainMemory = ChainMemory()
    rivals: tuple[tuple[ObjectKey, frozenset[str]], ...] = ()  # other chains with the same target, and their keys
    pods: tuple[Pod, ...] = ()
    pods_trouble: Trouble | None = None
    nodes_ready: frozenset[str] = frozenset()
    seen_running: Mapping[ObjectKey, float] = {}  # pod -> when we saw its present runs (API server's clock)

    @property
    def fixed(self) -> frozenset[SourceKey]:
        """The vault secrets of which ESO reads fixed versions only, whatever becomes of the newest one."""
        floating = {key for use, key in self.resolved if not use.version}
        return frozenset(key for _, key in self.resolved if key not in floating)

    @property
    def absent(self) -> list[SourceKey]:
        """The vault secrets that are not there and without which a sync fails; ESO needs them under Retain only."""
        if self.es.deletion_policy != "Retain":
            return []
        return [key for key, source in self.sources.items() if not source.state.present]

    @property
    def disabled(self) -> list[SourceKey]:
        """The vault secrets with which a sync fails since the version that ESO reads, the newest, is disabled."""
        fixed = self.fixed
        return [key for key, s in self.sources.items() if s.state.present and not s.state.enabled and key not in fixed]


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on links 1 and 2."""

    vault: State
    secret: State
    findings: tuple[Finding, ...] = ()
    wake_at: float | None = None  # when time alone may change the verdict

    @property
    def holds_up(self) -> bool:
        """Whether nothing may be recycled on this chain's account now."""
        return not (self.vault is State.FRESH and self.secret is State.FRESH)


class ChainReport(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a whole chain."""

    chain: ObjectKey
    upstream: Upstream
    containers: State
    findings: tuple[Finding, ...]
    verdicts: tuple[ContainerVerdict, ...] = ()  # containers that are not fresh; all of them if asked in full
    fresh: int = 0  # containers that are fresh or assumed
    assumed_from: float = float("inf")  # who resolved after this, and before our first look, holds what we saw then
    changed_at: float = 0.0  # newest data change or source event, or our first look (API server): `settle` begins
    wake_at: float | None = None

    def state(self, link: Link) -> State:
        """The state of one link."""
        if link is Link.VAULT:
            return self.upstream.vault
        return self.upstream.secret if link is Link.SECRET else self.containers
