"""The agent as a process: load, compare, heal; once, or for as long as it lives.

`once` and `scan` list everything and look at the vaults; `run` follows by watches. All three are the same engine.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Literal

import msgspec

from agent import advice, bounds, garbage
from agent.clock import Clock
from agent.cluster.access import may
from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer, sharing
from agent.cluster.errors import ApiProblem, Unreachable, trouble_of
from agent.cluster.installed import admission_policies
from agent.cluster.reader import list_all
from agent.cluster.reflector import Listed, Malfunction, Message, Reflector, Scope
from agent.cluster.writer import Writer
from agent.engine.asked import Following, Questions
from agent.engine.context import Context
from agent.engine.engine import Engine, Inbox
from agent.engine.observe import Observer
from agent.engine.vaults import FIRST_PEACE, MakeVault, Sweepers, VaultAnswer
from agent.engine.world import World
from agent.events import BoundsRead, Event, LeadershipChanged, Troubled
from agent.inquiries import Inquiries, acknowledged
from agent.ledger import KEY_NAME, Installation, Ledger, LedgerConflict, LedgerProblem, installation_key
from agent.ledger.requests import Request
from agent.model import ObjectKey, Trouble
from agent.policy import PolicyFile
from agent.scopes import as_asked_for, part_of, scopes

FIRST_ANSWERS = 60.0
"""Seconds for which a start waits for the collections and the vaults; what has not answered then is unknown."""
LONGEST_SLEEP = 5.0
MOST_NAMESPACES = 20
"""In which it is asked one by one what we may write, where we may not in all of them at once."""
ASKED_NAP = 0.3
"""Seconds between two looks while somebody waits for an answer."""
Access = Literal["read", "heal"]


class Stopped(Exception):
    """Asked to end before the first comparison was complete: nothing can be said."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is started with."""

    namespaces: tuple[str, ...] = ()  # empty: all
    agent_namespace: str = "secret-drift-agent"
    access: Access = "heal"  # read: nothing is written anywhere, not even the ledger


