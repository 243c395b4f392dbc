"""What does not work now, each cause told once: however many collections it strikes, and however often it comes back.

An API server that is down is one cause and a dozen collections that cannot be read. Between its first sign of life and
the moment when all of them are read again it fails in other ways, which are told once each.
"""

from __future__ import annotations

from collections.abc import Callable

from agent import advice
from agent.events import Recovered, Troubled
from agent.model import Trouble

API_SERVER = "the API server"
OF_THE_SERVER = frozenset({"unreachable", "certificate", "unauthorized", "server-error", "throttled", "bad-answer"})
"""Causes that have nothing to do with what was asked for."""


class Troubles:
    """``tell`` is called with the kind of event and its fields."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._now: dict[str, dict[str, Trouble]] = {}  # subject -> part -> trouble
        self._told: dict[str, dict[str, Trouble]] = {}  # subject -> cause -> trouble, until the subject is well again
        self._untold: list[tuple[str, str]] = []  # (scope, cause) of collections, to be told together

    def collection(self, scope: str, trouble: Trouble | None) -> None:
        """One collection of the API server cannot be read; None: it can. Told with the next ``flush``."""
        if trouble is not None and trouble.cause in OF_THE_SERVER:
            # The collection is named: it may be the only one.
            self._set(API_SERVER, scope, Trouble(cause=trouble.cause, detail=f"{scope}: {trouble.detail}"))
            self._set(scope, scope, None)
            return
        self._set(API_SERVER, scope, None)
        if self._set(scope, scope, trouble, silent=True) and trouble is not None:
            self._untold.append((scope, trouble.cause))

    def flush(self) -> None:
        """Tell of collections: what one cause keeps from us in one place is told once."""
        for subject, first in advice.together(self._untold):
            trouble = self._now.get(first, {}).get(first)
            if trouble is not None:
                self._tell(Troubled, subject=subject, trouble=trouble)
        self._untold.clear()

    def subject(self, subject: str, trouble: Trouble | None) -> None:
        """Anything else does not work; None: it does."""
        self._set(subject, subject, trouble)

    def now(self) -> dict[str, Trouble]:
        """Subject -> what is wrong with it."""
        return {subject: next(iter(parts.values())) for subject, parts in self._now.items()}

    def _set(self, subject: str, part: str, trouble: Trouble | None, *, silent: bool = False) -> bool:
        """Whether it is a cause that was not told yet."""
        if trouble is None:
            parts = self._now.get(subject, {})
            parts.pop(part, None)
            if not parts and self._now.pop(subject, None) is not None:
                del self._told[subject]
                self._tell(Recovered, subject=subject)
            return False
        self._now.setdefault(subject, {})[part] = trouble
        told = self._told.setdefault(subject, {})
        if trouble.cause in told:
            return False
        told[trouble.cause] = trouble
        if not silent:
            self._tell(Troubled, subject=subject, trouble=trouble)
        return True
