"""The part of an ExternalSecret's spec that says what it reads, free of any wire format."""

from __future__ import annotations

from typing import Literal

import msgspec

from agent.model import StoreKey


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``spec.data`` or ``spec.dataFrom``."""

    place: str  # spec.data[0], spec.dataFrom[1].extract
    how: Literal["data", "extract", "find", "generator", "nothing"]
    store: StoreKey | None = None
    key: str = ""  # remoteRef.key as written
    version: str = ""
    secret_key: str = ""  # of data


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What an ExternalSecret reads and which keys it makes of it.

    ESO writes the fetched keys as they are unless a template has text of its own (``data`` or ``templateFrom``) and
    does not merge: then only the template's keys remain.
    """

    entries: tuple[Entry, ...]
    template_keys: tuple[str, ...] = ()  # of template.data
    template_from: bool = False  # the template has templateFrom entries
    template_merges: bool = False  # template.mergePolicy: Merge
    creation_policy: str = "Owner"
    deletion_policy: str = "Retain"
    manifest: bool = False  # target.manifest: the target is no Secret

    @property
    def templated(self) -> bool:
        """Keys of the Secret are made by a template, so any source may feed any of them."""
        return bool(self.template_keys) or self.template_from

    @property
    def keeps_fetched(self) -> bool:
        """The fetched keys themselves get into the Secret."""
        return self.template_merges or not self.templated
