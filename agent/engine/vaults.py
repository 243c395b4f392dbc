"""The sweepers: one thread a vault, so that a slow or dead vault delays nobody else."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import msgspec

from agent.clock import Clock
from agent.memory import SourceMemory, VersionSeen
from agent.model import ObjectKey, SourceKey, SourceState, Trouble, VaultView
from agent.policy import Policy
from agent.vault.client import FOREVER, VaultClient

FIRST_PEACE = 10.0
"""Seconds of peace that a start gives a vault: whoever wants more is looked at later, and all the rest compared now."""
MOST_VERSION_LISTS = 25
"""Version lists asked for after one sweep: they name versions, which is worth a request, not a thousand."""


class VaultAnswer(msgspec.Struct, frozen=True):
    """One sweep, with the version lists of secrets that changed in it."""

    view: VaultView
    wanted: frozenset[str]
    versions: dict[str, tuple[VersionSeen, ...]]
    blocked_seconds: float = 0.0


_ABSENT = SourceState(present=False)


class Sweeper:
    """Looks at one vault whenever asked, in a thread of its own, and tells a sink."""

    def __init__(
        self, client: VaultClient, sink: Callable[[VaultAnswer], None], clock: Clock, *, deadline: float = 120.0
    ) -> None:
        self.client, self._sink, self._clock, self._deadline = client, sink, clock, deadline
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._started = False
        self._states: dict[str, SourceState] = {}
        self._thread = threading.Thread(target=self._run, name=f"sweep {client.host}", daemon=True)

    def learn(self, known: dict[str, SourceState]) -> None:
        """The states that the ledger remembers: what differs from them has changed."""
        self._states = dict(known)

    def start(self) -> None:
        """Begin the thread, once."""
        if not self._started:
            self._started = True
            self._thread.start()

    def ask(self, names: frozenset[str]) -> None:
        """Look at these secrets soon."""
        with self._lock:
            self._wanted |= names
        self._wake.set()

    def stop(self) -> None:
        """End; a sweep under way is given up."""
        self._stopping = True
        self.client.close()
        self._wake.set()

    def look(self, names: frozenset[str], ends: float | None = None, *, peace: float = FOREVER) -> VaultAnswer:
        """One sweep, in the caller's thread, until ``ends`` (``clock.monotonic``) at the latest; see ``sweep``."""
        until = self._clock.monotonic() + self._deadline
        until = until if ends is None else min(until, ends)
        view = self.client.sweep(names, until, peace=peace)
        versions: dict[str, tuple[VersionSeen, ...]] = {}
        if view.trouble is None:
            for name in self._changed(view, names)[:MOST_VERSION_LISTS]:
                if (found := self.versions(name, until)) is not None:
                    versions[name] = found
            for name, state in view.sources.items():
                if (known := self._states.get(name)) == state:
                    view.sources[name] = known  # one object for us, the memory and every sweep
            self._states.update({name: view.sources.get(name, _ABSENT) for name in names})
        return VaultAnswer(view, names, versions, self.client.blocked_seconds)

    def versions(self, name: str, until: float | None = None) -> tuple[VersionSeen, ...] | None:
        """The versions of one secret, by their ids; None: they could not be had."""
        found = self.client.versions(name, until)
        if isinstance(found, Trouble):
            return None
        return tuple(VersionSeen(created=v.created, enabled=v.enabled, id=v.id) for v in found)

    def _changed(self, view: VaultView, names: frozenset[str]) -> list[str]:
        changed = []
        for name in names:
            state, known = view.sources.get(name), self._states.get(name)
            if state is None or state == known:
                continue  # most, at each look
            if not state.enabled if known is None else known.identity != state.identity:
                changed.append(name)
        return sorted(changed)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait()
            with self._lock:
                names, self._wanted = frozenset(self._wanted), set()
                self._wake.clear()
            if names and not self._stopping:
                self._sink(self.look(names))


MakeVault = Callable[[str, float], VaultClient]
"""By host, and requests a second."""


class Sweepers:
    """One sweeper for each vault that was ever asked for."""

    def __init__(self, make: MakeVault, sink: Callable[[VaultAnswer], None], clock: Clock) -> None:
        self._make, self._sink, self._clock = make, sink, clock
        self._by_host: dict[str, Sweeper] = {}
        self.policy = Policy()
        self.known: Mapping[SourceKey, SourceMemory] = {}
        """What the ledger remembers."""

    def of(self, host: str) -> Sweeper:
        """The vault's, made at first use."""
        sweeper = self._by_host.get(host)
        if sweeper is None:
            rates = [rule.requests_per_second for rule in self.policy.vaults if rule.host == host]
            client = self._make(host, rates[0] if rates else 20.0)
            sweeper = self._by_host[host] = Sweeper(client, self._sink, self._clock)
            sweeper.learn({key.name: known.state for key, known in self.known.items() if key.vault == host})
        sweeper.client.version_pages = self.policy.reading.vault_version_pages
        return sweeper

    def ask(self, host: str, names: frozenset[str]) -> None:
        """Look at these secrets of a vault soon, in its own thread."""
        sweeper = self.of(host)
        sweeper.start()
        sweeper.ask(names)

    def start(self) -> None:
        """Begin the threads of all that there are."""
        for sweeper in self._by_host.values():
            sweeper.start()

    def stop(self) -> None:
        """End all; sweeps under way are given up."""
        for sweeper in self._by_host.values():
            sweeper.stop()


def wanted_sources(reads: Iterable[tuple[SourceKey, ObjectKey]], policy: Policy) -> dict[str, set[str]]:
    """Vault host -> names to look at, over all reads of a vault secret by a chain that the policy allows."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for source, chain in reads:
        if policy.vault_rule(source.vault, chain.namespace):
            wanted[source.vault].add(source.name)
    return dict(wanted)
