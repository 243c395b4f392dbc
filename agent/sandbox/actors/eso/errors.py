"""What can go wrong in a sync, apart from what the API server says."""

from __future__ import annotations


class NotReproducible(Exception):
    """This actor does not know what the real ESO would answer: it leaves the ExternalSecret alone and says so."""


class ProviderError(Exception):
    """The provider gave no data; the text is ESO's own, as it stands in the ``UpdateFailed`` Event."""


class NoSecret(ProviderError):
    """The vault has no such secret, or no such version. Deletion policies other than Retain skip it."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__(f"{prefix}Secret does not exist")

    def within(self, prefix: str) -> NoSecret:
        """The same with the words of the caller before it."""
        return NoSecret(prefix)


class SyncFailed(Exception):
    """A sync ended without success.

    ``text`` is the message of the ``UpdateFailed`` Event, ``condition`` that of the Ready condition. A ``terminal``
    failure is not retried until something changes.
    """

    def __init__(self, condition: str, text: str, *, terminal: bool = False) -> None:
        super().__init__(text)
        self.condition, self.text, self.terminal = condition, text, terminal
