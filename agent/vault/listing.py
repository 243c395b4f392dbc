"""The two answers of Key Vault that are read: a page of secrets and a page of versions. Neither ever holds a value."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from agent.model import SourceState

IGNORE_TAG = "secret-drift-agent"


class BadPage(Exception):
    """The answer is not the page that was asked for; the text holds none of it."""


class Version(msgspec.Struct, frozen=True, gc=False):
    """One version of a secret; ``created`` in the vault's whole unix seconds."""

    id: str
    created: float
    enabled: bool


class _Attributes(msgspec.Struct, gc=False):
    enabled: bool = True
    created: float = 0.0
    exp: float | None = None
    nbf: float | None = None


class _Item(msgspec.Struct, gc=False):
    id: str
    attributes: _Attributes
    tags: dict[str, str | None] | None = None


class _Page(msgspec.Struct, gc=False):
    value: list[_Item] | None = None
    next_link: str | None = msgspec.field(name="nextLink", default=None)


_decoder = msgspec.json.Decoder(_Page)


class Page:
    """One page, whichever of the two it is."""

    def __init__(self, body: bytes, host: str) -> None:
        """Raises BadPage."""
        try:
            page = _decoder.decode(body)
        except msgspec.ValidationError:
            raise BadPage(f"{host} sends a list with fields of an unknown form") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadPage(f"{host} sends a list that is no JSON") from None
        self._host = host
        self._items = page.value or []
        self.next_link = page.next_link or ""

    def __len__(self) -> int:
        return len(self._items)

    def states(self) -> Iterator[tuple[str, SourceState]]:
        """Name in lower case, and the attributes of the newest version, of each secret of a list of secrets."""
        for item in self._items:
            yield self._segments(item)[0].lower(), state_of(item)

    def versions(self) -> Iterator[tuple[Version, SourceState]]:
        """Each version of a list of versions, and the state of its secret if it is the newest."""
        for item in self._items:
            state = state_of(item)
            yield Version(self._segments(item)[1], state.created, state.enabled), state

    def _segments(self, item: _Item) -> tuple[str, str]:
        """Name and version id (empty where there is none) out of ``https://HOST/secrets/NAME/VERSION``."""
        parts = item.id.split("/")
        if len(parts) < 5 or parts[3] != "secrets" or not parts[4]:
            raise BadPage(f"{self._host} lists something that is no secret")
        return parts[4], parts[5] if len(parts) > 5 else ""


def state_of(item: _Item) -> SourceState:
    """What the rest of the agent keeps of an item."""
    attributes, tags = item.attributes, item.tags
    return SourceState(
        created=attributes.created,
        enabled=attributes.enabled,
        expires=attributes.exp,
        not_before=attributes.nbf,
        ignored=bool(tags) and ((tags or {}).get(IGNORE_TAG) or "").strip().lower() == "ignore",
    )


def follow(link: str, host: str, collection: str, seen: set[str]) -> str:
    """The link to the next page, if it may be followed: our token goes there. Raises BadPage.

    ``collection`` is the path that was asked for; ``seen`` gathers the links, since a link that comes twice never ends.
    """
    parts = urlsplit(link)
    if len(link) > 8192 or "\\" in link or parts.scheme != "https" or parts.netloc.lower() not in (host, f"{host}:443"):
        raise BadPage(f"{host} continues its list at another address, which is not followed")
    if parts.path.rstrip("/").lower() != collection.lower():
        raise BadPage(f"{host} continues its list with something else")
    if link in seen:
        raise BadPage(f"{host} sends a list without end: a page leads back to one before")
    seen.add(link)
    return link
