"""Worlds without I/O, lived through step by step: one Secret, its vault secrets, its pods, and an agent that looks.

What a container really received is decided here by a kubelet of our own, at moments that only the truth knows; the
agent gets what API server, vault and node would show it: whole seconds, clocks that are apart, watches that break.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from msgspec.structs import replace
from support.ledgers import as_read_back
from support.living import KEY, Data, LivingPod, Start

from agent import policy as policies
from agent.cluster.reader import Listing
from agent.cluster.reflector import Changed, Confirmed, Listed, Scope
from agent.diagnose.chain import diagnose
from agent.diagnose.view import ChainReport, ChainView
from agent.engine.observe import Observer
from agent.engine.world import World
from agent.memory import ChainMemory, Memory, SecretMemory, VersionSeen
from agent.model import (
    ExternalSecret,
    Kind,
    SecretStore,
    SecretView,
    SourceKey,
    SourceState,
    SourceUse,
    StoreKey,
    Use,
    VaultView,
)

STORE = StoreKey("SecretStore", "shop", "vault")
HOST = "prod-kv.vault.azure.net"
SECRETS = Scope("secrets")
SOURCES = {"a": SourceKey(HOST, "source-a"), "b": SourceKey(HOST, "source-b")}
"""Secret key -> the vault secret that feeds it."""
FOREIGN = "x"
"""A key that only people write."""
BEGIN = 1_800_000_000.25


@dataclass
class Version:
    """One version of a vault secret. ``created``: the vault's clock, whole seconds."""

    created: float
    value: str
    enabled: bool = True


@dataclass
class Written:
    """The Secret's data from a moment on; None while there is no Secret. ``by_hand``: keys that a person wrote last."""

    at: float
    data: Data | None
    by_hand: frozenset[str] = frozenset()


@dataclass
class Entry:
    """A managedFields entry: whose, of which time, over which data keys; ``meta``: over metadata, too."""

    time: float
    keys: set[str] = field(default_factory=set)
    meta: bool = False


@dataclass
class Secret:
    """The object as the API server holds it."""

    uid: str
    created: float
    data: Data
    managers: dict[str, Entry]
    label: bool = True
    fits: bool = True
    rv: int = 0  # of its own last write: other objects' writes count on, and do not move it

    @property
    def touched(self) -> float:
        return max([math.floor(self.created), *(entry.time for entry in self.managers.values())])


