"""Keeps a reader of one collection current: a list, then a watch from there, for as long as the process lives.

Each reflector is a thread. It tells a sink what it saw and, as important, when it may have missed something: the sink's
owner judges histories, and a gap in what was seen is evidence of its own kind.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer, Malformed, decode_event, sharing
from agent.cluster.errors import ApiProblem, Unreachable, trouble_of
from agent.cluster.lines import LineStream
from agent.cluster.reader import Keep, Listing, list_all
from agent.cluster.resources import RESOURCES
from agent.fingerprint import Fingerprints
from agent.model import Trouble

_WATCH_SECONDS = (240, 300)
_FIRST_PAUSE = 0.2
_WAKING = 5
"""Refusals in a row, about 4 s, that an API server which was out of reach may be allowed: while it starts it knows
neither all roles nor all custom resources yet."""

_AWAY = ("unreachable", "certificate")
"""Causes of an API server that cannot be asked anything."""
_ANSWERED = 2
"""Failures that count of those before the first answer of an API server that was out of reach. It throttles while its
storage is being read, which takes seconds: pauses that have grown meanwhile would make half a minute of them."""


class Pace(NamedTuple):
    """How patient a reflector is, in seconds."""

    silence: float = 90.0
    """Without a byte for so long a watch is taken for half-open: servers send bookmarks about once a minute."""
    relist: float = 3600.0
    """Between full lists, in case a watch ever lost something."""
    longest_pause: float = 30.0
    """The cap of the backoff."""
    refused: float = 60.0
    """The same while the answer is 403 or 404: nothing but a person changes that, once it has been said for a while."""


_PACE = Pace()


class Scope(NamedTuple):
    """What one reflector follows: a kind, in one namespace or (None) in all."""

    resource: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.resource} in {self.namespace or 'all namespaces'}"


class Listed(msgspec.Struct, frozen=True):
    """The whole collection was read anew and replaces what was known.

    ``gap``: changes may have come and gone unseen before it (always so for the first list of a process).
    """

    scope: Scope
    listing: Listing
    gap: bool


class Changed(msgspec.Struct, frozen=True):
    """One object was added, modified or deleted; one that ``keep`` does not want (any more) is told as deleted."""

    scope: Scope
    type: str  # ADDED | MODIFIED | DELETED
    object: Any
    observed_at: float  # API server's clock when it arrived here


class Spoiled(msgspec.Struct, frozen=True):
    """An object changed into something that cannot be read; nothing is known of it until it changes again.

    ``gone``: it was deleted, and could not be read when it was.
    """

    scope: Scope
    malformed: Malformed
    observed_at: float
    gone: bool = False


class Confirmed(msgspec.Struct, frozen=True):
    """A bookmark: the watch is alive, and what the server had sent by ``at`` (API server's clock) has all arrived."""

    scope: Scope
    at: float


class Malfunction(msgspec.Struct, frozen=True):
    """The collection cannot be followed now, told once per cause; what was known of it ages."""

    scope: Scope
    trouble: Trouble


class Recovered(msgspec.Struct, frozen=True):
    """The end of a malfunction."""

    scope: Scope


Message = Listed | Changed | Spoiled | Confirmed | Malfunction | Recovered


class _Gone(Exception):
    """The version to watch from is no longer in the server's history."""


class _Broken(Exception):
    """A watch that ran broke off, or ended so soon that it does no good."""


class Reflector:
    """A thread that follows one scope and calls ``sink`` with Messages, from that thread, in order."""

    def __init__(
        self,
        conn: Connection,
        scope: Scope,
        sink: Callable[[Message], None],
        *,
        fingerprints: Fingerprints | None = None,
        label_selector: str = "",
        keep: Keep | None = None,
        pace: Pace = _PACE,
        resume: str = "",
    ) -> None:
        """``resume``: the version of a list that the caller has already; the first watch goes on from there."""
        self._conn, self._scope, self._sink, self._pace = conn, scope, sink, pace
        self._fingerprints, self._label_selector, self._keep = fingerprints, label_selector, keep
        self._clock = conn.clock
        self._resource = RESOURCES[scope.resource]
        self._random = random.SystemRandom()
        self._stopping = threading.Event()
        self._stream: LineStream | None = None
        self._version = resume
        self._listed_at = self._clock.monotonic() if resume else 0.0
        self._failures = 0
        self._refusals = 0
        self._told_cause = ""
        self._thread = threading.Thread(target=self._run, name=f"watch {scope}", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End promptly, also in the middle of a pause or a silent watch; nothing is told afterwards.

        A request that the server has not begun to answer is left behind after ``timeout`` seconds; what it brings is
        not told either. To stop many, ``begin_stop`` them all first.
        """
        self.begin_stop()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def begin_stop(self) -> None:
        """The same without waiting for the thread."""
        self._stopping.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = self._attempt()
            if pause:
                self._clock.wait(self._stopping, pause)

    def _attempt(self) -> float:
        """A list where one is due, then one watch. Returns the seconds to wait before the next attempt."""
        try:
            if not self._version or self._clock.monotonic() - self._listed_at > self._pace.relist:
                self._list()
            self._watch()
        except _Gone:
            self._version = ""
            return self._pause(first=0.0)
        except _Broken as error:
            if self._failures >= 2:
                self._failing(Trouble(cause="unreachable", detail=f"the watch breaks off again and again: {error}"))
            return self._pause(first=0.0)
        except (ApiProblem, Unreachable, BadAnswer) as error:
            if isinstance(error, ApiProblem) and error.code in (403, 404):
                return self._refused(trouble_of(error))
            self._refusals = 0
            trouble = trouble_of(error)
            if self._told_cause in _AWAY and trouble.cause not in _AWAY:
                self._failures = min(self._failures, _ANSWERED)
            self._failing(trouble)
            return self._pause(at_least=min(getattr(error, "retry_after", None) or 0.0, self._pace.refused))
        except Exception as error:  # noqa: BLE001 - a bug must show as a malfunction, not end the thread unseen
            self._version = ""
            self._failing(Trouble(cause="internal", detail=f"{type(error).__name__} while following {self._scope}"))
            return self._pause()
        return 0.0

    def _list(self) -> None:
        listing, gap = self._relisting() if self._version else (self._listing(""), True)
        sharing.forget()
        self._version, self._listed_at = listing.resource_version, self._clock.monotonic()
        self._tell(Listed(self._scope, listing, gap))

    def _relisting(self) -> tuple[Listing, bool]:
        """The state at the very version the watch has reached: so no change can hide between the two.

        A server that cannot serve this version any more answers 410; one that knows no exact lists, with the newest.
        """
        try:
            listing = self._listing(self._version)
        except ApiProblem as error:
            if error.code not in (400, 410):
                raise
            return self._listing(""), True
        return listing, listing.resource_version != self._version

    def _listing(self, version: str) -> Listing:
        return list_all(
            self._conn,
            self._scope.resource,
            self._scope.namespace,
            fingerprints=self._fingerprints,
            label_selector=self._label_selector,
            keep=self._keep,
            resource_version=version,
        )

    def _watch(self) -> None:
        """One watch request from the version reached, until it ends in some way."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(self._random.randint(*_WATCH_SECONDS)),
        }
        if self._label_selector:
            query["labelSelector"] = self._label_selector
        path, began, opened = self._resource.path(self._scope.namespace), self._clock.monotonic(), False
        try:
            with self._conn.stream(path, query=query, read_timeout=self._pace.silence) as stream:
                opened, self._stream, self._refusals = True, stream, 0
                if self._stopping.is_set():
                    return
                self._well()
                for line in stream:
                    self._take(line)
        except ApiProblem as error:
            if error.code == 410:
                raise _Gone from error
            raise
        except Unreachable as error:
            if opened:
                raise _Broken(error.detail) from error
            raise
        finally:
            self._stream = None
        if self._clock.monotonic() - began < 1.0 and not self._stopping.is_set():
            raise _Broken("it ends as soon as it began")
        self._failures = 0

    def _take(self, line: bytes) -> None:
        if self._stopping.is_set():
            return
        event = decode_event(self._scope.resource, line, self._fingerprints)
        if event.type == "ERROR":
            # Whatever it says, a list from the newest state is right again; 410 is by far the most common.
            raise _Gone
        self._failures = 0
        self._version = event.resource_version or self._version
        _, now = self._clock.server_bounds()
        if event.malformed is not None:
            self._tell(Spoiled(self._scope, event.malformed, now, event.type == "DELETED"))
        elif event.type == "BOOKMARK":
            self._tell(Confirmed(self._scope, now))
        elif event.object is not None:
            wanted = self._keep is None or self._keep(event.object)
            self._tell(Changed(self._scope, event.type if wanted else "DELETED", event.object, now))

    def _pause(self, *, first: float = _FIRST_PAUSE, at_least: float = 0.0) -> float:
        """Exponential backoff with jitter; ``first`` is the pause after the first failure in a row."""
        self._failures += 1
        grown = min(self._pace.longest_pause, _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 20))
        backoff = first if self._failures == 1 else grown
        return max(at_least, backoff * self._random.uniform(0.5, 1.0))

    def _refused(self, trouble: Trouble) -> float:
        """Told at once, unless the server has just come back; asked again soon at first, then ever more seldom."""
        self._refusals += 1
        if self._told_cause in ("", trouble.cause) or self._refusals > _WAKING:
            self._failing(trouble)
        pause = min(self._pace.refused, _FIRST_PAUSE * 2.0 ** min(self._refusals - 1, 20))
        return pause * self._random.uniform(0.9, 1.1)

    def _failing(self, trouble: Trouble) -> None:
        if trouble.cause != self._told_cause:
            self._told_cause = trouble.cause
            self._tell(Malfunction(self._scope, trouble))

    def _well(self) -> None:
        if self._told_cause:
            self._told_cause = ""
            self._tell(Recovered(self._scope))

    def _tell(self, message: Message) -> None:
        if not self._stopping.is_set():
            self._sink(message)
