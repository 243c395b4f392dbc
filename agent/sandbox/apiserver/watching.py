"""Watches: replay from a resourceVersion, then every change as it happens, bookmarks, an end in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agent.sandbox.apiserver.kinds import Kind
from agent.sandbox.apiserver.reads import partial
from agent.sandbox.apiserver.selectors import Selection, selection
from agent.sandbox.apiserver.status import StatusError, bad_request, invalid, too_large_resource_version
from agent.sandbox.apiserver.store import Change, Store, Stored, full
from agent.sandbox.apiserver.validation import forbidden_field
from agent.sandbox.clock import WorldClock

DEFAULT_TIMEOUT = 1800.0
_LAST_BOOKMARK = 2.0  # seconds before the end of a watch, as the watch cache does it
_MAX_BEHIND = 100_000  # lines; a watcher that lags further is cut off, as the real server does


def _line(event: str, body: bytes) -> bytes:
    return b'{"type":"' + event.encode() + b'","object":' + body + b"}\n"


def error_line(error: StatusError) -> bytes:
    """The ERROR event with which a watch ends."""
    return _line("ERROR", msgspec.json.encode(error.body()))


class Watcher:
    """One watch request: the lines it has yet to send, and ``wake`` set whenever there is something to do."""

    def __init__(
        self, store: Store, kind: Kind, namespace: str | None, wanted: Selection, *, user: str, metadata_only: bool
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.user = user
        self.lines: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.ended = False
        self.frozen = False
        self.code = 200
        self.seconds = DEFAULT_TIMEOUT
        self.wants_bookmarks = False
        self._store = store
        self._wanted = wanted
        self._metadata_only = metadata_only

    def send(self, line: bytes) -> None:
        """Queue a line; nothing reaches a frozen watch any more."""
        if not self.frozen:
            self.lines.append(line)
            self.ended = self.ended or len(self.lines) > _MAX_BEHIND
            self.wake.set()

    def end(self) -> None:
        """Close the connection after what is queued."""
        self.ended = True
        self.wake.set()

    def freeze(self) -> None:
        """Stay connected and never send again: a half-open connection."""
        self.lines.clear()
        self.frozen = True
        self.wake.set()

    def added(self, stored: Stored) -> None:
        """Send an object as it is."""
        if self._wanted.everything or self._wanted.matches(stored):
            self.send(_line("ADDED", self._body(stored)))

    def offer(self, change: Change) -> None:
        """Send what a change means to this watch: leaving the selection is DELETED, entering it ADDED."""
        if self.namespace is not None and change.now.namespace != self.namespace:
            return
        was = change.before is not None and self._wanted.matches(change.before)
        now = change.type != "DELETED" and self._wanted.matches(change.now)
        if now:
            self.send(_line("MODIFIED" if was else "ADDED", self._body(change.now)))
        elif was and change.before is not None:
            last = (
                change.now if change.type == "DELETED" else self._store.at_version(self.kind, change.before, change.rv)
            )
            self.send(_line("DELETED", self._body(last)))

    def bookmark(self, *, initial_events_end: bool = False) -> None:
        """Tell how far this watch has come."""
        metadata: dict[str, Any] = {"resourceVersion": str(self._store.rv), "creationTimestamp": None}
        if initial_events_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        name, version = self.kind.kind, self.kind.api_version
        if self._metadata_only:
            name, version = "PartialObjectMetadata", "meta.k8s.io/v1"
        self.send(_line("BOOKMARK", msgspec.json.encode({"kind": name, "apiVersion": version, "metadata": metadata})))

    def _body(self, stored: Stored) -> bytes:
        return partial(stored) if self._metadata_only else full(self.kind, stored)


class Watches:
    """All running watches of a server. ``bookmark_interval``: world seconds between bookmarks."""

    def __init__(self, store: Store, clock: WorldClock) -> None:
        self.bookmark_interval = 60.0
        self.running: dict[Kind, set[Watcher]] = {}
        self._store = store
        self._clock = clock
        store.listeners.append(self._on_change)

    def start(
        self, kind: Kind, namespace: str | None, query: Mapping[str, str], *, user: str, metadata_only: bool
    ) -> Watcher:
        """A running watch. Raises StatusError 400, 422 or 504; a resourceVersion too old comes as an ERROR event."""
        watcher = Watcher(self._store, kind, namespace, selection(kind, query), user=user, metadata_only=metadata_only)
        watcher.seconds = _timeout(query)
        watcher.wants_bookmarks = bool(_flag(query, "allowWatchBookmarks"))
        self._replay(watcher, query)
        self.running.setdefault(kind, set()).add(watcher)
        return watcher

    def stop(self, watcher: Watcher) -> None:
        """Forget a watch whose connection is gone."""
        self.running.get(watcher.kind, set()).discard(watcher)

    def each(self) -> list[Watcher]:
        """Every running watch."""
        return [watcher for watchers in self.running.values() for watcher in watchers]

    def _replay(self, watcher: Watcher, query: Mapping[str, str]) -> None:
        asked, initial = query.get("resourceVersion", ""), _flag(query, "sendInitialEvents")
        if asked and not asked.isdecimal():
            raise invalid("meta.k8s.io", "ListOptions", "", [forbidden_field("resourceVersion", f'invalid: "{asked}"')])
        if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
            text = "resourceVersionMatch is required when sendInitialEvents is set; it must be NotOlderThan"
            raise invalid("meta.k8s.io", "ListOptions", "", [forbidden_field("sendInitialEvents", text)])
        if int(asked or 0) > self._store.rv:
            raise too_large_resource_version(int(asked), self._store.rv)
        if initial or (initial is None and asked in ("", "0")):
            for stored in self._store.scan(watcher.kind, watcher.namespace):
                watcher.added(stored)
            if initial and watcher.wants_bookmarks:
                watcher.bookmark(initial_events_end=True)
        elif asked not in ("", "0"):
            self._catch_up(watcher, int(asked))

    def _catch_up(self, watcher: Watcher, rv: int) -> None:
        try:
            changes = self._store.changes_since(watcher.kind, rv)
        except StatusError as error:  # like the real server: the watch begins, and its first event is the error
            watcher.send(error_line(error))
            watcher.end()
            return
        for change in changes:
            watcher.offer(change)

    def _on_change(self, kind: Kind, change: Change) -> None:
        for watcher in self.running.get(kind, ()):
            watcher.offer(change)

    async def pump(self, watcher: Watcher, write: Callable[[bytes], Any]) -> None:
        """Write lines until the watch ends by its timeout or is ended; ``write`` is awaited."""
        ends = self._clock.now() + watcher.seconds
        marks = _Marks(ends, self.bookmark_interval, watcher.wants_bookmarks)
        while True:
            await _flush(watcher, write)
            if watcher.ended:
                return
            now = self._clock.now()
            if marks.due(now):
                watcher.bookmark()
            if now >= ends:
                watcher.end()
            if not watcher.lines and not watcher.ended:
                await self._wait(watcher, marks.next(now))

    async def _wait(self, watcher: Watcher, until: float) -> None:
        watcher.wake.clear()
        timer = asyncio.ensure_future(self._clock.sleep_until(until))
        timer.add_done_callback(wake := lambda _: watcher.wake.set())
        try:
            await watcher.wake.wait()
        finally:
            # Cancelling ends the timer, too: left in place, the callback would wake the next wait, for ever.
            timer.remove_done_callback(wake)
            timer.cancel()


class _Marks:
    """When bookmarks are due: at intervals, and once right before the end."""

    def __init__(self, ends: float, interval: float, wanted: bool) -> None:
        self._ends = ends
        self._interval = interval
        self._wanted = wanted
        self._last_sent = False
        self._regular: float | None = None

    def next(self, now: float) -> float:
        """The next time to wake up."""
        if not self._wanted:
            return self._ends
        if self._regular is None:
            self._regular = now + self._interval
        return min(self._regular, self._ends if self._last_sent else self._ends - _LAST_BOOKMARK)

    def due(self, now: float) -> bool:
        """Whether to send one now."""
        if not self._wanted:
            return False
        if now >= self._ends - _LAST_BOOKMARK and not self._last_sent:
            self._last_sent = True
            return True
        if self._regular is not None and now >= self._regular:
            self._regular = now + self._interval
            return True
        return False


async def _flush(watcher: Watcher, write: Callable[[bytes], Any]) -> None:
    while watcher.lines:
        chunk = b"".join(watcher.lines)
        watcher.lines.clear()
        await write(chunk)


def _timeout(query: Mapping[str, str]) -> float:
    seconds = query.get("timeoutSeconds") or "0"
    if not seconds.isdecimal():
        raise bad_request(f'timeoutSeconds: Invalid value: "{seconds}"')
    return float(seconds) or DEFAULT_TIMEOUT


def _flag(query: Mapping[str, str], name: str) -> bool | None:
    value = query.get(name)
    return None if value is None else value in ("true", "1", "True")
