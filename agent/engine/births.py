"""Before when a value cannot have existed: what a gap's new versions tell of the values that came with them.

It rests on what the memory knew when the gap began, so it is asked before anything is judged anew.
"""

from __future__ import annotations

from collections.abc import Callable

from agent import mapping
from agent.diagnose import sources
from agent.engine.world import World
from agent.memory import ChainMemory, Memory, SourceMemory
from agent.model import ExternalSecret, SecretView, SourceKey
from agent.policy import Policy


class Births:
    """The versions that came in a gap, and the values they can have brought."""

    def __init__(self, world: World, memory: Memory) -> None:
        self._world, self._memory = world, memory

    def of(self, view: SecretView, since: float, policy: Policy) -> Callable[[str], float]:
        """Per key of a Secret: the time before which its value, new after a gap, cannot have existed; 0: not known.

        Known only where nothing but a version of the gap can have brought it: no person's hand, no edit of spec or
        store, and no version that was there when the gap began (``since``) and that ESO may have fetched later.
        """
        chains = [self._world.external_secrets[key] for key in self._world.chains_of_secret(view.key)]

        def born(key: str) -> float:
            times = [self._by(es, key, since, policy) for es in chains]
            earliest = min(times, default=0.0)
            return max(0.0, earliest - policy.margins.vault) if earliest < NEVER and not view.foreign_writers else 0.0

        return born

    def _by(self, es: ExternalSecret, key: str, since: float, policy: Policy) -> float:
        """When the first version came by which this chain can have brought the key's value; 0: it cannot be said."""
        stores = [self._world.stores.get(store) for store in es.stores]
        if es.spec_changed > since or any(store is None or store.changed > since for store in stores):
            return 0.0
        first = NEVER
        for use in mapping.feeds(es, key):
            if use.version:
                continue
            source = mapping.resolve(use, self._world.stores)
            known = self._memory.sources.get(source) if isinstance(source, SourceKey) else None
            if not isinstance(source, SourceKey) or known is None:
                return 0.0
            then = sources.as_of(known, since)  # also where a process that died in the gap had seen the new version
            if then is None or not self._fetched(es, source, then[0], since, policy):
                return 0.0
            first = min(first, then[1])
        return first

    def _fetched(
        self, es: ExternalSecret, source: SourceKey, known: SourceMemory, since: float, policy: Policy
    ) -> bool:
        """Whether ESO held this state of a vault secret when the gap began, as far as the memory of then tells."""
        memory = self._memory.chains.get(es.key, ChainMemory())
        if not known.state.present or not known.state.enabled:
            return False
        if memory.covered.get(str(source)) == known.state.identity:
            return True
        failing = memory.failed_since or any(not kind.startswith("container/") for kind in memory.since)
        due = known.event_at + es.refresh_interval + policy.margins.vault
        return not failing and max(due, known.seen_at if known.witnessed else 0.0) < since


NEVER = float("inf")