class Timeline:
    """A world and its agent. Every method is something that happens; each takes a little time."""

    def __init__(self, *, vault_clock: float = 0.0, eso_clock: float = 0.0, extract: bool = False) -> None:
        """Clocks: by how much ahead of the API server's. ``extract``: the spec leaves open which source feeds a key."""
        self.policy = policies.default()
        self.now = BEGIN
        self.vault_clock, self.eso_clock, self.extract = vault_clock, eso_clock, extract
        self.versions: dict[str, list[Version]] = {}
        self.secret: Secret | None = None
        self.history: list[Written] = []
        self.pods: list[LivingPod] = []
        self._rv = 1
        self._uids = 0
        self.refreshed: float | None = None
        self.ready: bool | None = None
        self.ready_since: float | None = None
        # the agent
        self.memory = Memory()
        self.observer: Observer | None = None
        self._looked: dict[SourceKey, float] = {}
        self.watching = False
        self.pending = False
        self.listed_at = 0.0
        self.saved = Memory()
        self.blind: list[tuple[float, float]] = []
        self._slow = False
        self._on_the_way: list[tuple[str, SecretView]] = []
        self._blind_since: float | None = BEGIN - 1e9

    def wait(self, seconds: float) -> None:
        """Nothing happens."""
        self.now += seconds

    # ------------------------------------------------------------------------------------------------ the world

    def rotate(self, name: str, value: str) -> None:
        """A new version; no two of a vault secret in one second of the vault."""
        versions = self.versions.setdefault(name, [])
        created = math.floor(self.now + self.vault_clock)
        if versions and created <= versions[-1].created:
            self.now += versions[-1].created + 1 - created
            created = math.floor(self.now + self.vault_clock)
        versions.append(Version(created, value))

    def toggle(self, name: str) -> None:
        """The newest version is disabled, or enabled again."""
        newest = self.versions[name][-1]
        newest.enabled = not newest.enabled

    def sync(self, seconds: float) -> None:
        """ESO syncs: reads all its sources now, and writes ``seconds`` later what is not as it should be."""
        begin = self.now
        newest = {key: self.versions[key][-1] for key in SOURCES}
        self.now += seconds
        ready = all(version.enabled for version in newest.values())
        if ready != self.ready:
            self.ready, self.ready_since = ready, math.floor(self.now + self.eso_clock)
        if ready:
            self.refreshed = math.floor(begin + self.eso_clock)
            self._written_by_eso({key: version.value for key, version in newest.items()})
        self._tell_chain()

    def _written_by_eso(self, wanted: Data) -> None:
        secret = self.secret
        if secret is None:
            self._uids += 1
            entry = Entry(math.floor(self.now), set(wanted), meta=True)
            self.secret = Secret(f"uid-{self._uids}", self.now, dict(wanted), {"eso": entry})
            self._wrote("ADDED", by_hand=frozenset())
            return
        if secret.data == wanted and secret.label and secret.fits:
            return
        moved = {key for key in wanted if secret.data.get(key) != wanted[key]}
        if moved or not secret.label or not secret.fits:
            self._own("eso", moved, meta=True)
        for key in secret.data.keys() - wanted.keys():
            self._disown(key)
        reappears = not secret.label
        secret.data, secret.label, secret.fits = dict(wanted), True, True
        self._wrote("ADDED" if reappears else "MODIFIED", by_hand=frozenset())

    def edit(self, key: str, value: str | None) -> None:
        """A person writes a key of the Secret, or removes it (None)."""
        secret = self.secret
        if secret is None or secret.data.get(key) == value:
            return
        by_hand = self.history[-1].by_hand | {key}
        if value is None:
            self._disown(key)
            del secret.data[key]
        else:
            self._own("kubectl-edit", {key}, meta=False)
            secret.data[key] = value
        secret.fits = False
        self._wrote("MODIFIED", by_hand=by_hand)

    def annotate(self) -> None:
        """A person writes metadata only."""
        if self.secret is not None:
            self._own("kubectl-annotate", set(), meta=True)
            self._wrote("MODIFIED", by_hand=self.history[-1].by_hand)

    def unlabel(self) -> None:
        """A person takes off ESO's label: the Secret goes out of the agent's sight until ESO puts it back."""
        if self.secret is not None and self.secret.label:
            self._own("kubectl-label", set(), meta=True)
            view = self._view()
            self.secret.label = False
            self._rv += 1
            self.secret.rv = self._rv
            self._deliver("DELETED", replace(view, resource_version=str(self._rv)))

    def delete(self) -> None:
        """A person deletes the Secret. One that is out of sight stays: that it was there cannot be known afterwards."""
        if self.secret is None or not self.secret.label:
            return
        view = self._view()
        self.secret = None
        self.history.append(Written(self.now, None))
        self._rv += 1
        self._deliver("DELETED", replace(view, resource_version=str(self._rv)))
        self.now += 0.01

    def _own(self, manager: str, keys: set[str], *, meta: bool) -> None:
        assert self.secret is not None
        for key in keys:
            self._disown(key)
        entry = self.secret.managers.setdefault(manager, Entry(0.0))
        entry.time = math.floor(self.now)
        entry.keys |= keys
        entry.meta |= meta

    def _disown(self, key: str) -> None:
        """As the API server does when a key goes: no time moves, and an entry that owns nothing any more vanishes."""
        assert self.secret is not None
        for manager, entry in list(self.secret.managers.items()):
            entry.keys.discard(key)
            if not entry.keys and not entry.meta:
                del self.secret.managers[manager]

    def _wrote(self, event: str, *, by_hand: frozenset[str]) -> None:
        assert self.secret is not None
        self._rv += 1
        self.secret.rv = self._rv
        self.history.append(Written(self.now, dict(self.secret.data), by_hand))
        if self.secret.label:
            self._deliver(event, self._view())
        self.now += 0.01

    # ------------------------------------------------------------------------------------------------ the pods

    def start(
        self, uses: tuple[Use, ...], *, clock: float, until_read: float, until_started: float, lag: float
    ) -> None:
        """A pod is created; its kubelet reads the Secret later, from a copy that is ``lag`` old."""
        read = self.now + until_read
        start = Start(read - lag, read + until_started)
        self.pods.append(LivingPod(f"pod-{len(self.pods)}", self.now, clock, uses, [start]))

    def restart(self, index: int, *, until_read: float, until_started: float, lag: float) -> None:
        """A container ends now and starts anew."""
        if not self.pods:
            return
        pod = self.pods[index % len(self.pods)]
        if not self._runs(pod):
            return
        read = self.now + until_read
        pod.starts.append(Start(read - lag, read + until_started, previous_end=self.now))

    def _runs(self, pod: LivingPod) -> bool:
        """Whether its container runs by now. One that lacks what it needs waits, and starts when that is there."""
        start = pod.starts[-1]
        if not pod.starts_on(self.at(start.read).data):
            there = [w.at for w in self.history if w.at > start.read and pod.starts_on(w.data)]
            if not there:
                return False
            again = there[0] + 0.005  # before anything else is written
            start = pod.starts[-1] = Start(again, again + start.started - start.read, start.previous_end)
        return start.started < self.now - 0.02

    def received(self, pod: LivingPod) -> Data | None:
        """The Secret's data as the present run of the container read them; None: there was no Secret."""
        return self.at(pod.starts[-1].read).data

    def at(self, moment: float) -> Written:
        """The Secret's data at a moment."""
        found = Written(-math.inf, None)
        for written in self.history:
            if written.at <= moment:
                found = written
        return found

    # ------------------------------------------------------------------------------------------------ the agent

    def begin(self) -> None:
        """The agent's process starts, with the ledger as last saved."""
        if self.observer is None:
            self.memory = as_read_back(self.saved)
            self.observer = Observer(World(), self.memory, on_malformed=lambda _: None)
            self._looked = {}
            self.list()

    def list(self) -> None:
        """All collections are listed, and watched from there on; the vaults are yet to be asked."""
        if self.observer is None or self.watching:
            return
        asked = self.now
        self.now += 0.05
        world = self.observer.world
        world.put("secretstores", STORE_OBJECT)
        world.put("externalsecrets", self._external_secret())
        items = [self._view()] if self.secret is not None and self.secret.label else []
        listing = Listing(items=items, resource_version=str(self._rv), asked_at=asked, answered_at=self.now + 0.05)
        self.now += 0.05
        self.observer.take(Listed(SECRETS, listing, gap=True))
        self.watching, self.pending, self.listed_at = True, True, self.now
        if self._blind_since is not None:
            self.blind.append((self._blind_since, self.now))
            self._blind_since = None

    def sweep(self) -> None:
        """The vault is asked, and what waited for its answer is taken in."""
        if self.observer is None:
            return
        asked = self.now
        self.now += 0.05
        states = {source.name: self._state(key) for key, source in SOURCES.items() if key in self.versions}
        view = VaultView(host=HOST, asked_at=asked, answered_at=self.now, sources=states)
        wanted = frozenset(source.name for source in SOURCES.values())
        self.observer.sweep(view, wanted, self._version_list, self._looked)
        self._looked = dict.fromkeys(SOURCES.values(), asked)
        if self.pending and self.watching:
            self.pending = False
            self.observer.settle(self.policy)
        self._think()

    def bookmark(self) -> None:
        """The watch says that it is alive."""
        self.hasten()
        if self.observer is not None and self.watching:
            self.observer.take(Confirmed(SECRETS, self.now))

    def save(self) -> None:
        """The ledger is written."""
        if self.observer is not None and not self.pending:
            self.saved = as_read_back(self.memory)

    def stop(self) -> None:
        """The process ends; what was not saved is lost."""
        if self.observer is not None:
            self.observer, self.watching, self.pending = None, False, False
            self._slow, self._on_the_way = False, []
            self._blind_since = min(self.now, self._blind_since or self.now)

    def breaks(self) -> None:
        """The watch of Secrets breaks; the process lives on."""
        if self.observer is not None and self.watching and not self.pending:
            self.watching = False
            self._slow, self._on_the_way = False, []
            self._blind_since = self.now

    def slow(self) -> None:
        """What the watch brings is on its way for a while."""
        self._slow = self.watching

    def hasten(self) -> None:
        """It arrives."""
        self._slow, waiting, self._on_the_way = False, self._on_the_way, []
        for event, view in waiting:
            self._deliver(event, view)

    def read(self) -> None:
        """The Secret is read by itself, ahead of the watch."""
        if self.observer is not None and self.secret is not None and self.secret.label:
            self.now += 0.02
            self.observer.secret_read(self._view(), at=self.now)
            self._think()

    def judge(self) -> tuple[ChainReport, dict[str, LivingPod]]:
        """Every container's verdict, after a last look where the agent is not there."""
        self.begin()
        self.list()
        self.hasten()
        self.sweep()
        observer = self.observer
        assert observer is not None
        running = {pod.name: pod for pod in self.pods if self._runs(pod)}
        for pod in running.values():
            observer.world.put("pods", pod.shown(), seen_at=max(pod.starts[-1].started + 0.01, self.listed_at))
        return diagnose(self._chain_view(), self.policy, self.now, full=True), running

    @property
    def known(self) -> SecretMemory | None:
        """What the agent remembers of the Secret."""
        return self.memory.secrets.get(KEY)

    def _deliver(self, event: str, view: SecretView) -> None:
        if self.observer is None or not self.watching:
            return
        if self._slow:
            self._on_the_way.append((event, view))
            return
        self.now += 0.02
        self.observer.take(Changed(SECRETS, event, view, self.now))
        self._think()

    def _tell_chain(self) -> None:
        if self.observer is not None:
            self.observer.world.put("externalsecrets", self._external_secret())
            self._think()

    def _think(self) -> None:
        """As the engine does in each pass: remember what was found of links 1 and 2."""
        if self.observer is None or self.pending:
            return
        report = diagnose(self._chain_view(), self.policy, self.now)
        found = {f.kind.value: self.now for f in report.upstream.findings if f.is_drift or f.kind is Kind.UNKNOWN}
        self.memory.chains[KEY] = ChainMemory(since=found)

    def _chain_view(self) -> ChainView:
        observer = self.observer
        assert observer is not None
        es = observer.world.external_secrets[KEY]
        return ChainView(
            es=es,
            stores=observer.world.stores,
            sources=self.memory.sources,
            resolved=tuple(
                (use, source) for use, source in observer.world.sources_of(es) if isinstance(source, SourceKey)
            ),
            secret=observer.world.secrets.get(KEY),
            secret_memory=self.known,
            memory=self.memory.chains.get(KEY, ChainMemory()),
            pods=observer.world.pods_of_secret(KEY),
            seen_running=observer.world.seen_running,
            nodes_ready=frozenset({"node-1"}),
        )

    def _state(self, key: str) -> SourceState:
        newest = self.versions[key][-1]
        return SourceState(created=newest.created, enabled=newest.enabled)

    def _version_list(self, source: SourceKey) -> tuple[VersionSeen, ...]:
        key = next(key for key, known in SOURCES.items() if known == source)
        return tuple(VersionSeen(created=v.created, enabled=v.enabled) for v in reversed(self.versions[key]))

    def _view(self) -> SecretView:
        secret = self.secret
        assert secret is not None
        foreign = {m: e for m, e in secret.managers.items() if m != "eso" and e.keys}
        eso = secret.managers.get("eso")
        return SecretView(
            key=KEY, uid=secret.uid, resource_version=str(secret.rv), created=math.floor(secret.created),
            touched=secret.touched, prints=dict(secret.data), managed=True, hash_fits=secret.fits, owner_uid="es",
            foreign_writers=tuple(sorted(foreign)), foreign_wrote=max((e.time for e in foreign.values()), default=None),
            eso_wrote=eso.time if eso is not None and eso.keys else None,
        )  # fmt: skip

    def _external_secret(self) -> ExternalSecret:
        self._rv += 1
        return ExternalSecret(
            key=KEY, uid="es", resource_version=str(self._rv), generation=1, created=BEGIN - 1e6,
            stores=(STORE,), target=KEY.name, expected_keys=tuple(SOURCES),
            uses=tuple(
                SourceUse(store=STORE, name=source.name, secret_keys=None if self.extract else (key,))
                for key, source in SOURCES.items()
            ),
            spec_changed=BEGIN - 1e6, refresh_time=self.refreshed, synced_generation=1, ready=self.ready,
            ready_since=self.ready_since,
        )  # fmt: skip


STORE_OBJECT = SecretStore(key=STORE, provider="azurekv", host=HOST, changed=BEGIN - 1e6)
