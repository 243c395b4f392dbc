"""From what was seen to what is remembered: messages of reflectors and sweeps, into the projection and the memory.

The order matters. Secrets are judged against what is known of their vaults, so after a gap a Secret's new value is
taken in only when the vaults have answered: `pending` holds such lists back until `settle` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from agent.cluster.decode import Malformed
from agent.cluster.reader import Listing
from agent.cluster.reflector import Changed, Confirmed, Listed, Malfunction, Message, Recovered, Scope, Spoiled
from agent.diagnose import history, sources
from agent.engine.ahead import Ahead, older
from agent.engine.births import Births
from agent.engine.world import World
from agent.memory import Memory, NodeCache, SecretMemory, VersionSeen
from agent.model import ObjectKey, SecretView, SourceKey, SourceState, VaultView
from agent.policy import Policy

BOOKMARK_LATENCY = 5.0
"""Seconds by which a bookmark may have been under way: what it confirms is the time before that."""

Versions = Callable[[SourceKey], tuple[VersionSeen, ...] | None]


class Observer:
    """Applies messages, in order, to a world and a memory."""

    def __init__(self, world: World, memory: Memory, *, on_malformed: Callable[[Malformed], None]) -> None:
        self.world, self.memory = world, memory
        self._on_malformed = on_malformed
        self._lower: dict[Scope, float] = {}  # a write seen next on this scope was done after this
        self._looking: dict[Scope, float] = {}  # since when without a gap
        self.changed_secrets: set[ObjectKey] = set()
        self.changed_data: list[tuple[ObjectKey, tuple[str, ...]]] = []
        self.changed_sources: set[SourceKey] = set()
        self.nodes_released = False  # must be in the ledger before a pod of ours can come to such a node
        self._cached = {key for key, known in memory.secrets.items() if known.cache is not None and known.cache.dirty}
        self.heard: set[Scope] = set()  # scopes that were listed, or could not be
        self.pending: list[Listed] = []
        self._held: list[Message] = []  # what came on a scope of `pending` after its list
        self._births = Births(world, memory)
        self._ahead: dict[ObjectKey, Ahead] = {}

    def take(self, message: Message) -> None:
        """One message of a reflector."""
        scope = message.scope
        if isinstance(message, Listed | Malfunction):
            self.heard.add(scope)
        if any(listed.scope == scope for listed in self.pending):
            self._held.append(message)
            return
        match message:
            case Listed():
                self._listed(message)
            case Changed():
                self._changed(message)
            case Confirmed():
                self._lower[scope] = max(self._lower.get(scope, 0.0), message.at - BOOKMARK_LATENCY)
                self._confirm(scope, message.at - BOOKMARK_LATENCY)
            case Spoiled():
                self._spoiled(message)
            case Malfunction():
                trouble = None if not_installed(message) else message.trouble
                self.world.set_trouble(scope.resource, scope.namespace, trouble)
            case Recovered():
                self.world.set_trouble(scope.resource, scope.namespace, None)

    def sweep(
        self, view: VaultView, wanted: frozenset[str], versions: Versions, looked: Mapping[SourceKey, float]
    ) -> None:
        """One vault's answer. ``versions`` asks for a secret's version list (None: it could not be had).

        ``looked``: when the answer before it was asked for.
        """
        self.world.put_vault(view)
        if view.trouble is not None:
            return
        for name in wanted:
            key = SourceKey(view.host, name)
            state = view.sources.get(name) or SourceState(present=False)
            known = self.memory.sources.get(key)
            seen = sources.look(known, state, at=view.answered_at, before=looked.get(key, 0.0))
            if seen is known:
                continue
            if known is not None and state.present and state.identity != known.state.identity:
                listed = versions(key)
                if listed is not None:
                    seen = sources.learn_versions(seen, listed)
                newer = [v.created for v in listed or () if v.created > known.state.created]
                seen = replace(seen, earliest=min(newer, default=0.0))
            elif known is None and state.present and not state.enabled:
                seen = sources.learn_versions(seen, versions(key) or ())
            self.memory.sources[key] = seen
            self.changed_sources.add(key)

    def settle(self, policy: Policy) -> None:
        """Take in the Secrets of lists after a gap: the vaults have been looked at."""
        pending, self.pending = self.pending, []
        for listed in pending:
            self._secrets_listed(listed, policy)
        if pending:
            held, self._held = self._held, []
            for message in held:
                self.take(message)

    # ---------------------------------------------------------------------------------------------------- lists

    def _listed(self, message: Listed) -> None:
        scope = message.scope
        self.world.set_trouble(scope.resource, scope.namespace, None)
        for malformed in self.world.unusable.listed(scope.resource, scope.namespace, message.listing.malformed):
            self._on_malformed(malformed)
        if scope.resource == "secrets":
            self.pending.append(message)
            return
        seen_at = message.listing.answered_at
        self.world.replace_all(scope.resource, scope.namespace, message.listing.items, seen_at=seen_at)
        if scope.resource == "pods":
            self._release_nodes(scope.namespace)

    def _secrets_listed(self, message: Listed, policy: Policy) -> None:
        scope, listing = message.scope, message.listing
        confirmed = self._confirmed(scope)
        present = {malformed.key for malformed in listing.malformed}  # there, whatever they hold
        for view in listing.items:
            present.add(view.key)
            known = self.memory.secrets.get(view.key)
            if known is None:
                quiet = view.touched + 1 < listing.asked_at  # if not, what we see may be younger than our question
                at = listing.asked_at if quiet else listing.answered_at
                fresh = history.first_look(view, at=at, absent_until=confirmed)
                self._remember(view.key, None, fresh)
            else:
                since = confirmed if confirmed is not None else known.first_look
                self._gap_ended(known, view, listing, since, policy)
        absent = [k for k in self.memory.secrets if k not in present and scope.namespace in (None, k.namespace)]
        for key in absent:
            memory = self.memory.secrets[key]
            if memory.uid or message.gap:
                since = confirmed if confirmed is not None else memory.first_look
                told = self._told(key, memory)
                self._remember(key, memory, history.deleted(told, since=since, seen=listing.answered_at, gap=True))
        self.world.replace_all("secrets", scope.namespace, listing.items)
        self._lower[scope] = listing.asked_at
        if message.gap:
            self._looking[scope] = listing.asked_at
        self._confirm(scope, listing.asked_at)

    def _gap_ended(self, known: SecretMemory, view: SecretView, listing: Listing, since: float, policy: Policy) -> None:
        """What a list shows, held against what the watch had told before it broke (until ``since``)."""
        ahead = self._ahead.get(view.key, Ahead(known))
        told = ahead.exact(known)
        if older(view, told):
            return
        born = self._births.of(view, since, policy)
        after = history.after_gap(told, view, confirmed=since, seen=listing.answered_at, born=born)
        self._keep(view.key, known, ahead.listed(after, view, asked=listing.asked_at), deleted_at=since)

    def _keep(self, key: ObjectKey, known: SecretMemory, ahead: Ahead, *, deleted_at: float = 0.0) -> None:
        self._ahead.pop(key, None)
        if ahead.reads:
            self._ahead[key] = ahead
        self._remember(key, known, ahead.memory(known), deleted_at=deleted_at)

    def _told(self, key: ObjectKey, known: SecretMemory) -> SecretMemory:
        """What is known of a Secret without what was read ahead of its watch; that is forgotten."""
        return self._ahead.pop(key, Ahead(known)).exact(known)

    # ---------------------------------------------------------------------------------------------------- watches

    def _changed(self, message: Changed) -> None:
        scope, obj = message.scope, message.object
        if scope.resource == "secrets":
            known = self.memory.secrets.get(obj.key)
            if message.type != "DELETED" and known is not None and older(obj, known):
                self._came_late(known, message)
                return
            self._secret_changed(scope, message)
        if message.type == "DELETED":
            self.world.drop(scope.resource, obj)
        else:
            self.world.put(scope.resource, obj, seen_at=message.observed_at)
        if scope.resource == "pods":
            self._release_nodes(obj.key.namespace)

    def secret_read(self, view: SecretView, *, at: float) -> None:
        """One Secret was read by itself, ahead of its watch; ``at``: when the answer came (API server's clock)."""
        wide = Scope("secrets")
        scope = wide if wide in self.heard else Scope("secrets", view.key.namespace)
        known = self.memory.secrets.get(view.key)
        if known is None or known.uid != view.uid or older(view, known) or self.pending:
            return  # the watch tells
        if view.resource_version == known.resource_version:
            return  # nothing has been written that we do not know of
        # What the watch has yet to bring was written before this: neither its bounds nor the heartbeat move.
        ahead = self._ahead.get(view.key, Ahead(known))
        self._keep(view.key, known, ahead.read(view, since=self._lower.get(scope, 0.0), at=at))
        self.world.put("secrets", view)

    def is_ahead(self, key: ObjectKey) -> bool:
        """Whether a Secret was read by itself, and its watch has yet to bring what was read."""
        return key in self._ahead

    def _came_late(self, known: SecretMemory, message: Changed) -> None:
        """A state that was there before one which was read ahead of the watch: it takes its place in the history."""
        view, ahead = message.object, self._ahead.get(message.object.key)
        if ahead is not None:
            since = self._lower.get(message.scope, 0.0)
            self._keep(view.key, known, ahead.brought(view, since=since, seen=message.observed_at))

    def _secret_changed(self, scope: Scope, message: Changed) -> None:
        view: SecretView = message.object
        known = self.memory.secrets.get(view.key)
        since, seen = self._lower.get(scope, 0.0), message.observed_at
        if message.type == "DELETED":
            if known is not None and known.uid:
                gone = history.deleted(self._told(view.key, known), since=since, seen=seen)
                self._remember(view.key, known, gone, deleted_at=seen)
        elif known is None:
            confirmed = self._confirmed(scope)
            first = history.first_look(
                view, at=seen, absent_until=confirmed, absent_since=self._looking.get(scope, confirmed)
            )
            self._remember(view.key, None, first)
        else:
            ahead = self._ahead.get(view.key, Ahead(known))
            self._keep(view.key, known, ahead.brought(view, since=since, seen=seen), deleted_at=since)
        if view.touched <= seen + 1:  # a time that cannot be is somebody's hand: it would shift what bounds all others
            self._lower[scope] = max(since, min(view.touched, seen))
        self._confirm(scope, since)

    def _spoiled(self, message: Spoiled) -> None:
        scope, malformed = message.scope, message.malformed
        if not message.gone:
            if self.world.unusable.found(malformed):
                self._on_malformed(malformed)
            return
        self.world.unusable.gone(malformed)
        known = self.memory.secrets.get(malformed.key) if scope.resource == "secrets" and malformed.key else None
        if malformed.key is not None and known is not None:
            since = self._lower.get(scope, 0.0)
            gone = history.deleted(self._told(malformed.key, known), since=since, seen=message.observed_at)
            self._remember(malformed.key, known, gone, deleted_at=message.observed_at)

    def _remember(
        self, key: ObjectKey, before: SecretMemory | None, after: SecretMemory, *, deleted_at: float = 0.0
    ) -> None:
        if after == before:
            return
        if before is not None and before.immutable and before.uid and before.uid != after.uid:
            after = replace(after, cache=self._cached_nodes(key, after, deleted_at))
        self.memory.secrets[key] = after
        self.changed_secrets.add(key)
        if before is not None:
            moved = history.differing(before, after)
            if moved:
                self.changed_data.append((key, moved))

    def _cached_nodes(self, key: ObjectKey, after: SecretMemory, deleted_at: float) -> NodeCache:
        """An immutable Secret is gone, or another object: nodes with a reference still serve the former one."""
        nodes = sorted({pod.node for pod in self.world.pods_of_secret(key) if pod.node})
        self._cached.add(key)
        return NodeCache(uid=after.uid, at=deleted_at, dirty=tuple(nodes))

    def _release_nodes(self, namespace: str | None) -> None:
        """Note the nodes without any reference left to a recreated immutable Secret.

        Message by message: of a pod that leaves and one that comes, the watch's order tells whether both were there.
        """
        for key in [key for key in self._cached if namespace in (None, key.namespace)]:
            memory = self.memory.secrets.get(key)
            if memory is None or memory.cache is None or not memory.cache.dirty:
                self._cached.discard(key)
                continue
            in_use = {pod.node for pod in self.world.pods_of_secret(key)}
            dirty = tuple(node for node in memory.cache.dirty if node in in_use)
            if dirty != memory.cache.dirty:
                self.memory.secrets[key] = replace(memory, cache=replace(memory.cache, dirty=dirty))
                self.changed_secrets.add(key)
                self.nodes_released = True

    def _confirmed(self, scope: Scope) -> float | None:
        """Until when we know everything of a scope; who looked at all namespaces looked at each of them."""
        wide = self.memory.heartbeat.get(str(Scope(scope.resource)))
        own = self.memory.heartbeat.get(str(scope))
        return own if wide is None else max(wide, own or wide)

    def _confirm(self, scope: Scope, at: float) -> None:
        if scope.resource == "secrets":
            name = str(scope)
            self.memory.heartbeat[name] = max(self.memory.heartbeat.get(name, 0.0), at)


OPTIONAL_KINDS = frozenset({"pushsecrets"})
"""Custom resources that a cluster with ESO may do without."""


ESO = "External Secrets Operator"
_ESO_KINDS = frozenset({"externalsecrets", "secretstores", "clustersecretstores"})


def no_eso(message: Malfunction) -> bool:
    """The collection is not served though no ESO that the agent can work with is without it."""
    return message.scope.resource in _ESO_KINDS and message.trouble.cause == "not-found"


def not_installed(message: Malfunction) -> bool:
    """The collection is not served because its kind is not installed: then there are no such objects."""
    return message.scope.resource in OPTIONAL_KINDS and message.trouble.cause == "not-found"
