"""What the applications' counterparts (databases, APIs) accept as a credential."""

from __future__ import annotations

from collections.abc import Callable


def _octets(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


class Backends:
    """Named backends. Each accepts everything until it is told otherwise."""

    def __init__(self) -> None:
        self._rejected: dict[str, set[bytes]] = {}
        self._only: dict[str, set[bytes]] = {}
        self._subscribers: list[Callable[[str], None]] = []

    def accepts(self, backend: str, value: str | bytes) -> bool:
        octets = _octets(value)
        if octets in self._rejected.get(backend, ()):
            return False
        return backend not in self._only or octets in self._only[backend]

    def reject(self, backend: str, value: str | bytes) -> None:
        """From now on this value is a wrong one. Who runs with it loses its connection."""
        self._rejected.setdefault(backend, set()).add(_octets(value))
        self._tell(backend)

    revoke = reject

    def accept(self, backend: str, value: str | bytes) -> None:
        """Take back a ``reject``, and add the value to those of ``accept_only`` where that rules."""
        self._rejected.get(backend, set()).discard(_octets(value))
        if backend in self._only:
            self._only[backend].add(_octets(value))
        self._tell(backend)

    def accept_only(self, backend: str, *values: str | bytes) -> None:
        """Reject all values but these."""
        self._only[backend] = {_octets(v) for v in values}
        self._rejected.pop(backend, None)
        self._tell(backend)

    def subscribe(self, subscriber: Callable[[str], None]) -> None:
        """Call ``subscriber(backend)`` after each change."""
        self._subscribers.append(subscriber)

    def _tell(self, backend: str) -> None:
        for subscriber in self._subscribers:
            subscriber(backend)
