"""Requests as they are read: at a start, then by a thread that tells of all that there are whenever one changes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.lines import LineStream
from agent.cluster.resources import RESOURCES
from agent.cluster.stored import Stored, list_stored
from agent.ledger.requests import SELECTOR, Acknowledgement, in_force

_WATCH_SECONDS = 280
_SILENCE = 90.0
_PAUSE = 5.0


def acknowledged(conn: Connection, namespace: str) -> Acknowledgement | None:
    """The acknowledgement of a storm that holds now; None also where it cannot be read: then every gate holds.

    Raises Unreachable.
    """
    try:
        there = list_stored(conn, "configmaps", namespace, label_selector=SELECTOR)
    except (ApiProblem, BadAnswer):
        return None
    return in_force(there, conn.server_now())


class Inquiries:
    """Ends with ``stop``. What goes wrong is tried again: a request that is not seen is the asker's to say."""

    def __init__(self, conn: Connection, namespace: str, sink: Callable[[list[Stored]], None]) -> None:
        self._conn, self._namespace, self._sink = conn, namespace, sink
        self._stopping = threading.Event()
        self._stream: LineStream | None = None
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, also in the middle of a silent watch; the thread is not waited for."""
        self._stopping.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (ApiProblem, Unreachable, BadAnswer):
                self._conn.clock.wait(self._stopping, _PAUSE)

    def _follow(self) -> None:
        """One watch, begun before the list, so that nothing comes between: its first lines tell what the list tells."""
        query = {"watch": "true", "labelSelector": SELECTOR, "timeoutSeconds": str(_WATCH_SECONDS),
                 "allowWatchBookmarks": "true"}  # fmt: skip
        path = RESOURCES["configmaps"].path(self._namespace)
        with self._conn.stream(path, query=query, read_timeout=_SILENCE) as stream:
            self._stream = stream
            self._tell()
            for line in stream:
                if self._stopping.is_set():
                    return
                if b'"type":"BOOKMARK"' not in line[:40]:
                    self._tell()

    def _tell(self) -> None:
        self._sink(list_stored(self._conn, "configmaps", self._namespace, label_selector=SELECTOR))