class Agent:
    """One process's agent."""

    def __init__(
        self,
        settings: Settings,
        conn: Connection,
        policy: PolicyFile,
        make_vault: MakeVault,
        clock: Clock,
        subscribers: Iterable[Callable[[Event], None]] = (),
        leading: Callable[[], bool] = lambda: True,
        me: str = "",
    ) -> None:
        """Reads the installation's key and the ledger. Raises ApiProblem, Unreachable, BadAnswer."""
        self.settings, self.conn, self.policy_file, self.clock = settings, conn, policy, clock
        self.subscribers = list(subscribers)
        self.inbox: Inbox = queue.SimpleQueue()
        self.sweepers = Sweepers(make_vault, self.inbox.put, clock)
        self._scopes = scopes(settings.namespaces)
        self._reflectors: list[Reflector] = []
        self._versions: dict[Scope, str] = {}
        self._awaited: set[str] = set()  # vaults that must answer before pending Secrets are taken in
        self._answered: set[str] = set()
        self._ledger_words: list[str] = []
        self._full_at = clock.monotonic()
        self.stopping = threading.Event()
        conn.server_now()
        writer = Writer(conn) if settings.access == "heal" else None
        self.installation: Installation = installation_key(conn, settings.agent_namespace, writer)
        ledger = Ledger(conn, settings.agent_namespace, writer, tell=self._ledger_words.append)
        world = World()
        memory = ledger.load(self.installation.key_id, new_key=not self.installation.found)
        self._key_is_new = ledger.found and not self.installation.found
        self.remembered = frozenset(memory.secrets)  # Secrets whose history did not begin with this process
        observer = Observer(world, memory, on_malformed=lambda found: self.engine.malformed(found))
        self.context = Context(
            conn=conn, writer=writer, ledger=ledger, memory=memory, observer=observer, policy=policy.current,
            clock=clock, emit=self._emit, ask_vault=self.sweepers.ask, stopping=self.stopping, leading=leading,
        )  # fmt: skip
        self.context.fingerprints = self.installation.fingerprints
        self.context.acknowledged = acknowledged(conn, settings.agent_namespace)
        self.sweepers.known, self.sweepers.policy = memory.sources, policy.current
        self.engine = Engine(self.context, self.inbox, me)
        self._inquiries: Inquiries | None = None
        self.engine.acting = settings.access == "heal"
        for scope in self._scopes:
            world.set_trouble(
                scope.resource, scope.namespace, Trouble(cause="not-looked-yet", detail=f"{scope}: not read yet")
            )

    # ----------------------------------------------------------------------------------------------- the commands

    def load(self, ends: float, peace: float = FIRST_PEACE) -> None:
        """Read everything once, without watching; vaults until ``ends`` (``clock.monotonic``) at the latest.

        A vault that throttles us for longer than ``peace`` is not waited for. Raises Stopped.
        """
        garbage.rest()
        try:
            self._load(ends, peace)
        finally:
            garbage.resume()
            garbage.give_back()

    def _load(self, ends: float, peace: float) -> None:
        secrets_read = max(number for number, scope in enumerate(self._scopes) if scope.resource == "secrets")
        looks: list[Future[VaultAnswer]] = []
        with ThreadPoolExecutor(2, "list") as lists, ThreadPoolExecutor(8, "sweep") as sweeps:
            listed = {scope: lists.submit(self._list, scope) for scope in as_asked_for(self._scopes)}
            for number, scope in enumerate(self._scopes):
                self.inbox.put(listed.pop(scope).result())
                if self.stopping.is_set():
                    lists.shutdown(cancel_futures=True)
                    raise Stopped
                if number == secrets_read:
                    # A vault's answer explains a Secret only if it is newer; all the rest can be read meanwhile.
                    self.engine.take_in()
                    for host, names in sorted(self.engine.wanted().items()):
                        looks.append(sweeps.submit(self.sweepers.of(host).look, frozenset(names), ends, peace=peace))
            sharing.forget()
            while wait(looks, timeout=0.2).not_done and not self.stopping.is_set():
                pass
            if self.stopping.is_set():
                self.sweepers.stop()
                raise Stopped
            for look in looks:
                self.inbox.put(look.result())
        self.engine.take_in()
        self.engine.settle()
        self.engine.full()

    def once(
        self, deadline: float, request: Request | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> Following | None:
        """One comparison, and all healing that can be brought to its end within ``deadline`` seconds.

        With a request, of what it names alone; ``tell`` gets the lines of its answer; returns how it went. Raises
        Stopped.
        """
        began = self.clock.monotonic()
        ends = began + deadline
        if request is not None:
            self.engine.only = ObjectKey(request.namespace, request.name)
        self.load(ends, peace=deadline)
        if request is None:
            self.engine.tell_halts()
        following = self.engine.asked.begin(request, tell=tell) if request is not None else None
        self._pass()
        while not self.stopping.is_set() and self._unfinished(following) and self.clock.monotonic() < ends:
            if not self._reflectors:
                self._watch()
            self._wait(min(ends - self.clock.monotonic(), self._nap()))
            self._pass()
        self.engine.cycle_ended(self.clock.monotonic() - began)
        if self.settings.access == "heal":
            self.engine.save()
        return following

    def _unfinished(self, following: Following | None) -> bool:
        return self.engine.unfinished if following is None else following.state == "accepted"

    def scan(self) -> None:
        """One comparison; nothing is written."""
        began = self.clock.monotonic()
        self.load(began + FIRST_ANSWERS)
        self.engine.step()
        self.engine.cycle_ended(self.clock.monotonic() - began)

    def run(self, on_cycle: Callable[[float], None], holder: str = "", *, lapsed: bool = False) -> None:
        """Until ``stopping`` is set. ``on_cycle`` is told the monotonic time at which each comparison ended.

        ``holder``: who acts meanwhile, where this process does not; ``lapsed``: that is this process, if it could.
        Raises LedgerConflict: somebody else does.
        """
        try:
            self.load(self.clock.monotonic() + FIRST_ANSWERS)
        except Stopped:
            return
        leads = self.settings.access == "heal"
        self.context.tell(LeadershipChanged, leading=leads, holder=holder, lapsed=lapsed and not leads)
        self.engine.tell_halts()
        self._watch()
        if self.settings.access == "heal":
            self._listen()
        self._read_bounds()
        tick = self.clock.monotonic()
        while not self.stopping.is_set():
            began = self.clock.monotonic()
            self._pass()
            now = self.clock.monotonic()
            if now >= tick:
                self.engine.cycle_ended(now - began)
                on_cycle(now)
                tick = max(tick + self.context.policy.interval, now)
                self._tick()
            self._wait(min(max(0.0, tick - self.clock.monotonic()), self._nap()))
        if self.settings.access == "heal" and self.context.leading():
            self._save_last()

    def stop(self) -> None:
        """From any thread: finish the step in hand and end; the rest is in the ledger."""
        self.stopping.set()
        self.inbox.put(None)

    def close(self) -> None:
        """End all threads."""
        if self._inquiries is not None:
            self._inquiries.stop()
        self.sweepers.stop()
        for reflector in self._reflectors:
            reflector.begin_stop()
        for reflector in self._reflectors:
            reflector.stop(timeout=1.0)

    # --------------------------------------------------------------------------------------------------- details

    def _pass(self) -> None:
        """One step of the engine. A ledger out of reach stops the step; one that others write, the process."""
        if self.context.observer.pending:
            self._settle_pending()
        self.context.waits.discard("the ledger")
        try:
            self.engine.step()
        except LedgerConflict:
            raise
        except LedgerProblem as error:
            self._ledger_fails(error)
            self.context.waits.add("the ledger")
            self.engine.full()
            self.clock.wait(self.stopping, 1.0)

    def _ledger_fails(self, error: LedgerProblem) -> None:
        """Told once for each reason, however often it is tried."""
        detail = f"{error}; nothing is done until it can be"
        if isinstance(cause := error.__cause__, ApiProblem):
            detail += f". What to do: {advice.home_step(cause.code, cause.message, self.settings.agent_namespace)}"
        self.context.troubles.subject("the ledger", Trouble(cause="ledger", detail=detail))

    def _settle_pending(self) -> None:
        """Secrets were listed after a gap: their vaults are looked at first."""
        if not self._awaited:
            self._answered.clear()
            self._awaited = set(self.engine.wanted())
            for host, names in self.engine.wanted().items():
                self.sweepers.ask(host, frozenset(names))
        self._awaited -= {host for host in self._awaited if host in self._answered}
        if not self._awaited:
            self.engine.settle()

    def _wait(self, seconds: float) -> None:
        try:
            message = self.inbox.get(timeout=max(0.001, seconds))
        except queue.Empty:
            return
        if isinstance(message, VaultAnswer):
            self._answered.add(message.view.host)
        self.engine.take_in(message)

    def _nap(self) -> float:
        if self.context.world.dirty_chains or self.context.world.dirty_workloads:
            return 0.001
        if self.engine.asked.following:
            return ASKED_NAP
        wake = self.engine.next_wake()
        left = wake - self.context.now if wake is not None else LONGEST_SLEEP
        return min(max(0.005, left), LONGEST_SLEEP)

    def _tick(self) -> None:
        """What is done every interval: the policy file, and a look at every vault; every hour, everything."""
        self._reload_policy()
        sharing.forget()  # what came by watches since
        now = self.clock.monotonic()
        if now - self._full_at > self.context.policy.reading.relist_interval:
            self._full_at = now
            self._read_bounds()
            self.engine.prune()
            self.engine.full()
        for host, names in self.engine.wanted().items():
            self.sweepers.ask(host, frozenset(names))

    def _reload_policy(self) -> None:
        before = self.policy_file.problem
        if self.policy_file.reload_if_changed():
            self.context.policy = self.sweepers.policy = self.policy_file.current
            self.engine.full()
            self.context.tell_policy()
            self._read_bounds()  # what heals from now on was perhaps installed just before
        elif str(self.policy_file.problem) != str(before):
            problems = tuple(str(p) for p in self.policy_file.problem.problems) if self.policy_file.problem else ()
            self.context.tell_policy(problems)

    def _save_last(self) -> None:
        try:
            self.engine.save()
        except LedgerProblem as error:
            self.context.troubles.subject("the ledger", Trouble(cause="ledger", detail=str(error)))

    def _list(self, scope: Scope) -> Message:
        try:
            page = self.context.policy.reading.list_page_size
            part = part_of(scope, self.installation.fingerprints)
            listing = list_all(self.conn, scope.resource, scope.namespace, page=page, **part)
        except (ApiProblem, Unreachable, BadAnswer) as error:
            return Malfunction(scope, trouble_of(error))
        self._versions[scope] = listing.resource_version
        return Listed(scope, listing, gap=True)

    def _read_bounds(self) -> None:
        """Whether more than RBAC bounds each write that we may do: installed policies may be removed while we run."""
        if self.settings.access == "read":
            return
        missing: tuple[str, ...] | None = None
        with contextlib.suppress(ApiProblem, Unreachable, BadAnswer):
            in_force = {policy.name for policy in admission_policies(self.conn, bounds.PREFIX) if policy.bound}
            where: tuple[str | None, ...] = self.settings.namespaces or (None, *self._healed())
            held = {right for right in bounds.BOUND_BY if any(may(self.conn, *right, place) for place in where)}
            missing = tuple(name for name in bounds.wanted(held) if name not in in_force)
        self.context.tell(BoundsRead, missing=missing)

    def _healed(self) -> list[str]:
        """Namespaces in which the policy heals: the rights may be given in these alone."""
        policy, there = self.context.policy, sorted(self.context.world.namespaces)
        allowed = policy.mode == "heal"
        healed = (name for name in there if allowed and (policy.sync_rule(name) or policy.recycle_rule(name)))
        return list(islice(healed, MOST_NAMESPACES))

    def _listen(self) -> None:
        """Take requests from now on."""
        home, put = self.settings.agent_namespace, self.inbox.put
        self._inquiries = Inquiries(self.conn, home, lambda there: put(Questions(there)))
        self._inquiries.start()

    def _watch(self) -> None:
        """Follow everything from where it was read; what could not be read is tried again."""
        for scope in self._scopes:
            resume = self._versions.get(scope, "")
            part = part_of(scope, self.installation.fingerprints)
            reflector = Reflector(self.conn, scope, self.inbox.put, resume=resume, **part)
            self._reflectors.append(reflector)
            reflector.start()
        self.sweepers.start()

    def _emit(self, event: Event) -> None:
        for subscriber in self.subscribers:
            subscriber(event)

    def reservations(self) -> list[str]:
        """What the answers of a read-only command do not rest on, in words for a person."""
        if self.installation.found:
            return [f"the ledger: {text}" for text in self._ledger_words]
        where = f"Secret {self.settings.agent_namespace}/{KEY_NAME}"
        absent = "does not exist, or holds no key (no agent has run here yet?)"
        why = "may not be read" if self.installation.denied else absent
        return [
            f"the installation's key, {where}, {why}: what the agent has seen cannot be compared, so these are the"
            " answers of a first look, which knows no former values"
        ]

    def absent_namespaces(self) -> list[str]:
        """Those that were asked for and do not exist (any more): that nothing drifts there says nothing."""
        world = self.context.world
        if ("namespaces", None) in world.troubles:
            return []
        return [name for name in self.settings.namespaces if name not in world.namespaces]

    def say_start(self) -> None:
        """What the ledger had to say when it was read; for when the subscribers are there."""
        for text in self._ledger_words:
            self.context.tell(Troubled, subject="the ledger", trouble=Trouble(cause="unusable", detail=text))
        if self._key_is_new:
            text = "the installation has a new key: what was seen before is unknown, and nothing is restarted for it"
            self.context.tell(Troubled, subject="the ledger", trouble=Trouble(cause="new-key", detail=text))
