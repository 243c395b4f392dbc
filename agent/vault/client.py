"""What a vault knows of the secrets in question, without ever asking for a value.

Two ways lead there: the list of all secrets, 25 a page with the attributes of each one's newest version, or the list of
versions of each secret wanted. Whichever costs fewer requests is taken.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

import requests
from azure.core.credentials import TokenCredential

from agent.clock import Clock
from agent.model import SourceState, Trouble, VaultView
from agent.vault.listing import BadPage, Page, Version, follow
from agent.vault.pipe import FOREVER, Failed, OnRequest, Pipe

__all__ = ["FOREVER", "VaultClient", "Version"]

PAGE = 25
"""Secrets, or versions, that the service puts on one page at most."""
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_VERSIONS_SECONDS = 30.0
_MOST_ABSENT = 20
_BARREN = 10
"""Pages in a row without a new name; the service may send empty ones, but not for ever."""


class VaultClient:
    """Reads one vault. Thread-safe as to ``versions``; one ``sweep`` at a time."""

    def __init__(
        self,
        host: str,
        credential: TokenCredential,
        *,
        session: requests.Session,
        clock: Clock,
        requests_per_second: float = 20.0,
        on_request: OnRequest | None = None,
        max_pages: int = 2000,
        nearest: bool = False,
    ) -> None:
        """``host``: ``prod-kv.vault.azure.net``. ``nearest``: tell which names are like those that are absent.

        Raises ValueError for what is no host name. Sends nothing yet.
        """
        if not _HOST.fullmatch(host):
            raise ValueError("a vault is named by its host in lower case")
        self.host = host
        self._max_pages = max_pages
        self._tells_nearest = nearest
        self._nearest: dict[str, tuple[str, ...]] = {}
        self._pipe = Pipe(
            host,
            credential,
            session=session,
            clock=clock,
            requests_per_second=requests_per_second,
            on_request=on_request,
        )
        self.version_pages = 8
        """Secrets with 20,000 versions exist, in no promised order; beyond so many pages they stay unnamed."""
        self._pages = 0
        """Pages of the whole list, as far as it was ever read."""
        self._deep: dict[str, int] = {}
        """Pages of the version lists that have more than one."""

    @property
    def blocked_seconds(self) -> float:
        """Seconds for which the vault (by a 429) wants no request; none is sent until then. 0: it takes them."""
        return self._pipe.blocked

    def close(self) -> None:
        """End waits; reads under way come back with the trouble ``stopped``."""
        self._pipe.close()

    def knock(self, deadline: float) -> Trouble | None:
        """Ask for one entry of the list: why the vault cannot be looked at, None if it can. Never raises for that.

        ``deadline`` is a moment of ``clock.monotonic``.
        """
        try:
            Page(self._pipe.get("list", "/secrets?maxresults=1", deadline), self.host)
        except (Failed, BadPage) as error:
            return _trouble(error)
        return None

    def clock_bounds(self) -> tuple[float, float] | None:
        """Between which unix times the vault's own clock stands now; None before its first answer."""
        return self._pipe.bounds()

    def sweep(self, wanted: frozenset[str], deadline: float, *, peace: float = FOREVER) -> VaultView:
        """The state of each secret wanted (names in lower case), all or nothing; an absent name does not exist.

        A version is known by its ``created``, which has whole seconds: another one of the same second would look the
        same. So it is told when that second is over in the vault: whoever fetches after that has the last of them.
        ``deadline`` is a moment of ``clock.monotonic``. A vault that wants (by a 429) more than ``peace`` seconds of it
        is not waited for. Never raises for what the vault does: see ``trouble``.
        """
        self._pipe.peace = peace
        asked_at, _ = self._pipe.clock.server_bounds()
        sources: dict[str, SourceState] = {}
        trouble = None
        try:
            sources = self._read(wanted, deadline)
        except (Failed, BadPage) as error:
            trouble = _trouble(error)
        _, answered_at = self._pipe.clock.server_bounds()
        self._pipe.until_past((state.created for state in sources.values()), deadline)
        return VaultView(
            host=self.host, asked_at=asked_at, answered_at=answered_at, sources=sources, trouble=trouble,
            nearest=self._nearest,
        )  # fmt: skip

    def versions(self, name: str, deadline: float | None = None) -> tuple[Version, ...] | Trouble:
        """All versions of one secret, newest first; empty if it does not exist; beyond ``version_pages`` a Trouble.

        ``deadline`` is a moment of ``clock.monotonic``; 30 s from now where None.
        """
        until = self._pipe.clock.monotonic() + _VERSIONS_SECONDS if deadline is None else deadline
        try:
            found = self._versions(name, until)
        except (Failed, BadPage) as error:
            return _trouble(error)
        if found is None:
            most = self.version_pages * PAGE
            return Trouble(cause="too-many-versions", detail=f"{name} has more than {most} versions")
        return tuple(version for version, _ in found)

    def _read(self, wanted: frozenset[str], deadline: float) -> dict[str, SourceState]:
        """List while that is not dearer than asking by name, then ask by name; list after all for a deep secret."""
        if not wanted:
            return {}
        by_name = sum(self._deep.get(name, 1) for name in wanted)
        if any(self._deep.get(name, 0) > self.version_pages for name in wanted):
            by_name = self._max_pages + 1
        if self._pages <= by_name:
            listed = self._list(wanted, deadline, give_up_after=by_name)
            if listed is not None:
                return listed
        named = self._by_name(wanted, deadline)
        if named is not None:
            return named
        listed = self._list(wanted, deadline, give_up_after=self._max_pages)
        if listed is None:
            raise BadPage(f"the list of {self.host} has more than {self._max_pages} pages")
        return listed

    def _list(self, wanted: frozenset[str], deadline: float, give_up_after: int) -> dict[str, SourceState] | None:
        """By the list of all secrets; None if it has more pages than that."""
        sources: dict[str, SourceState] = {}
        seen: set[str] = set()
        names: set[str] = set()
        url, pages, barren = "/secrets?maxresults=25", 0, 0
        while True:
            page = Page(self._pipe.get("list", url, deadline), self.host)
            pages += 1
            before = len(names)
            for name, state in page.states():
                names.add(name)
                if name in wanted:
                    sources[name] = state
            barren = 0 if len(names) > before else barren + 1
            if not page.next_link:
                self._pages = pages
                if self._tells_nearest:
                    absent = sorted(wanted - sources.keys())[:_MOST_ABSENT]
                    self._nearest = {name: tuple(get_close_matches(name, names)) for name in absent}
                return sources
            url = follow(page.next_link, self.host, "/secrets", seen)
            if barren > _BARREN:
                raise BadPage(f"{self.host} sends a list without end: its pages bring nothing new")
            if pages >= self._max_pages:
                raise BadPage(f"the list of {self.host} has more than {self._max_pages} pages")
            if pages >= give_up_after:
                self._pages = max(self._pages, pages + 1)
                return None

    def _by_name(self, wanted: frozenset[str], deadline: float) -> dict[str, SourceState] | None:
        """By the version list of each secret; None if one has too many to be sure of the newest."""
        sources: dict[str, SourceState] = {}
        for name in sorted(wanted):
            found = self._versions(name, deadline)
            if found is None:
                return None
            if found:
                sources[name] = found[0][1]
        return sources

    def _versions(self, name: str, deadline: float) -> list[tuple[Version, SourceState]] | None:
        """Newest first, each with its state; None if there are too many pages. Raises Failed, BadPage."""
        if not _NAME.fullmatch(name):
            return []
        collection = f"/secrets/{name}/versions"
        found: list[tuple[Version, SourceState]] = []
        seen: set[str] = set()
        url = f"{collection}?maxresults=25"
        for pages in range(1, self.version_pages + 1):
            try:
                page = Page(self._pipe.get("versions", url, deadline), self.host)
            except Failed as failed:
                if failed.trouble.cause == "not-found":
                    return []
                raise
            found += page.versions()
            if not page.next_link:
                self._note_depth(name, pages)
                return sorted(found, key=lambda each: each[0].created, reverse=True)
            url = follow(page.next_link, self.host, collection, seen)
        self._note_depth(name, self.version_pages + 1)
        return None

    def _note_depth(self, name: str, pages: int) -> None:
        if pages > 1:
            self._deep[name] = pages
        else:
            self._deep.pop(name, None)


def _trouble(error: Failed | BadPage) -> Trouble:
    return error.trouble if isinstance(error, Failed) else Trouble(cause="bad-answer", detail=str(error))
